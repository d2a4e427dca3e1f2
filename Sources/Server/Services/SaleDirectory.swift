import Engine
import EventLoop
import Model
import Persistence

/// Finds sales, and makes sure that Redis knows them.
///
/// Redis is asked first. A sale that it doesn't know is looked up in PostgreSQL and rebuilt from there before it
/// sells; until then claims get `unavailable`, not a guess.
@LoopActor
final class SaleDirectory {
    private let engine: Engine
    private let store: Store
    private let verification: Verification
    private let log: Log
    private var missing = MissingIDs<SaleID>("sale")
    private var rebuilding: [SaleID: SharedAttempt<Bool>] = [:]

    /// Told when a sale of a room was registered, or its window changed, before the caller goes on.
    var onRoomSaleChanged: (@LoopActor (RoomID) async throws -> Void)?

    /// Takes accepted orders to PostgreSQL and settles them, however long it takes. Set before ``verify(isNewRun:)``.
    var commit: (@LoopActor ([AcceptedOrder]) async -> Void)?
    /// Brings what Redis has counted to PostgreSQL.
    var flushCounts: (@LoopActor () async -> Void)?

    init(engine: Engine, store: Store, verification: Verification, log: Log) {
        self.engine = engine
        self.store = store
        self.verification = verification
        self.log = log
    }

    /// Rebuilds sales of which Redis has lost something. Where this run of Redis was never compared, all that it knows: a
    /// ticket that was given back leaves no number behind by which its loss could be seen.
    func verify(isNewRun: Bool) async throws {
        // PostgreSQL first: what it has came from Redis, which has gone on since, unless it has lost something.
        let sales = try await store.activeSales().map(\.sale.id)
        let stored = try await store.lastSequences(of: sales)
        let live = try await engine.positions(of: sales)
        if isNewRun {
            // What the streams have was told. Nothing is decided meanwhile, so they only get shorter.
            for (sale, position) in live where position.unsettled > 0 {
                try await drain(sale, upTo: position.lastSequence)
            }
            await flushCounts?()
        }
        for (sale, last) in stored {
            guard let position = live[sale], position.epoch >= 0,
                (position.epoch, position.lastSequence) < (last.epoch, last.lastSequence)
            else { continue }
            log(
                .error, "redis_lost_writes",
                [
                    "sale": .init(sale), "redis": .init(position.lastSequence), "postgres": .init(last.lastSequence),
                ])
            try await rebuildLost(sale, epoch: last.epoch)
        }
        guard isNewRun else { return }
        for sale in stored.keys where (live[sale]?.epoch ?? -1) >= 0 {
            let rebuilt = try await engine.rebuild(sale, unless: true) { try await self.store.beginRebuild(sale) }
            log(.warning, "sale_rebuilt", ["sale": .init(sale), "byThisProcess": .init(rebuilt ? 1 : 0)])
        }
    }

    /// Takes what is left in a sale's stream to PostgreSQL, whoever has it in hand. What comes later is not meant: another
    /// process may be selling again.
    private func drain(_ sale: SaleID, upTo sequence: Int64) async throws {
        var last: String?
        while let commit {
            let orders = try await engine.unsettledOrders(of: sale, count: 1000)
            // Settled, and still there: it is not for us to go round in circles.
            guard let first = orders.first, first.entry != last, first.order.sequence <= sequence else { return }
            last = first.entry
            await commit(orders)
        }
    }

    /// Rebuilds a sale that Redis still knows, but not all of.
    private func rebuildLost(_ sale: SaleID, epoch: Int64) async throws {
        let rebuilt = try await engine.rebuild(sale, ifOlderThan: epoch + 1) { try await self.store.beginRebuild(sale) }
        // If not by us, by another process, in a newer epoch.
        log(.warning, "sale_rebuilt", ["sale": .init(sale), "byThisProcess": .init(rebuilt ? 1 : 0)])
    }

    /// The sale as it stands.
    /// - Throws: `not_found` as ``WireError``, or ``Outage``.
    func state(of id: SaleID) async throws -> SaleState {
        if let state = try await engine.state(of: id) { return state }
        try await restore(id)
        guard let state = try await engine.state(of: id) else { throw WireError.unavailable }
        return state
    }

