import Engine
import EventLoop
import Gateway
import Identity
import Model

/// One WebSocket of one client, from its `connect` to its end.
@LoopActor
final class Session {
    enum State {
        /// Nobody yet: `connect` has to come first.
        case anonymous
        /// `connect` came and is being answered.
        case connecting
        /// Outcomes flow.
        case connected
        case ended
    }

    let connection: WebSocketConnection
    /// Tells it from all others, of other processes too; never 0.
    let id = UInt64.random(in: 1 ... .max)
    /// Not unowned: each use would count it, and what others know weakly is counted slowly. It lives as long as the server.
    let hub: SessionHub
    private(set) var state = State.anonymous
    private(set) var presence: Presence?
    /// When the token ends; the session ends with it.
    private(set) var expiresAt = Timestamp(milliseconds: .max)
    /// Names the token, in less room than its id takes; 0 where it has none.
    private var tokenMark = 0
    /// What only some need.
    private var extra: Extra?
    /// Holds of seats that wait for Redis.
    var holdsInFlight: Int16 = 0
    private var roomsAsked: Int16 = 0
    private var roomActions: UInt32 = 0
    /// The rooms in whose lines this connection waits.
    private(set) var rooms: Set<RoomID> = []
    private var lastRoomActions: [RoomID: (number: UInt32, task: Task<Void, Never>)] = [:]

    private var cursor = OutcomeCursor(sent: 0)
    /// The run of Redis, and the data set, whose offsets the cursor counts.
    private var identity: String?
    /// The offset of the last outcome that was sent, after those that still wait for the answer to a claim.
    private var lastTold: Int64 = 0
    private var claims = PendingClaims<MessageID>()
    /// Of messages, where they are limited.
    private var bucket: TokenBucket

    init(connection: WebSocketConnection, hub: SessionHub) {
        self.connection = connection
        self.hub = hub
        bucket = TokenBucket(
            hub.limits.messages ?? TokenBucket.Limit(perSecond: 0, burst: 0), now: EventLoop.monotonicMilliseconds)
    }

    /// What a session needs that watches something, or sends too much. There are many that only wait.
    @LoopActor
    final class Extra {
        /// The sales that are watched, each with the number of the `watch` that asked for it last.
        var watched: [SaleID: Int] = [:]
        /// The performances whose seats are watched, likewise.
        var watchedSeats: [PerformanceID: Int] = [:]
        var lastWatch = 0
        var seatBytes: TokenBucket
        /// Messages refused of late: one is forgotten with each second.
        var refusedMessages = 0.0
        var refusedAt: Int64 = 0

        init(_ limits: SessionLimits) {
            seatBytes = TokenBucket(limits.seatBytes, now: EventLoop.monotonicMilliseconds)
        }
    }

    /// The same, made when it is needed.
    var needed: Extra {
        if let extra { return extra }
        let new = Extra(hub.limits)
        extra = new
        return new
    }

    var watched: [SaleID: Int] { extra?.watched ?? [:] }
    var watchedSeats: [PerformanceID: Int] { extra?.watchedSeats ?? [:] }

    /// A text frame came.
    func received(_ bytes: [UInt8]) {
        guard state != .ended else { return }
        let isWithinRate = isWithinRate(bytes.count)
        // Over the rate, only what is short is worth a look for its id.
        guard isWithinRate || bytes.count <= 512 else { return isTooMuch("too many messages; wait a moment", nil) }
        let message: ClientMessage
        do {
            message = try ClientMessage.decode(bytes)
        } catch {
            guard isWithinRate else { return isTooMuch("too many messages; wait a moment", error.id) }
            hub.metrics.messages["malformed", default: 0] += 1
            fail(error.error, error.id)
            return
        }
        guard isWithinRate else { return isTooMuch("too many messages; wait a moment", message.id) }
        switch (message.type, state) {
        case ("connect", .anonymous): connect(message)
        case ("connect", _): fail(WireError(.badRequest, "type: this connection is connected already"), message.id)
        case ("ping", _): reply(ServerFrame.pong(at: hub.now, id: message.id))
        case ("claim", .connected): claim(message)
        case ("watch", .connected): watch(message)
        case ("unwatch", .connected): unwatch(message)
        case ("hold", .connected): hold(message)
        case ("join", .connected): join(message)
        case ("leave", .connected): leave(message)
        case ("claim", _), ("watch", _), ("unwatch", _), ("join", _), ("leave", _), ("hold", _):
            fail(WireError(.unauthenticated, "connect first"), message.id)
        default:
            hub.metrics.messages["unknown", default: 0] += 1
            fail(WireError(.badRequest, "type: there is no such message"), message.id)
            return
        }
        hub.metrics.messages[message.type, default: 0] += 1
    }

