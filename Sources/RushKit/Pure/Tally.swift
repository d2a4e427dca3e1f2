/// An accepted claim as its buyer was told of it.
struct OrderTold: Equatable, Sendable, Codable {
    /// Which of the buyers.
    let buyer: Int
    let sale: String
    let order: String
    let ticket: Int64
    /// `confirmed`, `failed` or `cancelled`; nil while nothing more was told.
    var end: String?
}

/// Everything that a number of buyers did and were told; a part of a run hands it to the whole.
struct Tally: Equatable, Sendable, Codable {
    /// Clients that were connected at least once.
    var connected = 0
    /// Claims that were made; repeating one isn't another.
    var claims = 0
    /// Claims that were answered, by outcome: `accepted`, `sold_out`, …
    var outcomes: [String: Int] = [:]
    /// Claims that were repeated after an error, by its code.
    var retries: [String: Int] = [:]
    /// Connections that were lost and made anew.
    var reconnects = 0
    /// Attempts to connect that came to nothing.
    var failedConnects = 0
    /// Reconnects after which the server could not replay what was missed.
    var unrecovered = 0
    /// Accepted claims, in the order that they were told.
    var orders: [OrderTold] = []
    /// What must not be, in words, and how often it was.
    var faults: [String: Int] = [:]
    /// From the claim to its answer.
    var toResult = Histogram()
    /// From the claim to its order's confirmation.
    var toConfirmed = Histogram()
    /// Orders of which the end was told.
    var settled = 0
    /// Orders that were confirmed.
    var confirmed = 0
    /// Nanoseconds of the system's monotonic clock, the same in all processes of a machine.
    var firstClaimAt: UInt64?
    /// When the last answer came.
    var lastResultAt: UInt64?
    /// When the last order was settled.
    var lastSettledAt: UInt64?
    /// When the first attempt to connect began.
    var firstConnectAt: UInt64?
    /// When the last client was connected for the first time.
    var lastConnectedAt: UInt64?
    /// By how much the latest claim was made after it was due.
    var latestClaim: UInt64 = 0
    /// Frames that watchers got, from the moment of the first claim.
    var watched = 0
    /// When the first and the last of these came.
    var firstWatchedAt: UInt64?
    /// See ``firstWatchedAt``.
    var lastWatchedAt: UInt64?
    /// Processor time that the generator took from the first claim on, in nanoseconds.
    var processorTime: UInt64 = 0
    /// What was told of places in a line.
    var line = LineTally()
    /// What was told of seats.
    var seats = SeatsTold()
    /// How changes went to watchers, where they are followed.
    var followed = ChangeLog()
    /// Who has not been answered at the end; some of them.
    var waiting: [String] = []

    /// Claims that were answered.
    var decided: Int { outcomes.values.reduce(0, +) }

    mutating func fault(_ words: String) { faults[words, default: 0] += 1 }

    mutating func fault(_ fault: OffsetLog.Fault?) {
        if let fault { self.fault(fault.rawValue) }
    }

    /// Adds another part's.
    mutating func add(_ other: Tally) {
        connected += other.connected
        claims += other.claims
        outcomes.merge(other.outcomes, uniquingKeysWith: +)
        retries.merge(other.retries, uniquingKeysWith: +)
        reconnects += other.reconnects
        failedConnects += other.failedConnects
        unrecovered += other.unrecovered
        orders += other.orders
        faults.merge(other.faults, uniquingKeysWith: +)
        toResult.add(other.toResult)
        toConfirmed.add(other.toConfirmed)
        settled += other.settled
        confirmed += other.confirmed
        firstClaimAt = earlier(firstClaimAt, other.firstClaimAt)
        lastResultAt = later(lastResultAt, other.lastResultAt)
        lastSettledAt = later(lastSettledAt, other.lastSettledAt)
        firstConnectAt = earlier(firstConnectAt, other.firstConnectAt)
        lastConnectedAt = later(lastConnectedAt, other.lastConnectedAt)
        latestClaim = max(latestClaim, other.latestClaim)
        watched += other.watched
        firstWatchedAt = earlier(firstWatchedAt, other.firstWatchedAt)
        lastWatchedAt = later(lastWatchedAt, other.lastWatchedAt)
        processorTime += other.processorTime
        line.add(other.line)
        seats.add(other.seats)
        followed.add(other.followed)
        waiting += other.waiting
    }
}

func earlier(_ one: UInt64?, _ other: UInt64?) -> UInt64? {
    guard let one, let other else { return one ?? other }
    return min(one, other)
}

func later(_ one: UInt64?, _ other: UInt64?) -> UInt64? {
    guard let one, let other else { return one ?? other }
    return max(one, other)
}
