import Model

/// A performance as PostgreSQL keeps it.
public struct StoredPerformance: Hashable, Sendable {
    /// What was registered.
    public let performance: Performance
    /// How often its state in Redis was rebuilt; ``SaleEpoch``.
    public let epoch: Int64

    /// A stored performance from its parts.
    public init(performance: Performance, epoch: Int64) {
        self.performance = performance
        self.epoch = epoch
    }
}

/// What became of the wish to pay for a hold.
public enum PaymentResult: Hashable, Sendable {
    /// The seats are the client's, by this payment.
    case paid(payment: Int64)
    /// They were paid for before, with the same key: the same payment.
    case repeated(payment: Int64)
    /// They were paid for before, by this payment.
    case alreadyPaid(payment: Int64)
    /// The hold has expired, or was given back, or refunded. Nothing was charged.
    case over
    /// `point` is not the price, which is this. Nothing was charged.
    case wrongPrice(Int64)
    /// The balance, which is this, does not cover the price. Nothing was charged.
    case insufficientPoints(balance: Int64)
    /// The performance was rebuilt since the payment began, which has to begin anew. Nothing was charged.
    case rebuilt
    /// PostgreSQL has another live owner of a seat, or another reservation with this id. Nothing was charged, and Redis has
    /// lost writes.
    case stale
}

/// What became of the wish to cancel a paid reservation.
public enum RefundResult: Hashable, Sendable {
    /// It is given back and refunded; `newly` when it was this call that did it.
    case released(Reservation, newly: Bool)
    /// It was never paid: there is nothing to refund. Its status.
    case notPaid(ReservationStatus)
    /// PostgreSQL does not have it, or does not have it yet.
    case notFound
}

/// A payment as PostgreSQL keeps it.
public struct Payment: Hashable, Sendable {
    /// Its number.
    public let id: Int64
    /// What it is for.
    public let reservation: ReservationID
    /// Who paid.
    public let client: ClientID
    /// How many points.
    public let amount: Int64
    /// The key that the client gave.
    public let key: IdempotencyKey?
    /// When it was made.
    public let paidAt: Timestamp
    /// When it was given back; nil while it stands.
    public let refundedAt: Timestamp?

    /// A payment from its parts.
    public init(
        id: Int64, reservation: ReservationID, client: ClientID, amount: Int64, key: IdempotencyKey?,
        paidAt: Timestamp, refundedAt: Timestamp?
    ) {
        self.id = id
        self.reservation = reservation
        self.client = client
        self.amount = amount
        self.key = key
        self.paidAt = paidAt
        self.refundedAt = refundedAt
    }
}

/// What PostgreSQL knows of a performance, counted from the seats and the reservations themselves.
public struct PerformanceAudit: Hashable, Sendable {
    /// The performance.
    public let performance: PerformanceID
    /// How many seats it has.
    public let seats: Int64
    /// Live seats of reservations that are `held`.
    public let held: Int64
    /// Live seats of reservations that are `paid`.
    public let sold: Int64
    /// Payments and refunds of which Redis may not know yet.
    public let unsettled: Int64
    /// Live seats whose reservation is neither held nor paid, and seats that held and paid ones lack; 0.
    public let misplaced: Int64
    /// Reservations whose payment does not fit: paid ones without exactly one payment of their price that stands,
    /// refunded ones without one that was given back, others with any; the ledger counts as part of it. 0.
    public let unpaid: Int64
}
