import EventLoop
import Model

/// A way in which Redis and PostgreSQL, or either with itself, can disagree. `docs/audit.md` explains each.
enum DriftKind: String, CaseIterable, Sendable {
    // Sales.
    case orderMissingInDatabase = "order_missing_in_database"
    case orderMissingInRedis = "order_missing_in_redis"
    case ownerDiffers = "owner_differs"
    case confirmedState = "confirmed_state"
    case cancelledNotReturned = "cancelled_not_returned"
    case failedNotReturned = "failed_not_returned"
    case unreleased
    case ticketTwice = "ticket_twice"
    case ticketRange = "ticket_range"
    case overLimit = "over_limit"
    case stockSum = "stock_sum"
    case soldSum = "sold_sum"
    case statistics
    case orderPayment = "order_payment"
    case streamStuck = "stream_stuck"
    // Performances.
    case reservationMissingInDatabase = "reservation_missing_in_database"
    case reservationMissingInRedis = "reservation_missing_in_redis"
    case holderDiffers = "holder_differs"
    case paidState = "paid_state"
    case paidMissingInDatabase = "paid_missing_in_database"
    case holdNotEnded = "hold_not_ended"
    case seatState = "seat_state"
    case seatSum = "seat_sum"
    case seatsMisplaced = "seats_misplaced"
    case reservationPayment = "reservation_payment"
    // Rooms.
    case roomOverCapacity = "room_over_capacity"
    case roomCount = "room_count"
    case roomPlace = "room_place"
    case roomPresence = "room_presence"
    case roomPass = "room_pass"
    // Accounts.
    case balance

    /// What mends it, where that has one right answer.
    enum Mend {
        /// None has.
        case none
        /// PostgreSQL is asked about the order again.
        case requeue
        /// The ticket goes back to Redis.
        case release
        /// Redis' state of the sale is built anew from PostgreSQL.
        case rebuildSale
        /// The statistics are counted anew from the orders.
        case recount
        /// PostgreSQL is asked about the hold again.
        case relog
        /// Redis hears what PostgreSQL decided.
        case settle
        /// Redis' state of the performance is built anew from PostgreSQL.
        case rebuildPerformance
        /// The balance becomes the sum of its ledger.
        case balance
    }

    /// What `dibs audit --repair` does about it.
    var mend: Mend {
        switch self {
        case .orderMissingInDatabase: .requeue
        case .cancelledNotReturned, .unreleased: .release
        case .orderMissingInRedis, .ownerDiffers, .confirmedState, .failedNotReturned, .ticketTwice, .ticketRange,
            .overLimit, .stockSum, .soldSum:
            .rebuildSale
        case .statistics: .recount
        case .reservationMissingInDatabase: .relog
        case .paidState, .holdNotEnded: .settle
        case .reservationMissingInRedis, .holderDiffers, .seatState, .seatSum: .rebuildPerformance
        case .balance: .balance
        case .orderPayment, .streamStuck, .paidMissingInDatabase, .seatsMisplaced, .reservationPayment,
            .roomOverCapacity, .roomCount, .roomPlace, .roomPresence, .roomPass:
            .none
        }
    }
}

/// One drift, with what it is about.
struct Drift: Hashable, Sendable {
    let kind: DriftKind
    var sale: SaleID?
    var performance: PerformanceID?
    var room: RoomID?
    var client: ClientID?
    var order: OrderID?
    var reservation: ReservationID?
    var ticket: Int64?
    /// What Redis says.
    var redis: String?
    /// What PostgreSQL says.
    var database: String?
    /// How far it is off, where that is a number.
    var amount: Int64 = 1

    /// What it is about, whatever either says of it by now.
    var identity: String {
        let parts = [
            sale?.description, performance?.description, room?.description, client?.description, order?.description,
            reservation?.description, ticket?.description,
        ]
        return kind.rawValue + ":" + parts.map { $0 ?? "" }.joined(separator: ":")
    }
}

/// Drifts, all counted, the first of each kind kept.
struct DriftList: Sendable {
    /// How many of each kind are kept.
    static let limit = 100

    private(set) var drifts: [Drift] = []
    /// How many there are of each kind, those that are not kept included.
    private(set) var counts: [DriftKind: Int64] = [:]
    /// What mends each may need all of them.
    private let keepsAll: Bool
    private var kept: [DriftKind: Int] = [:]

    init(keepsAll: Bool = false) { self.keepsAll = keepsAll }

    /// How far everything is apart, added up.
    var sum: Int64 { counts.values.reduce(0, +) }

    mutating func add(_ drift: Drift) {
        counts[drift.kind, default: 0] += drift.amount
        let number = kept[drift.kind, default: 0] + 1
        kept[drift.kind] = number
        if keepsAll || number <= Self.limit { drifts.append(drift) }
    }

    /// So many more, of which nothing but their number is known.
    mutating func add(_ kind: DriftKind, more: Int64) { counts[kind, default: 0] += more }

    /// Without those of a kind.
    mutating func remove(_ kind: DriftKind) {
        drifts.removeAll { $0.kind == kind }
        counts[kind] = nil
        kept[kind] = nil
    }

    mutating func add(_ others: [Drift]) { for drift in others { add(drift) } }
}

/// How far a comparison goes, and how fast.
struct ComparisonPace {
    /// How many suspects are kept: of what drifts at once no more is found, until some of it was mended.
    var suspects = Int.max
    /// Whether every drift is kept, or the first of each kind only.
    var keepsAll = true
    /// Called between two pages.
    var pause: @LoopActor () async throws -> Void = {}
}
