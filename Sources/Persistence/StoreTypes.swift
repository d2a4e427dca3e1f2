import Model

/// A sale as PostgreSQL keeps it.
public struct StoredSale: Hashable, Sendable {
    /// What was registered.
    public let sale: Sale
    /// When it takes claims.
    public let window: SaleWindow
    /// How often its state in Redis was rebuilt; ``SaleEpoch``.
    public let epoch: Int64

    /// A stored sale from its parts.
    public init(sale: Sale, window: SaleWindow, epoch: Int64) {
        self.sale = sale
        self.window = window
        self.epoch = epoch
    }
}

/// Counts, and when things happened.
public struct SaleStatistics: Hashable, Sendable {
    /// The counts.
    public var counts: Counts
    /// When the first claim came.
    public var firstClaimAt: Timestamp?
    /// When it sold out last.
    public var soldOutAt: Timestamp?

    /// Statistics from their parts.
    public init(counts: Counts = Counts(), firstClaimAt: Timestamp? = nil, soldOutAt: Timestamp? = nil) {
        self.counts = counts
        self.firstClaimAt = firstClaimAt
        self.soldOutAt = soldOutAt
    }
}

/// One interval of a series.
public struct SeriesPoint: Hashable, Sendable {
    /// When the interval begins.
    public let at: Timestamp
    /// What was counted in it.
    public let counts: Counts
}

/// How long the intervals of a series are.
public enum SeriesInterval: String, Sendable, CaseIterable {
    /// One second.
    case second
    /// One minute.
    case minute
}

/// What one counter of a sale came to in one second; absolute, so writing it twice changes nothing.
public struct SeriesEntry: Hashable, Sendable {
    /// The sale.
    public let sale: SaleID
    /// Seconds since 1970 UTC.
    public let second: Int64
    /// What was counted.
    public let counter: Counter
    /// How many.
    public let value: Int64

    /// An entry from its parts.
    public init(sale: SaleID, second: Int64, counter: Counter, value: Int64) {
        self.sale = sale
        self.second = second
        self.counter = counter
        self.value = value
    }
}

/// What became of the wish to give an order back.
public enum CancelResult: Hashable, Sendable {
    /// It is cancelled; `newly` when it was this call that did it.
    case cancelled(Order, newly: Bool)
    /// It had failed: there is nothing to give back.
    case failed(Order)
    /// PostgreSQL does not have it, or does not have it yet.
    case notFound
}

/// An entry of the dead-letter list.
public struct FailedOrder: Hashable, Sendable {
    /// What became of it since.
    public enum Status: String, Sendable, CaseIterable {
        /// It waits for an admin.
        case failed
        /// It went back to the engine.
        case retrying
        /// It was committed, or cancelled, after all.
        case resolved
    }

    /// Its number in the list, for going through it page by page.
    public let number: Int64
    /// The order as it was tried last.
    public let order: AcceptedOrder
    /// `insufficient_points`, `stale_epoch`, `unknown_sale`, or the constraint or SQLSTATE that refused it.
    public let reason: String
    /// What the database said.
    public let message: String
    /// How often it was tried.
    public let attempts: Int64
    /// What became of it since.
    public let status: Status
    /// When it failed last.
    public let failedAt: Timestamp
}

/// What PostgreSQL knows of a sale, counted from the orders themselves.
public struct SaleAudit: Hashable, Sendable {
    /// The sale.
    public let sale: SaleID
    /// How many there are.
    public let quantity: Int64
    /// Orders that own a ticket.
    public let confirmed: Int64
    /// Orders that were given back.
    public let cancelled: Int64
    /// Orders on the dead-letter list, those under retry included.
    public let failed: Int64
    /// Cancelled orders whose ticket Redis may not have back yet.
    public let unreleased: Int64
    /// How far the statistics' `confirmed`, `failed` and `cancelled` are from the orders, added up without sign; 0.
    public let countDrift: Int64
}

/// The auditor's view of PostgreSQL.
public struct StoreAudit: Hashable, Sendable {
    /// Each sale asked for.
    public let sales: [SaleAudit]
    /// Accounts whose balance is not the sum of their ledger; 0.
    public let ledgerDrift: Int64
}

/// A token that was logged out.
public struct RevokedToken: Hashable, Sendable {
    /// The token's id.
    public let id: String
    /// When it would have expired anyway.
    public let until: Timestamp
}
