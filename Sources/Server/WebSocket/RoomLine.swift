import Engine
import EventLoop
import Gateway
import Model

/// One room's line, as far as clients of this process wait in it: computes their ranks from what leaves the line.
///
/// A number that is done with says nothing of its client: it was admitted, or sent home, or has another number since lots
/// were drawn. So nobody is dropped for that. Who left out of turn is named by the message, who was admitted by its
/// outcome; of whoever is in doubt for longer Redis is asked.
@LoopActor
final class RoomLine {
    let room: RoomID
    /// The room and no other: one set for all sessions that wait in no second one.
    private let alone: Set<RoomID>
    private let key: StateKey
    private unowned let hub: RoomHub
    private var waiters: [ClientID: Waiter] = [:]
    /// The waiters, and some who have gone, by number where ``isSorted`` says so: who is in front is told first.
    private var order: [Waiter] = []
    private var isSorted = true
    /// How many in ``order`` have gone.
    private var goneCount = 0
    /// Joins that are under way.
    var expected = 0

    /// Nil until it is known, and while it may be wrong.
    private var map: LineMap?
    private var summary: RoomSummary?
    private var summaryAt: Int64 = 0
    /// The last message that came while there was no map.
    private var missedEvent: Int64 = .min
    /// The numbers up to which everybody was sent home.
    private var closedHead: Int64 = 0
    private var subscription: Subscription?
    private let starting = SharedAttempt<Void>()
    private var isReading = false
    private var readAgain = false
    private var holdAgain = false
    private var hasEnded = false

    /// Ranks are pushed at most this often.
    private let rounds = Rounds<Waiter>(tickMilliseconds: 100)
    /// Whether the round has found ranks that changed too little to be pushed at once.
    private var isAnyLate = false
    /// Whether the last round passed over somebody of whom more is known than of the line.
    private var isAnyAhead = false
    /// Whether this round has told anybody anything.
    private var hasTold = false
    private var inDoubt: [Waiter] = []
    private let stock: RoomStock
    private let rankFrame: RankFrame

    /// How many are told of a sale in one turn of the loop: others want theirs.
    private static let sessionsPerTurn = 500
    /// Ranks that changed too little to be pushed at once are looked at again after this.
    private static let lateMilliseconds: Int64 = 1000
    /// How long the outcome of whoever was admitted may take before Redis is asked.
    private static let doubtMilliseconds: Int64 = 500

    init(room: RoomID, key: StateKey, hub: RoomHub) {
        self.room = room
        alone = [room]
        self.key = key
        self.hub = hub
        rankFrame = RankFrame(room: room)
        stock = RoomStock(watches: hub.watches, seats: hub.seats)
        stock.onStatus = { [unowned self] state in self.tellStatus(state) }
        stock.onChange = { [unowned self] in self.changed() }
        rounds.begin = { [unowned self] in self.beginRound() }
        rounds.tell = { [unowned self] in self.tell($0) }
        rounds.hasTold = { [unowned self] in self.hasTold }
        rounds.end = { [unowned self] in self.endRound() }
        salesChanged()
    }

    var count: Int { waiters.count }
    var isEmpty: Bool { waiters.isEmpty && expected == 0 }

    func has(_ client: ClientID) -> Bool { waiters[client] != nil }

    /// Who waits here, with the numbers that they have.
    var waiting: [(client: ClientID, number: Int64)] {
        waiters.values.filter { !$0.isGone }.map { ($0.client, $0.number) }
    }

    func end() {
        hasEnded = true
        for waiter in order { waiter.isGone = true }
        rounds.stop()
        subscription?.cancel()
        subscription = nil
        stock.end()
    }

    // MARK: waiters

