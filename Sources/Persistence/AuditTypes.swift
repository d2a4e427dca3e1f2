import Model

/// An order as the auditor finds it.
public struct AuditedOrder: Hashable, Sendable {
    /// Its number in its sale.
    public let sequence: Int64
    /// Whose it is; nil when there is none in `orders`.
    public let client: ClientID?
    /// Its ticket.
    public let ticket: Int64
    /// Which of the client's places it takes.
    public let slot: Int64
    /// Whether it owns its ticket; it was given back else.
    public let isConfirmed: Bool
    /// Whether Redis has the ticket of one that was given back.
    public let isReleased: Bool
    /// Whether Redis may not have it back for longer than a scheduler takes to see to it.
    public let isLate: Bool
    /// Whether what was charged and given back for it is not what it should be.
    public let isMispaid: Bool
    /// What the dead-letter list says of an order with this number: `failed`, `retrying`, `resolved`; nil when nothing.
    public let failure: String?
}

/// A reservation as the auditor finds it.
public struct AuditedReservation: Hashable, Sendable {
    /// Its number in its performance.
    public let sequence: Int64
    /// Whose it is.
    public let client: ClientID
    /// Its seats, ascending.
    public let seats: [Int64]
    /// What became of it.
    public let status: ReservationStatus
    /// Whether Redis knows of its payment, or refund.
    public let isSettled: Bool
    /// Whether how it ended is still to be heard.
    public let isSuperseded: Bool
    /// Whether it was ever paid for, refunded or not.
    public let wasPaid: Bool
}

/// An account whose balance is not the sum of its ledger.
public struct AuditedAccount: Hashable, Sendable {
    /// Whose it is.
    public let client: ClientID
    /// What the account says.
    public let balance: Int64
    /// What the ledger adds up to.
    public let ledger: Int64
}
