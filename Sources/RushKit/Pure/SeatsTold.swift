/// A hold as its buyer was told of it.
struct HoldTold: Equatable, Sendable, Codable {
    /// Which of the buyers.
    let buyer: Int
    let reservation: String
    let seats: [Int64]
    let price: Int64
    /// When it was taken, and when it runs out, by the server's clock, in milliseconds since 1970.
    let heldAt: Int64
    let expiresAt: Int64
    /// When its buyer first asked to give it back, by the buyer's clock: the seats were not free before.
    var releaseAskedAt: Int64?
    /// `paid`, `expired` or `released`; nil while nothing more was told.
    var end: String?
    /// Whether it is meant to be held when the run ends.
    var isKept = false
}

/// What the buyers of seats, and those who watch them, were told.
struct SeatsTold: Equatable, Sendable, Codable {
    /// All holds, in no order.
    var holds: [HoldTold] = []
    /// Payments that were answered, by outcome: `paid`, `hold_expired`, …
    var payments: [String: Int] = [:]
    /// Buyers that knew of nothing free any more.
    var gaveUp = 0
    /// From asking for a payment to its answer.
    var toPaid = Histogram()
    /// From a hold's deadline to hearing that it is over, by the clocks of both sides.
    var toExpired = Histogram()
    /// From asking to watch to the whole first answer.
    var toFirstAnswer = Histogram()
    /// Bytes of the first answers.
    var firstAnswerBytes = 0

    mutating func add(_ other: SeatsTold) {
        holds += other.holds
        payments.merge(other.payments, uniquingKeysWith: +)
        gaveUp += other.gaveUp
        toPaid.add(other.toPaid)
        toExpired.add(other.toExpired)
        toFirstAnswer.add(other.toFirstAnswer)
        firstAnswerBytes += other.firstAnswerBytes
    }
}

/// How long changes take until the last watcher has heard of them. Moments are nanoseconds of the machine's monotonic
/// clock, which all processes of a run share.
struct ChangeLog: Equatable, Sendable, Codable {
    /// A change by what names it: the seat that was held, or what a sale had left afterwards.
    struct Change: Equatable, Sendable, Codable {
        /// When whoever made it asked for it.
        var askedAt: UInt64 = 0
        /// When it had its answer.
        var answeredAt: UInt64?
        /// When it was last heard of.
        var heardAt: UInt64 = 0
        /// How many heard of it.
        var heard = 0
    }

    private(set) var changes: [Int64: Change] = [:]

    mutating func answered(_ change: Int64, askedAt: UInt64, at now: UInt64) {
        guard changes[change]?.answeredAt == nil else { return }
        changes[change, default: Change()].answeredAt = now
        changes[change]?.askedAt = askedAt
    }

    mutating func heard(_ change: Int64, at now: UInt64) {
        changes[change, default: Change()].heardAt = now
        changes[change]?.heard += 1
    }

    mutating func add(_ other: ChangeLog) {
        for (name, theirs) in other.changes {
            var change = changes[name] ?? Change()
            change.heard += theirs.heard
            change.heardAt = max(change.heardAt, theirs.heardAt)
            change.answeredAt = change.answeredAt ?? theirs.answeredAt
            change.askedAt = max(change.askedAt, theirs.askedAt)
            changes[name] = change
        }
    }

    /// From the answer, or from asking, to the last of so many watchers; changes that not all of them heard of are left
    /// out.
    func toLast(of watchers: Int, fromAsking: Bool = false) -> Histogram {
        var histogram = Histogram()
        for change in changes.values where change.heard >= watchers {
            guard let answeredAt = change.answeredAt else { continue }
            // The last may hear of it before whoever made it.
            let from = fromAsking ? change.askedAt : answeredAt
            histogram.record(max(change.heardAt, from) - from)
        }
        return histogram
    }
}