    /// Registers a sale: PostgreSQL first, which gives the id; Redis second. A crash in between heals by ``restore(_:)``.
    func register(_ definition: SaleDefinition) async throws -> SaleState {
        let state = try await store.insertSale(
            name: definition.name, quantity: definition.quantity, price: definition.price,
            perClientLimit: definition.perClientLimit, room: definition.room?.rawValue,
            rejectPercent: definition.rejectPercent,
            window: SaleWindow(opensAt: definition.opensAt, closesAt: definition.closesAt))
        missing.remove(state.sale.id)
        do {
            try await engine.register(state, epoch: 0)
        } catch {
            log(.warning, "sale_not_in_redis_yet", ["sale": .init(state.sale.id), "error": .init("\(error)")])
        }
        await roomSaleChanged(state.sale)
        return state
    }

    /// Opens, closes or calls off a sale, in PostgreSQL and then in Redis.
    func apply(_ command: SaleCommand, to id: SaleID) async throws -> SaleState {
        // Another admin may change it at the same time: the version in PostgreSQL decides who was first.
        for _ in 0..<20 {
            let state = try await state(of: id)
            guard let stored = try await store.sale(id) else { throw WireError(.notFound, "no such sale") }
            let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
            let window: SaleWindow
            do {
                window = try command.apply(to: stored.window, at: now)
            } catch {
                throw WireError(error)
            }
            if window != stored.window {
                guard try await store.setWindow(window, of: id) == window else { continue }
                log(.info, "sale_window_changed", ["sale": .init(id), "command": .init(command.rawValue)])
            }
            // Redis may be rebuilding the sale from what PostgreSQL was before: then it is told again.
            if window != state.window, try await !engine.setWindow(window, of: id) {
                await EventLoop.sleep(milliseconds: 50)
                continue
            }
            let changed = try await self.state(of: id)
            guard changed.window.version >= window.version else { continue }
            await roomSaleChanged(changed.sale)
            return changed
        }
        throw WireError.unavailable
    }

    private func roomSaleChanged(_ sale: Sale) async {
        guard let room = sale.room else { return }
        do {
            try await onRoomSaleChanged?(RoomID(trusted: room))
        } catch {
            // A scheduler comes back to it.
            log(.warning, "room_not_told_yet", ["sale": .init(sale.id), "error": .init("\(error)")])
        }
    }

    /// Tells Redis of windows that it missed: an admin's command reaches PostgreSQL first, and whoever brought it there
    /// may have died before Redis heard of it.
    func reconcileWindows() async throws {
        let stored = try await store.activeSales()
        let live = try await engine.states(of: stored.map(\.sale.id))
        for sale in stored {
            guard let state = live[sale.sale.id], state.window.version < sale.window.version else { continue }
            _ = try await engine.setWindow(sale.window, of: sale.sale.id)
            log(.warning, "sale_window_reconciled", ["sale": .init(sale.sale.id)])
        }
    }

    /// Rebuilds a sale that Redis doesn't know. Returns when Redis knows it.
    /// - Throws: `not_found` when PostgreSQL doesn't know it either.
    func restore(_ id: SaleID) async throws {
        try missing.check(id)
        // Its data may just have been flushed: then others have to say what they know first.
        try await engine.requireSameData()
        guard verification.isDone else { throw WireError.unavailable }
        let attempt = rebuilding[id] ?? SharedAttempt()
        rebuilding[id] = attempt
        defer { if !attempt.isUnderWay { rebuilding[id] = nil } }
        guard try await attempt.run({ try await self.rebuild(id) }) else {
            missing.insert(id)
            throw missing.notFound
        }
    }

    /// False when there is no such sale.
    private func rebuild(_ id: SaleID) async throws -> Bool {
        guard try await store.sale(id) != nil else { return false }
        var backoff = Backoff(base: 50, cap: 200)
        for _ in 0..<10 {
            if try await engine.state(of: id) != nil { return true }
            var snapshot: SaleSnapshot?
            let rebuilt = try await engine.rebuild(id) {
                snapshot = try await self.store.beginRebuild(id)
                return snapshot
            }
            if rebuilt, let snapshot {
                log(
                    .warning, "sale_rebuilt",
                    [
                        "sale": .init(id), "epoch": .init(snapshot.epoch), "orders": .init(snapshot.orders.count),
                        "remaining": .init(snapshot.state.remaining),
                    ])
                return true
            }
            // Another process is at it: look again shortly.
            await EventLoop.sleep(milliseconds: backoff.next())
        }
        throw WireError.unavailable
    }
}
