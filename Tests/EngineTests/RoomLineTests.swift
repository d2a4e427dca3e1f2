import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// The line: joining, leaving, ranks, and what is told of it.
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
            #expect(try await engine.letGo(of: 1, lastBeat: fixture.clock.now, room: .main))
            try await fixture.away("a", holder: 1)
            if case .begun = try await engine.beginDraw(.main, token: "t") { Issue.record("nothing to draw") }
            #expect(try await fixture.redis("DBSIZE") == "1")
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
