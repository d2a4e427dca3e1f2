/// What the server says of a sale by itself, asked over REST.
struct SaleTruth: Equatable, Sendable, Codable {
    let sale: String
    let quantity: Int64
    let limit: Int64
    /// Before the first claim.
    let leftBefore: Int64
    let confirmedBefore: Int64
    /// When all was over; nil when it could not be asked.
    var confirmedAfter: Int64?
    var audit: Audit?

    /// The part of `GET /api/audit` that is about this sale.
    struct Audit: Equatable, Sendable, Codable {
        let sold: Int64
        let inFlight: Int64
        let drift: Int64
    }
}

/// Something that has to be true after a run.
struct Check: Equatable, Sendable, Codable {
    let words: String
    let holds: Bool
    /// The numbers behind it.
    let detail: String
}

/// What buyers were told, held against itself and against what the server says.
struct Verdict: Equatable, Sendable, Codable {
    let checks: [Check]
    var holds: Bool { checks.allSatisfy(\.holds) }
}

extension Verdict {
    /// Judges a run through a waiting room, in which whoever was admitted made `claims` claims; 0: held the pass.
    /// - Parameter cutAt: when time was up before all was over.
    init(_ tally: Tally, claims: Int, truths: [SaleTruth], line: LineTruth, cutAt: UInt64?) {
        let ofLine = Verdict.line(tally, line, claims: claims > 0, cutAt: cutAt)
        guard claims > 0 else {
            checks = [Verdict.faultless(tally)] + ofLine
            return
        }
        // Each claims all of its claims, unless time was up.
        let claimants = tally.claims / claims
        checks = ofLine + Verdict(tally, buyers: claimants, claims: claims, expected: tally.claims, truths).checks
    }

    /// Judges a run of `buyers` buyers with `claims` claims each.
    init(_ tally: Tally, buyers: Int, claims: Int, truths: [SaleTruth]) {
        self.init(tally, buyers: buyers, claims: claims, expected: buyers * claims, truths)
    }

    private init(_ tally: Tally, buyers: Int, claims: Int, expected: Int, _ truths: [SaleTruth]) {
        let orders = Dictionary(grouping: tally.orders, by: \.sale)
        var checks = [
            Verdict.answered(tally, expected), Verdict.settled(tally), Verdict.faultless(tally),
            Verdict.distinctOrders(tally.orders),
            Verdict.distinctTickets(orders, truths),
            Verdict.withinLimit(orders, truths),
            Verdict.grown(orders, truths),
            Verdict.withinQuantity(orders, truths),
        ]
        if let check = Verdict.soldOut(tally, orders, buyers, claims, truths) { checks.append(check) }
        checks.append(Verdict.withoutDrift(truths))
        self.checks = checks
    }

    private static func answered(_ tally: Tally, _ expected: Int) -> Check {
        let who = tally.waiting.isEmpty ? "" : "; waiting: " + tally.waiting.prefix(5).joined(separator: ", ")
        return Check(
            words: "every claim was answered", holds: tally.decided == expected && tally.claims == expected,
            detail: "\(grouped(tally.decided)) of \(grouped(expected))" + who)
    }

    private static func settled(_ tally: Tally) -> Check {
        var ends: [String: Int] = [:]
        for order in tally.orders { ends[order.end ?? "open", default: 0] += 1 }
        let accepted = tally.outcomes["accepted"] ?? 0
        let confirmed = ends.removeValue(forKey: "confirmed") ?? 0
        let others = ends.sorted { $0.key < $1.key }.map { "; \(grouped($0.value)) \($0.key)" }.joined()
        return Check(
            words: "every accepted claim was confirmed", holds: accepted == confirmed && others.isEmpty,
            detail: "\(grouped(confirmed)) of \(grouped(accepted))" + others)
    }

    private static func faultless(_ tally: Tally) -> Check {
        let faults = tally.faults.sorted { $0.key < $1.key }.map { "\($0.key) (\(grouped($0.value)))" }
        return Check(
            words: "outcomes came in order, once, and never changed", holds: faults.isEmpty,
            detail: faults.prefix(5).joined(separator: "; "))
    }

    private static func distinctOrders(_ orders: [OrderTold]) -> Check {
        let twice = orders.count - Set(orders.map(\.order)).count
        return Check(
            words: "no order was told to two buyers", holds: twice == 0, detail: twice == 0 ? "" : "\(twice) times")
    }

