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
    private var meant: [RoomID] = []

    /// How long the others are waited for, in milliseconds: on a busy machine each may take its time to notice. Only where
    /// one is frozen, or cut off, does it last so long.
    private static let patience: Int64 = 4000
    private static let countMilliseconds: Int64 = 500

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
        waiters.merge(waiting) { old, new in
            let known = Set(new.map(\.client))
            return new + old.filter { !known.contains($0.client) }
        }
    }

    /// Counts the other processes while `isWell`, to know whom to wait for.
    func start(while isWell: @escaping @LoopActor () -> Bool) {
        let count: @LoopActor () -> Void = { [weak self] in
            guard let self, isWell() else { return }
            EventLoop.task {
                guard let count = try? await self.engine.peerCount(), isWell() else { return }
                self.peers = count
            }
        }
        timer.start(after: 0, every: Self.countMilliseconds, count)
        EventLoop.task {
            var backoff = Backoff(base: 50, cap: 1000)
            while self.hellos == nil {
                do {
                    self.hellos = try await self.engine.subscribeHellos(count)
                    try await self.engine.sayHello()
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
        // First of all: from here on nobody is admitted, and nobody joins.
        if isNewRun { try await holdRooms() }
        await unconfirmed.bringIn()
        try await bringBackWaiters()
        try await engine.noteRecalled(process, identity: identity)
        guard isNewRun else { return }
        var arrived: Int64 = 0
        while EventLoop.monotonicMilliseconds - began < Self.patience {
            arrived = try await engine.recalledCount(identity: identity)
            if arrived >= peers { break }
            await EventLoop.sleep(milliseconds: 20)
        }
        log(
            .warning, "recalled",
            [
                "processes": .init(arrived), "expected": .init(peers),
                "milliseconds": .init(EventLoop.monotonicMilliseconds - began),
            ])
    }

    /// Lines go on, in the order that is known.
    func resumeLines() async throws {
        if !meant.isEmpty { try await spendPasses() }
        for room in meant { try await engine.resume(room) }
        meant = []
        waiters = [:]
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
            let found = try await rooms.directory.with(room) {
                try await self.engine.bringBack(waiting[room] ?? [], passes: passes[room] ?? [], to: room)
            }
            if !meant.contains(room) { meant.append(room) }
            guard found.missing > 0 || found.passes > 0 else { continue }
            log(
                .warning, "line_brought_back",
                ["room": .init(room), "waiters": .init(found.missing), "passes": .init(found.passes)])
        }
    }
}
