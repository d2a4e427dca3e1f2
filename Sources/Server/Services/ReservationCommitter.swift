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
    let verification: Verification
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
        for event in refused { log(.error, "hold_is_stale", ["reservation": .init(event.hold.id)]) }
        let ended = events.filter { $0.status != .held }.map { ($0.hold, $0.status) }
        let outcomes = (ended + refused.filter { $0.status == .held }.map { ($0.hold, .expired) }).map { hold, status in
            (client: hold.client, outcome: Outcome.reservation(hold.id, status))
        }
        if !refused.isEmpty {
            await withoutEnd("settle", refused.count, log) {
                try await engine.settle(refused.map { (id: $0.hold.id, as: .over) })
            }
            // Redis gave seats away that it had sold: it has lost writes.
            verification.start()
        }
        if !outcomes.isEmpty {
            await withoutEnd("tell", outcomes.count, log) { _ = try await engine.tell(outcomes) }
        }
        FaultPoint.logTold.reach()
        await withoutEnd("settle", events.count, log) { try await engine.acknowledge(events) }
        for event in events { metrics.reservations[event.status.rawValue, default: 0] += 1 }
    }
}
