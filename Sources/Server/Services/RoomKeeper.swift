import Engine
import EventLoop
import Foundation
import Model
import Persistence

/// What a scheduler does for rooms: whatever is due by the clock, letting go of dead gateways' places, drawing lots.
/// Any number of processes may do it at once: each step is one call that does nothing the second time.
@LoopActor
final class RoomKeeper {
    private let engine: Engine
    private let store: Store
    private let directory: RoomDirectory
    private let verification: Verification
    private let log: Log
    private var clocks: [RoomID: RoomClock] = [:]
    private let deathTimer = LoopTimer()
    private var isBurying = false
    private var drawing: Set<RoomID> = []

    private static let deathMilliseconds: Int64 = 250
    /// Clients that are read, sorted and written at a time when lots are drawn.
    private static let drawChunk: Int64 = 2000
    /// How often the token is renewed while PostgreSQL sorts; it lives for 10 s.
    private static let keepMilliseconds: Int64 = 3000

    init(engine: Engine, store: Store, directory: RoomDirectory, verification: Verification, log: Log) {
        self.verification = verification
        self.engine = engine
        self.store = store
        self.directory = directory
        self.log = log
    }

    func start() {
        directory.isScheduler = true
        directory.onRefreshed.append { [weak self] in self?.follow() }
        directory.redisChanged()
        follow()
        deathTimer.startInStep(every: Self.deathMilliseconds) { [weak self] in self?.buryDead() }
    }

    func stop() {
        deathTimer.stop()
        for clock in clocks.values { clock.stop() }
        clocks = [:]
    }

    /// Redis is another than before.
    func redisChanged() {
        for clock in clocks.values { clock.tickSoon() }
    }

    private func follow() {
        guard deathTimer.isRunning || clocks.isEmpty else { return }
        for (id, room) in directory.rooms {
            if clocks[id] == nil {
                clocks[id] = RoomClock(
                    room: id, engine: engine, directory: directory, verification: verification, log: log
                ) { [weak self] in
                    self?.draw(id)
                }
            }
            if room.limits.ordering == .random, room.drawnAt == nil { publishLateDraw(id) }
        }
    }

    // MARK: dead gateways

    private func buryDead() {
        guard !isBurying, directory.isLoaded else { return }
        isBurying = true
        EventLoop.task {
            defer { self.isBurying = false }
            do {
                let dead = try await self.engine.buryDead(silentMilliseconds: Heartbeat.silenceMilliseconds)
                for gateway in dead {
                    var isDone = true
                    for room in self.directory.rooms.keys {
                        let isLetGo = try await self.engine.letGo(
                            of: gateway.number, lastBeat: gateway.lastBeat, room: room)
                        isDone = isDone && isLetGo
                    }
                    // Where lots are drawn, it is done once that is over.
                    guard isDone else { continue }
                    _ = try await self.engine.buryDead(
                        silentMilliseconds: Heartbeat.silenceMilliseconds, finished: gateway.number)
                    self.log(.info, "gateway_let_go", ["number": .init(gateway.number)])
                }
            } catch {
                self.log(.debug, "gateways_wait", ["error": .init("\(error)")])
            }
        }
    }

    // MARK: the draw

    private func draw(_ room: RoomID) {
        guard !drawing.contains(room) else { return }
        drawing.insert(room)
        EventLoop.task {
            defer { self.drawing.remove(room) }
            do {
                try await self.drawLots(room)
            } catch {
                self.log(.warning, "draw_waits", ["room": .init(room), "error": .init("\(error)")])
                await EventLoop.sleep(milliseconds: 200)
            }
        }
    }

    private func drawLots(_ room: RoomID) async throws {
        // While PostgreSQL is away the line is not brought to a stop.
        guard try await store.room(room) != nil else { return }
        let token = UUID().uuidString
        guard case .begun(let length) = try await engine.beginDraw(room, token: token) else { return }
        log(.info, "draw_begun", ["room": .init(room), "length": .init(length)])
        do {
            var waiting: [ClientID] = []
            for offset in stride(from: 0, to: length, by: Int(Self.drawChunk)) {
                let clients = try await engine.readDraw(room, token: token, offset: offset, count: Self.drawChunk)
                guard let clients else { return }
                waiting += clients
            }
            try await draw(waiting, in: room, token: token)
            try await write(waiting, to: room, token: token)
        } catch {
            try? await engine.abandonDraw(room, token: token)
            throw error
        }
    }

    /// Draws in PostgreSQL.
    private func draw(_ clients: [ClientID], in room: RoomID, token: String) async throws {
        // A million names take PostgreSQL some seconds.
        let keeping = LoopTimer()
        keeping.start(after: Self.keepMilliseconds, every: Self.keepMilliseconds) {
            EventLoop.task { _ = try? await self.engine.keepDraw(room, token: token) }
        }
        defer { keeping.stop() }
        guard try await engine.keepDraw(room, token: token) else { return }
        try await store.clearDraw(room)
        for chunk in clients.chunks(of: Int(Self.drawChunk)) {
            try await store.addDrawEntries(room, clients: Array(chunk))
        }
        _ = try await store.draw(room)
    }

