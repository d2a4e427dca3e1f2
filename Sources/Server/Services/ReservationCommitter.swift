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
            await withoutEnd("settle", over.count, log) {
                try await engine.settle(over.map { (id: $0.hold.id, as: .over) })
            }
            await withoutEnd("tell", over.count, log) {
                _ = try await engine.tell(
                    over.map { event in
                        let status = event.status == .held ? .expired : event.status
                        return (client: event.hold.client, outcome: .reservation(event.hold.id, status))
                    })
            }
        }
        FaultPoint.logTold.reach()
        await withoutEnd("settle", events.count, log) { try await engine.acknowledge(events) }
        for event in events { metrics.reservations[event.status.rawValue, default: 0] += 1 }
    }

    /// PostgreSQL refuses what Redis decided: Redis has lost writes, and what it has is built anew, unless it was since.
    private func rebuild(after refused: [ReservationEvent]) async throws {
        for event in refused {
            log(.error, "hold_is_stale", ["reservation": .init(event.hold.id), "status": .init(event.status.rawValue)])
            let id = event.hold.id.performance
            if event.status == .held {
                try await directory.rebuildLost(id, epoch: event.hold.epoch)
            } else if try await store.reservation(event.hold.id)?.status == .paid,
                let stored = try await store.performance(id)
            {
                try await directory.rebuildLost(id, epoch: stored.epoch)
            }
        }
    }
}
