/// A concert: a name, and the performances that it has.
public struct Concert: Hashable, Sendable {
    /// Its id.
    public let id: ConcertID
    /// What people read.
    public let name: String

    /// A concert from its parts.
    public init(id: ConcertID, name: String) {
        self.id = id
        self.name = name
    }
}

/// One date of a concert, as it was registered. Immutable.
public struct Performance: Hashable, Sendable {
    /// Its id; on the wire `concertDetailId`.
    public let id: PerformanceID
    /// The concert that it is a date of.
    public let concert: ConcertID
    /// When it begins.
    public let startsAt: Timestamp
    /// Points that one seat costs.
    public let price: Int64
    /// The waiting room whose pass is needed to see and to hold its seats.
    public let room: RoomID
    /// How long a hold lives, in seconds.
    public let holdSeconds: Int64
    /// The most seats that one client may hold and own together; nil for no limit.
    public let perClientLimit: Int64?
    /// Its seats.
    public let layout: SeatLayout

    /// The most seats of one reservation.
    public static let seatsPerReservation = 1000

    /// A performance from its parts.
    public init(
        id: PerformanceID, concert: ConcertID, startsAt: Timestamp, price: Int64, room: RoomID, holdSeconds: Int64,
        perClientLimit: Int64?, layout: SeatLayout
    ) {
        self.id = id
        self.concert = concert
        self.startsAt = startsAt
        self.price = price
        self.room = room
        self.holdSeconds = holdSeconds
        self.perClientLimit = perClientLimit
        self.layout = layout
    }
}

/// How many seats of a performance are in which status.
public struct SeatTally: Hashable, Sendable {
    /// Nobody has them.
    public var free: Int64
    /// Set aside for a client.
    public var held: Int64
    /// Paid for.
    public var sold: Int64

    /// A tally from its parts.
    public init(free: Int64, held: Int64, sold: Int64) {
        self.free = free
        self.held = held
        self.sold = sold
    }

    /// All seats.
    public var count: Int64 { free + held + sold }
}
