import Engine
import EventLoop
import Foundation
import Model
import Persistence

/// What each process does when Redis may have lost something, before anything is rebuilt: it brings in what it knows, and
/// waits for the others to have done so. `docs/redis-loss.md` has the whole.
@LoopActor
final class Recall {
    private let engine: Engine
    private let store: Store
    private let unconfirmed: Unconfirmed
    private let rooms: RoomService
    private let log: Log
    private let process = UUID().uuidString
    private let timer = LoopTimer()
    private var hellos: Subscription?
    /// How many processes there were when all was well.
    private var peers: Int64 = 1
    private var recalledAt: Int64 = .min / 2
    /// Whether this process has seen Redis whole.
    private var wasWell = false
    /// Whether Redis is another than before, and lines and passes have to be brought back.
    private var isMeant = false
    private var meant: [RoomID] = []

    /// How long the others are waited for, in milliseconds: on a busy machine each may take its time to notice. Only where
    /// one is frozen, or cut off, does it last so long.
    private static let patience: Int64 = 4000
    /// The same for a process that has just begun: the pause of the others between two tries to connect, and a little.
    private static let newbornPatience: Int64 = 1500
    /// How long those are waited for who are at it, in milliseconds.
    private static let longestPatience: Int64 = 60_000
    private static let countMilliseconds: Int64 = 500
    private static let settlingMilliseconds: Int64 = 5000

    /// Who waited here, and in which rooms, when Redis was found to be another. Whoever is gone since has the grace.
    private var waiters: [RoomID: [(client: ClientID, number: Int64)]] = [:]

    init(engine: Engine, store: Store, unconfirmed: Unconfirmed, rooms: RoomService, log: Log) {
        self.engine = engine
        self.store = store
        self.unconfirmed = unconfirmed
        self.rooms = rooms
        self.log = log
    }

    /// Redis is another: these wait here. Those who are gone since it was another before count as well.
    func remember(_ waiting: [RoomID: [(client: ClientID, number: Int64)]]) {
        isMeant = true
        waiters.merge(waiting) { old, new in
            let known = Set(new.map(\.client))
            return new + old.filter { !known.contains($0.client) }
        }
    }

    /// Redis was compared for the first time: from now on this process is one of those who are waited for. It counts the
    /// others while `isWell`, to know whom to wait for, and tells them that it is there.
    func start(while isWell: @escaping @LoopActor () -> Bool) {
        wasWell = true
        let count: @LoopActor () -> Void = { [weak self] in
            guard let self, isWell() else { return }
            EventLoop.task {
                guard let count = try? await self.engine.peerCount(), isWell() else { return }
                // After a recall some may not be back yet, and are waited for again if another follows.
                let isSettled = EventLoop.monotonicMilliseconds - self.recalledAt > Self.settlingMilliseconds
                if count > self.peers || isSettled { self.peers = count }
            }
        }
        timer.startInStep(every: Self.countMilliseconds, count)
        count()
        EventLoop.task {
            var backoff = Backoff(base: 50, cap: 1000)
            while true {
                do {
                    if self.hellos == nil { self.hellos = try await self.engine.subscribeHellos(count) }
                    return try await self.engine.sayHello()
                } catch {
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            }
        }
    }

    /// Brings in what this process knows. Where nobody has compared this Redis before, returns when all have.
    func bringIn(isNewRun: Bool) async throws {
        guard let identity = engine.identity else { throw Outage(.redis, "not connected") }
        let began = EventLoop.monotonicMilliseconds
        // One that was never well has nothing to bring in, and is not one of those who are waited for.
        let wasWell = wasWell
        if wasWell { try await engine.recall(.busy, by: process, identity: identity) }
        let saying = LoopTimer()
        if wasWell {
            saying.start(after: Self.countMilliseconds, every: Self.countMilliseconds) { [engine, process] in
                EventLoop.task { _ = try? await engine.recall(.busy, by: process, identity: identity) }
            }
        }
        defer {
            saying.stop()
            recalledAt = EventLoop.monotonicMilliseconds
        }
        if isMeant {
            // First of all: from here on nobody is admitted, and nobody joins.
            if isNewRun { try await holdRooms() }
            try await bringBackWaiters()
        }
        await unconfirmed.bringIn()
        saying.stop()
        if wasWell { try await engine.recall(.done, by: process, identity: identity) }
        guard isNewRun else { return }
        let found = try await waitForOthers(identity, wasWell: wasWell)
        log(
            .warning, "recalled",
            [
                "processes": .init(found.done), "busy": .init(found.busy), "expected": .init(peers),
                "milliseconds": .init(EventLoop.monotonicMilliseconds - began),
            ])
    }

    private func waitForOthers(_ identity: String, wasWell: Bool) async throws -> (busy: Int64, done: Int64) {
        // Who was never well does not know who else there is: those may be on their way to a Redis that has just come back.
        let patience =
            if wasWell { Self.patience } else if try await isAnythingOn() { Self.newbornPatience } else { 0 as Int64 }
        let began = EventLoop.monotonicMilliseconds
        while true {
            let found = try await engine.recall(.asking, by: process, identity: identity)
            guard identity == engine.identity else { throw Outage(.redis, "it is another again") }
            let elapsed = EventLoop.monotonicMilliseconds - began
            if wasWell, found.busy == 0, found.done >= peers { return found }
            if found.busy == 0, elapsed >= patience { return found }
            if elapsed >= Self.longestPatience { return found }
            await EventLoop.sleep(milliseconds: 20)
        }
    }

    private func isAnythingOn() async throws -> Bool {
        if try await !store.activeSales().isEmpty { return true }
        return try await !store.activePerformances().isEmpty
    }

    /// Lines go on, in the order that is known.
    func resumeLines() async throws {
        guard isMeant else { return }
        if !meant.isEmpty { try await spendPasses() }
        for room in meant { try await engine.resume(room) }
        meant = []
        waiters = [:]
        isMeant = false
    }

    /// A Redis that has lost that passes were spent has them still, and so may those who told them: what was bought by them
    /// tells.
    private func spendPasses() async throws {
        for (room, buyers) in try await store.recentRoomBuyers() {
            try await engine.spend(
                buyers.map { (client: $0.client, token: nil, before: $0.acceptedAt) }, room: room)
        }
    }

    private func holdRooms() async throws {
        meant = try await store.rooms().map(\.id)
        for room in meant { _ = try await engine.bringBack([], passes: [], to: room) }
    }

    private func bringBackWaiters() async throws {
        let waiting = waiters
        let passes = rooms.toldPasses.all
        guard !waiting.isEmpty || !passes.isEmpty else { return }
        for room in Set(waiting.keys).union(passes.keys) {
            let found: (missing: Int64, passes: Int64)
            do {
                found = try await rooms.directory.with(room) {
                    try await self.engine.bringBack(waiting[room] ?? [], passes: passes[room] ?? [], to: room)
                }
            } catch let error as WireError where error.code == .notFound {
                // PostgreSQL has forgotten it as well.
                log(.error, "room_is_lost", ["room": .init(room)])
                continue
            }
            if !meant.contains(room) { meant.append(room) }
            guard found.missing > 0 || found.passes > 0 else { continue }
            log(
                .warning, "line_brought_back",
                ["room": .init(room), "waiters": .init(found.missing), "passes": .init(found.passes)])
        }
    }
}
