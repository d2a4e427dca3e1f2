/// How long a round took to be over a fault.
public struct Recovery: Sendable {
    /// From the fault's end to the first claim that every instance decided again, in milliseconds.
    public let decided: Int64
    /// From the fault's end to the last end that was told of the orders accepted before; nil where none was open.
    public let told: Int64?

    /// Such a recovery.
    public init(decided: Int64, told: Int64?) {
        self.decided = decided
        self.told = told
    }

    /// How long after the fault's end the last of those orders was told an end that were accepted before; nil where all
    /// were told before. Only of clients with a connection: the others hear of it when they ask.
    public static func lastTold(_ journals: [ClientJournal], faultEnd: Int64) -> Int64? {
        var latest: Int64?
        for journal in journals where journal.isConnected {
            var open: Set<String> = []
            for note in journal.notes {
                switch note.event {
                case .accepted(let order, _) where note.at <= faultEnd: open.insert(order)
                case .order(let order, let status, _) where status != "accepted" && status != "cancelled":
                    guard open.remove(order) != nil, note.at > faultEnd else { continue }
                    latest = max(latest ?? 0, note.at - faultEnd)
                default: break
                }
            }
        }
        return latest
    }
}

/// Times, for a table.
public struct Times: Sendable {
    private var values: [Int64] = []

    /// None.
    public init() {}

    /// One more.
    public mutating func add(_ value: Int64) { values.append(value) }

    /// How many.
    public var count: Int { values.count }

    /// `p50 / max`, in milliseconds.
    public var words: String {
        guard !values.isEmpty else { return "–" }
        let sorted = values.sorted()
        return "\(sorted[(sorted.count - 1) / 2]) / \(sorted[sorted.count - 1])"
    }
}
