import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// The line: ranks, signs of life, gateways, and what is remembered of those who have left.
@Suite struct RoomLineTests {
    private static let key = "dibs:{room:main}"

    @LoopActor
    private static func room(_ limits: RoomLimits) async throws -> EngineFixture {
        let fixture = try await EngineFixture()
        try await fixture.define(limits)
        return fixture
    }

    // MARK: joining and leaving

    @Test func oneClientIsInOnePlace() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0))
            // Twice in one call, and again.
            let standings = try await fixture.join([("a", 1), ("b", 0), ("a", 0), ("b", 2)])
            #expect(
                standings == [
                    .waiting(number: 1, rank: 1), .waiting(number: 2, rank: 2), .waiting(number: 1, rank: 1),
                    .waiting(number: 2, rank: 2),
                ])
            #expect(try await fixture.join("a", holder: 7) == .waiting(number: 1, rank: 1))
            // Named twice it leaves once.
            let reply = try await fixture.call(.roomLeave, passes: 0, .main, "a", "a", "nobody")
            #expect(reply.elements.dropFirst(2).map(\.string) == ["l", "n", "n"])
            let inspection = try await fixture.inspect()
            #expect((inspection.joined, inspection.left, inspection.summary.waiting) == (2, 1, 1))
            #expect(try await fixture.standing("b").rank == 1)
            #expect(try await fixture.join("a") == .waiting(number: 3, rank: 2))
        }
    }

    @Test func aPassIsGivenBackOnce() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 2))
            try await fixture.join([("a", 1), ("b", 1), ("c", 1), ("d", 1)])
            let reply = try await fixture.call(.roomLeave, passes: 4, .main, "a", "a", "c", "c")
            #expect(reply.elements.dropFirst(2).map(\.string) == ["p", "n", "l", "n"])
            let summary = try await fixture.inspect().summary
            #expect((summary.active, summary.waiting, summary.head, summary.next) == (2, 0, 4, 4))
        }
    }

    /// What is said of a client in one turn happens in that order.
    @Test func leavingComesAfterJoining() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, graceSeconds: 5))
            let engine = fixture.engine
            let a = ClientID(trusted: "a")
            let joining = EventLoop.task { try? await engine.join(a, room: .main, holder: 1) }
            let leaving = EventLoop.task { try? await engine.leave(a, room: .main) }
            #expect(await joining.value?.standing == .waiting(number: 1, rank: 1))
            #expect(await leaving.value?.wasThere == true)
            #expect(try await fixture.standing("a") == .finished)
            // Away and back: it is there. Back and away: the grace runs.
            try await fixture.join([("b", 1), ("c", 1)])
            let coming = EventLoop.task { () async -> Void in
                engine.away(ClientID(trusted: "b"), room: .main, holder: 1)
                _ = try? await engine.join(ClientID(trusted: "b"), room: .main, holder: 1)
            }
            let going = EventLoop.task { try? await engine.join(ClientID(trusted: "c"), room: .main, holder: 2) }
            await EventLoop.task { engine.away(ClientID(trusted: "c"), room: .main, holder: 2) }.value
            _ = await (coming.value, going.value)
            try await engine.ping()
            try await fixture.watch(6000)
            try await fixture.tick()
            #expect(try await fixture.standings(["b", "c"]) == [.waiting(number: 2, rank: 1), .finished])
        }
    }

    @Test func unknownRooms() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let (engine, a) = (fixture.engine, ClientID(trusted: "a"))
            #expect(try await engine.join(a, room: .main, holder: 0) == nil)
            #expect(try await engine.leave(a, room: .main) == nil)
            #expect(try await engine.hold([a], room: .main, holder: 1) == nil)
            #expect(try await engine.standing(of: a, room: .main, asksItself: true) == nil)
            #expect(try await engine.tick(.main) == nil)
            #expect(try await engine.snapshot(of: .main) == nil)
            #expect(try await engine.inspect(room: .main) == nil)
            #expect(try await engine.check("x", of: a, room: .main) == nil)
            try await engine.spend([(a, nil, Timestamp(milliseconds: 0))], room: .main)
            try await engine.endCheck("x", of: a, room: .main)
            try await engine.letGo(of: 1, lastBeat: fixture.clock.now, room: .main)
            try await fixture.away("a", holder: 1)
            if case .begun = try await engine.beginDraw(.main, token: "t") { Issue.record("nothing to draw") }
            #expect(try await fixture.redis("DBSIZE") == "1")
        }
    }

    // MARK: signs of life

    @Test func aPlaceIsKeptByPolling() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, graceSeconds: 3))
            try await fixture.join([("polls", 0), ("silent", 0), ("held", 1), ("joins", 0)])
            for _ in 1...3 {
                fixture.wait(2000)
                _ = try await fixture.engine.standing(
                    of: ClientID(trusted: "polls"), room: .main, asksItself: true)
                try await fixture.join("joins")
                // Somebody else's question keeps nothing.
                _ = try await fixture.standing("silent")
                try await fixture.tick()
            }
            #expect(
                try await fixture.standings(["polls", "silent", "held", "joins"]) == [
                    .waiting(number: 1, rank: 1), .finished, .waiting(number: 3, rank: 2), .waiting(number: 4, rank: 3),
                ])
            #expect(try await fixture.inspect().vanished == 1)
            // Not before its time, and not more than a grain after it.
            try await fixture.watch(2999)
            try await fixture.tick()
            #expect(try await fixture.standing("polls").rank == 1)
            fixture.wait(251)
            #expect(try await fixture.tick().due == nil)
            #expect(try await fixture.standing("held").rank == 1)
            // Gone is gone: at the end again.
            #expect(try await fixture.join("polls") == .waiting(number: 5, rank: 2))
        }
    }

    /// Schedulers look at a line every second. Where none did, nobody could show a sign of life.
    @Test func timeInWhichNobodyLookedDoesNotCount() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, graceSeconds: 3))
            // Not the time before there was a line.
            try await fixture.tick()
            fixture.wait(3_600_000)
            try await fixture.tick()
            fixture.wait(10_000)
            try await fixture.join([("a", 0), ("b", 0), ("c", 1)])
            fixture.wait(1000)
            try await fixture.tick()
            fixture.wait(10_000)
            // Somebody else's calls are no looking.
            _ = try await fixture.engine.standing(of: ClientID(trusted: "b"), room: .main, asksItself: true)
            try await fixture.away("c", holder: 1)
            #expect(try await fixture.tick().waiting == 3)
            // As if the 10 s had not been: `a` has 2 s left. What was kept meanwhile is kept for no shorter.
            fixture.wait(1999)
            #expect(try await fixture.tick().waiting == 3)
            fixture.wait(1)
            #expect(try await fixture.tick().waiting == 2)
            #expect(try await fixture.standing("a") == .finished)
            for _ in 1...5 {
                fixture.wait(2000)
                #expect(try await fixture.tick().waiting == 2)
            }
            fixture.wait(750)
            // It is not told too late when to look.
            let due = try #require(try await fixture.inspect().summary.due)
            #expect(due <= fixture.clock.now + 250)
            fixture.wait(250)
            #expect(try await fixture.tick().waiting == 0)
            #expect(try await fixture.inspect().vanished == 3)
            // A new line begins with a new watch.
            fixture.wait(60_000)
            try await fixture.join("d")
            fixture.wait(2500)
            try await fixture.tick()
            fixture.wait(750)
            #expect(try await fixture.tick().waiting == 0)
        }
    }

    /// A short outage counts, and a dead gateway's places run out from the last beat that could be heard.
    @Test func aShortOutageCounts() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, graceSeconds: 5))
            try await fixture.join([("a", 0), ("b", 7)])
            for _ in 1...2 {
                fixture.wait(2500)
                _ = try await fixture.tick()
            }
            #expect(try await fixture.standings(["a", "b"]) == [.finished, .waiting(number: 2, rank: 1)])
            // Ticks that come thick and fast are no gaps.
            try await fixture.join("c")
            for _ in 1...30 {
                fixture.wait(100)
                _ = try await fixture.tick()
            }
            fixture.wait(1750)
            #expect(try await fixture.tick().waiting == 2)
            try await fixture.engine.letGo(of: 7, lastBeat: fixture.clock.now + -3000, room: .main)
            fixture.wait(1999)
            #expect(try await fixture.tick().waiting == 1)
            #expect(try await fixture.standings(["b", "c"]) == [.waiting(number: 2, rank: 1), .finished])
            fixture.wait(251)
            #expect(try await fixture.tick().waiting == 0)
        }
    }

    /// A gateway that holds its clients again learns whether Redis has lost one, or it has left.
    @Test func whoeverIsDoneIsNotLost() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 1, passSeconds: 10, graceSeconds: 1))
            _ = try await fixture.engine.setSales(of: .main, opensAt: fixture.clock.now, isLive: true)
            try await fixture.join([
                ("spent", 1), ("left", 1), ("gone", 0), ("in", 1), ("sentHome", 1), ("back", 1), ("rejoins", 1),
            ])
            try await fixture.leave("left")
            try await fixture.leave("rejoins")
            try await fixture.join("rejoins", holder: 1)
            fixture.wait(1250)
            try await fixture.tick()
            try await fixture.spend("spent")
            let clients = ["spent", "left", "gone", "in", "sentHome", "back", "rejoins", "nobody"]
            @LoopActor func hold() async throws -> [RoomStanding] {
                try #require(
                    try await fixture.engine.hold(clients.map { ClientID(trusted: $0) }, room: .main, holder: 2)
                ).standings
            }
            let pass = try await fixture.standing("in")
            #expect(pass.token != nil)
            #expect(
                try await hold() == [
                    .finished, .finished, .finished, pass, .waiting(number: 5, rank: 1), .waiting(number: 6, rank: 2),
                    .waiting(number: 8, rank: 3), .unknown,
                ])
            #expect(try await fixture.engine.setSales(of: .main, opensAt: nil, isLive: false) == 3)
            try await fixture.join("back", holder: 1)
            #expect(
                try await hold() == [
                    .finished, .finished, .finished, pass, .finished, .waiting(number: 9, rank: 1), .finished, .unknown,
                ])
            // Redis has lost everything.
            try await fixture.redis("FLUSHALL")
            try await fixture.define(RoomLimits(maxActive: 1))
            #expect(try await hold() == Array(repeating: .unknown, count: 8))
        }
    }

    @Test func aConnectionIsTakenOver() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, graceSeconds: 3))
            let heard = Heard<ClientEvent>()
            let subscription = try await fixture.engine.subscribe(client: ClientID(trusted: "a")) { heard.hear($0) }
            let watch = try await RoomWatch(fixture.engine)
            try await fixture.join("a", holder: 1)
            try await fixture.join("a", holder: 2)
            // The first no longer holds it, and a poll does not shorten it.
            try await fixture.away("a", holder: 1)
            try await fixture.join("a", holder: 0)
            try await fixture.watch(60_000)
            #expect(try await fixture.tick().due == nil)
            #expect(try await fixture.standing("a").rank == 1)
            #expect(heard.events.isEmpty)
            let before = try await fixture.inspect().summary.event
            try await fixture.away("nobody", holder: 2)
            #expect(try await fixture.inspect().summary.event == before)
            // The second lets go: whoever has a connection takes it.
            try await fixture.away("a", holder: 2)
            try await heard.wait(for: 1)
            #expect(heard.events == [.away(.main)])
            try await watch.follow()
            #expect(watch.messages.last?.summary.due == fixture.clock.now + 3000)
            let held = try await fixture.engine.hold(
                [ClientID(trusted: "a"), ClientID(trusted: "b")], room: .main, holder: 1)
            #expect(held?.standings == [.waiting(number: 1, rank: 1), .unknown])
            try await fixture.watch(10_000)
            #expect(try await fixture.tick().due == nil)
            #expect(try await fixture.standing("a").rank == 1)
            try await fixture.away("a", holder: 1)
            try await fixture.watch(3250)
            try await fixture.tick()
            #expect(try await fixture.standing("a") == .finished)
            subscription.cancel()
        }
    }

    @Test func gatewaysLiveAndDie() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let engine = fixture.engine
            let heard = Heard<String>()
            let subscription = try await engine.subscribeRooms { heard.hear("\($0)") }
            let (one, two) = (try await engine.beat(0), try await engine.beat(0))
            #expect(one != two)
            #expect(try await engine.beat(one) == one)
            // A number that nobody gave is not taken over.
            let three = try await engine.beat(77)
            #expect(![one, two, 77].contains(three))
            #expect(try await engine.buryDead(silentMilliseconds: 1500).isEmpty)
            fixture.wait(1000)
            #expect(try await engine.beat(two) == two)
            #expect(try await engine.buryDead(silentMilliseconds: 1500).isEmpty)
            fixture.wait(499)
            #expect(try await engine.buryDead(silentMilliseconds: 1500).isEmpty)
            fixture.wait(1)
            let died = fixture.clock.now + -1500
            var dead = try await engine.buryDead(silentMilliseconds: 1500)
            #expect(dead.map(\.number).sorted() == [one, three])
            #expect(dead.allSatisfy { $0.lastBeat == died })
            // It was only frozen: it gets another number, and none that is dead.
            let renewed = try await engine.beat(one)
            #expect(![one, two, three].contains(renewed))
            #expect(try await engine.buryDead(silentMilliseconds: 1500, finished: one).map(\.number) == [three])
            #expect(try await engine.buryDead(silentMilliseconds: 1500, finished: three).isEmpty)
            // One that ends by itself is dead at once; one that is not there can't end.
            dead = try await engine.buryDead(silentMilliseconds: 1500, goodbye: two)
            #expect(dead.map(\.number) == [two])
            #expect(dead[0].lastBeat == fixture.clock.now)
            #expect(try await engine.buryDead(silentMilliseconds: 1500, goodbye: 99).map(\.number) == [two])
            // Told when it happens, and not each time that somebody looks.
            try await fixture.define(RoomLimits())
            try await heard.wait(for: 3)
            #expect(heard.events == ["gatewayDied", "gatewayDied", "changed(\(RoomID.main))"])
            subscription.cancel()
            // Redis lost which number was the last.
            try await fixture.redis("DEL", "dibs:{processes}:next")
            #expect(try await engine.beat(renewed) == renewed)
            var numbers: Set<Int64> = [two, renewed]
            for _ in 1...20 { #expect(numbers.insert(try await engine.beat(0)).inserted) }
        }
    }

    /// Redis was away: who could not be heard may be alive.
    @Test func onlyWhoeverIsSilentWhileSomebodyListensIsDead() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let engine = fixture.engine
            @LoopActor func bury() async throws -> [Int64] {
                try await engine.buryDead(silentMilliseconds: 1500).map(\.number)
            }
            let (one, two) = (try await engine.beat(0), try await engine.beat(0))
            // The first that looks finds beats of long ago.
            fixture.wait(60_000)
            #expect(try await bury() == [])
            fixture.wait(1499)
            #expect(try await bury() == [])
            #expect(try await engine.beat(one) == one)
            // Nobody looks for longer than the patience: what was heard before says nothing.
            fixture.wait(1501)
            let again = fixture.clock.now
            #expect(try await bury() == [])
            for _ in 1...2 {
                fixture.wait(700)
                #expect(try await bury() == [])
            }
            #expect(try await engine.beat(one) == one)
            fixture.wait(100)
            // What it held is kept from when it could have been heard.
            let dead = try await engine.buryDead(silentMilliseconds: 1500)
            #expect(dead.map(\.number) == [two])
            #expect(dead.map(\.lastBeat) == [again])
            fixture.wait(1399)
            #expect(try await bury() == [two])
            fixture.wait(1)
            #expect(try await bury() == [two, one])
            // Whoever says goodbye is believed in any case.
            let three = try await engine.beat(0)
            fixture.wait(60_000)
            let ended = try await engine.buryDead(silentMilliseconds: 1500, goodbye: three)
            #expect(ended.last?.number == three)
            #expect(ended.last?.lastBeat == fixture.clock.now)
        }
    }

    @Test(arguments: [0, 65_500] as [Int64])
    func placesOfADeadGatewayRunOutFromItsLastBeat(_ head: Int64) async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, graceSeconds: 10))
            try await fixture.begin(at: head, origin: 0)
            // More than the 64 blocks that one call looks at.
            let clients = (1...(70 * 512)).map { "c\($0)" }
            var arguments: [RedisCommand] = []
            for chunk in clients.chunks(of: 2000) {
                var command = fixture.engine.rooms.command(.roomJoin, .main, passes: 0)
                for client in chunk {
                    command.append(client)
                    // Every third is the dead one's.
                    command.append(Int(client.dropFirst())! % 3 == 0 ? 5 : 6)
                }
                arguments.append(command)
            }
            for command in arguments { _ = try await fixture.engine.router.ask(calling: command, about: "") }
            let lastBeat = fixture.clock.now
            try await fixture.watch(4000)
            let watch = try await RoomWatch(fixture.engine)
            try await fixture.engine.letGo(of: 5, lastBeat: lastBeat, room: .main)
            // One that came back holds its place again.
            _ = try await fixture.engine.hold([ClientID(trusted: "c3")], room: .main, holder: 6)
            #expect(try await watch.follow().summary.due == lastBeat + 10_000)
            try await fixture.watch(5999)
            try await fixture.tick()
            #expect(try await fixture.inspect().summary.waiting == Int64(clients.count))
            fixture.wait(1)
            var summary = try await fixture.tick()
            for _ in 0..<20 where summary.due != nil { summary = try await fixture.tick() }
            #expect(summary.due == nil)
            #expect(summary.waiting == Int64(clients.count - clients.count / 3 + 1))
            #expect(try await fixture.standings(["c2", "c3", "c4", "c6"]).map(\.rank) == [2, 3, 4, nil])
            try await watch.follow()
            watch.agrees(on: try await fixture.standings(["c1", "c3", "c512", "c513", "c20000", clients.last!]))
        }
    }

    // MARK: long lines

    /// Ranks over several entries of `sums`, and what is kept of them once the head has passed.
    @Test(arguments: [0, 65_531, 3] as [Int64])
    func ranksAndMemoryOfALongLine(_ origin: Int64) async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, passSeconds: 3600, graceSeconds: 5))
            try await fixture.begin(at: origin, origin: origin)
            let early = (1...70_000).map { "e\($0)" }
            let late = (1...80_000).map { "l\($0)" }
            try await fixture.fill(early, holder: 0)
            try await fixture.fill(late, holder: 1)
            let watch = try await RoomWatch(fixture.engine)
            var generator = SeededGenerator(seed: UInt64(origin))
            // Both sides of each border, and some others, leave.
            var gone: Set<Int> = [1, 2, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073]
            while gone.count < 500 { gone.insert(Int.random(in: 1...150_000, using: &generator)) }
            func name(_ position: Int) -> String { position <= 70_000 ? early[position - 1] : late[position - 70_001] }
            for position in gone { try await fixture.leave(name(position)) }
            var some = Set((0..<200).map { _ in Int.random(in: 1...150_000, using: &generator) })
            some.formUnion([3, 65_534, 65_538, 131_070, 131_074, 150_000])
            some.subtract(gone)
            @LoopActor func check(_ count: Int) async throws {
                let positions = some.filter { count == 0 || $0 > 70_000 }.sorted()
                let standings = try await fixture.standings(positions.map(name))
                for (position, standing) in zip(positions, standings) {
                    let left = count + gone.filter { $0 < position && (count == 0 || $0 > 70_000) }.count
                    #expect(
                        standing == .waiting(number: origin + Int64(position), rank: Int64(position - left)),
                        "\(position)")
                }
                try await watch.follow()
                watch.agrees(on: standings)
            }
            try await check(0)
            // All who only asked vanish.
            try await fixture.watch(5250)
            var summary = try await fixture.tick()
            for _ in 0..<40 where summary.due != nil { summary = try await fixture.tick() }
            #expect(summary.waiting == Int64(80_000 - gone.filter { $0 > 70_000 }.count))
            try await check(70_000)
            // Nothing is forgotten before the head moves.
            @LoopActor func size(_ part: String) async throws -> Int64 {
                try #require(Int64(try await fixture.redis("STRLEN", "\(RoomLineTests.key):\(part)")))
            }
            #expect(try await size("presence") == 600_000)
            #expect(try await size("gone") > 131_072 / 8)
            // The first place lets the head pass the blanks at the front, and an entry of `sums`.
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 3600), version: 2)
            summary = try await fixture.tick()
            #expect(summary.active == 1)
            let first = (70_001...).first { !gone.contains($0) }!
            #expect(summary.head == origin + Int64(first))
            #expect(try await fixture.redis("HGET", RoomLineTests.key, "origin") == "\(origin + 65_536)")
            #expect(try await size("presence") == 600_000 - 65_536 * 4)
            #expect(try await size("gone") <= (150_000 - 65_536 + 7) / 8)
            #expect(try await fixture.redis("LLEN", "\(RoomLineTests.key):line") == "\(150_000 - first)")
            some.remove(first)
            let standings = try await fixture.standings(some.filter { $0 > first }.sorted().map(name))
            try await watch.follow()
            watch.agrees(on: standings)
            for (position, standing) in zip(some.filter { $0 > first }.sorted(), standings) {
                let left = first + gone.filter { $0 > first && $0 < position }.count
                #expect(standing.rank == Int64(position - left), "\(position)")
            }
            // A map that begins now says the same.
            try await watch.readSnapshot()
            watch.agrees(on: standings)
            // Those who wait are found alive or not where they were.
            _ = try await fixture.engine.hold([ClientID(trusted: name(150_000))], room: .main, holder: 9)
            try await fixture.away(name(150_000), holder: 9)
            try await fixture.watch(31_000)
            _ = try await fixture.tick()
            #expect(try await fixture.standing(name(150_000)) == .finished)
            #expect(try await fixture.inspect().vanished == 70_000 - Int64(gone.filter { $0 <= 70_000 }.count) + 1)
            try await watch.follow()
            // An empty line leaves nothing behind.
            _ = try await fixture.engine.setSales(of: .main, opensAt: nil, isLive: true)
            _ = try await fixture.engine.setSales(of: .main, opensAt: nil, isLive: false)
            for part in ["line", "gone", "sums", "presence", "blocks"] {
                #expect(try await fixture.redis("EXISTS", "\(RoomLineTests.key):\(part)") == "0", "\(part)")
            }
            #expect(try await fixture.redis("HGET", RoomLineTests.key, "origin") == "\(origin + 150_000)")
            try await watch.follow()
        }
    }

    // MARK: messages

    /// Each call that changes the line says so once; the others say nothing.
    @Test func everyChangeIsToldOnce() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 1, passSeconds: 10, graceSeconds: 3))
            let (engine, a) = (fixture.engine, ClientID(trusted: "a"))
            let watch = try await RoomWatch(engine)
            var told = 0
            @LoopActor func expect(_ messages: Int, _ location: SourceLocation = #_sourceLocation) async throws {
                try await watch.follow(location)
                told += messages
                #expect(watch.messages.count == told, sourceLocation: location)
            }
            try await fixture.join([("a", 1), ("b", 1), ("c", 0), ("d", 1)])
            try await expect(1)
            try await fixture.join([("a", 1), ("b", 2), ("c", 0)])
            _ = try await fixture.standings(["a", "b", "c", "x"])
            _ = try await engine.standing(of: ClientID(trusted: "c"), room: .main, asksItself: true)
            _ = try await engine.hold([ClientID(trusted: "b")], room: .main, holder: 1)
            _ = try await engine.check("x", of: a, room: .main)
            try await engine.endCheck("x", of: a, room: .main)
            try await fixture.spend("b")
            try await fixture.leave("x")
            try await fixture.tick()
            try await fixture.define(RoomLimits(maxActive: 100), version: 1)
            try await expect(0)
            try await fixture.leave("d")
            try await expect(1)
            #expect(watch.messages.last?.left == [4...4])
            #expect(try await fixture.leave("a"))
            try await expect(1)
            #expect(watch.messages.last?.left == [])
            #expect(watch.messages.last?.summary.head == 2)
            // `c` is the last in line: with it the head reaches the end.
            try await fixture.watch(3250)
            try await fixture.tick()
            try await expect(1)
            #expect(watch.messages.last?.left == [3...3])
            #expect(watch.messages.last?.summary.head == 4)
            #expect(watch.messages.last?.summary.waiting == 0)
            try await fixture.spend("b")
            try await expect(1)
            _ = try await engine.setSales(of: .main, opensAt: nil, isLive: true)
            try await expect(1)
            _ = try await engine.setSales(of: .main, opensAt: nil, isLive: true)
            try await expect(0)
            let rooms = Heard<RoomID>()
            let subscription = try await engine.subscribeRooms { if case .changed(let id) = $0 { rooms.hear(id) } }
            try await fixture.define(RoomLimits(maxActive: 100), version: 2)
            try await expect(1)
            try await rooms.wait(for: 1)
            #expect(rooms.events == [.main])
            #expect(watch.messages.last?.summary.maxActive == 100)
            subscription.cancel()
        }
    }

    @Test func manyLeaveInOneMessage() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 0, graceSeconds: 1))
            let watch = try await RoomWatch(fixture.engine)
            // Over the border of a block, with some between who stay.
            try await fixture.join((1...1100).map { ("c\($0)", $0 % 100 == 0 || $0 == 513 ? 1 : 0) })
            fixture.wait(1250)
            try await fixture.tick()
            #expect(try await watch.follow().summary.waiting == 12)
            let last = try #require(watch.messages.last)
            #expect(last.left.prefix(7) == [1...99, 101...199, 201...299, 301...399, 401...499, 501...512, 514...599])
            #expect(last.left.map(\.count).reduce(0, +) == 1088)
            let standings = try await fixture.standings(["c100", "c513", "c600", "c1100"])
            #expect(standings.map(\.rank) == [1, 6, 7, 12])
            watch.agrees(on: standings)
        }
    }

    @Test func aSnapshotInBetween() async throws {
        try await onLoop {
            let fixture = try await RoomLineTests.room(RoomLimits(maxActive: 3))
            try await fixture.join((1...50).map { ("c\($0)", 1) })
            for number in stride(from: 10, to: 40, by: 3) { try await fixture.leave("c\(number)") }
            let watch = try await RoomWatch(fixture.engine)
            let names = (1...50).map { "c\($0)" }
            watch.agrees(on: try await fixture.standings(names))
            #expect(watch.map.event == (try await fixture.inspect().summary.event))
            try await fixture.leave("c1")
            try await fixture.leave("c41")
            try await fixture.join("c51", holder: 1)
            try await watch.follow()
            watch.agrees(on: try await fixture.standings(names))
            #expect(watch.map.rank(of: 51) == (try await fixture.standing("c51").rank))
            // A message that is missing is noticed.
            var map = watch.map
            try await fixture.leave("c42")
            try await fixture.leave("c43")
            try await watch.follow()
            let last = try #require(watch.messages.last)
            let event = last.summary.event
            #expect(
                map.apply(event: event, head: last.summary.head, next: last.summary.next, left: last.left) == .gap)
            #expect(
                map.apply(event: event - 2, head: last.summary.head, next: last.summary.next, left: []) == .old)
        }
    }
}
