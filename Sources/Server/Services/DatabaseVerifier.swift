import Engine
import EventLoop
import Model
import Persistence

/// Finds out that PostgreSQL is another than it was, or has gone back, and gives it back what it has lost.
///
/// A standby that lagged takes over without the latest commits, of which clients were told. Redis has them: an order that it
/// has as confirmed is written again, and one that it does not have any more was given back, and is given back again.
/// Until that is done nothing new is committed. Selling goes on: it is Redis that decides.
@LoopActor
final class DatabaseVerifier {
    let engine: Engine
    let store: Store
    let log: Log
    private var candidate: DatabaseState?
    private var task: Task<Void, Never>?
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// How often PostgreSQL was found to be another, or behind.
    private(set) var losses: Int64 = 0
    /// Orders that were written again.
    private(set) var restored: Int64 = 0
    /// Orders that were given back again.
    private(set) var cancelled: Int64 = 0
    /// Reservations of which something was written again.
    var reservations: Int64 = 0

    static let ordersPerStep = 500

    init(engine: Engine, store: Store, log: Log) {
        self.engine = engine
        self.store = store
        self.log = log
        store.onOtherDatabase = { [weak self] in self?.look(at: $0) }
    }

    /// What is shown of it.
    var gauges: [(name: String, help: String, value: () -> Int64)] {
        [
            ("dibs_database_losses", "How often PostgreSQL was found to have lost commits.", { self.losses }),
            ("dibs_orders_given_back", "Orders that were written to PostgreSQL again.", { self.restored }),
            ("dibs_cancellations_given_back", "Orders that were given back again.", { self.cancelled }),
            ("dibs_reservations_given_back", "Reservations that were written again.", { self.reservations }),
        ]
    }

    /// Accepts a database, once it has been compared with Redis if it may have lost something.
    private func look(at state: DatabaseState) {
        guard !state.isStandby else { return }
        candidate = state
        guard task == nil else { return }
        task = EventLoop.task {
            var backoff = Backoff(base: 20, cap: 1000)
            while let state = self.candidate {
                do {
                    try await self.compare(state)
                    // Yet another may have come meanwhile.
                    guard self.candidate?.isSame(as: state) == true else { continue }
                    self.candidate = nil
                    self.store.accept(state)
                } catch {
                    self.log(.debug, "database_waits", ["error": .init("\(error)")])
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            }
            self.task = nil
            let waiting = self.waiting
            self.waiting = []
            for continuation in waiting { continuation.resume() }
        }
    }

    /// Returns when PostgreSQL answers, and has back what it may have lost. Whoever builds Redis' state from PostgreSQL waits
    /// for this first: what one has forgotten, the other is not to forget as well.
    /// - Throws: ``Outage``.
    func wait() async throws {
        // A session that can be asked has said which database it is with.
        try await store.ping()
        guard task != nil else { return }
        await withCheckedContinuation { waiting.append($0) }
    }

    private func compare(_ state: DatabaseState) async throws {
        await engine.waitUntilConnected()
        let seen = try await engine.databaseSeen()
        if isOther(state, seen: seen) {
            losses += 1
            log(
                .error, "database_is_another",
                [
                    "before": .init(store.database?.description ?? seen ?? ""), "now": .init(state.description),
                    "position": .init(state.position), "reached": .init(store.database?.position ?? 0),
                ])
            try await giveBack()
        }
        try await engine.noteDatabase(state.description)
    }

    /// Whether it is not the one that this process, or whichever was the first to see another, committed to.
    private func isOther(_ state: DatabaseState, seen: String?) -> Bool {
        if let known = store.database, known.isSame(as: state) { return state.position < known.position }
        if let seen { return seen != state.description }
        return store.database != nil
    }

    // MARK: Giving back

    private func giveBack() async throws {
        let sales = try await engine.knownSales().sorted()
        // What was given back first: it frees tickets, places and points for what comes.
        var positions: [SaleID: SalePosition] = [:]
        for sale in sales {
            guard let position = try await bring(sale) else { continue }
            positions[sale] = position
            try await cancelAgain(sale, position)
        }
        for (sale, position) in positions.sorted(by: { $0.key < $1.key }) { try await writeAgain(sale, position) }
        try await giveBackSeats()
        log(
            .error, "database_given_back",
            [
                "orders": .init(restored), "cancellations": .init(cancelled), "reservations": .init(reservations),
                "sales": .init(positions.count),
            ])
    }

    /// Brings the sale itself; answers how far it is in Redis, or nil when Redis does not know it.
    private func bring(_ sale: SaleID) async throws -> SalePosition? {
        guard let state = try await engine.state(of: sale),
            let position = try await engine.positions(of: [sale])[sale], position.epoch >= 0
        else { return nil }
        if let stored = try await store.sale(sale)?.sale, stored != state.sale {
            // Its id was given out again, or this is another shop's database.
            log(.error, "sale_is_another", ["sale": .init(sale)])
            return nil
        }
        try await store.restoreSale(state, epoch: position.epoch)
        return position
    }

    /// An order that PostgreSQL has as confirmed and that nobody owns in Redis was given back: Redis takes an order away
    /// only then, and only after PostgreSQL has heard of it.
    private func cancelAgain(_ sale: SaleID, _ position: SalePosition) async throws {
        // Redis may be what is behind: then it is rebuilt from PostgreSQL, and does not tell what was given back.
        guard let last = try await store.lastSequences(of: [sale])[sale],
            (last.epoch, last.lastSequence) <= (position.epoch, position.lastSequence)
        else { return }
        var after: Int64 = 0
        while true {
            let orders = try await store.confirmedOrders(of: sale, after: after, limit: Self.ordersPerStep)
            guard let newest = orders.last else { return }
            after = newest.order.sequence
            let owned = try await engine.owned(of: sale, by: orders.map(\.client))
            let gone = orders.map(\.order).filter { !owned.contains($0) }
            guard !gone.isEmpty else { continue }
            // While it is rebuilt nobody owns anything.
            guard try await engine.positions(of: [sale])[sale]?.epoch == position.epoch else {
                throw WireError.unavailable
            }
            for order in gone {
                guard case .cancelled(_, newly: true) = try await store.cancel(order) else { continue }
                cancelled += 1
                log(.warning, "cancellation_given_back", ["order": .init(order)])
            }
        }
    }

    /// An order that Redis has as confirmed was told so, and belongs into PostgreSQL.
    private func writeAgain(_ sale: SaleID, _ position: SalePosition) async throws {
        var missing: [LiveOrder] = []
        try await engine.owned(of: sale) { orders in
            missing += try await self.store.unknown(orders.filter(\.isConfirmed), of: sale)
        }
        guard !missing.isEmpty else { return }
        let keys = try await engine.keys(of: sale, for: Set(missing.map(\.order.sequence)))
        let lost = Set(missing).sorted { $0.order < $1.order }.map {
            LiveOrder(
                order: $0.order, client: $0.client, ticket: $0.ticket, slot: $0.slot, key: keys[$0.order.sequence],
                isConfirmed: true)
        }
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        for chunk in lost.chunks(of: Self.ordersPerStep) {
            let refused = try await store.restore(
                Array(chunk), of: sale, epoch: position.epoch, lastSequence: position.lastSequence, at: now)
            for (order, reason) in refused {
                log(.error, "order_not_given_back", ["order": .init(order.order), "reason": .text(reason)])
            }
            restored += Int64(chunk.count - refused.count)
        }
        log(.warning, "orders_given_back", ["sale": .init(sale), "orders": .init(lost.count)])
    }
}
