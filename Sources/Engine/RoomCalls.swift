import EventLoop
import Model

/// Calls the functions of waiting rooms: merges what one turn of the loop asks of one room, sends passes along, waits
/// while lots are drawn, and tells whoever was admitted or whose pass ran out.
@LoopActor
final class RoomCalls {
    typealias Joined = (standing: RoomStanding, summary: RoomSummary)

    /// How many clients go into one call at most.
    static let clientsPerCall = 256
    /// How many can be admitted in one tick where it isn't known that more have a place, and where it is: a millisecond
    /// of Redis. What is left over is admitted in the next, which is due at once.
    static let passesPerTick = 64
    static let mostPassesPerTick = 256
    /// How long a pass that is shown is kept beyond its time.
    static let leaseMilliseconds: Int64 = 5000
    /// How long to wait before a room in which lots are drawn is asked again, in ms.
    static let drawPause: Int64 = 50
    /// How long a draw may take, in ms, before callers are told that the room is unavailable.
    private static let drawPatience: Int64 = 15_000

    private struct Waiting {
        let client: ClientID
        let holder: Int64
        /// Which join of this process it is.
        let number: Int64
        let continuation: CheckedContinuation<Result<Joined?, Outage>, Never>
    }

    /// Joins that wait for the end of a draw, in their order, and departures that wait for these joins.
    private struct Queue {
        var joins: [Waiting]
        var followers: [CheckedContinuation<Void, Never>] = []

        /// Never before the first, which is asked for: Redis answers in the order of sending.
        mutating func insert(_ batch: [Waiting]) {
            let earlier = joins.lastIndex { $0.number < batch[0].number } ?? 0
            joins.insert(contentsOf: batch, at: earlier + 1)
        }
    }

    private struct Leaving {
        let client: ClientID
        let failed: @LoopActor () -> Void
    }

    private struct Gone: Hashable {
        let room: RoomID
        let holder: Int64
    }

    private let router: CommandRouter
    private let configuration: EngineConfiguration
    private let tells: TellBatcher
    private let log: Log
    private var waiting: [RoomID: [Waiting]] = [:]
    private var gone: [Gone: [Leaving]] = [:]
    /// Where lots are drawn; the first that joins is asked again and again.
    private var queued: [RoomID: Queue] = [:]
    private var lastJoin: Int64 = 0
    /// Whether anybody may be admitted now.
    var mayAdmit: @LoopActor () -> Bool = { true }

    init(router: CommandRouter, configuration: EngineConfiguration, tells: TellBatcher, log: Log) {
        self.router = router
        self.configuration = configuration
        self.tells = tells
        self.log = log
    }

    /// A call with the keys and arguments that all functions of rooms take.
    func command(_ function: FunctionLibrary.Function, _ room: RoomID, passes: Int) -> RedisCommand {
        let keys = Keys.Room(room)
        // Without a pass to give nobody is admitted.
        let passes = function == .roomResume || mayAdmit() ? passes : 0
        var command = RedisCommand(function: function, keys: keys.all, reserving: 768 + 44 * passes)
        command.append(configuration.now)
        command.append(keys.events)
        command.append(passes)
        for _ in 0..<passes { command.append(PassText.random()) }
        return command
    }

    /// Calls a function. While lots are drawn it is called again.
    func reply(
        _ function: FunctionLibrary.Function, _ room: RoomID, passes: Int, _ append: (inout RedisCommand) -> Void
    ) async throws(Outage) -> RedisReply {
        var command = command(function, room, passes: passes)
        append(&command)
        command.seal()
        return try await reply(to: command, room)
    }

    /// Calls a function now. While lots are drawn it is called again.
    func call(
        _ function: FunctionLibrary.Function, _ room: RoomID, _ append: (inout RedisCommand) -> Void,
        then: @escaping @LoopActor (Result<RedisReply, Outage>) -> Void
    ) {
        var command = command(function, room, passes: 0)
        append(&command)
        command.seal()
        let call = command
        router.call(call, about: Keys.Room(room).state) { result in
            guard case .success(.string("D")) = result else { return then(result) }
            EventLoop.task {
                await EventLoop.sleep(milliseconds: Self.drawPause)
                do throws(Outage) {
                    then(.success(try await self.reply(to: call, room)))
                } catch {
                    then(.failure(error))
                }
            }
        }
    }

    private func reply(to call: RedisCommand, _ room: RoomID) async throws(Outage) -> RedisReply {
        let state = Keys.Room(room).state
        let deadline = EventLoop.monotonicMilliseconds + Self.drawPatience
        while true {
            let reply = try await router.ask(calling: call, about: state)
            guard reply.string == "D" else { return reply }
            guard EventLoop.monotonicMilliseconds < deadline else { throw Outage(.redis, "lots are being drawn") }
            await EventLoop.sleep(milliseconds: Self.drawPause)
        }
    }

