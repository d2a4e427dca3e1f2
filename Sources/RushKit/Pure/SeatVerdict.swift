/// What the server says by itself of the performance that a run made.
struct SeatTruth: Equatable, Sendable, Codable {
    let performance: String
    let seats: Int
    let options: SeatOptions
    /// How far the buyers' clocks and the server's may be apart, in milliseconds.
    let clockTolerance: Int64
    /// Points that each buyer was given before; 0: none.
    let points: Int64
    /// Who watches, but for the buyers.
    let watchers: Int
    /// Whether changes were followed to them.
    let isFollowed: Bool
    /// Whether time was up before all was over.
    var wasCut = false
    /// A letter each, by seat; nil when it could not be asked.
    var letters: [String]?
    /// Points that buyers have, by their number; of those who were given some.
    var balances: [Int: Int64] = [:]
    var audit: Audit?

    /// The part of `GET /api/audit` that is about this performance.
    struct Audit: Equatable, Sendable, Codable {
        let sold, held, free: Int64
        let soldInDatabase, heldInDatabase: Int64
        let inFlight: Int64
        let drift: Int64
        /// Of all accounts.
        var ledgerDrift: Int64 = 0
    }
}

extension Verdict {
    /// Judges a run of buyers who want seats.
    init(_ tally: Tally, _ truth: SeatTruth) {
        let told = tally.seats
        var checks = [
            Verdict.everyHoldAnswered(tally), Verdict.faultlessSeats(tally), Verdict.oneHolderEach(told, truth),
            Verdict.whole(told, truth), Verdict.everyEndTold(told, truth), Verdict.seatsAsTold(told, truth),
            Verdict.audited(told, truth), Verdict.balanced(told, truth),
        ]
        if let check = Verdict.nothingLeft(told, truth) { checks.append(check) }
        if truth.isFollowed { checks.append(Verdict.everyChangeHeard(tally, truth)) }
        self.init(checks: checks)
    }

    private static func everyHoldAnswered(_ tally: Tally) -> Check {
        let who = tally.waiting.isEmpty ? "" : "; waiting: " + tally.waiting.prefix(5).joined(separator: ", ")
        return Check(
            words: "every hold was answered", holds: tally.decided == tally.claims && tally.waiting.isEmpty,
            detail: "\(grouped(tally.decided)) of \(grouped(tally.claims))" + who)
    }

    private static func faultlessSeats(_ tally: Tally) -> Check {
        let faults = tally.faults.sorted { $0.key < $1.key }.map { "\($0.key) (\(grouped($0.value)))" }
        return Check(
            words: "what was told came in order, once, and never changed", holds: faults.isEmpty,
            detail: faults.prefix(5).joined(separator: "; "))
    }

    /// A seat's holders follow one another, by the server's clock; who has paid has it for good. The moment at which a
    /// hold was given back is not known: only that it was not before its client asked.
    private static func oneHolderEach(_ told: SeatsTold, _ truth: SeatTruth) -> Check {
        var bySeat: [Int64: [HoldTold]] = [:]
        for hold in told.holds { for seat in hold.seats { bySeat[seat, default: []].append(hold) } }
        var wrong = 0
        var example = ""
        for (seat, holds) in bySeat {
            let holds = holds.sorted { ($0.heldAt, $0.expiresAt) < ($1.heldAt, $1.expiresAt) }
            for (before, after) in zip(holds, holds.dropFirst()) where after.heldAt < before.freeAt(truth) {
                wrong += 1
                if example.isEmpty { example = ": seat \(seat), \(before.reservation) and \(after.reservation)" }
            }
        }
        return Check(
            words: "no seat was held by two at once", holds: wrong == 0,
            detail: wrong == 0 ? "\(grouped(told.holds.count)) holds" : "\(grouped(wrong)) times\(example)")
    }

    private static func whole(_ told: SeatsTold, _ truth: SeatTruth) -> Check {
        let size = truth.options.seatsPerHold
        let split = told.holds.count { hold in
            hold.seats.count != size || zip(hold.seats, hold.seats.dropFirst()).contains { $1 != $0 + 1 }
                || !hold.seats.allSatisfy { (1...Int64(truth.seats)).contains($0) }
        }
        return Check(
            words: size == 2 ? "every pair is whole" : "every hold is of one seat that exists", holds: split == 0,
            detail: split == 0 ? "" : "\(grouped(split)) are not")
    }

    private static func everyEndTold(_ told: SeatsTold, _ truth: SeatTruth) -> Check {
        var ends: [String: Int] = [:]
        for hold in told.holds { ends[hold.end ?? (hold.isKept ? "kept" : "open"), default: 0] += 1 }
        let open = ends["open"] ?? 0
        return Check(
            words: "the end of every hold was told", holds: open == 0 || truth.wasCut,
            detail: ends.sorted { $0.key < $1.key }.map { "\(grouped($0.value)) \($0.key)" }.joined(separator: ", "))
    }

