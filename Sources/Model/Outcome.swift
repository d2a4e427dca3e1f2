/// Something that a client was told and that is true for ever. Each carries an offset in the client's log, and none is
/// ever dropped.
public enum Outcome: Hashable, Sendable {
    /// A claim was accepted.
    case accepted(order: OrderID, ticket: Int64, remaining: Int64?)
    /// An order went on: `confirmed`, `failed` (with a reason) or `cancelled`.
    case order(OrderID, OrderStatus, ticket: Int64, reason: String?)
    /// A waiting room let the client in, with this pass.
    case admitted(RoomID, token: String, expiresAt: Timestamp)
    /// A pass ran out.
    case expired(RoomID, token: String)
    /// A reservation went on: `paid`, `expired` or `released`.
    case reservation(ReservationID, ReservationStatus)

    /// Names the outcome within its client's log, so that telling it twice adds nothing.
    ///
    /// The ticket is part of it: an order that failed and was replayed may have another, and that is told anew.
    public var identity: String {
        switch self {
        case .accepted(let order, let ticket, _): "a\(order):\(ticket)"
        case .order(let order, let status, let ticket, _): "\(Outcome.letter(status))\(order):\(ticket)"
        case .admitted(_, let token, _): "g\(token)"
        case .expired(_, let token): "t\(token)"
        case .reservation(let reservation, let status): "v\(status.letter)\(reservation)"
        }
    }

    /// The compact form that the log keeps: fields separated by spaces, the first names the kind.
    public var encoded: String {
        switch self {
        case .accepted(let order, let ticket, let remaining):
            remaining.map { "a \(order) \(ticket) \($0)" } ?? "a \(order) \(ticket)"
        case .order(let order, let status, let ticket, let reason):
            reason.map { "\(Outcome.letter(status)) \(order) \(ticket) \($0)" }
                ?? "\(Outcome.letter(status)) \(order) \(ticket)"
        case .admitted(let room, let token, let expiresAt): "g \(room) \(token) \(expiresAt.milliseconds)"
        case .expired(let room, let token): "t \(room) \(token)"
        case .reservation(let reservation, let status): "v \(reservation) \(status.letter)"
        }
    }

    /// An outcome from its compact form; nil when it isn't one, as a newer version's may be.
    public init?(encoded: String) { self.init(encoded: encoded[...]) }

    /// An outcome from its compact form; nil when it isn't one.
    public init?(encoded: Substring) {
        if let frequent = withBytes(of: encoded, Outcome.frequent) {
            self = frequent
            return
        }
        let parts = encoded.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count >= 3 else { return nil }
        let rest = parts.count > 3 ? String(parts[3]) : nil
        switch parts[0] {
        case "g":
            guard let room = RoomID(String(parts[1])), let expires = rest.flatMap({ Int64($0) }) else { return nil }
            self = .admitted(room, token: String(parts[2]), expiresAt: Timestamp(milliseconds: expires))
            return
        case "t":
            guard let room = RoomID(String(parts[1])) else { return nil }
            self = .expired(room, token: String(parts[2]))
            return
        case "v":
            guard rest == nil, let reservation = ReservationID(parsing: parts[1]),
                let status = ReservationStatus(letter: parts[2])
            else { return nil }
            self = .reservation(reservation, status)
            return
        default: break
        }
        guard let order = OrderID(parsing: parts[1]), let ticket = Int64(parts[2]) else { return nil }
        switch parts[0] {
        case "a": self = .accepted(order: order, ticket: ticket, remaining: rest.flatMap { Int64($0) })
        case "c": self = .order(order, .confirmed, ticket: ticket, reason: nil)
        case "f": self = .order(order, .failed, ticket: ticket, reason: rest)
        case "x": self = .order(order, .cancelled, ticket: ticket, reason: rest)
        default: return nil
        }
    }

    /// An acceptance or a confirmation, which every order has, from its compact form; nil for anything else.
    private static func frequent(_ encoded: UnsafeBufferPointer<UInt8>) -> Outcome? {
        let space = UInt8(ascii: " ")
        var scanner = DecimalScanner(encoded)
        let isAccepted = scanner.skip(UInt8(ascii: "a"))
        guard isAccepted || scanner.skip(UInt8(ascii: "c")), scanner.skip(space), let pair = scanner.pair(),
            scanner.skip(space), let ticket = scanner.number()
        else { return nil }
        let order = OrderID(sale: SaleID(pair.0), sequence: pair.1)
        if scanner.isAtEnd {
            return isAccepted
                ? .accepted(order: order, ticket: ticket, remaining: nil)
                : .order(order, .confirmed, ticket: ticket, reason: nil)
        }
        guard isAccepted, scanner.skip(space), let remaining = scanner.number(), scanner.isAtEnd else { return nil }
        return .accepted(order: order, ticket: ticket, remaining: remaining)
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
