import Engine
import EventLoop
import Gateway
import Model

/// The rooms in which clients of this process wait.
@LoopActor
final class RoomHub {
    let engine: Engine
    let rooms: RoomService
    let heartbeat: Heartbeat
    let watches: WatchHub
    let seats: SeatHub
    let metrics: Metrics
    let log: Log
    private var lines: [RoomID: RoomLine] = [:]
    private var lastIndex: Int64 = 0

    init(
        engine: Engine, rooms: RoomService, heartbeat: Heartbeat, watches: WatchHub, seats: SeatHub, metrics: Metrics,
        log: Log
    ) {
        self.seats = seats
        self.engine = engine
        self.rooms = rooms
        self.heartbeat = heartbeat
        self.watches = watches
        self.metrics = metrics
        self.log = log
        heartbeat.onRenumbered = { [weak self] in
            guard let self else { return }
            for line in self.lines.values { line.holdAnew() }
        }
        rooms.directory.onGatewayDied = { [weak self] in
            guard let self else { return }
            for line in self.lines.values { line.holdAnew() }
        }
        rooms.directory.onRefreshed.append { [weak self] in
            guard let self else { return }
            for line in self.lines.values { line.salesChanged() }
        }
    }

    /// Clients of this process that wait, over all rooms.
    var waiterCount: Int { lines.values.reduce(0) { $0 + $1.count } }

    /// Who waits here, by room, with the numbers that they have.
    var waiting: [RoomID: [(client: ClientID, number: Int64)]] { lines.mapValues(\.waiting) }

    /// Lets a session's client join, or finds it where it is.
    /// - Throws: `not_found`, `rejected`, `unavailable`.
    func join(_ client: ClientID, _ session: Session, _ room: RoomID) async throws -> Joined {
        // Nothing is kept in a made-up name.
        try await rooms.directory.require(room)
        let line = lines[room] ?? add(room)
        line.expected += 1
        defer {
            line.expected -= 1
            removeIfEmpty(line)
        }
        try await line.ready()
        let holder = await heartbeat.current()
        let standing: RoomStanding
        let summary: RoomSummary
        do {
            (standing, summary) = try await rooms.join(client, room, holder: holder)
        } catch let outage as Outage {
            // It may have joined: a place that nobody holds must not be kept.
            if !line.has(client) { away(client, room, holder: holder) }
            throw outage
        }
        switch standing {
        case .waiting(let number, let rank):
            // Given up for dead meanwhile: what the old number held is let go.
            if heartbeat.number != holder { line.holdAnew() }
            guard session.state == .connected else {
                // Unless it waits by another connection here.
                if !line.has(client) { away(client, room, holder: holder) }
                return .gone
            }
            return .waiting(line.add(client, session, number: number, rank: rank, summary: summary))
        case .admitted(let token, let expiresAt): return .admitted(token: token, expiresAt: expiresAt)
        case .finished, .unknown, .rejected: throw WireError.unavailable
        }
    }

    /// What a join came to.
    enum Joined {
        case waiting(PlaceInLine)
        case admitted(token: String, expiresAt: Timestamp)
        /// The connection was closed meanwhile.
        case gone
    }

    /// A client leaves, by one of its sessions: the others here hear of it too.
    /// - Throws: `not_found`, `unavailable`.
    func leave(_ client: ClientID, _ session: Session, _ room: RoomID) async throws {
        lines[room]?.leaving(client, by: session)
        let event: Int64
        do {
            event = try await rooms.leave(client, room, by: session.id)
        } catch {
            lines[room]?.leaving(client, by: nil)
            throw error
        }
        guard let line = lines[room] else { return }
        if line.left(client, told: session, asOf: event) { away(client, room, holder: heartbeat.number) }
        removeIfEmpty(line)
    }

    /// A session has ended: where it was its client's last one in a line, the grace begins.
    func ended(_ session: Session, _ client: ClientID) {
        for room in session.rooms {
            guard let line = lines[room], line.remove(session, client) else { continue }
            away(client, room, holder: heartbeat.number)
            removeIfEmpty(line)
        }
    }

    /// The grace of a client begins. Where Redis may not have heard of it, all that this gateway held is let go, and what
    /// it still has is held anew.
    private func away(_ client: ClientID, _ room: RoomID, holder: Int64) {
        engine.away(client, room: room, holder: holder) { [heartbeat] in heartbeat.renumber() }
    }

    /// Whether the client has a place there that it got, or was found to have, after a change of the line.
    func waits(_ client: ClientID, in room: RoomID, after event: Int64) -> Bool {
        lines[room]?.waits(client, after: event) ?? false
    }

    /// The client was admitted, as its channel says.
    func admitted(_ client: ClientID, _ room: RoomID) {
        guard let line = lines[room] else { return }
        line.admitted(client)
        removeIfEmpty(line)
    }

    /// Another gateway held the client's place, and lost it.
    func away(_ client: ClientID, _ room: RoomID) {
        guard let line = lines[room], line.has(client) else { return }
        EventLoop.task {
            do {
                _ = try await self.engine.hold([client], room: room, holder: self.heartbeat.number)
            } catch {
                line.holdAnew()
            }
        }
    }

    private func add(_ room: RoomID) -> RoomLine {
        lastIndex += 1
        let line = RoomLine(room: room, key: StateKey(kind: 2, subject: lastIndex), hub: self)
        lines[room] = line
        return line
    }

    /// Lets go of a line in which nobody of this process waits any more.
    func removeIfEmpty(_ line: RoomLine) {
        guard line.isEmpty, lines[line.room] === line else { return }
        line.end()
        lines[line.room] = nil
    }
}