    /// The seats themselves, as the server lists them.
    private static func seatsAsTold(_ told: SeatsTold, _ truth: SeatTruth) -> Check {
        let words = "every seat is what its buyer was told"
        guard let letters = truth.letters else { return Check(words: words, holds: false, detail: "not to be asked") }
        var expected = Array(repeating: "free", count: truth.seats)
        // Of holds whose end was never told it is not known.
        var unknown: Set<Int64> = []
        for hold in told.holds {
            for seat in hold.seats where (1...Int64(truth.seats)).contains(seat) {
                switch hold.end {
                case "paid": expected[Int(seat) - 1] = "sold"
                case nil where hold.isKept: expected[Int(seat) - 1] = "held"
                case nil: unknown.insert(seat)
                default: break
                }
            }
        }
        let wrong = (1...Int64(truth.seats)).filter { seat in
            !unknown.contains(seat) && (letters.count < seat || letters[Int(seat) - 1] != expected[Int(seat) - 1])
        }
        let examples = wrong.prefix(5).map { seat in
            let status = letters.count < seat ? "missing" : letters[Int(seat) - 1]
            return "\(seat) is \(status), told \(expected[Int(seat) - 1])"
        }
        return Check(
            words: words, holds: wrong.isEmpty && letters.count == truth.seats,
            detail: wrong.isEmpty
                ? "\(grouped(letters.count { $0 == "sold" })) sold, \(grouped(letters.count { $0 == "held" })) held"
                : "\(grouped(wrong.count)) are not: " + examples.joined(separator: ", "))
    }

    private static func audited(_ told: SeatsTold, _ truth: SeatTruth) -> Check {
        let words = "Redis and PostgreSQL agree"
        guard let audit = truth.audit else { return Check(words: words, holds: false, detail: "no audit") }
        let sold = Int64(told.holds.filter { $0.end == "paid" }.reduce(0) { $0 + $1.seats.count })
        let kept = Int64(told.holds.filter { $0.end == nil && $0.isKept }.reduce(0) { $0 + $1.seats.count })
        let isCounted =
            audit.sold == sold && audit.soldInDatabase == sold && audit.held == kept && audit.heldInDatabase == kept
            && audit.free == Int64(truth.seats) - sold - kept
        let agrees = audit.drift == 0 && audit.inFlight == 0 && audit.ledgerDrift == 0
        return Check(
            words: words, holds: agrees && (isCounted || truth.wasCut),
            detail: "drift \(audit.drift), in flight \(audit.inFlight), ledger \(audit.ledgerDrift); "
                + "sold \(audit.sold) and \(audit.soldInDatabase), told \(sold); "
                + "held \(audit.held) and \(audit.heldInDatabase), told \(kept)")
    }

    private static func balanced(_ told: SeatsTold, _ truth: SeatTruth) -> Check {
        var paid: [Int: Int64] = [:]
        for hold in told.holds where hold.end == "paid" { paid[hold.buyer, default: 0] += hold.price }
        let wrong = truth.balances.filter { $0.value != truth.points - (paid[$0.key] ?? 0) }.keys.sorted()
        let payers = paid.keys.filter { truth.balances[$0] == nil }
        let unknown = truth.points > 0 && !payers.isEmpty && !truth.wasCut
        let example = wrong.first.map { buyer in
            ": buyer \(buyer) has \(truth.balances[buyer]!) of \(truth.points), and paid \(paid[buyer] ?? 0)"
        }
        return Check(
            words: "every balance is what was charged less what was paid", holds: wrong.isEmpty && !unknown,
            detail: wrong.isEmpty
                ? "\(grouped(truth.balances.count)) asked" : "\(grouped(wrong.count)) are not" + (example ?? ""))
    }

    /// Holds where everything that was held is paid: then nobody may have gone empty-handed while something was left. Nil
    /// where seats came back after somebody had given up.
    private static func nothingLeft(_ told: SeatsTold, _ truth: SeatTruth) -> Check? {
        guard told.gaveUp > 0, told.holds.allSatisfy({ $0.end == "paid" }), let letters = truth.letters else {
            return nil
        }
        let size = truth.options.seatsPerHold
        let isLeft = (0..<max(0, letters.count - size + 1)).contains { first in
            letters[first..<first + size].allSatisfy { $0 == "free" }
        }
        return Check(
            words: "who went empty-handed left nothing behind", holds: !isLeft,
            detail: "\(grouped(told.gaveUp)) went, \(grouped(letters.count { $0 == "free" })) seats are left")
    }

    private static func everyChangeHeard(_ tally: Tally, _ truth: SeatTruth) -> Check {
        let made = tally.followed.changes.values.filter { $0.answeredAt != nil }
        let heard = made.count { $0.heard >= truth.watchers }
        return Check(
            words: "every hold was heard of by every watcher", holds: heard == made.count,
            detail: "\(grouped(heard)) of \(grouped(made.count))")
    }
}

extension HoldTold {
    /// When its seats may have fallen free at the earliest, in milliseconds since 1970.
    func freeAt(_ truth: SeatTruth) -> Int64 {
        switch end {
        case "paid": .max
        case "released": min(expiresAt, releaseAskedAt.map { $0 - truth.clockTolerance } ?? expiresAt)
        default: expiresAt
        }
    }
}