    /// The connection is gone.
    func ended() {
        guard state != .ended else { return }
        state = .ended
        if let client = presence?.client, !rooms.isEmpty { hub.rooms.ended(self, client) }
        rooms = []
        presence?.remove(self)
        presence = nil
        for sale in watched.keys { hub.watches.remove(self, from: sale) }
        for performance in watchedSeats.keys { hub.seats.remove(self, from: performance) }
        extra = nil
    }

    /// Ends it from this side.
    func close(_ code: CloseCode, _ reason: String) {
        guard state != .ended else { return }
        connection.close(code, reason)
        ended()
    }

    /// Whether one more message, of so many bytes, is within what this connection and its client may send.
    ///
    /// A long one counts for several, as it takes as long to read. So does each of somebody unknown. And where an address
    /// sends too much in all, each of its connections has a tenth: those that flood feel it, and a neighbour's few
    /// messages get through.
    private func isWithinRate(_ count: Int) -> Bool {
        guard hub.limits.isOn else { return true }
        let rates = hub.limits.rates
        var cost = Double(1 + count / 512)
        if state == .anonymous { cost *= 3 }
        let share: Double = rates.mayTalk(connection.remoteAddress, cost) ? 1 : 10
        if let limit = hub.limits.messages,
            !bucket.take(limit, min(limit.burst, cost * share), now: EventLoop.monotonicMilliseconds)
        {
            return false
        }
        return rates.mayTalk(presence?.client, cost)
    }

    /// Whether the client, and whoever shares its address, may claim, join or hold once more; tells when not.
    func mayAct(_ client: ClientID, _ id: MessageID?) -> Bool {
        switch hub.limits.rates.mayAct(client, from: connection.remoteAddress) {
        case .good: return true
        case .tooMuch: isTooMuch("too many claims, joins and holds; wait a moment", id)
        case .tooMuchOfAddress:
            // Others did that: this connection is read on, and doesn't end for it.
            fail(WireError(.rateLimited, "too many claims, joins and holds from this address; wait a moment"), id)
        }
        return false
    }

    /// Refuses a message, reads on only after a while, and ends the connection when that doesn't help.
    private func isTooMuch(_ words: String, _ id: MessageID?) {
        let now = EventLoop.monotonicMilliseconds
        let extra = needed
        extra.refusedMessages = max(0, extra.refusedMessages - Double(now - extra.refusedAt) / 1000) + 1
        extra.refusedAt = now
        if extra.refusedMessages > Double(hub.limits.refusedMessages) {
            close(.rateLimited, "too many messages")
        } else {
            fail(WireError(.rateLimited, words), id)
            connection.pauseReceiving(milliseconds: Self.pauseMilliseconds)
        }
    }

    /// For how long nothing is read of a connection that sent too much.
    private static let pauseMilliseconds: Int64 = 200

    func reply(_ bytes: [UInt8]) {
        connection.send(bytes)
    }

    func fail(_ error: WireError, _ id: MessageID?) {
        reply(ServerFrame.error(error, id: id))
    }

    // MARK: connect