    /// A ticket of an order that did not stay confirmed may be sold again.
    private static func distinctTickets(_ orders: [String: [OrderTold]], _ truths: [SaleTruth]) -> Check {
        var twice: [String] = []
        var outside: [String] = []
        for truth in truths {
            var seen: Set<Int64> = []
            for order in orders[truth.sale] ?? [] {
                if !(1...truth.quantity).contains(order.ticket) { outside.append("\(order.ticket)") }
                let isKept = order.end == nil || order.end == "confirmed"
                if isKept && !seen.insert(order.ticket).inserted { twice.append("\(order.ticket)") }
            }
        }
        return Check(
            words: "no ticket was told to two buyers, and each exists", holds: twice.isEmpty && outside.isEmpty,
            detail: (twice.isEmpty ? "" : "twice: " + twice.prefix(5).joined(separator: ", ") + " ")
                + (outside.isEmpty ? "" : "none such: " + outside.prefix(5).joined(separator: ", ")))
    }

    private static func withinLimit(_ orders: [String: [OrderTold]], _ truths: [SaleTruth]) -> Check {
        var above = 0
        for truth in truths {
            var owned: [Int: Int64] = [:]
            for order in orders[truth.sale] ?? [] where order.end == nil || order.end == "confirmed" {
                owned[order.buyer, default: 0] += 1
            }
            above += owned.values.count { $0 > truth.limit }
        }
        return Check(
            words: "nobody has more than the limit", holds: above == 0, detail: above == 0 ? "" : "\(above) buyers have"
        )
    }

    private static func grown(_ orders: [String: [OrderTold]], _ truths: [SaleTruth]) -> Check {
        check("the server counts as many confirmed as were told", truths) { truth in
            let told = (orders[truth.sale] ?? []).count { $0.end == "confirmed" }
            guard let after = truth.confirmedAfter else { return (false, "the statistics could not be read") }
            let counted = after - truth.confirmedBefore
            return (counted == told, "\(grouped(Int(counted))) and \(grouped(told))")
        }
    }

    private static func withinQuantity(_ orders: [String: [OrderTold]], _ truths: [SaleTruth]) -> Check {
        check("no more was sold than there is", truths) { truth in
            guard let sold = truth.audit?.sold ?? truth.confirmedAfter else { return (false, "it could not be asked") }
            return (sold <= truth.quantity, "\(grouped(Int(sold))) of \(grouped(Int(truth.quantity)))")
        }
    }

    /// Holds where the buyers wanted at least what was left; nil where they wanted less in every sale.
    private static func soldOut(
        _ tally: Tally, _ orders: [String: [OrderTold]], _ buyers: Int, _ claims: Int, _ truths: [SaleTruth]
    ) -> Check? {
        // Claims that were turned down for another reason than the stock; in which sale isn't kept.
        let others = tally.outcomes.filter { !["accepted", "sold_out", "duplicate"].contains($0.key) }.values
        let wanted = truths.enumerated().compactMap { place, truth -> (SaleTruth, Int64)? in
            // The sales take turns: this is how often a buyer comes to this one.
            let turns = Int64((claims - place + truths.count - 1) / truths.count)
            let demand = Int64(buyers) * min(turns, truth.limit) - Int64(others.reduce(0, +))
            return demand >= truth.leftBefore ? (truth, truth.leftBefore) : nil
        }
        guard !wanted.isEmpty else { return nil }
        let left = Dictionary(uniqueKeysWithValues: wanted.map { ($0.0.sale, $0.1) })
        return check("exactly what was left was sold", wanted.map(\.0)) { truth in
            let sold = (orders[truth.sale] ?? []).count { $0.end == "confirmed" }
            return (sold == left[truth.sale]!, "\(grouped(sold)) of \(grouped(Int(left[truth.sale]!)))")
        }
    }

    private static func withoutDrift(_ truths: [SaleTruth]) -> Check {
        check("Redis and PostgreSQL agree", truths) { truth in
            guard let audit = truth.audit else { return (false, "the audit could not be read") }
            let flying = audit.inFlight == 0 ? "" : ", \(grouped(Int(audit.inFlight))) still in flight"
            return (audit.drift == 0 && audit.inFlight == 0, "drift \(audit.drift)\(flying)")
        }
    }

    /// One check over all sales; its detail is about the first that fails, else about the first.
    private static func check(
        _ words: String, _ truths: [SaleTruth], _ look: (SaleTruth) -> (holds: Bool, detail: String)
    ) -> Check {
        let looks = truths.map { (truth: $0, look: look($0)) }
        guard let shown = looks.first(where: { !$0.look.holds }) ?? looks.first else {
            return Check(words: words, holds: true, detail: "")
        }
        let sale = truths.count > 1 ? "sale \(shown.truth.sale): " : ""
        return Check(words: words, holds: shown.look.holds, detail: sale + shown.look.detail)
    }
}

/// A number with a comma between thousands.
func grouped(_ number: Int) -> String {
    let digits = String(number.magnitude)
    var text = ""
    for (place, digit) in digits.enumerated() {
        if place > 0 && (digits.count - place) % 3 == 0 { text.append(",") }
        text.append(digit)
    }
    return number < 0 ? "-" + text : text
}
