/// Something that a client was told and that is true for ever. Each carries an offset in the client's log, and none is
/// ever dropped.
public enum Outcome: Hashable, Sendable {
    /// A claim was accepted.
    case accepted(order: OrderID, ticket: Int64, remaining: Int64?)
    /// An order went on: `confirmed`, `failed` (with a reason) or `cancelled`.
    case order(OrderID, OrderStatus, reason: String?)

    /// Names the outcome within its client's log, so that telling it twice adds nothing.
    public var identity: String {
        switch self {
        case .accepted(let order, _, _): "a\(order)"
        case .order(let order, let status, _): "\(Outcome.letter(status))\(order)"
        }
    }

    /// The compact form that the log keeps: fields separated by spaces, the first names the kind.
    public var encoded: String {
        switch self {
        case .accepted(let order, let ticket, let remaining):
            remaining.map { "a \(order) \(ticket) \($0)" } ?? "a \(order) \(ticket)"
        case .order(let order, let status, let reason):
            reason.map { "\(Outcome.letter(status)) \(order) \($0)" } ?? "\(Outcome.letter(status)) \(order)"
        }
    }

    /// An outcome from its compact form; nil when it isn't one, as a newer version's may be.
    public init?(encoded: some StringProtocol) {
        let parts = encoded.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count >= 2, let order = OrderID(parsing: parts[1]) else { return nil }
        let rest = parts.dropFirst(2).joined(separator: " ")
        switch parts[0] {
        case "a":
            guard parts.count >= 3, let ticket = Int64(parts[2]) else { return nil }
            self = .accepted(order: order, ticket: ticket, remaining: parts.count > 3 ? Int64(parts[3]) : nil)
        case "c": self = .order(order, .confirmed, reason: nil)
        case "f": self = .order(order, .failed, reason: rest.isEmpty ? nil : rest)
        case "x": self = .order(order, .cancelled, reason: rest.isEmpty ? nil : rest)
        default: return nil
        }
    }

    private static func letter(_ status: OrderStatus) -> String {
        switch status {
        case .accepted: "a"
        case .confirmed: "c"
        case .failed: "f"
        case .cancelled: "x"
        }
    }
}

/// An outcome at its place in its client's log.
public struct LoggedOutcome: Hashable, Sendable {
    /// 1 for the client's first.
    public let offset: Int64
    /// What it says.
    public let outcome: Outcome

    /// An outcome at its offset.
    public init(offset: Int64, outcome: Outcome) {
        self.offset = offset
        self.outcome = outcome
    }
}
