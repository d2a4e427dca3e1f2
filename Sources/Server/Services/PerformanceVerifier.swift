import Engine
import EventLoop
import Model
import Persistence

/// Compares what Redis knows of performances with PostgreSQL, and mends what Redis has lost.
@LoopActor
final class PerformanceVerifier {
    private let engine: Engine
    private let store: Store
    private let directory: PerformanceDirectory
    private let log: Log

    init(engine: Engine, store: Store, directory: PerformanceDirectory, log: Log) {
        self.engine = engine
        self.store = store
        self.directory = directory
        self.log = log
    }

    /// Rebuilds performances of which Redis has lost holds; where this run of Redis was never compared, looks at each
    /// reservation as well: ends, payments and refunds leave no number behind that could be compared.
    func verify(isNewRun: Bool) async throws {
        // PostgreSQL first: what it has came from Redis, which has gone on since, unless it has lost something.
        let performances = try await store.activePerformances().map(\.performance.id)
        let stored = try await store.lastSequences(of: performances)
        let live = try await engine.positions(of: performances)
        var epochs: [PerformanceID: Int64] = [:]
        for (id, last) in stored {
            guard let position = live[id], position.epoch >= 0 else { continue }
            guard (position.epoch, position.lastSequence) < (last.epoch, last.lastSequence) else {
                epochs[id] = last.epoch
                continue
            }
            log(
                .error, "redis_lost_writes",
                [
                    "performance": .init(id), "redis": .init(position.lastSequence),
                    "postgres": .init(last.lastSequence),
                ])
            try await directory.rebuildLost(id, epoch: last.epoch)
        }
        guard isNewRun else { return }
        try await engine.raiseEvents(of: Array(epochs.keys))
        for (id, epoch) in epochs where try await !isComplete(id) {
            log(.error, "redis_lost_writes", ["performance": .init(id)])
            try await directory.rebuildLost(id, epoch: epoch)
        }
    }

    /// Compares each reservation, and brings to Redis what it did not hear of their ends and payments.
    /// - Returns: false when Redis has lost a hold: then the whole is to be rebuilt.
    private func isComplete(_ id: PerformanceID) async throws -> Bool {
        let live = try await store.liveReservations(of: id)
        let recorded = try await engine.recordedReservations(of: id)
        var settlements: [(id: ReservationID, as: SeatSettlement)] = []
        for chunk in Array(live.keys).chunks(of: Self.chunk) {
            let records = try await engine.holds(Array(chunk))
            for reservation in chunk {
                if let record = records[reservation] {
                    if live[reservation] == .paid, !record.isSold { settlements.append((reservation, .sold)) }
                } else if try await isLost(reservation) {
                    return false
                }
            }
        }
        for chunk in recorded.filter({ live[$0] == nil }).chunks(of: Self.chunk) {
            let ended = try await store.statuses(of: chunk.map(\.sequence), in: id)
            let records = try await engine.holds(Array(chunk))
            for reservation in chunk {
                guard let record = records[reservation], let status = ended[reservation], !status.ownsSeats else {
                    continue
                }
                settlements.append((reservation, record.isSold ? .refunded : .over))
            }
        }
        if !settlements.isEmpty {
            log(
                .error, "redis_lost_writes",
                ["performance": .init(id), "settlements": .init(settlements.count)])
            try await engine.settle(settlements)
        }
        return true
    }

    /// Whether a reservation that has its seats in PostgreSQL, and no record in Redis, is lost: it may have ended since
    /// PostgreSQL was asked, or its end may still be in the log.
    private func isLost(_ id: ReservationID) async throws -> Bool {
        let (event, _) = try await engine.unwritten(id)
        if let event, event.status != .held { return false }
        return try await store.statuses(of: [id.sequence], in: id.performance)[id]?.ownsSeats ?? false
    }

    private static let chunk = 1000
}
