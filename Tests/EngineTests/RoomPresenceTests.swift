import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Signs of life: polling, connections, and the gateways that hold them.
@Suite struct RoomPresenceTests {
    @LoopActor
    private static func room(_ limits: RoomLimits) async throws -> EngineFixture {
        let fixture = try await EngineFixture()
        try await fixture.define(limits)
        return fixture
    }

    @Test func aPlaceIsKeptByPolling() async throws {
        try await onLoop {
            let fixture = try await RoomPresenceTests.room(RoomLimits(maxActive: 0, graceSeconds: 3))
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
            let fixture = try await RoomPresenceTests.room(RoomLimits(maxActive: 0, graceSeconds: 3))
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
            let fixture = try await RoomPresenceTests.room(RoomLimits(maxActive: 0, graceSeconds: 5))
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
            #expect(try await fixture.engine.letGo(of: 7, lastBeat: fixture.clock.now + -3000, room: .main))
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
            let fixture = try await RoomPresenceTests.room(RoomLimits(maxActive: 1, passSeconds: 10, graceSeconds: 1))
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
            let fixture = try await RoomPresenceTests.room(RoomLimits(maxActive: 0, graceSeconds: 3))
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
            let fixture = try await RoomPresenceTests.room(RoomLimits(maxActive: 0, graceSeconds: 10))
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
            #expect(try await fixture.engine.letGo(of: 5, lastBeat: lastBeat, room: .main))
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
}
