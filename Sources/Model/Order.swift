/// The life of an order. `docs/state-machines.md` has the diagram.
public enum OrderStatus: String, Sendable, CaseIterable {
    /// Redis decided; PostgreSQL doesn't have it yet.
    case accepted
    /// PostgreSQL has it.
    case confirmed
    /// It could not be committed, or not be paid: the stock was returned.
    case failed
    /// It was given back.
    case cancelled

    /// Whether an order may go from this status to another.
    public func canBecome(_ next: OrderStatus) -> Bool {
        switch (self, next) {
        case (.accepted, .confirmed), (.accepted, .failed), (.accepted, .cancelled), (.confirmed, .cancelled),
            // An admin replays it once the cause is gone; it takes a ticket anew.
            (.failed, .accepted):
            true
        default: false
        }
    }

    /// Whether an order in this status has a ticket.
    public var ownsTicket: Bool { self == .accepted || self == .confirmed }
}

/// An accepted claim, as the sale's stream carries it to the committer.
public struct AcceptedOrder: Hashable, Sendable {
    /// The entry's id in the stream.
    public let entry: String
    /// The order.
    public let order: OrderID
    /// Whose it is.
    public let client: ClientID
    /// The ticket's number.
    public let ticket: Int64
    /// Which of the client's places in this sale it takes: 1…``Sale/perClientLimit``.
    public let slot: Int64
    /// When Redis decided.
    public let acceptedAt: Timestamp
    /// The epoch of the sale in which it was accepted.
    public let epoch: Int64
    /// The key that the client gave.
    public let key: IdempotencyKey?

    /// An order from its parts.
    public init(
        entry: String, order: OrderID, client: ClientID, ticket: Int64, slot: Int64 = 1, acceptedAt: Timestamp,
        epoch: Int64, key: IdempotencyKey? = nil
    ) {
        self.entry = entry
        self.order = order
        self.client = client
        self.ticket = ticket
        self.slot = slot
        self.acceptedAt = acceptedAt
        self.epoch = epoch
        self.key = key
    }
}

/// An order as PostgreSQL keeps it.
public struct Order: Hashable, Sendable {
    /// Its id.
    public let id: OrderID
    /// Whose it is.
    public let client: ClientID
    /// The ticket's number.
    public let ticket: Int64
    /// Where it is in its life.
    public let status: OrderStatus
    /// Points charged for it.
    public let price: Int64
    /// Why it failed.
    public let reason: String?
    /// When Redis decided.
    public let acceptedAt: Timestamp
    /// When PostgreSQL had it.
    public let confirmedAt: Timestamp?
    /// When it was given back.
    public let cancelledAt: Timestamp?

    /// An order from its parts.
    public init(
        id: OrderID, client: ClientID, ticket: Int64, status: OrderStatus, price: Int64, reason: String?,
        acceptedAt: Timestamp, confirmedAt: Timestamp?, cancelledAt: Timestamp?
    ) {
        self.id = id
        self.client = client
        self.ticket = ticket
        self.status = status
        self.price = price
        self.reason = reason
        self.acceptedAt = acceptedAt
        self.confirmedAt = confirmedAt
        self.cancelledAt = cancelledAt
    }
}

/// What became of an order in the committer's hands.
public struct Settlement: Hashable, Sendable {
    /// The order as it came from the stream.
    public let order: AcceptedOrder
    /// `confirmed`, `failed` or `cancelled`.
    public let status: OrderStatus
    /// Why it failed: `insufficient_points`, or the SQLSTATE or constraint that refused it.
    public let reason: String?

    /// A settlement from its parts.
    public init(order: AcceptedOrder, status: OrderStatus, reason: String? = nil) {
        self.order = order
        self.status = status
        self.reason = reason
    }
}
