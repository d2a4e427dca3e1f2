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

    /// How long the logs may stand still, in milliseconds, before what they have is no longer waited for.
    private static let patience: Int64 = 5000

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
        for (id, last) in known where (live[id]!.epoch, live[id]!.lastSequence) < (last.epoch, last.lastSequence) {
            log(
                .error, "redis_lost_writes",
                [
                    "performance": .init(id), "redis": .init(live[id]!.lastSequence),
                    "postgres": .init(last.lastSequence),
                ])
            try await directory.rebuildLost(id, epoch: last.epoch)
        }
        guard isNewRun, !known.isEmpty else { return }
        await waitForCommitters(Array(known.keys))
        for id in known.keys { try await directory.rebuildForThisRun(id) }
    }

    /// Holds that only the logs have would be refused after a rebuild: committers write them first. Nothing is decided
    /// meanwhile, so the logs only get shorter.
    private func waitForCommitters(_ performances: [PerformanceID]) async {
        var shortest = Int64.max
        var movedAt = EventLoop.monotonicMilliseconds
        while EventLoop.monotonicMilliseconds - movedAt < Self.patience {
            guard let positions = try? await engine.positions(of: performances) else { return }
            let left = positions.values.reduce(0) { $0 + $1.unsettled }
            guard left > 0 else { return }
            if left < shortest { (shortest, movedAt) = (left, EventLoop.monotonicMilliseconds) }
            await EventLoop.sleep(milliseconds: 50)
        }
        log(.error, "holds_not_committed", ["entries": .init(shortest)])
    }
}
