import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// What happens when Redis is away, slow, or asks for something.
@Suite struct ConnectionTests {
    private static let alice = ClientID(trusted: "alice")

    @Test func comesBackAfterARestart() async throws {
        try await onLoop {
            var options = RedisServer.Options()
            options.isPersistent = true
            let fixture = try await EngineFixture(options)
            let sale = try await fixture.sale(quantity: 10)
            let heard = Heard<ClientEvent>()
            let changes = Heard<SaleEvent>()
            let ofClient = try await fixture.engine.subscribe(client: ConnectionTests.alice) { heard.hear($0) }
            let ofSale = try await fixture.engine.subscribe(sale: sale) { changes.hear($0) }
            let accepted = try #require(try await fixture.claim("alice", on: sale).acceptance)
            let epoch = fixture.engine.dataEpoch
            #expect(epoch != nil)
            // Redis writes the reply first. Suspended between the two, it would never tell.
            try await changes.wait(for: 1)

            // In flight when it dies: the server is suspended first, so that it can't have answered.
            fixture.server.suspend()
            let inFlight = EventLoop.task { () async -> Bool in
                do {
                    _ = try await fixture.claim("bob", on: sale)
                    return false
                } catch { return error is Outage }
            }
            await EventLoop.nextTurn()
            await fixture.server.kill()
            #expect(await inFlight.value)
            await #expect(throws: Outage.self) { try await fixture.engine.ping() }
            await #expect(throws: Outage.self) {
                _ = try await fixture.engine.subscribe(client: ClientID(trusted: "late")) { _ in }
            }
            #expect(!fixture.engine.isConnected)

            try await fixture.server.restart(keepingData: true)
            await fixture.engine.waitUntilConnected()
            #expect(fixture.engine.dataEpoch == epoch)
            try await heard.wait(for: 1)
            try await changes.wait(for: 2)
            #expect(heard.events == [.renewed])
            #expect(changes.events.last == .renewed)
            #expect(try await fixture.claim("alice", on: sale) == .refused(.duplicate, order: accepted.order))
            _ = try await fixture.claim("carol", on: sale)
            _ = try await fixture.engine.tell([
                (ConnectionTests.alice, .order(accepted.order, .confirmed, ticket: 1, reason: nil))
            ])
            try await heard.wait(for: 2)
            try await changes.wait(for: 3)
            _ = try await fixture.balance(sale)

            // Without its data it is another.
            try await fixture.server.restart(keepingData: false)
            try await heard.wait(for: 3)
            await fixture.engine.waitUntilConnected()
            #expect(fixture.engine.dataEpoch != epoch)
            #expect(try await fixture.claim("alice", on: sale) == .unknownSale)
            ofClient.cancel()
            ofSale.cancel()
            await fixture.engine.stop()
            await #expect(throws: Outage.self) { try await fixture.engine.ping() }
        }
    }

    @Test func knowsAnotherRunOfRedis() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            let heard = Heard<String>()
            let engine = Engine(EngineConfiguration(url: try RedisURL(fixture.server.url)), log: .none)
            engine.onConnected = { [unowned engine] isOtherRun in
                heard.hear("\(isOtherRun) \(engine.serverRun?.count ?? 0)")
            }
            // Before the connection stands nothing is kept for later, so nobody comes before the question.
            await #expect(throws: Outage.self) {
                _ = try await engine.claim(Claim(client: ConnectionTests.alice, roll: 99), on: sale)
            }
            #expect(engine.serverRun == nil)
            let waiter = EventLoop.task {
                await engine.waitUntilConnected()
                heard.hear("waited")
            }
            engine.start()
            await waiter.value
            #expect(heard.events == ["true 40", "waited"])
            let run = engine.serverRun

            // A connection that was cut, to the same.
            try await fixture.redis("CLIENT", "KILL", "TYPE", "normal")
            try await heard.wait(for: 3)
            #expect(heard.events.last == "false 40")
            #expect(engine.serverRun == run)

            try await fixture.server.restart(keepingData: true)
            try await heard.wait(for: 4)
            #expect(heard.events.last == "true 40")
            #expect(engine.serverRun != run)
            await engine.stop()
        }
    }

    @Test func aHungRedisIsAnOutage() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            let clock = fixture.clock
            let engine = Engine(
                EngineConfiguration(
                    url: try RedisURL(fixture.server.url), replyTimeoutMilliseconds: 200, clock: { clock.now }),
                log: .none)
            engine.start()
            await engine.waitUntilConnected()
            fixture.server.suspend()
            let began = EventLoop.nanoseconds
            await #expect(throws: Outage.self) {
                _ = try await engine.claim(Claim(client: ConnectionTests.alice, roll: 99), on: sale)
            }
            let took = (EventLoop.nanoseconds - began) / 1_000_000
            #expect(took >= 190)
            // Connecting to it takes as little: the socket is there, nobody answers.
            await #expect(throws: Outage.self) { try await engine.ping() }
            fixture.server.resume()
            await engine.waitUntilConnected()
            // What was sent before it hung was executed, and is not sent again by itself.
            let decision = try await fixture.claim("alice", on: sale)
            let inspection = try await fixture.balance(sale)
            if case .refused(.duplicate, _) = decision {
                #expect(inspection.ownedTickets == 1)
            } else {
                #expect(decision.acceptance?.ticket == 1)
            }
            await engine.stop()
        }
    }

    @Test func asksForAPassword() async throws {
        try await onLoop {
            var options = RedisServer.Options()
            options.password = "p@ss:w/rd"
            options.arguments = ["--port", "0"]
            let server = try await RedisServer.start(options)
            let path = server.socketPath
            @LoopActor func engine(_ password: String?, user: String? = nil) -> Engine {
                let url = RedisURL(
                    endpoint: .unix(path: path), user: user, password: password, database: 3)
                return Engine(EngineConfiguration(url: url), log: .none)
            }
            let right = engine("p@ss:w/rd")
            right.start()
            await right.waitUntilConnected()
            try await right.register(EngineFixture.state(1, quantity: 1), epoch: 1)
            let named = engine("p@ss:w/rd", user: "default")
            named.start()
            await named.waitUntilConnected()
            #expect(try await named.state(of: SaleID(1)) != nil)
            #expect(right.dataEpoch == named.dataEpoch)
            let refused = Heard<String>()
            let wrong = Engine(
                EngineConfiguration(
                    url: RedisURL(endpoint: .unix(path: path), password: "secret-guess")),
                log: Log { _, event, fields in
                    EventLoop.task { refused.hear("\(event) \(fields)") }
                })
            wrong.start()
            try await refused.wait(for: 2)
            #expect(refused.events.allSatisfy { $0.contains("WRONGPASS") && !$0.contains("secret-guess") })
            #expect(!wrong.isConnected)
            await #expect(throws: Outage.self) { try await wrong.ping() }
            await wrong.stop()
            await right.stop()
            await named.stop()
        }
    }

    @Test func databasesAreApart() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            _ = try await fixture.sale(quantity: 1)
            let other = Engine(
                EngineConfiguration(url: try RedisURL(fixture.server.url + "?db=5")), log: .none)
            other.start()
            await other.waitUntilConnected()
            #expect(try await other.state(of: SaleID(1)) == nil)
            #expect(other.dataEpoch != fixture.engine.dataEpoch)
            await other.stop()
        }
    }

    @Test func aFlushedLibraryIsLoadedAgain() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            _ = try await fixture.redis("FUNCTION", "FLUSH")
            #expect(try await fixture.claim("a", on: sale).acceptance?.ticket == 1)
        }
    }

    /// Processes of the version before run beside ours: theirs calls `dibs_claim`, and their library lacks our name.
    @Test func besideAnOlderVersion() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            let keys = Keys.Sale(sale)
            let theirs = [
                "7", keys.state, keys.clients, keys.keys, keys.returned, keys.orders, keys.counts, keys.series,
                "\(fixture.clock.now.milliseconds)", keys.events, "99", "0", "a",
            ]
            var command = RedisCommand("FCALL", "dibs_claim")
            for argument in theirs { command.append(argument) }
            let reply = try await fixture.engine.router.ask(command, about: keys.state)
            #expect(reply == .string("a\(1 << 32 + 1):1:9:0:1"))
            // They have loaded their library last.
            let source = String(decoding: FunctionLibrary.source, as: UTF8.self)
                .replacing("redis.register_function('dibs_claim_2', claim)", with: "")
            try await fixture.redis("FUNCTION", "LOAD", "REPLACE", source)
            #expect(try await fixture.claim("b", on: sale, mayClaim: false) == .refused(.notAdmitted, order: nil))
            #expect(try await fixture.claim("c", on: sale).acceptance?.ticket == 2)
            _ = try await fixture.balance(sale)
        }
    }

    @Test func outOfMemoryIsAnOutageButSettlingWorks() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            let accepted = try #require(try await fixture.claim("alice", on: sale).acceptance)
            let orders = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
            _ = try await fixture.redis("CONFIG", "SET", "maxmemory", "1")
            await #expect(throws: Outage.self) { _ = try await fixture.claim("bob", on: sale) }
            try await fixture.engine.settle(orders.map { Settlement(order: $0, status: .confirmed) })
            try await fixture.engine.release([
                ReleasedOrder(order: accepted.order, client: ConnectionTests.alice)
            ])
            _ = try await fixture.redis("CONFIG", "SET", "maxmemory", "0")
            #expect(try await fixture.balance(sale).state.remaining == 10)
        }
    }

    @Test func aReplicaIsLeft() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            _ = try await fixture.redis("REPLICAOF", "127.0.0.1", "1")
            await #expect(throws: Outage.self) { _ = try await fixture.claim("a", on: sale) }
            _ = try await fixture.redis("REPLICAOF", "NO", "ONE")
            await fixture.engine.waitUntilConnected()
            #expect(try await fixture.claim("a", on: sale).acceptance != nil)
        }
    }

    /// What is no text comes as the bytes that it is.
    @Test(
        arguments: [
            [], [0], [0x41, 0, 0x42], Array("größer".utf8), [0xFF], [0x80, 0x41], Array("größer".utf8.prefix(3)),
            [0xED, 0xA0, 0x80], [0xC0, 0x80], Array(0...255), [0x0D, 0x0A],
        ] as [[UInt8]])
    func repliesAreTextOrBytes(_ bytes: [UInt8]) async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let router = fixture.engine.router
            var command = RedisCommand("SET", "key")
            command.append(bytes)
            #expect(try await router.ask(command, about: "key") == .string("OK"))
            let reply = try await router.ask(RedisCommand("GET", "key"), about: "key")
            #expect(reply.bytes == bytes)
            if let text = String(validating: bytes, as: UTF8.self) {
                #expect(reply == .string(text))
                #expect(reply.string == text)
            } else {
                #expect(reply == .bytes(bytes))
                #expect(reply.string == nil)
                #expect(reply.number == nil)
                #expect(reply.elements.isEmpty)
            }
            // In an array too; one that is no text is no field of a hash.
            var many = RedisCommand("HSET", "hash", "text", "1", "other")
            many.append(bytes)
            #expect(try await router.ask(many, about: "hash") == .integer(2))
            let fields = try await router.ask(RedisCommand("HGETALL", "hash"), about: "hash")
            #expect(fields.elements.count == 4)
            #expect(fields.elements.contains { $0.bytes == bytes })
            #expect(fields.fields["text"] == "1")
            #expect(fields.fields["other"] == reply.string)
            #expect(RedisReply.null.bytes.isEmpty)
            #expect(RedisReply.integer(7).bytes.isEmpty)
        }
    }

    @Test func startsBeforeRedis() async throws {
        try await onLoop {
            let server = try await RedisServer.start()
            await server.stop()
            let engine = Engine(EngineConfiguration(url: try RedisURL(server.url)), log: .none)
            engine.start()
            await #expect(throws: Outage.self) { try await engine.ping() }
            try await server.restart(keepingData: true)
            await engine.waitUntilConnected()
            try await engine.ping()
            await engine.stop()
        }
    }

    @Test func byNameOverTCP() async throws {
        try await onLoop {
            let port = try freePort()
            var options = RedisServer.Options()
            options.arguments = ["--port", "\(port)", "--bind", "127.0.0.1", "::1"]
            let server = try await RedisServer.start(options)
            let engine = Engine(
                EngineConfiguration(url: try RedisURL("redis://localhost:\(port)/1")), log: .none)
            engine.start()
            await engine.waitUntilConnected()
            try await engine.ping()
            // Nobody listens any more: each try fails, and another comes.
            await server.kill()
            await EventLoop.nextTurn()
            try await server.restart(keepingData: true)
            await engine.waitUntilConnected()
            await engine.stop()
        }
    }

    @Test func manyListenersAndChannels() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let heard = Heard<String>()
            let clients = (1...3000).map { ClientID(trusted: "c\($0)") }
            let tasks = clients.map { client in
                EventLoop.task { () async -> Subscription? in
                    try? await fixture.engine.subscribe(client: client) { _ in heard.hear(client.rawValue) }
                }
            }
            var subscriptions: [Subscription?] = []
            for task in tasks { subscriptions.append(await task.value) }
            #expect(subscriptions.allSatisfy { $0 != nil })
            #expect(try await fixture.redis("PUBSUB", "NUMSUB", "dibs:{client:c7}") == "1")
            let second = try await fixture.engine.subscribe(client: clients[6]) { _ in heard.hear("second") }
            #expect(try await fixture.redis("PUBSUB", "NUMSUB", "dibs:{client:c7}") == "1")
            let outcome = Outcome.order(OrderID(sale: SaleID(1), sequence: 1), .confirmed, ticket: 1, reason: nil)
            _ = try await fixture.engine.tell([(clients[6], outcome)])
            try await heard.wait(for: 2)
            #expect(heard.events == ["c7", "second"])
            // The first goes, the second still hears; both gone, Redis is told.
            subscriptions[6]?.cancel()
            subscriptions[6]?.cancel()
            _ = try await fixture.engine.tell([
                (clients[6], .order(OrderID(sale: SaleID(1), sequence: 2), .confirmed, ticket: 1, reason: nil))
            ])
            try await heard.wait(for: 3)
            #expect(heard.events.last == "second")
            second.cancel()
            for subscription in subscriptions { subscription?.cancel() }
            // Redis answers in order: with this confirmed, it knows of all that were cancelled.
            let fence = try await fixture.engine.subscribe(client: ConnectionTests.alice) { _ in }
            #expect(try await fixture.redis("PUBSUB", "NUMSUB", "dibs:{client:c7}") == "0")
            let last = try await fixture.engine.subscribe(client: clients[6]) { _ in heard.hear("last") }
            #expect(try await fixture.redis("PUBSUB", "NUMSUB", "dibs:{client:c8}") == "0")
            _ = try await fixture.engine.tell([
                (clients[6], .order(OrderID(sale: SaleID(1), sequence: 3), .confirmed, ticket: 1, reason: nil))
            ])
            try await heard.wait(for: 4)
            #expect(heard.events.last == "last")
            last.cancel()
            // Let go of is as good as cancelled; cancelled and wanted again in one turn is neither.
            var dropped: Subscription? = try await fixture.engine.subscribe(client: clients[1]) { _ in }
            dropped = nil
            let kept = try await fixture.engine.subscribe(client: clients[6]) { _ in heard.hear("kept") }
            try await fixture.engine.subscribe(client: clients[2]) { _ in }.cancel()
            #expect(try await fixture.redis("PUBSUB", "NUMSUB", "dibs:{client:c2}") == "0")
            #expect(try await fixture.redis("PUBSUB", "NUMSUB", "dibs:{client:c7}") == "1")
            #expect(dropped == nil)
            kept.cancel()
            fence.cancel()
        }
    }
}