    /// A session's client has joined, or was there.
    func add(
        _ client: ClientID, _ session: Session, number: Int64, rank: Int64, summary: RoomSummary
    ) -> PlaceInLine {
        let place = PlaceInLine(
            rank: rank, waiting: summary.waiting,
            estimatedSeconds: summary.estimatedSeconds(rank: rank, waiting: summary.waiting, at: summary.now),
            isReachable: isReachable(rank, summary), isProvisional: summary.draw != .none, event: summary.event)
        if let waiter = waiters[client] {
            renumber(waiter, number, since: summary.event)
            let before = waiter.told
            waiter.told = place
            // Its other connections may have been told what is newer than this answer: then all are, in the next round.
            let isOlder = place.event < before.event
            waiter.toldAt = isOlder ? 0 : EventLoop.monotonicMilliseconds
            // Else they are told what this one learns by joining, as it counts as told.
            if !isOlder, place.isNews(after: before) {
                for other in waiter.sessions where other !== session { tell(waiter, on: other.connection) }
            }
            if !waiter.sessions.contains(where: { $0 === session }) { waiter.sessions.append(session) }
        } else {
            let waiter = Waiter(client: client, line: self, number: number, session: session, told: place)
            waiters[client] = waiter
            if let last = order.last, last.number > number { isSorted = false }
            order.append(waiter)
        }
        session.waits(in: room, alone: alone)
        // What the map already knows beyond the join has to be told.
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

    /// The client is about to leave by a session; nil: it does not after all.
    func leaving(_ client: ClientID, by session: Session?) {
        waiters[client]?.leaver = session.map { ObjectIdentifier($0) }
    }

    /// The client has left; `told` gets its own answer.
    /// - Returns: whether the client waits all the same, and nobody is left here who does for it.
    func left(_ client: ClientID, told: Session, asOf event: Int64) -> Bool {
        told.waitsNoMore(in: room)
        told.connection.unmark(key)
        guard let waiter = waiters[client] else { return false }
        // By another connection it has joined again since: only this one is out, and is told no ranks any more.
        if waiter.since > event { return remove(told, client) }
        waiter.leaver = ObjectIdentifier(told)
        end(waiter, "left")
        return false
    }

    /// Whether the client has a place that it got, or was found to have, after a change of the line.
    func waits(_ client: ClientID, after event: Int64) -> Bool {
        waiters[client].map { $0.since > event } ?? false
    }

    /// The client was admitted: nothing more is told here, its pass comes as an outcome.
    func admitted(_ client: ClientID) {
        // An old admission may be told late, when the client stands in line again.
        guard let waiter = waiters[client] else { return }
        guard let map, waiter.number <= map.next, waiter.since <= map.event else {
            // What the line says of it is not known now.
            waiter.mayBeAdmitted = true
            return
        }
        if map.rank(of: waiter.number) == nil { admitted(waiter) }
    }

    private func admitted(_ waiter: Waiter) {
        forget(waiter)
        for session in waiter.sessions {
            session.waitsNoMore(in: room)
            session.connection.unmark(key)
        }
        waiter.sessions = []
    }

    private func end(_ waiter: Waiter, _ reason: String) {
        guard !waiter.isGone else { return }
        forget(waiter)
        let bytes = ServerFrame.left(room, reason: reason)
        for session in waiter.sessions {
            session.waitsNoMore(in: room)
            session.connection.unmark(key)
            if ObjectIdentifier(session) != waiter.leaver { session.push(bytes) }
        }
        waiter.sessions = []
    }

    private func forget(_ waiter: Waiter) {
        if waiters[waiter.client] === waiter { waiters[waiter.client] = nil }
        if !waiter.isGone { goneCount += 1 }
        waiter.isGone = true
    }

    private func renumber(_ waiter: Waiter, _ number: Int64, since event: Int64) {
        if waiter.number != number { isSorted = false }
        waiter.number = number
        waiter.since = event
        waiter.inDoubtSince = 0
        waiter.mayBeAdmitted = false
    }

    // MARK: the line

    /// Returns when the room's changes are heard and its line is known.
    func ready() async throws {
        if subscription != nil, summary != nil { return }
        try await starting.run { try await self.start() }
    }

    private func start() async throws {
        if subscription == nil {
            let new = try await hub.engine.subscribe(room: room) { [weak self] event in self?.heard(event) }
            guard !hasEnded else { return new.cancel() }
            subscription = new
        }
        try await read()
    }

    /// Reads the line, and again while messages were missed meanwhile.
    private func read() async throws {
        repeat {
            let began = EventLoop.nanoseconds
            let found = try await hub.rooms.directory.with(room) {
                try await self.hub.engine.snapshot(of: self.room)
            }
            // Messages that were applied meanwhile may be newer.
            if let map, map.event > found.map.event { return }
            map = found.map
            summary = found.summary
            summaryAt = EventLoop.monotonicMilliseconds
            hub.log(
                .debug, "room_read",
                [
                    "room": .init(room), "waiting": .init(found.summary.waiting),
                    "microseconds": .init(Int64(EventLoop.nanoseconds - began) / 1000),
                ])
        } while missedEvent > (map?.event ?? .max)
        missedEvent = .min
    }

    private func heard(_ event: RoomEvent) {
        switch event {
        case .renewed: synchronize()
        case .changed(let summary, let kind, let left):
            if kind == .closed { closedHead = max(closedHead, summary.head) }
            guard var known = map else {
                missedEvent = max(missedEvent, summary.event)
                // Who was held before this may have another number, or none, since.
                if kind != .changed { holdAgain = true }
                return
            }
            map = nil
            let before = (known.head, known.next, self.summary?.draw)
            let applied = known.apply(event: summary.event, head: summary.head, next: summary.next, left: left)
            map = known
            switch applied {
            case .old: return
            case .gap: return synchronize()
            case .applied: break
            }
            self.summary = summary
            summaryAt = EventLoop.monotonicMilliseconds
            if !left.isEmpty { endThose(in: left) }
            switch kind {
            case .changed:
                // What moves nobody is told to nobody: to look at all who wait takes its time.
                let isMoved = !left.isEmpty || before != (known.head, known.next, summary.draw)
                if isMoved || isAnyAhead { changed() }
            case .closed: closed(upTo: summary.head)
            case .drawn: holdAnew()
            }
        }
    }

    /// These have left out of turn.
    private func endThose(in left: [ClosedRange<Int64>]) {
        sort()
        for range in left {
            var low = 0
            var high = order.count
            while low < high {
                let middle = (low + high) / 2
                if order[middle].number < range.lowerBound { low = middle + 1 } else { high = middle }
            }
            while low < order.count, order[low].number <= range.upperBound {
                end(order[low], "left")
                low += 1
            }
        }
        hub.removeIfEmpty(self)
    }

    private func sort() {
        guard !isSorted else { return }
        order.sort { $0.number < $1.number }
        isSorted = true
    }

    /// What is known of the line may be wrong: reads it anew, and asks where all clients here stand.
    private func synchronize() {
        map = nil
        missedEvent = .min
        holdAnew()
    }

    /// Holds the places of all clients here anew, and learns where they stand: after the connection was renewed, Redis
    /// was replaced, lots were drawn, or a gateway was given up for dead.
    func holdAnew() {
        guard !hasEnded, summary != nil else { return }
        holdAgain = true
        guard !isReading else {
            readAgain = true
            return
        }
        isReading = true
        EventLoop.task {
            var backoff = Backoff(base: 50, cap: 2000)
            repeat {
                self.readAgain = false
                // Whoever is missing in a Redis that was replaced is brought back in an order over all gateways.
                await self.hub.rooms.verified()
                // A Redis that was replaced may never count as far as was heard before.
                self.missedEvent = .min
                do {
                    if self.holdAgain {
                        self.holdAgain = false
                        do {
                            try await self.hold(Array(self.waiters.values))
                        } catch {
                            self.holdAgain = true
                            throw error
                        }
                    }
                    try await self.read()
                } catch {
                    self.readAgain = true
                    self.hub.log(.debug, "line_waits", ["room": .init(self.room), "error": .init("\(error)")])
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            } while (self.readAgain || self.holdAgain) && !self.hasEnded
            self.isReading = false
            self.changed()
            self.hub.removeIfEmpty(self)
        }
    }

    /// Holds places, and acts on where their clients stand.
    private func hold(_ waiters: [Waiter]) async throws {
        let holder = await hub.heartbeat.current()
        let all = waiters.filter { !$0.isGone }.sorted { $0.number < $1.number }.map { (waiter: $0, since: $0.since) }
        guard !all.isEmpty else { return }
        let found = try await hub.rooms.directory.with(room) {
            try await self.hub.engine.hold(all.map(\.waiter.client), room: self.room, holder: holder)
        }
        var lost: [Waiter] = []
        for ((waiter, since), standing) in zip(all, found.standings) {
            // It joined again meanwhile, by which more is known.
            guard waiter.since == since else { continue }
            guard !waiter.isGone else {
                // It closed its connections meanwhile, unless it is here by a newer one.
                if self.waiters[waiter.client] == nil {
                    hub.engine.away(waiter.client, room: room, holder: holder) { [hub] in hub.heartbeat.renumber() }
                }
                continue
            }
            switch standing {
            case .waiting(let number, _): renumber(waiter, number, since: found.summary.event)
            case .admitted: admitted(waiter)
            case .finished, .rejected:
                // It may have come and gone by its pass already.
                if waiter.mayBeAdmitted {
                    admitted(waiter)
                } else {
                    end(waiter, waiter.number <= closedHead ? "closed" : "left")
                }
            case .unknown: lost.append(waiter)
            }
        }
        try await joinAgain(lost, holder: holder)
    }

    /// Redis has lost these clients: they stand in line again, in the order that is known here.
    private func joinAgain(_ lost: [Waiter], holder: Int64) async throws {
        let joins = lost.map { waiter in
            EventLoop.task { () -> Result<(standing: RoomStanding, summary: RoomSummary), any Error> in
                do {
                    return .success(try await self.hub.rooms.join(waiter.client, self.room, holder: holder))
                } catch {
                    return .failure(error)
                }
            }
        }
        for (waiter, join) in zip(lost, joins) {
            switch await join.value {
            case .success(let joined):
                switch joined.standing {
                case .waiting(let number, _):
                    renumber(waiter, number, since: joined.summary.event)
                    // It closed its connections meanwhile.
                    if waiters[waiter.client] == nil {
                        hub.engine.away(waiter.client, room: room, holder: holder) { [hub] in hub.heartbeat.renumber() }
                    }
                default: admitted(waiter)
                }
            case .failure(let error as WireError) where error.code != .unavailable: end(waiter, "closed")
            case .failure(let error): throw error
            }
        }
    }

    // MARK: telling

    private func changed() {
        if !hasEnded && !waiters.isEmpty { rounds.changed() }
    }

    private func beginRound() -> [Waiter] {
        isAnyLate = false
        isAnyAhead = false
        hasTold = false
        // Not for a few: all would have to be looked at.
        if goneCount * 8 > order.count {
            order.removeAll { $0.isGone }
            goneCount = 0
        }
        sort()
        return map == nil ? [] : order
    }

    private func tell(_ waiters: ArraySlice<Waiter>) {
        guard let map, let summary else { return }
        let began = EventLoop.nanoseconds
        let now = EventLoop.monotonicMilliseconds
        var pushes: Int64 = 0
        waiters.withUnsafeBufferPointer { waiters in
            for index in waiters.indices {
                prefetch(waiters, before: index)
                pushes += tell(waiters[index], map, summary, now)
            }
        }
        if pushes > 0 { hasTold = true }
        hub.metrics.rankPushes += pushes
        hub.metrics.rankNanoseconds += Int64(EventLoop.nanoseconds - began)
    }

    /// A waiter, its connection, and what the library has of that: one leads to the other.
    private func prefetch(_ waiters: UnsafeBufferPointer<Waiter>, before index: Int) {
        let (near, far, farthest) = (index + Prefetch.steps, index + 2 * Prefetch.steps, index + 3 * Prefetch.steps)
        // An array of objects is one of their addresses: read as such, none of them is touched.
        if farthest < waiters.count {
            let addresses = UnsafeRawBufferPointer(waiters)
            Prefetch.object(
                at: addresses.load(fromByteOffset: farthest * MemoryLayout<Waiter>.stride, as: UnsafeRawPointer.self))
        }
        if far < waiters.count, let connection = waiters[far].connection { Prefetch.object(at: connection.toOpaque()) }
        if near < waiters.count, let connection = waiters[near].connection {
            connection._withUnsafeGuaranteedRef { Prefetch.socket(of: $0) }
        }
    }

    private func endRound() -> Int64? {
        askWhatBecame()
        hub.removeIfEmpty(self)
        return isAnyLate ? Self.lateMilliseconds : nil
    }

    /// - Returns: how many frames that makes.
    private func tell(_ waiter: Waiter, _ map: LineMap, _ summary: RoomSummary, _ now: Int64) -> Int64 {
        guard !waiter.isGone else { return 0 }
        guard waiter.number <= map.next, waiter.since <= map.event else {
            isAnyAhead = true
            return 0
        }
        guard let rank = map.rank(of: waiter.number) else {
            if waiter.inDoubtSince == 0 { waiter.inDoubtSince = now }
            if now - waiter.inDoubtSince >= Self.doubtMilliseconds { inDoubt.append(waiter) }
            isAnyLate = true
            return 0
        }
        waiter.inDoubtSince = 0
        let told = waiter.told
        let isFlagged = isReachable(rank, summary) != told.isReachable || told.isProvisional != (summary.draw != .none)
        if !isFlagged {
            let isLonger = abs(map.waiting - told.waiting) * 10 > told.waiting
            guard rank != told.rank || isLonger else { return 0 }
            guard
                RankPolicy.shouldPush(
                    rank: rank, told: told.rank, toldAtMilliseconds: waiter.toldAt, nowMilliseconds: now)
                    || isLonger && now - waiter.toldAt >= RankPolicy.patienceMilliseconds
            else {
                isAnyLate = true
                return 0
            }
        }
        waiter.told = place(of: rank, map, summary)
        waiter.toldAt = now
        if let connection = waiter.connection {
            connection._withUnsafeGuaranteedRef { tell(waiter, on: $0) }
            return 1
        }
        for session in waiter.sessions { tell(waiter, on: session.connection) }
        return Int64(waiter.sessions.count)
    }

    private func tell(_ waiter: Waiter, on connection: WebSocketConnection) {
        if connection.sendAtOnce(rankFrame(waiter.told)) { return }
        // Encoded when the socket can take it, with what is true then. Nothing is captured weakly: that makes every later
        // retain slow. Whoever is gone does not ask for the line.
        connection.markChanged(key) { waiter.isGone ? nil : waiter.line.frame(waiter) }
    }

    private func place(of rank: Int64, _ map: LineMap, _ summary: RoomSummary) -> PlaceInLine {
        // By Redis' clock, by which the pace is measured.
        let age = max(0, EventLoop.monotonicMilliseconds - summaryAt)
        let now = Timestamp(milliseconds: summary.now.milliseconds + age)
        return PlaceInLine(
            rank: rank, waiting: map.waiting,
            estimatedSeconds: summary.estimatedSeconds(rank: rank, waiting: map.waiting, at: now),
            isReachable: isReachable(rank, summary), isProvisional: summary.draw != .none, event: map.event)
    }

    fileprivate func frame(_ waiter: Waiter) -> [UInt8]? {
        // It would come after the pass.
        if waiter.mayBeAdmitted { return nil }
        // Where the line is not known, what was true when it was to be told: it counts as told.
        guard let map, let summary, waiter.since <= map.event, waiter.number <= map.next else {
            return rankFrame(waiter.told).bytes
        }
        guard let rank = map.rank(of: waiter.number) else { return nil }
        // Of several connections, all are told the same; what is newer comes with the next round.
        if waiter.connection != nil, waiter.told.event != map.event { waiter.told = place(of: rank, map, summary) }
        return rankFrame(waiter.told).bytes
    }

    /// Nobody has said what became of these for a while.
    private func askWhatBecame() {
        guard !inDoubt.isEmpty else { return }
        let waiters = inDoubt
        inDoubt = []
        EventLoop.task {
            do {
                try await self.hold(waiters)
            } catch {
                // Asked again in the next round.
            }
            self.changed()
            self.hub.removeIfEmpty(self)
        }
    }

    // MARK: the room's sales

    /// Which sales the room has may have changed.
    func salesChanged() {
        guard !hasEnded else { return }
        let directory = hub.rooms.directory
        stock.follow(directory.liveSales[room] ?? [], directory.upcoming[room] ?? [])
    }

    private func isReachable(_ rank: Int64, _ summary: RoomSummary) -> Bool? {
        summary.draw == .none ? stock.left.map { rank <= $0 } : nil
    }

    /// What every waiter is told, unless it is told of that sale anyway.
    private func tellStatus(_ state: SaleState) {
        let sessions = waiters.values.flatMap(\.sessions)
        EventLoop.task { await self.push(state, to: sessions) }
    }

    /// Some hundred in a turn of the loop.
    private func push(_ state: SaleState, to sessions: [Session]) async {
        let bytes = ServerFrame.sale(state, at: Timestamp(milliseconds: EventLoop.wallMilliseconds))
        for chunk in sessions.chunks(of: Self.sessionsPerTurn) {
            for session in chunk where !session.isWatching(state.sale.id) { session.push(bytes) }
            await EventLoop.sleep(milliseconds: 0)
        }
    }

    /// Everybody up to this number was sent home: told the status of each sale, and `left`.
    private func closed(upTo head: Int64) {
        let gone = waiters.values.filter { $0.number <= head }
        EventLoop.task {
            let sessions = gone.flatMap(\.sessions)
            for state in await self.stock.ends() { await self.push(state, to: sessions) }
            for chunk in Array(gone).chunks(of: Self.sessionsPerTurn) {
                // Unless it stands in line again.
                for waiter in chunk where waiter.number <= head { self.end(waiter, "closed") }
                await EventLoop.sleep(milliseconds: 0)
            }
            self.hub.removeIfEmpty(self)
            self.changed()
        }
    }
}
