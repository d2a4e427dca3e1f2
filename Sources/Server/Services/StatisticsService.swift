import Engine
import EventLoop
import Model
import Persistence

/// Brings Redis' live counters to PostgreSQL, and answers questions about both.
@LoopActor
final class StatisticsService {
    private let engine: Engine
    private let store: Store
    private let directory: SaleDirectory
    private let log: Log
    private let timer = LoopTimer()
    private var flushing: Task<Void, Never>?
    private var overallReports: [SeriesInterval?: (at: Int64, report: Task<Result<Report, any Error>, Never>)] = [:]
    private static let overallMilliseconds: Int64 = 1000
    /// Seconds that are older than this, and stored, are dropped from Redis.
    private static let keepSeconds: Int64 = 60

    init(engine: Engine, store: Store, directory: SaleDirectory, log: Log) {
        self.engine = engine
        self.store = store
        self.directory = directory
        self.log = log
    }

    /// Starts flushing every second.
    func start() {
        timer.start(after: 500, every: 1000) { [weak self] in
            guard let self, self.flushing == nil else { return }
            EventLoop.task { await self.flush() }
        }
    }

    /// Flushes once more and stops.
    func stop() async {
        timer.stop()
        await flush()
    }

    /// Writes what Redis has counted to PostgreSQL, as absolute values: doing it twice, or by two processes, is harmless.
    /// Calls while a flush is under way wait for that one.
    func flush() async {
        if let flushing {
            await flushing.value
            return
        }
        let task = EventLoop.task {
            do {
                // All at once: what they ask of Redis leaves in one write.
                let flushes = try await self.store.activeSales().map { stored in
                    EventLoop.task { await self.flushOrLog(stored.sale.id) }
                }
                for flush in flushes { await flush.value }
            } catch {
                self.log(.debug, "statistics_wait", ["error": .init("\(error)")])
            }
        }
        flushing = task
        await task.value
        flushing = nil
    }

    private func flushOrLog(_ sale: SaleID) async {
        do {
            try await flush(sale)
        } catch {
            log(.debug, "statistics_wait", ["sale": .init(sale), "error": .init("\(error)")])
        }
    }

    private func flush(_ sale: SaleID) async throws {
        let entries = try await engine.series(of: sale)
        guard !entries.isEmpty else { return }
        try await store.storeSeries(
            entries.filter { $0.counter.isCountedInRedis }
                .map { SeriesEntry(sale: sale, second: $0.second, counter: $0.counter, value: $0.value) })
        if let tallies = try await engine.tallies(of: sale) {
            try await store.storeMoments(sale, firstClaimAt: tallies.firstClaimAt, soldOutAt: tallies.soldOutAt)
        }
        let limit = EventLoop.wallMilliseconds / 1000 - Self.keepSeconds
        let old = entries.filter { $0.second < limit }
        if !old.isEmpty { try await engine.dropSeries(of: sale, old) }
    }

    /// What is told about one sale, or about all.
    struct Report {
        var counts: Counts
        var remaining: Int64
        var firstClaimAt: Timestamp?
        var soldOutAt: Timestamp?
        var series: [SeriesPoint]?
        /// Who waits in rooms, and was admitted to them, over all of them.
        var waiting: Int64 = 0
        var admitted: Int64 = 0
    }

    /// Statistics of one sale, by Redis' live counters; the series by PostgreSQL.
    func report(on sale: SaleID, interval: SeriesInterval?) async throws -> Report {
        _ = try await directory.state(of: sale)
        guard let tallies = try await engine.tallies(of: sale) else { throw WireError.unavailable }
        var report = Report(
            counts: tallies.counts, remaining: tallies.remaining, firstClaimAt: tallies.firstClaimAt,
            soldOutAt: tallies.soldOutAt)
        if let interval {
            await flush()
            report.series = try await store.series(of: sale, interval: interval, limit: 3600)
        }
        return report
    }

    /// Statistics of all sales together, at most a second old: adding all of them up is work, and anybody may ask.
    func overall(interval: SeriesInterval?) async throws -> Report {
        let now = EventLoop.monotonicMilliseconds
        if let known = overallReports[interval], now - known.at < Self.overallMilliseconds {
            return try await known.report.value.get()
        }
        let report = EventLoop.task { () -> Result<Report, any Error> in
            do {
                return .success(try await self.addUp(interval))
            } catch {
                return .failure(error)
            }
        }
        overallReports[interval] = (now, report)
        return try await report.value.get()
    }

    private func addUp(_ interval: SeriesInterval?) async throws -> Report {
        await flush()
        let stored = try await store.statistics(of: nil)
        let active = try await store.activeSales().map(\.sale.id)
        let remaining = try await engine.states(of: active).values.reduce(0) { $0 + $1.remaining }
        var report = Report(
            counts: stored.counts, remaining: remaining, firstClaimAt: stored.firstClaimAt, soldOutAt: stored.soldOutAt)
        for room in try await store.rooms() {
            guard let live = try await engine.inspect(room: room.id) else { continue }
            report.waiting += live.summary.waiting
            report.admitted += live.admitted
        }
        if let interval { report.series = try await store.series(of: nil, interval: interval, limit: 3600) }
        return report
    }
}

extension Counter {
    /// Whether Redis is where it is counted first; the others are counted by the transaction that makes them so.
    var isCountedInRedis: Bool {
        switch self {
        case .requests, .accepted, .refused: true
        case .confirmed, .failed, .cancelled: false
        }
    }
}
