import Engine
import EventLoop
import Model
import Persistence

/// Takes what Redis decided about holds to PostgreSQL, and tells clients of their ends.
///
/// The steps of a batch are in this order so that a process may die between any two of them: commit (each entry says
/// everything, and writing it twice changes nothing), tell (the log knows the outcome already), acknowledge.
@LoopActor
struct ReservationCommitter: StreamWork {
    let engine: Engine
    let store: Store
    let directory: PerformanceDirectory
    let metrics: Metrics
    let log: Log

    let name = "performance"
    // A hold's end comes after its beginning.
    let batchesAtOnce = 1

    func active() async throws -> Set<PerformanceID> {
        Set(try await store.activePerformances().map(\.performance.id))
    }

    func late(besides active: Set<PerformanceID>) async throws -> Set<PerformanceID> {
        let all = try await store.activePerformances(startedWithinMilliseconds: .max).map(\.performance.id)
        let positions = try await engine.positions(of: all.filter { !active.contains($0) })
        return Set(positions.filter { $0.value.unsettled > 0 }.keys)
    }

    func subscribe(_ handler: @escaping @LoopActor (PerformanceID?) -> Void) async throws -> Subscription {
        try await engine.subscribePerformances { event in
            switch event {
            case .changed(let performance): handler(performance)
            case .renewed: handler(nil)
            }
        }
    }

    func subscribe(
        _ performance: PerformanceID, _ handler: @escaping @LoopActor () -> Void
    ) async throws -> Subscription {
        try await engine.subscribe(performance: performance) { _ in handler() }
    }

    func read(_ performance: PerformanceID, consumer: String, count: Int) async throws -> [ReservationEvent] {
        try await engine.readReservations(of: performance, consumer: consumer, count: count)
    }

    func takeOver(
        _ performance: PerformanceID, consumer: String, idleMilliseconds: Int64, count: Int
    ) async throws -> [ReservationEvent] {
        try await engine.takeOverReservations(
            of: performance, consumer: consumer, idleMilliseconds: idleMilliseconds, count: count)
    }

    func name(of event: ReservationEvent) -> StreamEntryName<PerformanceID> {
        StreamEntryName(subject: event.hold.id.performance, entry: event.entry)
    }

    func finish(_ events: [ReservationEvent]) async {
        FaultPoint.logRead.reach()
        let stale = await withoutEnd("commit", events.count, log) { Set(try await store.commit(events)) }
        FaultPoint.logCommitted.reach()
        let refused = events.filter { stale.contains($0.hold.id) }
        if !refused.isEmpty { await withoutEnd("rebuild", refused.count, log) { try await rebuild(after: refused) } }
        let ended = events.filter { $0.status != .held && !stale.contains($0.hold.id) }
        // What Redis has of them nevertheless came back with a rebuild.
        let over = ended + refused.filter { $0.status == .held }
        if !over.isEmpty {
            // What a process knew of itself (it has no entry) is in no log of this Redis, and no hold.
            let known = over.filter { !$0.entry.isEmpty }
            await withoutEnd("settle", over.count, log) { try await settle(known) }
            await withoutEnd("tell", over.count, log) {
                _ = try await engine.tell(
                    over.map { event in
                        let status = event.status == .held ? .expired : event.status
                        return (client: event.hold.client, outcome: .reservation(event.hold.id, status))
                    })
            }
        }
        FaultPoint.logTold.reach()
        let entries = events.filter { !$0.entry.isEmpty }
        await withoutEnd("settle", events.count, log) { try await engine.acknowledge(entries) }
        for event in events { metrics.reservations[event.status.rawValue, default: 0] += 1 }
    }

    /// Frees what Redis still has of reservations that are over in PostgreSQL.
    private func settle(_ over: [ReservationEvent]) async throws {
        // A refused one may have given its id to another, which a rebuild has brought back.
        var settlements: [(id: ReservationID, as: SeatSettlement)] = []
        for (performance, events) in Dictionary(grouping: over, by: \.hold.id.performance) {
            let statuses = try await store.statuses(of: events.map(\.hold.id.sequence), in: performance)
            for event in events where !(statuses[event.hold.id]?.ownsSeats ?? false) {
                settlements.append((event.hold.id, .over))
            }
        }
        do {
            try await engine.settle(settlements)
        } catch {
            // Redis does not know one of them, and perhaps nobody else asks for it.
            for performance in Set(settlements.map(\.id.performance)) {
                do {
                    try await directory.restore(performance)
                } catch let error as WireError where error.code == .notFound {
                    settlements.removeAll { $0.id.performance == performance }
                }
            }
            try await engine.settle(settlements)
        }
    }

    /// PostgreSQL refuses what Redis decided: Redis has lost writes, and what it has is built anew, unless it was since.
    private func rebuild(after refused: [ReservationEvent]) async throws {
        for event in refused {
            log(.error, "hold_is_stale", ["reservation": .init(event.hold.id), "status": .init(event.status.rawValue)])
        }
        for (performance, events) in Dictionary(grouping: refused, by: \.hold.id.performance) {
            var epoch = events.filter { $0.status == .held }.map(\.hold.epoch).max()
            // The log says that a paid one has ended, which may be of an epoch before this one.
            let ended = events.filter { $0.status != .held }.map(\.hold.id.sequence)
            if try await store.statuses(of: ended, in: performance).values.contains(.paid) {
                epoch = try await store.performance(performance)?.epoch
            }
            if let epoch { try await directory.rebuildLost(performance, epoch: epoch) }
        }
    }
}
