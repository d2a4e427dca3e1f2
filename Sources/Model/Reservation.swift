/// The life of a reservation. `docs/seats.md` has the diagram.
public enum ReservationStatus: String, Sendable, CaseIterable {
    /// The seats are set aside until the deadline.
    case held
    /// The seats are the client's.
    case paid
    /// The deadline passed without a payment.
    case expired
    /// It was given back: a hold, or a paid one, which was refunded.
    case released

    /// Whether a reservation may go from this status to another.
    public func canBecome(_ next: ReservationStatus) -> Bool {
        switch (self, next) {
        case (.held, .paid), (.held, .expired), (.held, .released), (.paid, .released): true
        default: false
        }
    }

    /// Whether a reservation in this status has its seats.
    public var ownsSeats: Bool { self == .held || self == .paid }

    /// The letter by which logs know it.
    public var letter: String {
        switch self {
        case .held: "h"
        case .paid: "p"
        case .expired: "e"
        case .released: "r"
        }
    }

    /// A status by its letter; nil for any other.
    public init?(letter: some StringProtocol) {
        guard let status = Self.allCases.first(where: { $0.letter == letter }) else { return nil }
        self = status
    }
}

/// Seats that were set aside for a client, as Redis decided.
public struct Hold: Hashable, Sendable {
    /// The reservation.
    public let id: ReservationID
    /// Whose it is.
    public let client: ClientID
    /// The seats, ascending.
    public let seats: [Int64]
    /// What they cost together, in points.
    public let price: Int64
    /// When Redis decided.
    public let heldAt: Timestamp
    /// When it runs out. Nothing moves it.
    public let expiresAt: Timestamp
    /// The epoch of the performance in which it was taken; ``SaleEpoch``.
    public let epoch: Int64

    /// A hold from its parts.
    public init(
        id: ReservationID, client: ClientID, seats: [Int64], price: Int64, heldAt: Timestamp, expiresAt: Timestamp,
        epoch: Int64
    ) {
        self.id = id
        self.client = client
        self.seats = seats
        self.price = price
        self.heldAt = heldAt
        self.expiresAt = expiresAt
        self.epoch = epoch
    }

    /// The same hold in the hands of a payment that began in this epoch of the performance.
    public func begun(in epoch: Int64) -> Hold {
        Hold(
            id: id, client: client, seats: seats, price: price, heldAt: heldAt, expiresAt: expiresAt, epoch: epoch)
    }
}

/// What the engine decided about the wish to hold seats.
public enum HoldDecision: Hashable, Sendable {
    /// The client has them.
    case held(Hold)
    /// It had exactly these already: the same reservation, with the same deadline.
    case repeated(Hold)
    /// No: these of them are not free; at least one of them, not always all.
    case taken([Int64])
    /// No: the client would have more than ``Performance/perClientLimit``.
    case overLimit
    /// Redis doesn't know the performance: it has to be rebuilt from PostgreSQL first.
    case unknownPerformance
}

/// What the log of a performance says: a hold, and how far it has come.
public struct ReservationEvent: Hashable, Sendable {
    /// The entry's id in the stream.
    public let entry: String
    /// The hold.
    public let hold: Hold
    /// `held`, `expired` or `released`.
    public let status: ReservationStatus

    /// An event from its parts.
    public init(entry: String, hold: Hold, status: ReservationStatus) {
        self.entry = entry
        self.hold = hold
        self.status = status
    }
}

/// A reservation as PostgreSQL keeps it.
public struct Reservation: Hashable, Sendable {
    /// Its id.
    public let id: ReservationID
    /// Whose it is, or was.
    public let client: ClientID
    /// Its seats, ascending.
    public let seats: [Int64]
    /// Where it is in its life.
    public let status: ReservationStatus
    /// What the seats cost together, in points.
    public let price: Int64
    /// When they were set aside.
    public let heldAt: Timestamp
    /// When the hold runs out, or would have.
    public let expiresAt: Timestamp
    /// When it was paid; a released one that has this was refunded.
    public let paidAt: Timestamp?
    /// When it expired or was given back.
    public let endedAt: Timestamp?
    /// The payment, where it was paid.
    public let payment: Int64?

    /// A reservation from its parts.
    public init(
        id: ReservationID, client: ClientID, seats: [Int64], status: ReservationStatus, price: Int64,
        heldAt: Timestamp, expiresAt: Timestamp, paidAt: Timestamp? = nil, endedAt: Timestamp? = nil,
        payment: Int64? = nil
    ) {
        self.id = id
        self.client = client
        self.seats = seats
        self.status = status
        self.price = price
        self.heldAt = heldAt
        self.expiresAt = expiresAt
        self.paidAt = paidAt
        self.endedAt = endedAt
        self.payment = payment
    }

    /// What its client was told of it so far, or will be: nothing while it is held.
    public var outcomes: [Outcome] {
        switch status {
        case .held: []
        case .paid, .expired: [.reservation(id, status)]
        case .released: (paidAt == nil ? [] : [.reservation(id, .paid)]) + [.reservation(id, .released)]
        }
    }

    /// A hold that PostgreSQL doesn't have yet.
    public init(_ hold: Hold) {
        self.init(
            id: hold.id, client: hold.client, seats: hold.seats, status: .held, price: hold.price, heldAt: hold.heldAt,
            expiresAt: hold.expiresAt)
    }
}

/// Everything from which Redis' state of a performance is built anew, as PostgreSQL has it at one moment.
public struct PerformanceSnapshot: Hashable, Sendable {
    /// The definition.
    public let performance: Performance
    /// The epoch that begins with this snapshot; ``SaleEpoch``.
    public let epoch: Int64
    /// The highest sequence of any of its reservations; 0 when there is none.
    public let lastSequence: Int64
    /// The reservations that have their seats, `held` or `paid`, by sequence.
    public let reservations: [Reservation]

    /// A snapshot from its parts.
    public init(performance: Performance, epoch: Int64, lastSequence: Int64, reservations: [Reservation]) {
        self.performance = performance
        self.epoch = epoch
        self.lastSequence = lastSequence
        self.reservations = reservations
    }
}