    private func connect(_ message: ClientMessage) {
        guard let token = message.token else { return fail(WireError(.badRequest, "token: missing"), message.id) }
        if let offset = message.resume?.offset.value, offset < 0 {
            return fail(WireError(.badRequest, "resume.offset: must not be negative"), message.id)
        }
        let (rates, address) = (hub.limits.rates, connection.remoteAddress)
        let (known, isForged) = hub.credentials.connect(token: token, as: message.client?.text, at: hub.now)
        guard let who = known else {
            return isForged && !rates.failed(address)
                ? close(.rateLimited, "too many bad tokens") : close(.badToken, "the token is not valid")
        }
        guard rates.mayConnect(who.client) else { return closeAfterPause("too many connections") }
        state = .connecting
        expiresAt = who.expiresAt
        hub.expires(at: expiresAt)
        tokenMark = who.tokenID.map(Self.mark(of:)) ?? 0
        cursor = OutcomeCursor(sent: 0, isReading: true)
        let presence = hub.presence(of: who.client)
        self.presence = presence
        presence.add(self)
        EventLoop.task { await self.join(presence, resume: message.resume, id: message.id) }
    }

    /// Ends the connection of a client that connects too often: at once, or where that is its address's habit, after a pause,
    /// in which it can't do it again.
    private func closeAfterPause(_ words: String) {
        guard let pause = hub.limits.rates.pauseBeforeRefusal(connection.remoteAddress) else {
            return close(.rateLimited, words)
        }
        state = .connecting
        connection.pauseReceiving(milliseconds: pause)
        EventLoop.task {
            await EventLoop.sleep(milliseconds: pause)
            if self.state == .connecting { self.close(.rateLimited, words) }
        }
    }

    /// Whether it was opened with this token.
    func isOf(tokenMark mark: Int) -> Bool { tokenMark == mark }

    /// What a token's id is known by here: 64 bits that differ from process to process, so nobody can make two alike.
    static func mark(of tokenID: String) -> Int { tokenID.hashValue }

    private func join(_ presence: Presence, resume: ClientMessage.Resume?, id: MessageID?) async {
        do {
            try await presence.subscribed()
            try await greet(presence, resume: resume, id: id)
        } catch {
            guard state == .connecting else { return }
            // Not known now: the client may send `connect` again on this connection, or come back on another.
            state = .anonymous
            presence.remove(self)
            self.presence = nil
            fail(WireError(asWire: error), id)
            hub.expectConnect(self)
        }
    }

    /// Answers `connect`, and sends what was missed.
    private func greet(_ presence: Presence, resume: ClientMessage.Resume?, id: MessageID?) async throws {
        let client = presence.client
        identity = hub.engine.identity
        let meaning = resume.map { hub.epochs.meaning(of: $0.epoch, at: hub.now) } ?? .none
        let valid = if case .none = meaning { nil as Int64? } else { resume?.offset.value }
        let (last, kept, outcomes) = try await hub.engine.outcomes(of: client, after: valid ?? .max)
        guard state == .connecting else { return }
        let epoch = try hub.epochs.current(at: hub.now)
        var end = last
        if case .sameIfKept(let run) = meaning, let kept { end = kept.last(ofRun: run) }
        if let valid, valid <= end, Int64(outcomes.count) == last - valid {
            becomeConnected()
            reply(ServerFrame.connected(client: client, epoch: epoch, offset: valid, recovered: true, id: id))
            lastTold = valid
            if DeliberateBug.resumeSkips.isOn, let skipped = outcomes.first {
                return perform(cursor.start(after: skipped.offset, Array(outcomes.dropFirst())))
            }
            return perform(cursor.start(after: valid, outcomes))
        }
        // The truth is read after the log's end is known: what happens in between is told twice, but never not at all.
        let truth = resume == nil ? [] : try? await hub.presentTruth(of: client)
        guard state == .connecting else { return }
        becomeConnected()
        // Until the truth was told, the client must not be able to resume past it.
        let good = truth == nil ? try hub.epochs.unusable() : epoch
        reply(ServerFrame.connected(client: client, epoch: good, offset: last, recovered: false, id: id))
        lastTold = last
        for outcome in truth ?? [] { reply(ServerFrame.outcome(outcome, offset: nil)) }
        perform(cursor.start(after: last))
        if truth == nil { EventLoop.task { await self.tellTruthLater(client) } }
    }

