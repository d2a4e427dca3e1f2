/// Where a client is in its log of outcomes.
struct Position: Equatable, Sendable {
    let epoch: String
    /// Everything up to here was told.
    let offset: Int64
}

/// Holds the server to its promise: every outcome once, in order, over all connections of the client.
struct OffsetLog: Sendable {
    /// What is wrong with an offset.
    enum Fault: String, Sendable {
        case skipped = "an offset was skipped"
        case repeated = "an offset was repeated"
    }

    private var epoch: String?
    private var last: Int64 = 0
    /// Whether the server told the present truth instead of a replay: it does that without offsets, and may tell what
    /// was told before.
    private(set) var wasReset = false

    /// What to resume from; nil before the first connection.
    var position: Position? { epoch.map { Position(epoch: $0, offset: last) } }

    /// The server's first frame on a connection. An epoch is a new one each time, also where the log goes on.
    /// - Returns: A fault when it says that it goes on, but not where we are.
    mutating func connected(epoch: String, offset: Int64, recovered: Bool) -> Fault? {
        defer {
            self.epoch = epoch
            last = offset
        }
        guard self.epoch != nil else { return nil }
        guard recovered else {
            wasReset = true
            return nil
        }
        return offset == last ? nil : offset > last ? .skipped : .repeated
    }

    /// An outcome came.
    mutating func told(_ offset: Int64) -> Fault? {
        guard offset > last else { return .repeated }
        defer { last = offset }
        return offset == last + 1 ? nil : .skipped
    }

    /// Whether this offset was told before.
    func knows(_ offset: Int64) -> Bool { offset <= last }
}
