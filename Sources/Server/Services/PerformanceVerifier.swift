import Engine
import EventLoop
import Model
import Persistence

/// Compares what Redis knows of performances with PostgreSQL, and rebuilds those of which Redis may have lost something.
@LoopActor
final class PerformanceVerifier {
    private let engine: Engine
    private let store: Store
    private let directory: PerformanceDirectory
    private let log: Log

    /// Takes what the logs have to PostgreSQL, however long it takes. Set before ``verify(isNewRun:)``.
    var commit: (@LoopActor ([ReservationEvent]) async -> Void)?

    init(engine: Engine, store: Store, directory: PerformanceDirectory, log: Log) {
        self.engine = engine
        self.store = store
        self.directory = directory
        self.log = log
    }

    /// Rebuilds performances of which Redis has lost holds. Where this run of Redis was never compared, all that it knows: ends
    /// of holds, payments under way, and what came of payments leave no number behind by which their loss could be seen,
    /// and in a new epoch nothing of before can be taken for something of now.
    func verify(isNewRun: Bool) async throws {
        // PostgreSQL first: what it has came from Redis, which has gone on since, unless it has lost something.
        let performances = try await store.activePerformances(startedWithinMilliseconds: isNewRun ? .max : 86_400_000)
            .map(\.performance.id)
        let stored = try await store.lastSequences(of: performances)
        let live = try await engine.positions(of: performances)
        let known = stored.filter { id, _ in (live[id]?.epoch ?? -1) >= 0 }
        if isNewRun {
            // What the logs have was told, and would be refused after a rebuild.
            for id in known.keys where live[id]!.unsettled > 0 { try await drain(id, upTo: live[id]!.lastSequence) }
        }
        for (id, last) in known where (live[id]!.epoch, live[id]!.lastSequence) < (last.epoch, last.lastSequence) {
            log(
                .error, "redis_lost_writes",
                [
                    "performance": .init(id), "redis": .init(live[id]!.lastSequence),
                    "postgres": .init(last.lastSequence),
                ])
            try await directory.rebuildLost(id, epoch: last.epoch)
        }
        guard isNewRun else { return }
        for id in known.keys { try await directory.rebuildForThisRun(id) }
    }

    /// Takes what is left in a performance's log to PostgreSQL, whoever has it in hand. What comes later is not meant: another
    /// process may be selling again.
    private func drain(_ id: PerformanceID, upTo sequence: Int64) async throws {
        var last: String?
        while let commit {
            let events = try await engine.unwritten(of: id, count: 1000)
            guard let first = events.first, first.entry != last, first.hold.id.sequence <= sequence else { return }
            last = first.entry
            await commit(events)
        }
    }
}
