/// An order that owns its ticket: what Redis keeps of it, and what a rebuilt sale needs of it.
public struct LiveOrder: Hashable, Sendable {
    /// The order.
    public let order: OrderID
    /// Whose it is.
    public let client: ClientID
    /// The ticket's number.
    public let ticket: Int64
    /// Which of the client's places in this sale it takes.
    public let slot: Int64
    /// The key that the client gave, where it is known.
    public let key: IdempotencyKey?
    /// Whether PostgreSQL has it.
    public let isConfirmed: Bool

    /// A live order from its parts.
    public init(
        order: OrderID, client: ClientID, ticket: Int64, slot: Int64, key: IdempotencyKey? = nil, isConfirmed: Bool
    ) {
        self.order = order
        self.client = client
        self.ticket = ticket
        self.slot = slot
        self.key = key
        self.isConfirmed = isConfirmed
    }
}

/// Everything from which Redis' state of a sale is built anew, as PostgreSQL has it at one moment.
public struct SaleSnapshot: Hashable, Sendable {
    /// Definition and window; what is left follows from `orders`.
    public var state: SaleState
    /// The epoch that begins with this snapshot; ``SaleEpoch``.
    public var epoch: Int64
    /// The highest sequence of any of its orders, failed ones too; 0 when there is none.
    public var lastSequence: Int64
    /// The orders that own a ticket, by sequence.
    public var orders: [LiveOrder]
    /// Totals since the sale was registered.
    public var counts: Counts
    /// What was counted in the seconds just past: counting goes on from there, because a second's counts are written to
    /// PostgreSQL as a whole.
    public var series: [SeriesCount]
    /// When the first claim came that the window let in.
    public var firstClaimAt: Timestamp?
    /// When it sold out last.
    public var soldOutAt: Timestamp?

    /// A snapshot from its parts.
    public init(
        state: SaleState, epoch: Int64, lastSequence: Int64 = 0, orders: [LiveOrder] = [], counts: Counts = Counts(),
        series: [SeriesCount] = [], firstClaimAt: Timestamp? = nil, soldOutAt: Timestamp? = nil
    ) {
        self.state = state
        self.epoch = epoch
        self.lastSequence = lastSequence
        self.orders = orders
        self.counts = counts
        self.series = series
        self.firstClaimAt = firstClaimAt
        self.soldOutAt = soldOutAt
    }
}
