import Model

/// How long a payment that has begun keeps the seats, in case that the deadline comes first.
public enum SeatLease {
    /// In milliseconds, from the beginning of the payment.
    public static let milliseconds: Int64 = 5000
}

/// What became of the wish to give a hold back.
public enum SeatRelease: Hashable, Sendable {
    /// Its seats are free.
    case released(Hold)
    /// No: a payment is under way, and PostgreSQL decides.
    case underPayment
    /// No: it is paid for.
    case sold
    /// It is not there: it never was, or has ended.
    case none
    /// Redis doesn't know the performance: it has to be rebuilt from PostgreSQL first.
    case unknownPerformance
}

/// Whether a payment may begin.
public enum PaymentStart: Hashable, Sendable {
    /// It has begun: the hold is the client's, and keeps its seats until PostgreSQL has decided. `epoch` is that of the
    /// performance at this moment, of which a hold may be older.
    case begun(Hold, epoch: Int64)
    /// Its time is over, but a payment that began before is under way: PostgreSQL has to say which it is.
    case closing(Hold)
    /// No: its time is over.
    case expired
    /// No: it is paid for.
    case sold
    /// No: it is another client's.
    case notHolder
    /// It is not there: it never was, or has ended.
    case none
    /// Redis doesn't know the performance: it has to be rebuilt from PostgreSQL first.
    case unknownPerformance
}

/// What PostgreSQL decided about a reservation.
public enum SeatSettlement: Hashable, Sendable {
    /// It was paid: the seats are sold.
    case sold
    /// The hold has ended: it was closed, or refused.
    case over
    /// It was paid, and is refunded: the seats are free.
    case refunded

    /// The letter by which `dibs_seats_settle` knows it.
    var letter: String {
        switch self {
        case .sold: "s"
        case .over: "o"
        case .refunded: "r"
        }
    }
}

/// What a look at the deadlines of a performance found.
public struct SeatTick: Hashable, Sendable {
    /// When to look again; nil while nothing is held.
    public let due: Timestamp?
    /// Holds whose time is over, but for which a payment has begun: PostgreSQL has to decide. Each is named again two
    /// seconds later, until it was settled.
    public let closing: [Hold]
    /// Whether more is due now than one look takes.
    public let isMore: Bool

    /// A tick from its parts.
    public init(due: Timestamp?, closing: [Hold], isMore: Bool) {
        self.due = due
        self.closing = closing
        self.isMore = isMore
    }
}

/// The answer to the question for all seats of a performance.
public enum SeatsReading: Hashable, Sendable {
    /// Nothing has changed since the event that is known.
    case unchanged
    /// All of them.
    case seats(SeatsSnapshot)
}

/// All seats of a performance at one instant.
public struct SeatsSnapshot: Hashable, Sendable {
    /// The number of the last change.
    public let event: Int64
    /// How many seats are in which status.
    public let tally: SeatTally
    /// When a hold has to be looked at next; nil when there is none.
    public let due: Timestamp?
    /// ``Model/SeatStatus/letter`` of each seat, in the order of their numbers.
    public let letters: [UInt8]

    /// A snapshot from its parts.
    public init(event: Int64, tally: SeatTally, due: Timestamp?, letters: [UInt8]) {
        self.event = event
        self.tally = tally
        self.due = due
        self.letters = letters
    }
}

/// A reservation as Redis has it while it has its seats.
public struct HoldRecord: Hashable, Sendable {
    /// The hold that it is, or was before it was paid.
    public let hold: Hold
    /// Whether it is paid.
    public let isSold: Bool
    /// How many payments have begun and not been decided, as far as Redis knows.
    public let paymentsUnderWay: Int64

    /// A record from its parts.
    public init(hold: Hold, isSold: Bool, paymentsUnderWay: Int64) {
        self.hold = hold
        self.isSold = isSold
        self.paymentsUnderWay = paymentsUnderWay
    }
}

/// All that Redis knows of a performance, at one instant.
public struct SeatInspection: Hashable, Sendable {
    /// How often it was rebuilt.
    public let epoch: Int64
    /// The last sequence that was given.
    public let lastSequence: Int64
    /// The number of the last change.
    public let event: Int64
    /// How many seats are in which status, as the performance's hash says.
    public let tally: SeatTally
    /// The same, counted seat by seat.
    public let counted: SeatTally
    /// Reservations that are held.
    public let heldRecords: Int64
    /// Reservations that are paid.
    public let soldRecords: Int64
    /// Seats of those that are held, counted one by one.
    public let heldInRecords: Int64
    /// Seats of those that are paid, counted one by one.
    public let soldInRecords: Int64
    /// Entries of the log: what PostgreSQL has not heard yet.
    public let unsettled: Int64
    /// Totals: `requests`, `held`, `expired`, `released`, `paid`, `refunded`, `refused:seat_taken`, `refused:duplicate`
    /// (over the client's limit).
    public let counts: [String: Int64]
}

/// What a performance's channel says.
public enum SeatsEvent: Sendable {
    /// It changed. `event` is one more than that of the change before; after any other all seats have to be read. `due` is
    /// when a hold has to be looked at next, nil when there is none.
    case changed(
        event: Int64, tally: SeatTally, due: Timestamp?, changes: [(range: ClosedRange<Int64>, status: SeatStatus)])
    /// The connection was lost and stands again: read all seats, something may have been missed.
    case renewed
}

/// What the channel of all performances says.
public enum PerformancesEvent: Hashable, Sendable {
    /// A performance was registered or rebuilt.
    case changed(PerformanceID)
    /// The connection was lost and stands again: something may have been missed.
    case renewed
}

/// Whose a pass is.
public enum PassOwner: Hashable, Sendable {
    /// Redis does not know the room.
    case unknownRoom
    /// Nobody has this pass now: it never was one, or has ended.
    case nobody
    /// This client has it.
    case client(ClientID)
}

/// What became of a wish to hold seats for which a pass was shown.
public enum AdmittedHold: Sendable {
    /// The pass is good. `isKept`: its place is kept beyond its time until ``Engine/Engine/endCheck(_:of:room:)``. An
    /// outage: then the client may have the seats.
    case decided(Result<HoldDecision, Outage>, isKept: Bool)
    /// The client does not have this pass.
    case notAdmitted
    /// Redis doesn't know the room.
    case unknownRoom
}
