import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

extension EngineFixture {
    /// Makes a room known.
    @discardableResult
    func define(
        _ limits: RoomLimits, version: Int64 = 1, drawnAt: Timestamp? = nil, id: RoomID = .main,
        sales: RoomSales = .none
    ) async throws -> RoomID {
        try await engine.define(
            Room(id: id, limits: limits, version: version, seed: "", seedSHA256: "", drawnAt: drawnAt), sales: sales)
        return id
    }

    /// Moves the clock on.
    func wait(_ milliseconds: Int64) { clock.now = clock.now + milliseconds }

    /// Moves the clock on while schedulers look at the room: the time counts. What is due at its end is left to the test.
    func watch(_ milliseconds: Int64, _ room: RoomID = .main) async throws {
        var left = milliseconds
        while left > 1000 {
            wait(1000)
            left -= 1000
            try await tick(room)
        }
        wait(left)
    }

    /// Joins, all in one turn; where each stands, in the order of `joins`.
    @discardableResult
    func join(_ joins: [(client: String, holder: Int64)], _ room: RoomID = .main) async throws -> [RoomStanding] {
        let tasks = joins.map { join in
            EventLoop.task { () async -> Result<RoomStanding?, Outage> in
                do throws(Outage) {
                    return .success(
                        try await self.engine.join(
                            ClientID(trusted: join.client), room: room, holder: join.holder)?.standing)
                } catch { return .failure(error) }
            }
        }
        var standings: [RoomStanding] = []
        for task in tasks { standings.append(try #require(try await task.value.get())) }
        return standings
    }

    /// A client joins that polls, or whose connection a gateway holds.
    @discardableResult
    func join(_ client: String, holder: Int64 = 0, _ room: RoomID = .main) async throws -> RoomStanding {
        try await join([(client, holder)], room)[0]
    }

    /// Joins in the order of the clients, so many in each turn that Redis and this process keep up.
    func joinMany(_ clients: [String], holder: Int64 = 1, _ room: RoomID = .main) async throws {
        for start in stride(from: 0, to: clients.count, by: 4096) {
            let chunk = clients[start..<min(start + 4096, clients.count)]
            let standings = try await join(chunk.map { ($0, holder) }, room)
            #expect(!standings.contains { if case .rejected = $0 { true } else { false } })
        }
    }

    /// Where clients stand; asking is no sign of life.
    func standings(_ clients: [String], _ room: RoomID = .main) async throws -> [RoomStanding] {
        let tasks = clients.map { client in
            EventLoop.task { () async -> Result<RoomStanding?, Outage> in
                do throws(Outage) {
                    return .success(
                        try await self.engine.standing(
                            of: ClientID(trusted: client), room: room, asksItself: false)?.standing)
                } catch { return .failure(error) }
            }
        }
        var standings: [RoomStanding] = []
        for task in tasks { standings.append(try #require(try await task.value.get())) }
        return standings
    }

    func standing(_ client: String, _ room: RoomID = .main) async throws -> RoomStanding {
        try await standings([client], room)[0]
    }

    @discardableResult
    func leave(_ client: String, _ room: RoomID = .main) async throws -> Bool {
        try #require(try await engine.leave(ClientID(trusted: client), room: room)).wasThere
    }

    /// Tells that a gateway lost a client, and returns when Redis knows.
    func away(_ client: String, holder: Int64, _ room: RoomID = .main) async throws {
        engine.away(ClientID(trusted: client), room: room, holder: holder)
        // Redis answers in order, and this is sent when the turn is over.
        await EventLoop.nextTurn()
        try await engine.ping()
    }

    @discardableResult
    func tick(_ room: RoomID = .main) async throws -> RoomSummary {
        try #require(try await engine.tick(room))
    }

    func inspect(_ room: RoomID = .main) async throws -> RoomInspection {
        try #require(try await engine.inspect(room: room))
    }

    /// Spends whichever pass a client has.
    func spend(_ client: String, token: String? = nil, _ room: RoomID = .main) async throws {
        try await engine.spend(
            [(ClientID(trusted: client), token, Timestamp(milliseconds: .max / 2))], room: room)
    }

    /// What a client was told, oldest first, once nothing waits in the room's outbox.
    func told(_ client: String, _ room: RoomID = .main) async throws -> [Outcome] {
        try await waitUntilTold(room)
        return try await engine.outcomes(of: ClientID(trusted: client), after: 0).outcomes.map(\.outcome)
    }

    /// How often each command was called since the statistics were reset.
    func calls() async throws -> [String: Int] {
        var calls: [String: Int] = [:]
        for line in try await redis("INFO", "commandstats").split(whereSeparator: \.isNewline)
        where line.hasPrefix("cmdstat_") {
            let parts = line.dropFirst(8).split(separator: ":", maxSplits: 1)
            calls[String(parts[0])] = parts.count == 2 ? Int(parts[1].prefix { $0 != "," }.dropFirst(6)) : nil
        }
        return calls
    }

    /// Returns once functions were called so many times more, by whoever asks again by itself.
    func waitForCalls(_ more: Int) async throws {
        let deadline = EventLoop.monotonicMilliseconds + patienceMilliseconds
        let before = try await calls()["fcall"] ?? 0
        while try await calls()["fcall"] ?? 0 < before + more {
            try #require(EventLoop.monotonicMilliseconds < deadline, "nobody asks again")
        }
    }

    /// Returns once nothing waits in the room's outbox.
    func waitUntilTold(_ room: RoomID = .main) async throws {
        let deadline = EventLoop.monotonicMilliseconds + 30_000
        let key = Keys.Room(room).state + ":outbox"
        while try await engine.router.ask(RedisCommand("ZCARD", key), about: key).number != 0 {
            try #require(EventLoop.monotonicMilliseconds < deadline, "outcomes stay in the outbox")
        }
    }

    /// Joins many by few calls. Nobody is admitted.
    func fill(_ clients: [String], holder: Int64, _ room: RoomID = .main) async throws {
        for chunk in clients.chunks(of: 2000) {
            var command = engine.rooms.command(.roomJoin, room, passes: 0)
            for client in chunk {
                command.append(client)
                command.append(holder)
            }
            let reply = try await engine.router.ask(calling: command, about: Keys.Room(room).state)
            #expect(reply.elements.count == chunk.count + 2)
        }
    }

    /// Clients leave, by few calls. Nobody is admitted.
    func empty(_ clients: [String], _ room: RoomID = .main) async throws {
        for chunk in clients.chunks(of: 2000) {
            var command = engine.rooms.command(.roomLeave, room, passes: 0)
            for client in chunk { command.append(client) }
            let reply = try await engine.router.ask(calling: command, about: Keys.Room(room).state)
            #expect(reply.elements.dropFirst(2).allSatisfy { $0.string == "l" })
        }
    }

    /// Calls a function of rooms past the engine: what it decides is delivered to nobody.
    func call(
        _ function: FunctionLibrary.Function, passes: Int = 8, _ room: RoomID = .main, _ arguments: String...
    ) async throws -> RedisReply {
        var command = engine.rooms.command(function, room, passes: passes)
        for argument in arguments { command.append(argument) }
        return try await engine.router.ask(calling: command, about: Keys.Room(room).state)
    }

    /// Lets the numbers of a room that nobody joined yet begin elsewhere.
    func begin(at head: Int64, origin: Int64, _ room: RoomID = .main) async throws {
        try await redis(
            "HSET", Keys.Room(room).state, "head", "\(head)", "next", "\(head)", "origin", "\(origin)")
    }
}

extension RoomStanding {
    var rank: Int64? { if case .waiting(_, let rank) = self { rank } else { nil } }
    var number: Int64? { if case .waiting(let number, _) = self { number } else { nil } }
    var token: String? { if case .admitted(let token, _) = self { token } else { nil } }
    var expiresAt: Timestamp? { if case .admitted(_, let expiresAt) = self { expiresAt } else { nil } }
}

/// What a room's channel says: the messages, and a map that knows nothing else.
@LoopActor
final class RoomWatch {
    struct Message {
        let summary: RoomSummary
        let kind: RoomEvent.Kind
        let left: [ClosedRange<Int64>]
    }

    private let heard = Heard<Message>()
    private var subscription: Subscription?
    private let engine: Engine
    private let room: RoomID
    /// The event as of which it began to listen.
    private var first: Int64 = 0
    private var applied = 0
    /// A map that has heard every message since it was read.
    private(set) var map: LineMap

    var messages: [Message] { heard.events }

    init(_ engine: Engine, _ room: RoomID = .main) async throws {
        self.engine = engine
        self.room = room
        map = LineMap(event: 0, head: 0, next: 0, origin: 0, gone: [])
        let heard = heard
        subscription = try await engine.subscribe(room: room) { event in
            if case .changed(let summary, let kind, let left) = event {
                heard.hear(Message(summary: summary, kind: kind, left: left))
            } else {
                Issue.record("the connection was lost")
            }
        }
        let snapshot = try #require(try await engine.snapshot(of: room))
        first = snapshot.summary.event
        map = snapshot.map
    }

    /// Throws the map away, and reads another.
    func readSnapshot() async throws {
        try await follow()
        map = try #require(try await engine.snapshot(of: room)).map
    }

    /// Applies what was said until now: one message for each event, none twice.
    @discardableResult
    func follow(_ location: SourceLocation = #_sourceLocation) async throws -> RoomInspection {
        let now = try #require(try await engine.inspect(room: room))
        try await heard.wait(for: Int(now.summary.event - first))
        for message in messages[applied...] {
            applied += 1
            #expect(message.summary.event == first + Int64(applied), sourceLocation: location)
            let result = map.apply(
                event: message.summary.event, head: message.summary.head, next: message.summary.next,
                left: message.left)
            #expect(result == .applied, "event \(message.summary.event)", sourceLocation: location)
        }
        #expect(map.event == now.summary.event, sourceLocation: location)
        #expect(map.head == now.summary.head, sourceLocation: location)
        #expect(map.next == now.summary.next, sourceLocation: location)
        #expect(map.waiting == now.summary.waiting, sourceLocation: location)
        if let last = messages.last {
            #expect(last.summary.active == now.summary.active, sourceLocation: location)
        }
        return now
    }

    /// Fails when the map and Redis don't agree on a client that waits.
    func agrees(on standings: [RoomStanding], _ location: SourceLocation = #_sourceLocation) {
        for case .waiting(let number, let rank) in standings where map.rank(of: number) != rank {
            Issue.record(
                "number \(number): the map says \(map.rank(of: number) ?? -1), Redis \(rank)", sourceLocation: location)
        }
    }
}

extension Engine {
    /// Tells a room what its sales say, each time as something newer.
    func setSales(of room: RoomID, opensAt: Timestamp?, isLive: Bool) async throws(Outage) -> Int64? {
        lastSalesVersion += 1
        return try await setSales(
            of: room, RoomSales(opensAt: opensAt, isLive: isLive, version: lastSalesVersion))
    }
}

@LoopActor private var lastSalesVersion: Int64 = 0
