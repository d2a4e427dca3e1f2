import Model

/// The one place that builds the names of keys and channels. `docs/redis-keys.md` says what each holds.
///
/// All keys of a sale have the hash tag `sale:<id>`, those of a room `room:<id>` and those of a performance
/// `performance:<id>`, and so lie in one slot of a cluster each.
enum Keys {
    /// The random name of this data set.
    static let dataEpoch = "dibs:epoch"
    /// The run of Redis that was compared with PostgreSQL as a whole.
    static let verifiedRun = "dibs:verified"
    /// The processes that bring in what they know since Redis became this one (a run and a data set), and those that have.
    static func recall(_ identity: String) -> [String] {
        ["dibs:{recall:\(identity)}:busy", "dibs:{recall:\(identity)}:done"]
    }
    /// The database that was committed to.
    static let database = "dibs:database"
    /// Ids of tokens that were revoked, by the time at which they expire.
    static let revokedTokens = "dibs:revoked"
    /// The consumer group of every sale's stream, and of every performance's log.
    static let committers = "committers"

    /// The keys of one sale.
    struct Sale {
        /// Definition and state.
        let state: String

        init(_ sale: SaleID) { state = "dibs:{sale:\(sale.rawValue)}" }

        /// Client → the orders that it owns.
        var clients: String { state + ":clients" }
        /// Client and idempotency key → the answer.
        var keys: String { state + ":keys" }
        /// Tickets that came back.
        var returned: String { state + ":returned" }
        /// The stream of orders that are not settled.
        var orders: String { state + ":orders" }
        /// Sequence of a replayed order → its entry in the stream.
        var replayed: String { state + ":replayed" }
        /// Counter → total.
        var counts: String { state + ":counts" }
        /// Second and counter → count.
        var series: String { state + ":series" }
        /// The token of whoever rebuilds the sale.
        var rebuild: String { state + ":rebuild" }
        /// The channel on which its changes are told.
        var events: String { state + ":events" }
    }

    /// The keys of one waiting room.
    struct Room {
        /// Limits, window, head and counters.
        let state: String

        init(_ room: RoomID) { state = "dibs:{room:\(room.rawValue)}" }

        /// All of them, in the order in which the functions of rooms take them.
        var all: [String] {
            [
                state, state + ":members", state + ":line", state + ":gone", state + ":sums", state + ":presence",
                state + ":blocks", state + ":active", state + ":passes", state + ":finished", state + ":outbox",
                state + ":drawn", state + ":cleared", state + ":renumbered", state + ":owners",
                state + ":returning",
            ]
        }

        /// The channel on which its changes are told.
        var events: String { state + ":events" }
    }

    /// The keys of one performance. `docs/seats.md` says what each holds.
    struct Performance {
        /// Definition and state.
        let state: String

        init(_ performance: PerformanceID) { state = "dibs:{performance:\(performance.rawValue)}" }

        /// A letter a seat.
        var seats: String { state + ":seats" }
        /// Sequence → the reservation.
        var holds: String { state + ":holds" }
        /// Client → the sequences that it holds or owns.
        var clients: String { state + ":clients" }
        /// Sequences of holds, by when to look at them.
        var deadlines: String { state + ":deadlines" }
        /// The stream of what PostgreSQL has to hear.
        var log: String { state + ":log" }
        /// Counter → total.
        var counts: String { state + ":counts" }
        /// The token of whoever rebuilds the performance.
        var rebuild: String { state + ":rebuild" }
        /// The channel on which its changes are told.
        var events: String { state + ":events" }

        /// Those that the functions which change seats take, in their order.
        var changing: [String] { [state, seats, holds, clients, deadlines, log, counts] }
    }

    /// The numbers of living gateways, by their last beat.
    static let processes = "dibs:{processes}"
    /// Those of dead ones whose clients' places are still to be let go, by their last beat.
    static let deadProcesses = "dibs:{processes}:dead"
    /// Since when somebody watches whether gateways beat, and when they looked last.
    static let watch = "dibs:{processes}:watch"
    /// The last number that was given to a gateway.
    static let lastProcess = "dibs:{processes}:next"

    /// A client's outcome log; also the name of its channel.
    static func client(_ client: ClientID) -> String { "dibs:{client:\(client.rawValue)}" }

    /// The channel on which new and changed sales are told.
    static let salesChannel = "dibs:sales"
    /// The channel on which new and changed rooms are told.
    static let roomsChannel = "dibs:rooms"
    /// The channel on which new and rebuilt performances are told.
    static let performancesChannel = "dibs:performances"
    /// The channel on which revoked tokens are told.
    static let revokedChannel = "dibs:revoked"
    /// A channel to which each process listens, and says so once: subscribing to it anew shows that the connection is alive.
    static let aliveChannel = "dibs:alive"
}