    /// The parts of a function's reply; nil when Redis doesn't know the room.
    func ask(
        _ function: FunctionLibrary.Function, _ room: RoomID, passes: Int, _ append: (inout RedisCommand) -> Void
    ) async throws(Outage) -> [RedisReply]? {
        let reply = try await reply(function, room, passes: passes, append)
        return reply.string == "?" ? nil : reply.elements
    }

    func join(_ client: ClientID, room: RoomID, holder: Int64) async throws(Outage) -> Joined? {
        // As for claims: not sent to a Redis that comes back within the turn.
        guard router.isReady(for: Keys.Room(room).state) else { throw Outage(.redis, "not connected") }
        let result = await withCheckedContinuation { continuation in
            schedule()
            lastJoin += 1
            waiting[room, default: []].append(
                Waiting(client: client, holder: holder, number: lastJoin, continuation: continuation))
        }
        return try result.get()
    }

    func away(
        _ client: ClientID, room: RoomID, holder: Int64, failed: @escaping @LoopActor () -> Void
    ) {
        sendJoin(of: client, room)
        schedule()
        gone[Gone(room: room, holder: holder), default: []].append(Leaving(client: client, failed: failed))
    }

    /// Sends the join of a client that waits for the end of the turn: what comes next about the client must not reach
    /// Redis before it.
    func sendJoin(of client: ClientID, _ room: RoomID) {
        // All: a client that went away before it joined must have gone first.
        if waiting[room]?.contains(where: { $0.client == client }) == true { send() }
    }

    /// Calls `dibs_room_leave` for a client. It comes after every join of the client that was asked for before, also where
    /// that waits for the end of a draw.
    /// - Returns: where the client stood, a letter for each call; nil when Redis does not know the room.
    func leave(
        _ client: ClientID, room: RoomID
    ) async throws(Outage) -> (stood: Set<String>, summary: RoomSummary)? {
        sendJoin(of: client, room)
        let number = lastJoin
        var isJoining: Bool {
            queued[room]?.joins.contains { $0.client == client && $0.number <= number } == true
        }
        var stood: Set<String> = []
        while true {
            while isJoining { await withCheckedContinuation { queued[room]?.followers.append($0) } }
            let parts = try await ask(.roomLeave, room, passes: 4) { $0.append(client.rawValue) }
            guard let parts, parts.count >= 3, let summary = parts[0].string.flatMap({ RoomSummary($0) }) else {
                return nil
            }
            deliver(parts[1], of: room)
            stood.insert(parts[2].string ?? "")
            // Its join may have been under way, and be told only now that lots are drawn.
            if !isJoining { return (stood, summary) }
        }
    }

    private func schedule() {
        if waiting.isEmpty && gone.isEmpty { Turn.atEnd(.merge) { self.send() } }
    }

    private func send() {
        let (joining, leaving) = (waiting, gone)
        waiting.removeAll(keepingCapacity: true)
        gone.removeAll(keepingCapacity: true)
        for (key, clients) in leaving {
            for chunk in clients.chunks(of: Self.clientsPerCall) { sendAway(chunk, key) }
        }
        for (room, all) in joining {
            for chunk in all.chunks(of: Self.clientsPerCall) { sendJoin(Array(chunk), room) }
        }
    }

    private func sendAway(_ leaving: ArraySlice<Leaving>, _ key: Gone) {
        var command = command(.roomAway, key.room, passes: 0)
        command.append(key.holder)
        command.append(ClientChannel.away(from: key.room))
        for leaving in leaving {
            command.append(leaving.client.rawValue)
            command.append(Keys.client(leaving.client))
        }
        router.call(command, about: Keys.Room(key.room).state) { [log] result in
            guard case .failure(let outage) = result else { return }
            log(.debug, "room_away_failed", ["room": .init(key.room), "error": .init(outage)])
            for leaving in leaving { leaving.failed() }
        }
    }

    private func sendJoin(_ batch: [Waiting], _ room: RoomID) {
        guard queued[room] == nil else {
            queued[room]?.joins.append(contentsOf: batch)
            return
        }
        askJoin(batch, room) { result in
            if let result {
                self.answer(batch, result)
            } else if self.queued[room] == nil {
                self.queued[room] = Queue(joins: batch)
                EventLoop.task { await self.waitForDraw(room) }
            } else {
                // Sent before the draw was known of; others may be queued already that were not sent at all.
                self.queued[room]?.insert(batch)
            }
        }
    }

    private func answer(_ batch: [Waiting], _ result: Result<[Joined]?, Outage>) {
        for (index, waiting) in batch.enumerated() {
            waiting.continuation.resume(returning: result.map { $0?[index] })
        }
    }