    /// Writes the drawn order as the new line. A draw that PostgreSQL has already and Redis has lost is written anew: who
    /// has come since stands behind.
    private func write(_ waiting: [ClientID], to room: RoomID, token: String) async throws {
        var missing = Set(waiting)
        var place: Int64 = 0
        var written: Int64 = 0
        func write(_ clients: [ClientID]) async throws -> Bool {
            guard !clients.isEmpty else { return true }
            defer { written += Int64(clients.count) }
            return try await engine.writeDraw(room, token: token, position: written + 1, clients: clients)
        }
        while true {
            let entries = try await store.drawEntries(room, after: place, limit: Int(Self.drawChunk))
            guard let last = entries.last else { break }
            place = last.position
            let clients = entries.map(\.client).filter { missing.remove($0) != nil }
            guard try await write(clients) else { return }
        }
        // Nobody joins while lots are drawn: who is not drawn, and it is not an old draw, was lost by another drawer.
        if !missing.isEmpty, try await store.room(room)?.drawnAt == nil {
            throw Outage(.postgres, "the draw of a room is not complete")
        }
        for chunk in waiting.filter({ missing.contains($0) }).chunks(of: Int(Self.drawChunk)) {
            guard try await write(Array(chunk)) else { return }
        }
        guard try await engine.endDraw(room, token: token, count: written) else {
            // Not ours any more, or a step was done twice: begun anew.
            return try await engine.abandonDraw(room, token: token)
        }
        try await store.markDrawn(room)
        directory.refreshSoon()
        log(.info, "draw_ended", ["room": .init(room), "clients": .init(written)])
    }

    /// A draw that ended in Redis, and whose end PostgreSQL did not hear of.
    private func publishLateDraw(_ room: RoomID) {
        guard !drawing.contains(room) else { return }
        EventLoop.task {
            guard let live = try? await self.engine.inspect(room: room), live.isDrawn, !self.drawing.contains(room)
            else { return }
            try? await self.store.markDrawn(room)
            self.directory.refreshSoon()
        }
    }
}

/// Ticks one room when something is due in it.
@LoopActor
private final class RoomClock {
    private let room: RoomID
    private let engine: Engine
    private let directory: RoomDirectory
    private let verification: Verification
    private let log: Log
    private let drawIsDue: () -> Void
    private lazy var alarm = Alarm { [weak self] in await self?.tick() }
    private var subscription: Subscription?
    private var hasEnded = false
    private var lastEvent: Int64 = -1
    private var admissible: Int64 = 0

    /// How often a room is looked at where something goes on, and where nothing does, whatever it says. Whoever joins an
    /// idle one is heard; rooms are never deleted, so there may be many.
    private static let busyMilliseconds: Int64 = 1000
    private static let idleMilliseconds: Int64 = 60_000

    init(
        room: RoomID, engine: Engine, directory: RoomDirectory, verification: Verification, log: Log,
        drawIsDue: @escaping () -> Void
    ) {
        self.verification = verification
        self.room = room
        self.engine = engine
        self.directory = directory
        self.log = log
        self.drawIsDue = drawIsDue
        EventLoop.task { await self.listen() }
        tickSoon()
    }

    func stop() {
        hasEnded = true
        alarm.stop()
        subscription?.cancel()
        subscription = nil
    }

    func tickSoon() { alarm.ring(in: 0) }

    private func listen() async {
        var backoff = Backoff(base: 50, cap: 2000)
        while !hasEnded, subscription == nil {
            do {
                let new = try await engine.subscribe(room: room) { [weak self] event in self?.heard(event) }
                if hasEnded { new.cancel() } else { subscription = new }
            } catch {
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
    }

    private func heard(_ event: RoomEvent) {
        switch event {
        case .changed(let summary, _, _): plan(by: summary)
        case .renewed: tickSoon()
        }
    }

    private func plan(by summary: RoomSummary) {
        if summary.draw == .due { drawIsDue() }
        admissible = summary.admissible
        let isIdle = summary.waiting == 0 && summary.active == 0
        let latest = isIdle ? Self.idleMilliseconds : Self.busyMilliseconds
        // By Redis' clock, by which it will be due.
        let pause = summary.due.map { $0.milliseconds - summary.now.milliseconds } ?? latest
        alarm.ring(in: min(latest, max(0, pause)))
    }

    private func tick() async {
        // In a Redis that has lost something, places may seem free whose passes were told.
        if !verification.isDone { await verification.wait() }
        guard !hasEnded else { return }
        do {
            let summary = try await directory.with(room) {
                try await self.engine.tick(self.room, admissible: self.admissible)
            }
            // Due, and yet nothing happened: not asked again at once.
            let isStuck = summary.event == lastEvent && (summary.due.map { $0 <= summary.now } ?? false)
            lastEvent = summary.event
            plan(by: summary)
            if isStuck { alarm.ringOnly(in: 20) }
        } catch {
            log(.debug, "room_waits", ["room": .init(room), "error": .init("\(error)")])
            alarm.ring(in: 200)
        }
    }
}
