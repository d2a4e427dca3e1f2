import Engine
import EventLoop
import Model
import Persistence

/// Finds performances, and makes sure that Redis knows them.
///
/// A definition never changes, so it is kept here once it was read. A performance that Redis doesn't know is rebuilt from
/// PostgreSQL before its seats are held again; until then the answer is `unavailable`, not a guess.
@LoopActor
final class PerformanceDirectory {
    private let engine: Engine
    private let store: Store
    private let verification: Verification
    private let log: Log
    private var known: [PerformanceID: Performance] = [:]
    private var names: [ConcertID: String] = [:]
    private var missing = MissingIDs<PerformanceID>("performance")
    private var rebuilding: [PerformanceID: SharedAttempt<Void>] = [:]

    /// Told when a performance was registered here, before the caller goes on.
    var onRegistered: (@LoopActor (Performance) async throws -> Void)?

    private static let knownLimit = 10_000
    private static let rebuiltAtOnce = 20
    private static let activeMilliseconds: Int64 = 1000
    private var active: (ids: [PerformanceID], at: Int64)?
    private let reading = SharedAttempt<[PerformanceID]>()

    init(engine: Engine, store: Store, verification: Verification, log: Log) {
        self.engine = engine
        self.store = store
        self.verification = verification
        self.log = log
    }

    /// A performance as it was registered.
    /// - Throws: `not_found`, ``Outage``.
    func performance(_ id: PerformanceID) async throws -> Performance {
        if let performance = known[id] { return performance }
        try missing.check(id)
        guard let stored = try await store.performance(id) else {
            missing.insert(id)
            throw missing.notFound
        }
        keep(stored.performance)
        return stored.performance
    }

    /// A performance that was read before; nil when it has to be looked up.
    func kept(_ id: PerformanceID) -> Performance? { known[id] }

    private func keep(_ performance: Performance) {
        if known.count >= Self.knownLimit { known.removeAll() }
        known[performance.id] = performance
    }

    /// A concert's name.
    /// - Throws: `not_found`, ``Outage``.
    func name(of concert: ConcertID) async throws -> String {
        if let name = names[concert] { return name }
        guard let found = try await store.concert(concert) else { throw WireError(.notFound, "no such concert") }
        if names.count >= Self.knownLimit { names.removeAll() }
        names[concert] = found.name
        return found.name
    }

    /// The performances that are on sale, or have something in flight, as of a second ago at most.
    /// - Throws: ``Outage``.
    func activeIDs() async throws -> [PerformanceID] {
        if let active, EventLoop.monotonicMilliseconds - active.at < Self.activeMilliseconds { return active.ids }
        return try await reading.run {
            let ids = try await self.store.activePerformances().map(\.performance.id)
            self.active = (ids, EventLoop.monotonicMilliseconds)
            return ids
        }
    }

    /// Registers a performance: PostgreSQL first, which gives the id; Redis second. A crash in between heals by
    /// ``restore(_:)``.
    /// - Throws: `not_found` when there is no such concert; ``Outage``.
    func register(_ definition: PerformanceDefinition, of concert: ConcertID) async throws -> Performance {
        let inserted = try await store.insertPerformance(
            of: concert, startsAt: definition.startsAt, price: definition.price, room: definition.room,
            holdSeconds: definition.holdSeconds, perClientLimit: definition.perClientLimit, layout: definition.layout)
        guard let performance = inserted else { throw WireError(.notFound, "no such concert") }
        missing.remove(performance.id)
        active = nil
        keep(performance)
        do {
            try await engine.register(performance, epoch: 0)
        } catch {
            log(
                .warning, "performance_not_in_redis_yet",
                ["performance": .init(performance.id), "error": .init("\(error)")])
        }
        do {
            try await onRegistered?(performance)
        } catch {
            // A scheduler comes back to it.
            log(.warning, "room_not_told_yet", ["performance": .init(performance.id), "error": .init("\(error)")])
        }
        return performance
    }

    /// Does something with a performance that Redis has to know; makes it known first when it doesn't.
    /// - Throws: `not_found` when there is no such performance; what `call` throws.
    func with<Result>(_ id: PerformanceID, _ call: @LoopActor () async throws -> Result?) async throws -> Result {
        if let result = try await call() { return result }
        try await restore(id)
        guard let result = try await call() else { throw WireError.unavailable }
        return result
    }

    /// What is free, held and sold of performances, each made known to Redis where it isn't: a few at a time, as rebuilding
    /// is work. What can't be known now is left out.
    /// - Throws: ``Outage`` when Redis can't be asked.
    func tallies(of ids: [PerformanceID]) async throws -> [PerformanceID: SeatTally] {
        var tallies = try await engine.tallies(of: ids)
        for id in ids.filter({ tallies[$0] == nil }).prefix(Self.rebuiltAtOnce) {
            tallies[id] = try? await with(id) { try await self.engine.tallies(of: [id])[id] }
        }
        return tallies
    }

    /// Rebuilds a performance that Redis doesn't know. Returns when Redis knows it.
    /// - Throws: `not_found` when PostgreSQL doesn't know it either.
    func restore(_ id: PerformanceID) async throws {
        _ = try await performance(id)
        // As for sales.
        try await engine.requireSameData()
        guard verification.isDone else { throw WireError.unavailable }
        let attempt = rebuilding[id] ?? SharedAttempt()
        rebuilding[id] = attempt
        defer { if !attempt.isUnderWay { rebuilding[id] = nil } }
        try await attempt.run { try await self.rebuild(id) }
    }

    private func rebuild(_ id: PerformanceID) async throws {
        var backoff = Backoff(base: 50, cap: 200)
        for _ in 0..<10 {
            if try await engine.tallies(of: [id])[id] != nil { return }
            if try await engine.rebuild(id, snapshot: { try await self.store.beginRebuild(id) }) {
                return log(.warning, "performance_rebuilt", ["performance": .init(id)])
            }
            // Another process is at it: look again shortly.
            await EventLoop.sleep(milliseconds: backoff.next())
        }
        throw WireError.unavailable
    }

    /// Rebuilds a performance, unless that was done in this run of Redis.
    func rebuildForThisRun(_ id: PerformanceID) async throws {
        let rebuilt = try await engine.rebuild(id, unless: true) { try await self.store.beginRebuild(id) }
        log(.warning, "performance_rebuilt", ["performance": .init(id), "byThisProcess": .init(rebuilt ? 1 : 0)])
    }

    /// Rebuilds a performance that Redis knows, but not all of, unless it was rebuilt since this epoch.
    func rebuildLost(_ id: PerformanceID, epoch: Int64) async throws {
        let rebuilt = try await engine.rebuild(id, ifOlderThan: epoch + 1) { try await self.store.beginRebuild(id) }
        // If not by us, by another process, in a newer epoch.
        log(.warning, "performance_rebuilt", ["performance": .init(id), "byThisProcess": .init(rebuilt ? 1 : 0)])
    }
}
