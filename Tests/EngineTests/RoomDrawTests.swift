import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Lots are drawn while everything else goes on.
@Suite struct RoomDrawTests {
    private static let names = (1...10).map { "c\($0)" }

    /// A room whose sale has just opened, with a line that has two blanks.
    @LoopActor
    private static func due(_ limits: RoomLimits? = nil, crowd: [String] = []) async throws -> EngineFixture {
        let fixture = try await EngineFixture()
        try await fixture.define(limits ?? RoomLimits(maxActive: 2, graceSeconds: 3, ordering: .random))
        let opening = fixture.clock.now + 1000
        _ = try await fixture.engine.setSales(of: .main, opensAt: opening, isLive: true)
        try await fixture.join((names + ["left", "gone"]).map { ($0, 1) })
        try await fixture.joinMany(crowd)
        try await fixture.leave("left")
        try await fixture.leave("gone")
        fixture.clock.now = opening
        return fixture
    }

    @LoopActor
    private static func begin(_ fixture: EngineFixture, _ token: String = "t") async throws -> Int64? {
        if case .begun(let length) = try await fixture.engine.beginDraw(.main, token: token) { length } else { nil }
    }

    /// Reads the line in parts.
    @LoopActor
    private static func read(_ fixture: EngineFixture, _ length: Int64, _ token: String = "t") async throws
        -> [ClientID]
    {
        var clients: [ClientID] = []
        for offset in stride(from: 0, to: length, by: 3) {
            clients += try #require(
                try await fixture.engine.readDraw(.main, token: token, offset: offset, count: 3))
        }
        return clients
    }

    /// Writes a line in parts.
    @LoopActor
    private static func write(_ fixture: EngineFixture, _ clients: [ClientID], _ token: String = "t") async throws {
        for chunk in clients.chunks(of: 400) {
            let isOurs = try await fixture.engine.writeDraw(
                .main, token: token, position: Int64(chunk.startIndex + 1), clients: Array(chunk))
            #expect(isOurs)
        }
    }

    /// All of it: the line is turned around.
    @LoopActor
    private static func draw(_ fixture: EngineFixture, _ token: String = "t") async throws {
        let length = try #require(try await begin(fixture, token))
        let clients = try await read(fixture, length, token)
        try await write(fixture, clients.reversed(), token)
        #expect(try await fixture.engine.endDraw(.main, token: token, count: Int64(clients.count)))
    }

    @Test func everybodyIsInTheNewLine() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let engine = fixture.engine
            let watch = try await RoomWatch(engine)
            #expect(try await fixture.tick().draw == .due)
            #expect(try await RoomDrawTests.begin(fixture) == 12)
            // A second one is told no, and has no say.
            #expect(try await RoomDrawTests.begin(fixture, "u") == nil)
            #expect(try await engine.readDraw(.main, token: "u", offset: 0, count: 9) == nil)
            #expect(try await engine.writeDraw(.main, token: "u", position: 1, clients: []) == false)
            #expect(try await engine.keepDraw(.main, token: "u") == false)
            #expect(try await engine.endDraw(.main, token: "u", count: 10) == false)
            #expect(try await engine.keepDraw(.main, token: "t"))
            let clients = try await RoomDrawTests.read(fixture, 12)
            #expect(clients.map(\.rawValue) == RoomDrawTests.names)
            // Nothing is decided meanwhile; who waits is not lost sight of.
            let late = EventLoop.task { try? await engine.join(ClientID(trusted: "late"), room: .main, holder: 1) }
            let leaving = EventLoop.task { try? await engine.leave(ClientID(trusted: "c5"), room: .main) }
            await EventLoop.nextTurn()
            #expect(try await fixture.tick().active == 0)
            #expect(try await fixture.standing("late") == .unknown)
            #expect(try await fixture.standing("c1").rank == 1)
            try await fixture.away("c1", holder: 1)
            try await RoomDrawTests.write(fixture, clients.reversed())
            #expect(try await engine.endDraw(.main, token: "t", count: 9) == false)
            #expect(try await fixture.inspect().isDrawn == false)
            #expect(try await engine.endDraw(.main, token: "t", count: 10))
            #expect(try await fixture.standing("c1").number == 22)
            #expect(await late.value?.standing.number == 23)
            #expect(await leaving.value?.wasThere == true)
            #expect(try await fixture.standings(["c10", "c6", "c4", "c1", "late"]).map(\.rank) == [nil, 3, 4, 7, 8])
            // The place of a departure was given on: two are in.
            #expect(try await fixture.standings(["c10", "c9"]).compactMap(\.token).count == 2)
            let inspection = try await watch.follow()
            #expect(inspection.isDrawn)
            #expect(inspection.summary.draw == .none)
            #expect(watch.messages.filter { $0.kind == .drawn }.count == 1)
            let all = try await fixture.standings(RoomDrawTests.names + ["late"])
            watch.agrees(on: all)
            try await watch.readSnapshot()
            watch.agrees(on: all)
            // Once is enough.
            #expect(try await RoomDrawTests.begin(fixture) == nil)
            #expect(try await engine.endDraw(.main, token: "t", count: 10) == false)
            _ = try await fixture.join("later", holder: 1)
            #expect(try await fixture.standing("later").rank == 9)
        }
    }

    @Test func whoeverDrawsMayDie() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let watch = try await RoomWatch(fixture.engine)
            let length = try #require(try await RoomDrawTests.begin(fixture))
            let clients = try await RoomDrawTests.read(fixture, length)
            // It dies with half of the new line written.
            try await RoomDrawTests.write(fixture, Array(clients.reversed().prefix(5)))
            fixture.wait(9999)
            #expect(try await RoomDrawTests.begin(fixture, "u") == nil)
            #expect(try await fixture.tick().draw == .due)
            fixture.wait(1)
            try await RoomDrawTests.draw(fixture, "u")
            #expect(try await fixture.engine.writeDraw(.main, token: "t", position: 6, clients: clients) == false)
            #expect(
                try await fixture.standings(RoomDrawTests.names).map(\.rank)
                    == (1...10).map { Int64(11 - $0) })
            try await watch.follow()
            watch.agrees(on: try await fixture.standings(RoomDrawTests.names))
            // The scheduler lets in.
            #expect(try await fixture.tick().active == 2)
            #expect(try await fixture.standings(["c10", "c9", "c8"]).map(\.rank) == [nil, nil, 1])
        }
    }

    /// A step is a sign of life of whoever draws.
    @Test func aLongDrawStaysOurs() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            _ = try await RoomDrawTests.begin(fixture)
            for _ in 1...5 {
                fixture.wait(9000)
                #expect(try await fixture.engine.keepDraw(.main, token: "t"))
                #expect(try await RoomDrawTests.begin(fixture, "u") == nil)
            }
            // Nobody's place runs out while nobody can keep it.
            try await fixture.tick()
            let clients = try await RoomDrawTests.read(fixture, 12)
            #expect(clients.count == 10)
            try await RoomDrawTests.write(fixture, clients)
            #expect(try await fixture.engine.endDraw(.main, token: "t", count: 10))
            #expect(try await fixture.inspect().summary.waiting == 10)
        }
    }

    /// An admin changes the ordering while lots are drawn, and whoever draws dies: the draw is brought to its end, as
    /// nobody can join until then.
    @Test func aDrawEndsWhateverTheOrderingIsByThen() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let length = try #require(try await RoomDrawTests.begin(fixture))
            let clients = try await RoomDrawTests.read(fixture, length)
            try await RoomDrawTests.write(fixture, Array(clients.reversed().prefix(5)))
            try await fixture.define(RoomLimits(maxActive: 2, graceSeconds: 3, ordering: .fifo), version: 2)
            fixture.wait(10_000)
            #expect(try await fixture.tick().draw == .due)
            try await RoomDrawTests.draw(fixture, "u")
            let summary = try await fixture.tick()
            #expect(summary.draw == .none)
            #expect(summary.active == 2)
            #expect(try await fixture.standings(["c8", "c1"]).map(\.rank) == [1, 8])
            #expect(try await fixture.join("late").rank == 9)
        }
    }

    @Test func placesAfterTheDrawAreKeptForTheGrace() async throws {
        try await onLoop {
            // More than two blocks.
            let crowd = (1...1200).map { "x\($0)" }
            let fixture = try await RoomDrawTests.due(
                RoomLimits(maxActive: 0, passSeconds: 10, graceSeconds: 3, ordering: .random), crowd: crowd)
            try await RoomDrawTests.draw(fixture)
            // Departures of the old numbers say nothing of the new ones.
            for part in ["gone", "sums", "drawn"] {
                #expect(try await fixture.redis("EXISTS", "dibs:{room:main}:\(part)") == "0", "\(part)")
            }
            // The gateway holds its clients again; those of the one that died meanwhile run out.
            let held = ["x1200", "x688", "x1", "c10", "c1"]
            let answer = try await fixture.engine.hold(held.map { ClientID(trusted: $0) }, room: .main, holder: 1)
            #expect(answer?.standings.map(\.rank) == [1, 513, 1200, 1201, 1210])
            try await fixture.watch(2999)
            #expect(try await fixture.tick().waiting == 1210)
            fixture.wait(251)
            var summary = try await fixture.tick()
            for _ in 0..<10 where summary.due != nil { summary = try await fixture.tick() }
            #expect(summary.waiting == 5)
            #expect(summary.due == nil)
            #expect(try await fixture.standings(held).map(\.rank) == [1, 2, 3, 4, 5])
            // Admitted before their gateway holds them, they come nevertheless: no no-show.
            try await fixture.join("y")
            try await fixture.define(RoomLimits(maxActive: 100, passSeconds: 10, graceSeconds: 3), version: 2)
            try await fixture.tick()
            _ = try await fixture.engine.hold([ClientID(trusted: "y")], room: .main, holder: 1)
            fixture.wait(10_000)
            try await fixture.tick()
            let inspection = try await fixture.inspect()
            #expect((inspection.expired, inspection.noShow) == (6, 0))
        }
    }

    /// From the opening on nobody joins before lots are drawn; then all do, in the order in which they came.
    @Test(arguments: [true, false])
    func whoComesBeforeTheDrawQueuesUp(_ isBegun: Bool) async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let engine = fixture.engine
            let length = isBegun ? try #require(try await RoomDrawTests.begin(fixture)) : 0
            // More than one call takes, and some in each turn in which Redis answers these calls, one by one.
            let late = (1...3000).map { "late\($0)" }
            var joined: [Task<RoomStanding?, Never>] = []
            for chunk in [late.prefix(2500)] + late.dropFirst(2500).map({ $0 }).chunks(of: 5) {
                joined += chunk.map { client in
                    EventLoop.task {
                        try? await engine.join(ClientID(trusted: client), room: .main, holder: 1)?.standing
                    }
                }
                await EventLoop.nextTurn()
            }
            // Asked again and again: in vain.
            try await fixture.waitForCalls(3)
            #expect(try await fixture.inspect().joined == 12)
            #expect(try await fixture.standings(["late1", "late3000"]) == [.unknown, .unknown])
            if isBegun {
                let clients = try await RoomDrawTests.read(fixture, length)
                try await RoomDrawTests.write(fixture, clients.reversed())
                #expect(try await engine.endDraw(.main, token: "t", count: 10))
            } else {
                try await RoomDrawTests.draw(fixture)
            }
            var numbers: [Int64?] = []
            for task in joined { numbers.append(await task.value?.number) }
            #expect(numbers == (23...3022).map { Int64($0) })
            #expect(try await fixture.standings(["c10", "c8"]).map(\.rank) == [nil, 1])
        }
    }

    /// What somebody asks for comes after what they asked for before, also where that has to wait.
    @Test(arguments: [true, false], [true, false])
    func leavingComesAfterAJoinThatWaits(_ isBegun: Bool, _ isKnown: Bool) async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let engine = fixture.engine
            let length = isBegun ? try #require(try await RoomDrawTests.begin(fixture)) : 0
            @LoopActor func join(_ client: String) -> Task<RoomStanding?, Never> {
                EventLoop.task { try? await engine.join(ClientID(trusted: client), room: .main, holder: 1)?.standing }
            }
            @LoopActor func leave(_ client: String) -> Task<Bool?, Never> {
                EventLoop.task { try? await engine.leave(ClientID(trusted: client), room: .main)?.wasThere }
            }
            let joined = [join("a"), join("stays"), join("b")]
            await EventLoop.nextTurn()
            // Redis has said that they have to wait; or their joins are just under way.
            if isKnown { try await engine.ping() }
            let left = [leave("b"), leave("a")]
            try await fixture.waitForCalls(3)
            if isBegun {
                let clients = try await RoomDrawTests.read(fixture, length)
                try await RoomDrawTests.write(fixture, clients.reversed())
                #expect(try await engine.endDraw(.main, token: "t", count: 10))
            } else {
                try await RoomDrawTests.draw(fixture)
            }
            for task in joined { #expect(await task.value?.rank != nil) }
            for task in left { #expect(await task.value == true) }
            #expect(try await fixture.standings(["a", "b"]) == [.finished, .finished])
            #expect(try await fixture.standing("stays").number == 24)
            #expect(try await fixture.inspect().left == 4)
        }
    }

    /// Somebody who is in line joins by another tab while lots are about to be drawn, and leaves: it is not in line.
    @Test func whoeverLeavesIsNotBroughtBackByAnEarlierJoin() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let engine = fixture.engine
            let c3 = ClientID(trusted: "c3")
            let joined = EventLoop.task { try? await engine.join(c3, room: .main, holder: 1)?.standing }
            let left = EventLoop.task { try? await engine.leave(c3, room: .main)?.wasThere }
            await EventLoop.nextTurn()
            try await engine.ping()
            // One who leaves without having joined since is not kept waiting.
            #expect(try await fixture.leave("c4"))
            #expect(try await fixture.leave("nobody") == false)
            #expect(try await fixture.standing("c4") == .finished)
            try await RoomDrawTests.draw(fixture)
            #expect(await joined.value != nil)
            #expect(await left.value == true)
            #expect(try await fixture.standings(["c3", "c4"]) == [.finished, .finished])
            #expect(try await fixture.inspect().summary.waiting == 6)
        }
    }

    /// An outage ends the waiting of all who are queued.
    @Test func anOutageEndsTheQueue() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let engine = fixture.engine
            let joined = (1...5).map { number in
                EventLoop.task { () async -> Bool in
                    do throws(Outage) {
                        _ = try await engine.join(ClientID(trusted: "late\(number)"), room: .main, holder: 1)
                        return false
                    } catch { return true }
                }
            }
            await EventLoop.nextTurn()
            try await engine.ping()
            let left = EventLoop.task { () async -> Bool in
                do throws(Outage) {
                    _ = try await engine.leave(ClientID(trusted: "late5"), room: .main)
                    return false
                } catch { return true }
            }
            await EventLoop.nextTurn()
            await fixture.server.kill()
            for task in joined { #expect(await task.value) }
            #expect(await left.value)
        }
    }

    /// Whoever can't go on gives the draw up: another begins at once, and the line is what it was.
    @Test func aDrawThatIsGivenUp() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let engine = fixture.engine
            let watch = try await RoomWatch(engine)
            _ = try await RoomDrawTests.begin(fixture)
            try await engine.abandonDraw(.main, token: "u")
            #expect(try await engine.keepDraw(.main, token: "t"))
            try await engine.abandonDraw(.main, token: "t")
            #expect(try await engine.keepDraw(.main, token: "t") == false)
            #expect(try await engine.endDraw(.main, token: "t", count: 10) == false)
            // Still to be drawn: nobody is admitted, or joins; who is in line may leave.
            var summary = try await fixture.tick()
            #expect((summary.draw, summary.isHeld, summary.active) == (.due, true, 0))
            #expect(try await fixture.call(.roomJoin, passes: 1, .main, "late", "1") == .string("D"))
            #expect(try await fixture.standings(["c1", "c10"]).map(\.rank) == [1, 10])
            try await fixture.leave("c10")
            let clients = try await RoomDrawTests.read(
                fixture, try #require(try await RoomDrawTests.begin(fixture, "u")), "u")
            #expect(clients.map(\.rawValue) == Array(RoomDrawTests.names.dropLast()))
            // Once more, and the room is drawn no lots after all.
            try await engine.abandonDraw(.main, token: "u")
            try await fixture.define(RoomLimits(maxActive: 2, graceSeconds: 3, ordering: .fifo), version: 2)
            summary = try await fixture.tick()
            #expect((summary.draw, summary.isHeld, summary.active) == (.none, false, 2))
            #expect(try await fixture.join("late").rank == 8)
            try await watch.follow()
            watch.agrees(on: try await fixture.standings(RoomDrawTests.names))
        }
    }

    /// One who dies in the middle of writing has changed nothing, and neither has one who takes over and gives up.
    @Test func halfADrawIsNone() async throws {
        try await onLoop {
            let fixture = try await RoomDrawTests.due()
            let engine = fixture.engine
            let before = try await fixture.standings(RoomDrawTests.names)
            let length = try #require(try await RoomDrawTests.begin(fixture))
            let clients = try await RoomDrawTests.read(fixture, length)
            try await RoomDrawTests.write(fixture, Array(clients.reversed().prefix(5)))
            #expect(try await fixture.standings(RoomDrawTests.names) == before)
            fixture.wait(10_000)
            #expect(try await RoomDrawTests.begin(fixture, "u") != nil)
            try await engine.abandonDraw(.main, token: "u")
            #expect(try await fixture.standings(RoomDrawTests.names) == before)
            // Who leaves now leaves its own place.
            try await fixture.leave("c10")
            try await fixture.leave("c1")
            #expect(try await fixture.standings(["c2", "c9"]).map(\.rank) == [1, 8])
            try await RoomDrawTests.draw(fixture, "v")
            let drawn = try await fixture.standings(Array(RoomDrawTests.names.dropFirst().dropLast()))
            #expect(drawn.compactMap(\.number).max() == 20)
            #expect(drawn.compactMap(\.rank).sorted() == Array(1...Int64(drawn.compactMap(\.rank).count)))
        }
    }

    @Test func anEmptyLineIsDrawn() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, ordering: .random))
            let opening = fixture.clock.now + 1000
            _ = try await fixture.engine.setSales(of: .main, opensAt: opening, isLive: true)
            #expect(try await RoomDrawTests.begin(fixture) == nil)
            fixture.clock.now = opening
            #expect(try await fixture.tick().draw == .due)
            try await RoomDrawTests.draw(fixture)
            let inspection = try await fixture.inspect()
            #expect(inspection.isDrawn)
            #expect((inspection.summary.head, inspection.summary.next) == (0, 0))
            // First come, first admitted from now on.
            #expect(try await fixture.join([("a", 1), ("b", 1)]).map { $0.token != nil } == [true, false])
        }
    }

    /// PostgreSQL knows that a room was drawn, also where Redis has lost it.
    @Test func whatWasDrawnStaysDrawn() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let limits = RoomLimits(maxActive: 1, ordering: .random)
            try await fixture.define(limits, drawnAt: fixture.clock.now)
            _ = try await fixture.engine.setSales(of: .main, opensAt: fixture.clock.now, isLive: true)
            #expect(try await RoomDrawTests.begin(fixture) == nil)
            #expect(try await fixture.join("a").token != nil)
            try await fixture.define(limits, version: 2)
            #expect(try await fixture.inspect().isDrawn)
        }
    }
}