    private func becomeConnected() {
        state = .connected
        hub.arrivals += 1
    }

    /// Tells the present truth as soon as it can be known: an incomplete one would be taken for all there is.
    private func tellTruthLater(_ client: ClientID) async {
        var backoff = Backoff(base: 200, cap: 5000)
        while state == .connected {
            if let truth = try? await hub.presentTruth(of: client) {
                guard state == .connected else { return }
                for outcome in truth { reply(ServerFrame.outcome(outcome, offset: nil)) }
                return
            }
            await EventLoop.sleep(milliseconds: backoff.next())
        }
    }

    // MARK: outcomes

    /// An outcome of this session's client came, by the reply to a claim or by Pub/Sub.
    func received(_ outcome: LoggedOutcome) {
        // Another run of Redis may have lost what was sent, and counts from there: not before its log was read.
        if identity != hub.engine.identity { mayHaveMissed() }
        perform(cursor.received(outcome))
    }

    /// The subscription was renewed: something may have been missed.
    func mayHaveMissed() {
        guard countsAsBefore() else { return }
        perform(cursor.mayHaveMissed())
    }

    /// Whether Redis still has the data whose offsets this connection counts. When it was lost, offsets began anew, and
    /// what comes would be taken for what was sent: the client has to come back, and is told the present truth.
    private func countsAsBefore() -> Bool {
        guard state == .connected, identity != hub.engine.identity, data(identity) != data(hub.engine.identity) else {
            return true
        }
        close(.goingAway, "outcomes are counted anew; reconnect")
        return false
    }

    private func runTag(_ identity: String?) -> Substring { identity?.prefix(8) ?? "" }

    private func data(_ identity: String?) -> Substring? {
        identity?.split(separator: ".", maxSplits: 1).last
    }

    private func perform(_ action: OutcomeCursor.Action) {
        guard state == .connected else { return }
        for outcome in action.send { claims.hold(outcome) }
        sendReadyOutcomes()
        if let offset = action.readAfter { EventLoop.task { await self.readLog(after: offset) } }
    }

    private func sendReadyOutcomes() {
        while let (outcome, id) = claims.nextReady() {
            connection.send(ServerFrame.outcome(outcome.outcome, offset: outcome.offset, id: id), as: .outcome)
            lastTold = outcome.offset
            if let client = presence?.client { hub.rooms.rooms.toldPasses.note(outcome.outcome, of: client) }
        }
    }

