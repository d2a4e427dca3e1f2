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
    let log: Log
    private var lines: [RoomID: RoomLine] = [:]
    private var lastIndex: Int64 = 0

    init(engine: Engine, rooms: RoomService, heartbeat: Heartbeat, watches: WatchHub, log: Log) {
        self.engine = engine
        self.rooms = rooms
        self.heartbeat = heartbeat
        self.watches = watches
        self.log = log
        heartbeat.onRenumbered = { [weak self] in
            guard let self else { return }
            for line in self.lines.values { line.synchronize() }
        }
        rooms.directory.onRefreshed.append { [weak self] in
            guard let self else { return }
            for line in self.lines.values { line.salesChanged() }
        }
    }

    /// Clients of this process that wait, over all rooms.
    var waiterCount: Int { lines.values.reduce(0) { $0 + $1.count } }

    /// Lets a session's client join, or finds it where it is.
    /// - Throws: `not_found`, `rejected`, `unavailable`.
    func join(_ client: ClientID, _ session: Session, _ room: RoomID) async throws -> Joined {
        let line = lines[room] ?? add(room)
        line.expected += 1
        defer {
            line.expected -= 1
            removeIfEmpty(line)
        }
        try await line.ready()
        let holder = await heartbeat.current()
        let (standing, summary) = try await rooms.join(client, room, holder: holder)
        switch standing {
        case .waiting(let number, let rank):
            guard session.state == .connected else {
                engine.away(client, room: room, holder: holder)
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
        try await rooms.leave(client, room)
        guard let line = lines[room] else { return }
        line.left(client, told: session)
        removeIfEmpty(line)
    }

    /// A session has ended: where it was its client's last one in a line, the grace begins.
    func ended(_ session: Session, _ client: ClientID) {
        for room in session.rooms {
            guard let line = lines[room], line.remove(session, client) else { continue }
            engine.away(client, room: room, holder: heartbeat.number)
            removeIfEmpty(line)
        }
    }

    /// Another gateway held the client's place, and lost it.
    func away(_ client: ClientID, _ room: RoomID) {
        guard let line = lines[room], line.has(client) else { return }
        EventLoop.task {
            // What fails here is made up for by the next synchronization, or by joining again.
            _ = try? await self.engine.hold([client], room: room, holder: self.heartbeat.number)
        }
    }

    private func add(_ room: RoomID) -> RoomLine {
        lastIndex += 1
        let line = RoomLine(room: room, key: StateKey(kind: 2, subject: lastIndex), hub: self)
        lines[room] = line
        return line
    }

    fileprivate func removeIfEmpty(_ line: RoomLine) {
        guard line.isEmpty, lines[line.room] === line else { return }
        line.end()
        lines[line.room] = nil
    }
}

/// One client of this process in one line.
@LoopActor
private final class Waiter {
    let client: ClientID
    var number: Int64
    var sessions: [Session]
    var toldRank: Int64
    var toldAt: Int64
    var toldReachable: Bool?
    /// The change of the line as of which the number is known: older maps say nothing about it.
    var since: Int64
    /// Whether it waits no more.
    var isGone = false

    init(client: ClientID, number: Int64, session: Session, rank: Int64, since: Int64) {
        self.client = client
        self.number = number
        sessions = [session]
        toldRank = rank
        toldAt = EventLoop.monotonicMilliseconds
        self.since = since
    }
}

/// One room's line, as far as clients of this process wait in it: computes their ranks from what leaves the line.
@LoopActor
private final class RoomLine {
    let room: RoomID
    private let key: StateKey
    private unowned let hub: RoomHub
    private var waiters: [ClientID: Waiter] = [:]
    /// The waiters, and some who have gone, by number where ``isSorted`` says so: who is in front is told first.
    private var order: [Waiter] = []
    private var isSorted = true
    /// How far a round of telling has come.
    private var position = 0
    /// Whether something changed since that round began.
    private var changedMeanwhile = false
    private var isAnyLate = false
    /// Joins that are under way.
    var expected = 0
    private var map: LineMap?
    private var summary: RoomSummary?
    private var subscription: Subscription?
    private var starting: Task<Result<Void, any Error>, Never>?
    private var isReading = false
    private var readAgain = false
    private var holdAgain = false
    /// While numbers are being learned anew, what the map says of the old ones means nothing.
    private var isRenumbering = false
    private var hasEnded = false
    private let tick = LoopTimer()
    private var tickedAt: Int64 = .min
    private var sales: [SaleID: (observation: SaleObservation, state: SaleState?, status: SaleStatus?)] = [:]

    /// Ranks are pushed at most this often.
    private static let tickMilliseconds: Int64 = 100
    /// How many waiters are looked at in one turn of the loop: others want theirs.
    private static let waitersPerTurn = 500
    /// Ranks that changed too little to be pushed at once are looked at again after this.
    private static let lateMilliseconds: Int64 = 1000

    init(room: RoomID, key: StateKey, hub: RoomHub) {
        self.room = room
        self.key = key
        self.hub = hub
        salesChanged()
    }

    var count: Int { waiters.count }
    var isEmpty: Bool { waiters.isEmpty && expected == 0 }

    func has(_ client: ClientID) -> Bool { waiters[client] != nil }

    func end() {
        hasEnded = true
        tick.stop()
        subscription?.cancel()
        subscription = nil
        for sale in sales.values { sale.observation.cancel() }
        sales = [:]
    }

    // MARK: waiters

    func add(
        _ client: ClientID, _ session: Session, number: Int64, rank: Int64, summary: RoomSummary
    ) -> PlaceInLine {
        let waiter: Waiter
        if let known = waiters[client] {
            waiter = known
            if waiter.number != number { isSorted = false }
            waiter.number = number
            waiter.since = summary.event
            waiter.toldRank = rank
            waiter.toldAt = EventLoop.monotonicMilliseconds
            if !waiter.sessions.contains(where: { $0 === session }) { waiter.sessions.append(session) }
        } else {
            waiter = Waiter(client: client, number: number, session: session, rank: rank, since: summary.event)
            waiters[client] = waiter
            if let last = order.last, last.number > number { isSorted = false }
            order.append(waiter)
        }
        session.rooms.insert(room)
        let place = PlaceInLine(
            rank: rank, waiting: summary.waiting,
            estimatedSeconds: summary.estimatedSeconds(rank: rank, waiting: summary.waiting, at: summary.now),
            isReachable: isReachable(rank), isProvisional: summary.draw != .none, event: summary.event)
        waiter.toldReachable = place.isReachable
        // What the map already knows beyond the join's own event has to be told.
        if let map, map.event > summary.event { changed() }
        return place
    }

    /// - Returns: whether nobody is left here who waits for this client.
    func remove(_ session: Session, _ client: ClientID) -> Bool {
        guard let waiter = waiters[client] else { return false }
        waiter.sessions.removeAll { $0 === session }
        guard waiter.sessions.isEmpty else { return false }
        forget(waiter)
        return true
    }

    /// The client has left; `told` gets its own answer.
    func left(_ client: ClientID, told: Session) {
        told.rooms.remove(room)
        told.connection.unmark(key)
        guard let waiter = waiters[client] else { return }
        forget(waiter)
        for session in waiter.sessions where session !== told { end(waiter, session, "left") }
    }

    private func forget(_ waiter: Waiter) {
        waiters[waiter.client] = nil
        waiter.isGone = true
        if order.count > 2 * waiters.count + 64 && position == 0 { order.removeAll { $0.isGone } }
    }

    private func end(_ waiter: Waiter, _ session: Session, _ reason: String) {
        session.rooms.remove(room)
        session.connection.unmark(key)
        session.push(ServerFrame.left(room, reason: reason))
    }

    private func end(_ waiter: Waiter, _ reason: String) {
        forget(waiter)
        for session in waiter.sessions { end(waiter, session, reason) }
    }

    /// Nothing more is told here: the pass comes as an outcome.
    private func admitted(_ waiter: Waiter) {
        forget(waiter)
        for session in waiter.sessions {
            session.rooms.remove(room)
            session.connection.unmark(key)
        }
    }

    // MARK: the line

    /// Returns when the room's changes are heard and its line is known.
    func ready() async throws {
        if subscription != nil, map != nil { return }
        let task =
            starting
            ?? EventLoop.task {
                do {
                    return .success(try await self.start())
                } catch {
                    return .failure(error)
                }
            }
        starting = task
        let result = await task.value
        starting = nil
        try result.get()
    }

    private func start() async throws {
        if subscription == nil {
            let new = try await hub.engine.subscribe(room: room) { [weak self] event in self?.heard(event) }
            guard !hasEnded else { return new.cancel() }
            subscription = new
        }
        try await read()
    }

    private func read() async throws {
        let began = EventLoop.nanoseconds
        let found = try await hub.rooms.directory.with(room) { try await self.hub.engine.snapshot(of: self.room) }
        // Messages that came meanwhile may be newer.
        if let map, map.event > found.map.event { return }
        map = found.map
        summary = found.summary
        hub.log(
            .debug, "room_read",
            [
                "room": .init(room), "waiting": .init(found.summary.waiting),
                "microseconds": .init(Int64(EventLoop.nanoseconds - began) / 1000),
            ])
    }

    private func heard(_ event: RoomEvent) {
        switch event {
        case .renewed: synchronize()
        case .changed(let summary, let kind, let left):
            guard var known = map else { return }
            map = nil
            let applied = known.apply(event: summary.event, head: summary.head, next: summary.next, left: left)
            map = known
            switch applied {
            case .old: return
            case .gap: return readAnew()
            case .applied: break
            }
            self.summary = summary
            switch kind {
            case .changed: changed()
            case .closed: closed()
            case .drawn: renumber()
            }
        }
    }

    /// Something was missed: reads the line again, until that works.
    private func readAnew() {
        guard !isReading else {
            readAgain = true
            return
        }
        isReading = true
        EventLoop.task {
            var backoff = Backoff(base: 50, cap: 2000)
            repeat {
                self.readAgain = false
                do {
                    if self.holdAgain {
                        self.holdAgain = false
                        do {
                            try await self.hold()
                        } catch {
                            self.holdAgain = true
                            throw error
                        }
                    } else {
                        try await self.read()
                    }
                } catch let error as WireError where error.code == .notFound {
                    self.hub.log(.warning, "room_is_gone", ["room": .init(self.room)])
                } catch {
                    self.readAgain = true
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            } while (self.readAgain || self.holdAgain) && !self.hasEnded
            self.isReading = false
            self.isRenumbering = false
            if !self.hasEnded { self.changed() }
        }
    }

    /// Holds the places of all clients here anew, and learns where they stand: after the connection was renewed, Redis
    /// was replaced, lots were drawn, or this gateway was given up for dead.
    func synchronize() {
        guard !waiters.isEmpty || map != nil else { return }
        holdAgain = true
        readAnew()
    }

    private func renumber() {
        isRenumbering = true
        synchronize()
    }

    private func hold() async throws {
        let holder = await hub.heartbeat.current()
        let clients = waiters.values.sorted { $0.number < $1.number }.map(\.client)
        let found = try await hub.rooms.directory.with(room) {
            try await self.hub.engine.hold(clients, room: self.room, holder: holder)
        }
        for (client, standing) in zip(clients, found.standings) {
            guard let waiter = waiters[client] else {
                // It closed its connections meanwhile, when its place was not ours to give up yet.
                hub.engine.away(client, room: room, holder: holder)
                continue
            }
            switch standing {
            case .waiting(let number, _):
                if waiter.number != number { isSorted = false }
                waiter.number = number
                waiter.since = found.summary.event
            case .admitted: admitted(waiter)
            case .finished, .unknown, .rejected:
                // Redis may have lost the line, or this gateway was away for too long: the client stands in line again,
                // in the order that is known here.
                let joined = try await hub.rooms.join(client, room, holder: holder)
                if case .waiting(let number, _) = joined.standing, let waiter = waiters[client] {
                    isSorted = false
                    waiter.number = number
                    waiter.since = joined.summary.event
                } else if let waiter = waiters[client] {
                    admitted(waiter)
                }
            }
        }
        try await read()
    }

    // MARK: telling

    private func changed() {
        guard !hasEnded, !waiters.isEmpty else { return }
        changedMeanwhile = true
        guard position == 0 else { return }
        let wait = tickedAt == .min ? 0 : tickedAt + Self.tickMilliseconds - EventLoop.monotonicMilliseconds
        schedule(max(0, wait))
    }

    private var tickDueAt: Int64 = .max

    private func schedule(_ milliseconds: Int64) {
        let moment = EventLoop.monotonicMilliseconds + milliseconds
        guard !tick.isRunning || moment < tickDueAt else { return }
        tickDueAt = moment
        tick.start(after: milliseconds) { [weak self] in self?.tell() }
    }

    /// A part of a round: tells the next waiters whose ranks have changed.
    private func tell() {
        guard let map, !isRenumbering, !hasEnded else {
            position = 0
            return
        }
        let began = EventLoop.nanoseconds
        let now = EventLoop.monotonicMilliseconds
        if position == 0 {
            tickedAt = now
            changedMeanwhile = false
            isAnyLate = false
            order.removeAll { $0.isGone }
            if !isSorted {
                order.sort { $0.number < $1.number }
                isSorted = true
            }
        }
        let end = min(order.count, position + Self.waitersPerTurn)
        var pushes: Int64 = 0
        // Whoever is told may leave, and the list grow, meanwhile; it does not shrink within a round.
        for index in position..<end { pushes += tell(order[index], map, now) }
        hub.rooms.metrics.rankPushes += pushes
        hub.rooms.metrics.rankNanoseconds += Int64(EventLoop.nanoseconds - began)
        position = end < order.count ? end : 0
        if position > 0 { return schedule(0) }
        hub.removeIfEmpty(self)
        if changedMeanwhile { changed() } else if isAnyLate { schedule(Self.lateMilliseconds) }
    }

    /// - Returns: how many frames that makes.
    private func tell(_ waiter: Waiter, _ map: LineMap, _ now: Int64) -> Int64 {
        guard !waiter.isGone, waiter.number <= map.next, waiter.since <= map.event else { return 0 }
        guard let rank = map.rank(of: waiter.number) else {
            if map.hasLeft(waiter.number) { end(waiter, "left") } else { admitted(waiter) }
            return 0
        }
        let reachable = isReachable(rank)
        if reachable == waiter.toldReachable {
            guard rank != waiter.toldRank else { return 0 }
            guard
                RankPolicy.shouldPush(
                    rank: rank, told: waiter.toldRank, toldAtMilliseconds: waiter.toldAt, nowMilliseconds: now)
            else {
                isAnyLate = true
                return 0
            }
        }
        waiter.toldRank = rank
        waiter.toldAt = now
        waiter.toldReachable = reachable
        // Encoded when the socket can take it, with what is true then.
        for session in waiter.sessions {
            session.connection.markChanged(key) { [weak self, weak waiter] in
                guard let waiter else { return nil }
                return self?.frame(waiter)
            }
        }
        return Int64(waiter.sessions.count)
    }

    private func frame(_ waiter: Waiter) -> [UInt8]? {
        guard !waiter.isGone, let map, let summary, let rank = map.rank(of: waiter.number) else { return nil }
        let now = Timestamp(
            milliseconds: summary.now.milliseconds + max(0, EventLoop.monotonicMilliseconds - tickedAt))
        let place = PlaceInLine(
            rank: rank, waiting: map.waiting,
            estimatedSeconds: summary.estimatedSeconds(rank: rank, waiting: map.waiting, at: now),
            isReachable: isReachable(rank), isProvisional: summary.draw != .none, event: map.event)
        return ServerFrame.place(place, of: room, isAnswer: false)
    }

    // MARK: the room's sales

    /// Which sales the room has may have changed.
    func salesChanged() {
        guard !hasEnded else { return }
        let live = Set((hub.rooms.directory.liveSales[room] ?? []).map(\.sale.id))
        for (sale, known) in sales where !live.contains(sale) {
            let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
            // Its end is told to those who wait for it, also where the line goes on for another sale.
            if let state = known.state, known.status != state.status(at: now) { tellStatus(state) }
            known.observation.cancel()
            sales[sale] = nil
        }
        for sale in live where sales[sale] == nil {
            let observation = hub.watches.observe(sale) { [weak self] state in self?.heard(state) }
            sales[sale] = (observation, nil, nil)
        }
    }

    private func heard(_ state: SaleState) {
        guard let known = sales[state.sale.id] else { return }
        let status = state.status(at: Timestamp(milliseconds: EventLoop.wallMilliseconds))
        sales[state.sale.id] = (known.observation, state, status)
        // The first look is no news, but that it is sold out is.
        if let before = known.status, before != status { tellStatus(state) }
        changed()
    }

    private func tellStatus(_ state: SaleState) {
        let bytes = ServerFrame.sale(state, at: Timestamp(milliseconds: EventLoop.wallMilliseconds))
        for waiter in waiters.values {
            for session in waiter.sessions where !session.isWatching(state.sale.id) { session.push(bytes) }
        }
    }

    /// Whether what is left can reach a rank; nil where the room has no sale, and before lots are drawn.
    private func isReachable(_ rank: Int64) -> Bool? {
        guard !sales.isEmpty, summary?.draw == RoomSummary.Draw.none else { return nil }
        var left: Int64 = 0
        for sale in sales.values {
            // What is not known is not denied.
            guard let state = sale.state else { return nil }
            left += state.remaining
        }
        return rank <= left
    }

    /// Everybody was sent home: told the status of each sale, and `left`.
    private func closed() {
        let waiters = Array(waiters.values)
        for waiter in waiters { forget(waiter) }
        let ended = Array(sales.keys)
        for waiter in waiters { for session in waiter.sessions { session.rooms.remove(room) } }
        EventLoop.task {
            for sale in ended {
                guard let state = try? await self.hub.watches.state(of: sale) else { continue }
                let bytes = ServerFrame.sale(state, at: Timestamp(milliseconds: EventLoop.wallMilliseconds))
                for waiter in waiters {
                    for session in waiter.sessions where !session.isWatching(sale) { session.push(bytes) }
                }
            }
            for waiter in waiters { for session in waiter.sessions { self.end(waiter, session, "closed") } }
            self.hub.removeIfEmpty(self)
        }
    }
}