    /// Asks with the first of those who wait, until the draw is over; then all may join, in their order.
    private func waitForDraw(_ room: RoomID) async {
        let deadline = EventLoop.monotonicMilliseconds + Self.drawPatience
        while let first = queued[room]?.joins.first {
            let result: Result<[Joined]?, Outage>? =
                EventLoop.monotonicMilliseconds < deadline
                ? await withCheckedContinuation { continuation in
                    askJoin([first], room) { continuation.resume(returning: $0) }
                } : .failure(Outage(.redis, "lots are being drawn"))
            guard let result else {
                await EventLoop.sleep(milliseconds: Self.drawPause)
                continue
            }
            let queue = queued.removeValue(forKey: room)
            let rest = Array(queue?.joins.dropFirst() ?? [])
            // They go on when this turn's jobs run: after what is sent here.
            defer { for follower in queue?.followers ?? [] { follower.resume() } }
            answer([first], result)
            if case .failure = result { return answer(rest, result.map { _ in nil }) }
            for chunk in rest.chunks(of: Self.clientsPerCall) { sendJoin(Array(chunk), room) }
        }
    }

    /// Calls `dibs_room_join`. `then` gets nil when lots are being drawn, and a success of nil when Redis does not know the
    /// room.
    private func askJoin(
        _ batch: [Waiting], _ room: RoomID, _ then: @escaping @LoopActor (Result<[Joined]?, Outage>?) -> Void
    ) {
        var command = command(.roomJoin, room, passes: batch.count)
        for waiting in batch {
            command.append(waiting.client.rawValue)
            command.append(waiting.holder)
        }
        router.call(command, about: Keys.Room(room).state) { result in
            switch result {
            case .failure(let outage): then(.failure(outage))
            case .success(.string("D")): then(nil)
            case .success(.string("?")): then(.success(nil))
            case .success(let reply):
                let parts = reply.elements
                guard parts.count == batch.count + 2, let summary = parts[0].string.flatMap({ RoomSummary($0) }) else {
                    return then(.failure(Outage(.redis, "an unknown answer to joins")))
                }
                self.deliver(parts[1], of: room)
                then(.success(parts.dropFirst(2).map { (RoomStanding(word: $0.string ?? ""), summary) }))
            }
        }
    }

    /// Tells clients what a call decided about them, and takes it out of the room's outbox. What fails here is told by
    /// the next scheduler that looks.
    func deliver(_ outcomes: RedisReply, of room: RoomID) {
        let words = outcomes.elements.compactMap(\.string)
        guard !words.isEmpty else { return }
        EventLoop.task {
            do throws(Outage) {
                _ = try await self.tells.tell(words.flatMap { RoomCalls.outcomes($0, room) })
                for chunk in words.chunks(of: 200) {
                    _ = try await self.reply(.roomTold, room, passes: 0) { command in
                        for word in chunk { command.append(word) }
                    }
                }
            } catch {
                self.log(.debug, "room_outcomes_wait", ["room": .init(room), "error": .init(error)])
            }
        }
    }

    /// What an entry of the outbox says: `g client token expires` admitted, `t …` its pass ran out, `b …` both.
    nonisolated static func outcomes(_ word: String, _ room: RoomID) -> [TellBatcher.Item] {
        let parts = word.split(separator: " ")
        guard parts.count == 4, let expires = Int64(parts[3]) else { return [] }
        let client = ClientID(trusted: String(parts[1]))
        let token = String(parts[2])
        let admitted = Outcome.admitted(room, token: token, expiresAt: Timestamp(milliseconds: expires))
        let expired = Outcome.expired(room, token: token)
        switch parts[0] {
        case "g": return [(client, admitted)]
        case "t": return [(client, expired)]
        default: return [(client, admitted), (client, expired)]
        }
    }
}

/// What is said on a client's channel besides outcomes.
enum ClientChannel {
    /// A gateway that held the client's place in a room has no connection of it any more.
    static func away(from room: RoomID) -> String { "\taway \(room)" }

    /// The client gave its pass of a room back, by this connection, or 0 by REST, as of this change of the line.
    static func left(_ room: RoomID, by connection: UInt64, asOf event: Int64) -> String {
        "\tleft \(room) \(connection) \(event)"
    }

    /// What such a message says; nil for any other.
    static func event(_ text: String) -> ClientEvent? {
        let words = text.split(separator: " ")
        guard words.count >= 2, let room = RoomID(String(words[1])) else { return nil }
        switch words[0] {
        case "\taway": return .away(room)
        case "\tleft":
            // An older version's has no change: whatever is known is older.
            return .left(
                room, by: words.count > 2 ? UInt64(words[2]) ?? 0 : 0,
                asOf: words.count > 3 ? Int64(words[3]) ?? .max : .max)
        default: return nil
        }
    }
}