    /// Reads the log until that works: while Redis is away, outcomes wait in the cursor, and the client keeps its
    /// connection.
    private func readLog(after offset: Int64) async {
        guard let client = presence?.client else { return }
        var backoff = Backoff(base: 100, cap: 2000)
        while state == .connected {
            do {
                let now = hub.engine.identity
                let (last, kept, outcomes) = try await hub.engine.outcomes(of: client, after: offset)
                guard state == .connected, countsAsBefore() else { return }
                let isKept = identity == now || offset <= kept?.last(ofRun: runTag(identity)) ?? last
                let (action, skipped) = cursor.read(outcomes, last: last)
                // A log that ends before what was sent has begun anew; one with a hole has been cut. The client resumes
                // from what it has, finds it not recovered, and is told the present truth.
                guard last >= offset, isKept, !skipped else {
                    return close(.goingAway, "outcomes were lost here; reconnect")
                }
                identity = now
                return perform(action)
            } catch {
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
    }

    // MARK: claims

    private func claim(_ message: ClientMessage) {
        guard let client = presence?.client else { return }
        guard let saleText = message.sale?.text else {
            return fail(WireError(.badRequest, "sale: missing"), message.id)
        }
        guard let sale = SaleID(parsing: saleText) else {
            return reply(ServerFrame.refused(WireError(.notFound, "no such sale"), sale: saleText, id: message.id))
        }
        var key: IdempotencyKey?
        if let text = message.key?.text {
            key = IdempotencyKey(text)
            guard key != nil else {
                return fail(WireError(.badRequest, "key: 1 to 128 visible ASCII characters"), message.id)
            }
        }
        guard mayAct(client, message.id) else { return }
        guard claims.inFlight < hub.limits.claimsInFlight else {
            return fail(WireError(.rateLimited, "too many claims in flight on this connection"), message.id)
        }
        if let pass = message.token, pass.utf8.count > 128 {
            return fail(WireError(.badRequest, "token: a pass has 36 characters"), message.id)
        }
        let handle = claims.begin(.claim(sale), id: message.id)
        let id = message.id
        hub.awaited += 1
        let isUnderWay =
            message.token == nil
            && hub.claims.claimAtOnce(
                client: client, sale: sale, key: key, onAccepted: { self.claims.granted(handle, .order($0.order)) }
            ) { self.decided($0, sale, id, handle) }
        guard !isUnderWay else { return }
        EventLoop.task { await self.decide(client, sale, key, message.token, id, handle) }
    }

    private func decide(
        _ client: ClientID, _ sale: SaleID, _ key: IdempotencyKey?, _ pass: String?, _ id: MessageID?,
        _ handle: PendingClaims<MessageID>.Handle
    ) async {
        do {
            let accepted = try await hub.claims.claim(client: client, sale: sale, key: key, pass: pass) {
                self.claims.granted(handle, .order($0.order))
            }
            decided(.success(accepted), sale, id, handle)
        } catch {
            decided(.failure(error), sale, id, handle)
        }
    }

    private func decided(
        _ result: Result<ClaimService.Accepted, WireError>, _ sale: SaleID, _ id: MessageID?,
        _ handle: PendingClaims<MessageID>.Handle
    ) {
        hub.awaited -= 1
        switch result {
        case .success(let accepted):
            guard state == .connected else { return }
            let outcome = Outcome.accepted(
                order: accepted.acceptance.order, ticket: accepted.acceptance.ticket,
                remaining: accepted.acceptance.remaining)
            // A new one that was told before is not: its offset is of other data, which were lost a moment ago.
            let offset = accepted.offset.flatMap { accepted.isRepeated || $0 > lastTold ? $0 : nil }
            answer(handle, outcome, at: offset, id)
        case .failure(let error):
            _ = claims.end(handle)
            guard state == .connected else { return }
            switch error.code {
            case .unavailable, .rateLimited, .badRequest: fail(error, id)
            default: reply(ServerFrame.refused(error, sale: sale, id: id))
            }
        }
        sendReadyOutcomes()
    }

    /// Answers a wish with the outcome that it got; `offset` is nil when the log could not be written.
    private func answer(
        _ handle: PendingClaims<MessageID>.Handle, _ outcome: Outcome, at offset: Int64?, _ id: MessageID?
    ) {
        if let offset { received(LoggedOutcome(offset: offset, outcome: outcome)) }
        if !claims.end(handle, isToCome: offset.map { $0 > cursor.sent } ?? false) {
            // It was sent before without this id, or the log could not be written: this is the direct answer. An offset
            // that was not told yet isn't told out of its turn: the outcome follows with it.
            let offset = offset.flatMap { $0 <= lastTold ? $0 : nil }
            reply(ServerFrame.outcome(outcome, offset: offset, id: id))
        }
    }

    // MARK: rooms

    private func join(_ message: ClientMessage) {
        guard let client = presence?.client, let room = room(message) else { return }
        guard mayAct(client, message.id) else { return }
        guard rooms.contains(room) || rooms.count + Int(roomsAsked) < hub.limits.rooms else {
            return fail(WireError(.rateLimited, "too many rooms on this connection"), message.id)
        }
        guard claims.inFlight < hub.limits.claimsInFlight else {
            return fail(WireError(.rateLimited, "too many joins in flight on this connection"), message.id)
        }
        roomsAsked += 1
        hub.awaited += 1
        let handle = claims.begin(.join(room), id: message.id)
        inOrder(room) {
            defer {
                self.roomsAsked -= 1
                self.hub.awaited -= 1
            }
            await self.join(client, room, message.id, handle)
        }
    }

    private func join(
        _ client: ClientID, _ room: RoomID, _ id: MessageID?, _ handle: PendingClaims<MessageID>.Handle
    ) async {
        do {
            guard state == .connected else { return }
            switch try await hub.rooms.join(client, self, room) {
            case .waiting(let place):
                reply(ServerFrame.joined(place, of: room, id: id))
                hub.arrivals += 1
                _ = claims.end(handle)
            case .admitted(let token, let expiresAt):
                guard state == .connected else { return }
                claims.granted(handle, .pass(token))
                let outcome = Outcome.admitted(room, token: token, expiresAt: expiresAt)
                let offset = try? await hub.engine.tell([(client: client, outcome: outcome)]).first
                guard state == .connected else { return }
                answer(handle, outcome, at: offset, id)
            case .gone: return
            }
        } catch {
            _ = claims.end(handle)
            guard state == .connected else { return }
            fail(WireError(asWire: error), id)
        }
        sendReadyOutcomes()
    }

    private func leave(_ message: ClientMessage) {
        guard let client = presence?.client, let room = room(message) else { return }
        guard mayAct(client, message.id) else { return }
        guard Int(roomsAsked) < hub.limits.claimsInFlight else {
            return fail(WireError(.rateLimited, "too many joins in flight on this connection"), message.id)
        }
        roomsAsked += 1
        inOrder(room) {
            defer { self.roomsAsked -= 1 }
            do {
                try await self.hub.rooms.leave(client, self, room)
                guard self.state == .connected else { return }
                self.reply(ServerFrame.left(room, reason: "left", id: message.id))
            } catch {
                guard self.state == .connected else { return }
                self.fail(WireError(asWire: error), message.id)
            }
        }
    }

    /// Joins and leaves of one room by one connection are done one after the other, as they came.
    private func inOrder(_ room: RoomID, _ action: @escaping @LoopActor () async -> Void) {
        let before = lastRoomActions[room]?.task
        roomActions &+= 1
        let number = roomActions
        let task = EventLoop.task {
            await before?.value
            await action()
            guard self.lastRoomActions[room]?.number == number else { return }
            // A dictionary that has become empty keeps its room.
            if self.lastRoomActions.count == 1 { self.lastRoomActions = [:] } else { self.lastRoomActions[room] = nil }
        }
        lastRoomActions[room] = (number, task)
    }

    /// It waits in a room's line. Those that wait in no other share the set of it.
    func waits(in room: RoomID, alone: Set<RoomID>) {
        if rooms.isEmpty { rooms = alone } else { rooms.insert(room) }
    }

    /// It waits there no more.
    func waitsNoMore(in room: RoomID) {
        if rooms.count > 1 { rooms.remove(room) } else if rooms.contains(room) { rooms = [] }
    }

    /// The pass of a room was given back, by another connection of the client unless it was this one.
    func gaveBack(_ room: RoomID, by connection: UInt64, asOf event: Int64) {
        // Who has joined again since, and waits by this connection, has not left.
        if let client = presence?.client, rooms.contains(room), hub.rooms.waits(client, in: room, after: event) {
            return
        }
        if connection != id { push(ServerFrame.left(room, reason: "left")) }
    }

    private func room(_ message: ClientMessage) -> RoomID? {
        guard let text = message.room?.text else {
            fail(WireError(.badRequest, "room: missing"), message.id)
            return nil
        }
        guard let room = RoomID(text) else {
            fail(WireError(.notFound, "room: no such room"), message.id)
            return nil
        }
        return room
    }

    /// Sends what nobody asked for; unlike a state it is not replaced by a newer one.
    func push(_ bytes: [UInt8]) {
        guard state == .connected else { return }
        connection.send(bytes)
    }

    /// Whether it is told of a sale's changes anyway.
    func isWatching(_ sale: SaleID) -> Bool { watched[sale] != nil }
}
