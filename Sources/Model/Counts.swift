/// What is counted about a sale. The raw values are the names in Redis and PostgreSQL.
public enum Counter: Hashable, Sendable {
    /// Every claim that was decided.
    case requests
    /// Claims that got a ticket.
    case accepted
    /// Orders that PostgreSQL has.
    case confirmed
    /// Orders that failed.
    case failed
    /// Orders that were given back.
    case cancelled
    /// Claims that were turned down.
    case refused(Refusal)

    /// `requests`, …, `refused:sold_out`.
    public var name: String {
        switch self {
        case .requests: "requests"
        case .accepted: "accepted"
        case .confirmed: "confirmed"
        case .failed: "failed"
        case .cancelled: "cancelled"
        case .refused(let refusal): "refused:\(refusal.rawValue)"
        }
    }

    /// A counter by its name; nil when there is none.
    public init?(name: some StringProtocol) {
        switch name {
        case "requests": self = .requests
        case "accepted": self = .accepted
        case "confirmed": self = .confirmed
        case "failed": self = .failed
        case "cancelled": self = .cancelled
        default:
            guard name.hasPrefix("refused:"), let refusal = Refusal(rawValue: String(name.dropFirst(8))) else {
                return nil
            }
            self = .refused(refusal)
        }
    }
}

/// Counts of one sale, of all, or of one interval.
public struct Counts: Hashable, Sendable {
    /// The value of each counter; what is missing is 0.
    public var values: [Counter: Int64] = [:]

    /// All zero.
    public init() {}

    /// One counter.
    public subscript(counter: Counter) -> Int64 {
        get { values[counter] ?? 0 }
        set { values[counter] = newValue }
    }

    /// Adds another's counts to these.
    public mutating func add(_ other: Counts) {
        values.merge(other.values, uniquingKeysWith: +)
    }

    /// Everything turned down, by reason.
    public var refused: [Refusal: Int64] {
        var refused: [Refusal: Int64] = [:]
        for refusal in Refusal.allCases where self[.refused(refusal)] > 0 { refused[refusal] = self[.refused(refusal)] }
        return refused
    }
}

/// One counter of a sale in one second.
public struct SeriesCount: Hashable, Sendable {
    /// The second: seconds since 1970.
    public let second: Int64
    /// What was counted.
    public let counter: Counter
    /// How many.
    public let value: Int64

    /// A count from its parts.
    public init(second: Int64, counter: Counter, value: Int64) {
        self.second = second
        self.counter = counter
        self.value = value
    }
}
