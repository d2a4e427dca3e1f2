import Model

/// All that Redis knows of a sale, at one instant.
public struct SaleInspection: Hashable, Sendable {
    /// Definition, window and what is left.
    public let state: SaleState
    /// How often the sale was rebuilt.
    public let epoch: Int64
    /// The last sequence that was given.
    public let lastSequence: Int64
    /// The number of the last message on the sale's channel.
    public let event: Int64
    /// Totals since the sale was registered.
    public let counts: Counts
    /// When the first claim came that the window let in.
    public let firstClaimAt: Timestamp?
    /// When it sold out last.
    public let soldOutAt: Timestamp?
    /// Tickets that clients own, counted one by one.
    public let ownedTickets: Int64
    /// The highest ticket that was ever given out.
    public let highestTicket: Int64
    /// Tickets that came back and wait to be sold again.
    public let returnedTickets: Int64
    /// Orders in the stream: accepted, and not settled yet.
    public let unsettled: Int64
}

/// How far Redis is with a sale: to be compared with how far PostgreSQL is.
public struct SalePosition: Hashable, Sendable {
    /// The epoch in which Redis knows the sale; -1 when it doesn't know it, and only has entries left in its stream.
    public let epoch: Int64
    /// The last sequence that was given; 0 when Redis doesn't know the sale.
    public let lastSequence: Int64
    /// Orders in the stream: accepted, and not settled yet.
    public let unsettled: Int64

    /// A position from its parts.
    public init(epoch: Int64, lastSequence: Int64, unsettled: Int64) {
        self.epoch = epoch
        self.lastSequence = lastSequence
        self.unsettled = unsettled
    }
}

/// What is counted of a sale.
public struct SaleTallies: Hashable, Sendable {
    /// Totals since the sale was registered.
    public let counts: Counts
    /// When the first claim came that the window let in.
    public let firstClaimAt: Timestamp?
    /// When it sold out last.
    public let soldOutAt: Timestamp?
    /// What is left.
    public let remaining: Int64

    /// Tallies from their parts.
    public init(counts: Counts, firstClaimAt: Timestamp?, soldOutAt: Timestamp?, remaining: Int64) {
        self.counts = counts
        self.firstClaimAt = firstClaimAt
        self.soldOutAt = soldOutAt
        self.remaining = remaining
    }
}

/// An order whose ticket goes back.
public struct ReleasedOrder: Hashable, Sendable {
    /// The order.
    public let order: OrderID
    /// Whose it was.
    public let client: ClientID

    /// An order to be released.
    public init(order: OrderID, client: ClientID) {
        self.order = order
        self.client = client
    }
}

/// What became of the wish to replay a failed order.
public enum RetryDecision: Hashable, Sendable {
    /// It has a ticket again, maybe another one, and is in the stream. `remaining` is what is left after it.
    case accepted(AcceptedOrder, remaining: Int64)
    /// No: sold out, cancelled, or the client is at its limit (`duplicate`).
    case refused(Refusal)
    /// It is in flight or confirmed already.
    case alreadyLive
    /// Redis doesn't know the sale: it has to be rebuilt from PostgreSQL first.
    case unknownSale
}

/// What a client's channel says.
public enum ClientEvent: Hashable, Sendable {
    /// An outcome was told.
    case outcome(LoggedOutcome)
    /// Another gateway held the client's place in a room, and has lost it: whoever has a connection of it takes over.
    case away(RoomID)
    /// The client gave its pass of a room back, as of a change of the line; `by` is the connection by which it did, 0 for
    /// REST.
    case left(RoomID, by: UInt64, asOf: Int64)
    /// The connection was lost and stands again: read the log, something may have been missed.
    case renewed
}

/// What a sale's channel says.
public enum SaleEvent: Hashable, Sendable {
    /// It changed: what is left, the version of its window, and the number of this change, which only grows.
    case changed(left: Int64, version: Int64, event: Int64)
    /// The connection was lost and stands again: read the state, something may have been missed.
    case renewed
}

/// What the channel of all sales says.
public enum SalesEvent: Hashable, Sendable {
    /// A sale was registered or rebuilt, or its window changed.
    case changed(SaleID)
    /// The connection was lost and stands again: something may have been missed.
    case renewed
}

/// What the channel of revoked tokens says.
public enum RevocationEvent: Hashable, Sendable {
    /// A token was revoked; `until` is when it would have expired.
    case revoked(tokenID: String, until: Timestamp)
    /// The connection was lost and stands again: read the list, something may have been missed.
    case renewed
}
