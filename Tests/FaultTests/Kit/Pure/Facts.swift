/// What was on offer in a round.
public struct Offer: Sendable {
    /// A sale.
    public struct Sale: Sendable {
        /// Its id.
        public let id: Int64
        /// How many there are.
        public let quantity: Int64
        /// How many a client may own.
        public let limit: Int64
        /// What one costs.
        public let price: Int64
        /// Its room.
        public let room: String?

        /// Such a sale.
        public init(id: Int64, quantity: Int64, limit: Int64 = 1, price: Int64 = 0, room: String? = nil) {
            self.id = id
            self.quantity = quantity
            self.limit = limit
            self.price = price
            self.room = room
        }
    }

    /// A waiting room.
    public struct Room: Sendable {
        /// Its name.
        public let id: String
        /// How many may be admitted at once.
        public let maxActive: Int
        /// How long a pass lives.
        public let passSeconds: Int64

        /// Such a room.
        public init(id: String, maxActive: Int, passSeconds: Int64) {
            self.id = id
            self.maxActive = maxActive
            self.passSeconds = passSeconds
        }
    }

    /// A performance.
    public struct Performance: Sendable {
        /// Its id.
        public let id: Int64
        /// Seats are 1 to this.
        public let seats: Int64
        /// What one costs.
        public let price: Int64
        /// How long a hold lives.
        public let holdSeconds: Int64

        /// Such a performance.
        public init(id: Int64, seats: Int64, price: Int64, holdSeconds: Int64) {
            self.id = id
            self.seats = seats
            self.price = price
            self.holdSeconds = holdSeconds
        }
    }

    /// Sales.
    public var sales: [Sale] = []
    /// Rooms.
    public var rooms: [Room] = []
    /// Performances.
    public var performances: [Performance] = []

    /// Nothing.
    public init() {}
}

/// What is true at the end of a round, as PostgreSQL and Redis have it.
public struct Facts: Sendable {
    /// An order in PostgreSQL.
    public struct Order: Sendable {
        /// `sale-sequence`.
        public let id: String
        /// The sale.
        public let sale: Int64
        /// Whose.
        public let client: String
        /// Its ticket.
        public let ticket: Int64
        /// `confirmed`, `cancelled` or `failed`.
        public let status: String

        /// Such an order.
        public init(id: String, sale: Int64, client: String, ticket: Int64, status: String) {
            self.id = id
            self.sale = sale
            self.client = client
            self.ticket = ticket
            self.status = status
        }
    }

    /// A reservation in PostgreSQL.
    public struct Reservation: Sendable {
        /// `performance-sequence`.
        public let id: String
        /// The performance.
        public let performance: Int64
        /// Whose.
        public let client: String
        /// `held`, `paid`, `expired`, `released`.
        public let status: String
        /// Ascending.
        public let seats: [Int64]
        /// What it costs.
        public let price: Int64
        /// Whether PostgreSQL says that its seats are its client's.
        public let isLive: Bool

        /// Such a reservation.
        public init(
            id: String, performance: Int64, client: String, status: String, seats: [Int64], price: Int64, isLive: Bool
        ) {
            self.id = id
            self.performance = performance
            self.client = client
            self.status = status
            self.seats = seats
            self.price = price
            self.isLive = isLive
        }
    }

    /// What Redis says of a sale.
    public struct Stock: Sendable {
        /// What is left.
        public let left: Int64
        /// Tickets whose owners it knows.
        public let owned: Int64
        /// Orders that are not settled.
        public let unsettled: Int64

        /// Such a stock.
        public init(left: Int64, owned: Int64, unsettled: Int64) {
            self.left = left
            self.owned = owned
            self.unsettled = unsettled
        }
    }

    /// A client's account.
    public struct Account: Sendable {
        /// What it has.
        public var balance: Int64 = 0
        /// The sum of its ledger.
        public var ledger: Int64 = 0
        /// How often it was charged.
        public var charges = 0

        /// An empty one.
        public init(balance: Int64 = 0, ledger: Int64 = 0, charges: Int = 0) {
            self.balance = balance
            self.ledger = ledger
            self.charges = charges
        }
    }

    /// All orders of the round's sales.
    public var orders: [Order] = []
    /// All reservations of the round's performances.
    public var reservations: [Reservation] = []
    /// Sale → stock in Redis; none where Redis does not know the sale.
    public var stocks: [Int64: Stock] = [:]
    /// Performance → a letter a seat, in Redis.
    public var seats: [Int64: String] = [:]
    /// Client → account.
    public var accounts: [String: Account] = [:]
    /// The data set in Redis.
    public var epoch = ""
    /// Client → last offset of its log in Redis.
    public var offsets: [String: Int64] = [:]
    /// Room → the most that were admitted at a look at Redis.
    public var mostAdmitted: [String: Int] = [:]
    /// What the server's own audit says.
    public var drift: Int64 = 0
    /// What of it drifts.
    public var driftDetails = ""

    /// Nothing.
    public init() {}
}

/// What is promised in a round.
public struct Promises: Sendable {
    /// Whether Redis lost data: then passes that were spent in the last moment may take places still, and orders that
    /// nothing could refuse may have failed (docs/redis-loss.md).
    public var redisLostData: Bool
    /// Whether the order of a line and passes outlive a loss.
    public var lineOutlivesLoss: Bool
    /// Whether every pass was told by a process that was there when Redis lost data: of those that one told which has ended
    /// since, and whose client was not connected again before, nobody knows but the client.
    public var passesAreKnown: Bool

    /// What is promised.
    public init(redisLostData: Bool = false, lineOutlivesLoss: Bool = true, passesAreKnown: Bool = true) {
        self.redisLostData = redisLostData
        self.lineOutlivesLoss = lineOutlivesLoss
        self.passesAreKnown = passesAreKnown
    }
}

/// A promise that was broken.
public struct Violation: Sendable, CustomStringConvertible, Hashable {
    /// Which rule, in a word or two.
    public let rule: String
    /// What was told and what is true.
    public let details: String

    /// Such a violation.
    public init(_ rule: String, _ details: String) {
        self.rule = rule
        self.details = details
    }

    /// In one line.
    public var description: String { "\(rule): \(details)" }
}
