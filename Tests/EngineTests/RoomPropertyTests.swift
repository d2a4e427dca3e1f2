import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Random lives of a room, the same in Redis, in the model, and in a map that knows only what the channel says.
@Suite struct RoomPropertyTests {
    /// Where a room's numbers begin.
    enum Beginning: Sendable, CaseIterable {
        case fresh
        /// The first entry of `sums` is about to be full, and the head about to pass it.
        case beforeSum
        /// The same, with entries that don't begin at multiples of 65,536, nor of bytes' bits.
        case oddOrigin
        /// At the border of a block of presence.
        case beforeBlock

        var numbers: (head: Int64, origin: Int64) {
            switch self {
            case .fresh: (0, 0)
            case .beforeSum: (65_500, 0)
            case .oddOrigin: (65_536 + 65_531 - 20, 65_531)
            case .beforeBlock: (511, 3)
            }
        }
    }

    @Test(
        arguments: [
            (1, .fresh), (2, .beforeSum), (3, .oddOrigin), (4, .beforeBlock), (5, .beforeSum), (6, .oddOrigin),
            (7, .fresh), (8, .beforeSum),
        ] as [(UInt64, Beginning)])
    func redisDoesWhatTheModelDoes(_ seed: UInt64, _ beginning: Beginning) async throws {
        try await onLoop {
            let walk = try await RoomWalk(seed: seed, beginning: beginning)
            for step in 1...400 {
                try await walk.step()
                let problems = try await walk.problems()
                guard problems.isEmpty else {
                    // With the seed it happens again; the steps up to here are all that matters.
                    let steps = walk.trace.suffix(12).joined(separator: "\n")
                    Issue.record("seed \(seed), \(beginning), step \(step):\n\(problems.prefix(8))\n\(steps)")
                    return
                }
            }
            let problems = try await walk.problemsOfLogs()
            #expect(problems.isEmpty, "seed \(seed), \(beginning)")
            // Neither the one nor the other went untried.
            let (vanished, silences) = walk.lives
            #expect(vanished > 50 && silences > 3, "\(vanished) vanished, \(silences) silences")
        }
    }
}

/// A random walk of the room, the model and the maps.
@LoopActor
private final class RoomWalk {
    private let fixture: EngineFixture
    private let watch: RoomWatch
    private var model: RoomModel
    private var generator: SeededGenerator
    private var version: Int64 = 1
    private var salesVersion: Int64 = 0
    private var bulk = 0
    /// How many were admitted before the step, and the cap during it.
    private var activeBefore: Int64 = 0
    private(set) var trace: [String] = []

    private static let names = (1...40).map { "c\($0)" }
    private static let room = RoomID.main

    init(seed: UInt64, beginning: RoomPropertyTests.Beginning) async throws {
        generator = SeededGenerator(seed: seed)
        fixture = try await EngineFixture()
        let limits = RoomLimits(maxActive: 3, passSeconds: 5, graceSeconds: 4)
        try await fixture.define(limits)
        let (head, origin) = beginning.numbers
        if head > 0 { try await fixture.begin(at: head, origin: origin) }
        watch = try await RoomWatch(fixture.engine)
        model = RoomModel(limits: limits, now: fixture.clock.now.milliseconds, next: head)
    }

    private func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }
    private func whole(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &generator) }
    private func holder() -> Int64 { chance(40) ? 0 : whole(1...3) }

    /// Mostly one of a few, so that they meet; sometimes one of a crowd.
    private func client() -> String {
        if chance(25), let waiter = model.line.randomElement(using: &generator) { return waiter.client }
        if chance(25), let admitted = model.active.keys.sorted().randomElement(using: &generator) { return admitted }
        return Self.names.randomElement(using: &generator)!
    }

    /// How many places ran out, and how often time did not count.
    var lives: (vanished: Int64, silences: Int) { (model.counters.vanished, model.silences) }

    func step() async throws {
        activeBefore = Int64(model.active.count)
        if chance(30) { try await pass() }
        switch Int.random(in: 0..<100, using: &generator) {
        case ..<27: try await join()
        case ..<29: try await joinCrowd()
        case ..<37: try await leave()
        case ..<41: try await joinAndLeave()
        case ..<47: try await away()
        case ..<51: try await hold()
        case ..<56: try await ask()
        case ..<74: try await tick()
        case ..<81: try await spend()
        case ..<87: try await check()
        case ..<92: try await define()
        case ..<95: try await changeWindow()
        case ..<97: try await orphan()
        case ..<99: try await draw()
        default:
            trace.append("a snapshot")
            try await watch.readSnapshot()
        }
    }

    /// Time passes, mostly with schedulers that look at the room.
    private func pass() async throws {
        guard chance(70) else { return advance() }
        for _ in 1...whole(1...6) {
            let milliseconds = whole(200...2500)
            trace.append("\(milliseconds) ms pass")
            fixture.wait(milliseconds)
            model.now += milliseconds
            try await tick()
        }
    }

    private func advance() {
        let ranges: [ClosedRange<Int64>] = [1...30, 200...300, 500...1500, 1500...6000]
        let milliseconds = chance(2) ? 20_000 : whole(ranges.randomElement(using: &generator)!)
        trace.append("\(milliseconds) ms pass")
        fixture.wait(milliseconds)
        model.now += milliseconds
    }

    // MARK: calls

    private func join() async throws {
        // Nobody can join before lots are drawn.
        if model.isDrawDue == true { return try await draw() }
        // The same client may be named twice.
        let joins = (0..<whole(1...6)).map { _ in (client: client(), holder: holder()) }
        trace.append("join \(joins.map { "\($0.client)/\($0.holder)" })")
        let expected = model.join(joins)
        let standings = try await fixture.join(joins)
        compare(joins.map(\.client), standings, expected)
    }

    /// So many that blocks, and calls, are full.
    private func joinCrowd() async throws {
        if model.isDrawDue == true { return try await draw() }
        bulk += 1
        let (crowd, holder) = (bulk, holder())
        let joins = (0..<whole(200...600)).map { (client: "crowd\(crowd).\($0)", holder: holder) }
        trace.append("join \(joins.count) of crowd \(crowd)/\(holder)")
        var expected: [RoomModel.Standing] = []
        for call in joins.chunks(of: RoomCalls.clientsPerCall) { expected += model.join(Array(call)) }
        let standings = try await fixture.join(joins)
        compare(joins.map(\.client), standings, expected)
    }

    private func leave() async throws {
        for _ in 0..<whole(1...4) {
            let client = client()
            trace.append("leave \(client)")
            let expected = model.leave(client)
            try expect(try await fixture.leave(client) == expected, "leave \(client): not \(expected)")
        }
    }

    /// Both in one turn.
    private func joinAndLeave() async throws {
        if model.isDrawDue == true { return try await draw() }
        let client = client()
        trace.append("join and leave \(client)")
        let (fixture, id) = (fixture, ClientID(trusted: client))
        let joining = EventLoop.task { try? await fixture.engine.join(id, room: Self.room, holder: 1) }
        let leaving = EventLoop.task { try? await fixture.engine.leave(id, room: Self.room) }
        let (joined, left) = (await joining.value, await leaving.value)
        try expect(joined != nil, "no answer to a join")
        compare([client], [joined!.standing], model.join([(client, 1)]))
        try expect(left?.wasThere == model.leave(client), "joined and left: \(String(describing: left?.wasThere))")
    }

    private func away() async throws {
        let (client, holder) = (client(), whole(1...3))
        trace.append("away \(client)/\(holder)")
        model.away(client, holder: holder)
        try await fixture.away(client, holder: holder)
    }

    private func hold() async throws {
        let (clients, holder) = ((0..<whole(1...5)).map { _ in client() }, whole(1...3))
        trace.append("hold \(clients)/\(holder)")
        let expected = model.hold(clients, holder: holder)
        let held = try await fixture.engine.hold(
            clients.map { ClientID(trusted: $0) }, room: Self.room, holder: holder)
        compare(clients, held?.standings ?? [], expected)
    }

    private func ask() async throws {
        let client = client()
        trace.append("ask \(client)")
        let expected = model.standing(client)
        model.ask(client)
        let answer = try await fixture.engine.standing(
            of: ClientID(trusted: client), room: Self.room, asksItself: true)
        compare([client], [answer!.standing], [expected])
    }

    private func tick() async throws {
        trace.append("tick")
        for _ in 0..<40 {
            model.tick(passes: RoomCalls.passesPerTick)
            let summary = try await fixture.tick()
            guard let due = summary.due, due <= summary.now else { return }
        }
        try expect(false, "something is due for ever")
    }

    private func spend() async throws {
        let client = client()
        let before = model.now - (chance(20) ? whole(0...3000) : 0)
        trace.append("spend \(client), issued until \(before - model.now)")
        model.spend(client, before: before)
        try await fixture.engine.spend(
            [(ClientID(trusted: client), nil, Timestamp(milliseconds: before))], room: Self.room)
    }

    /// A claim; sometimes it is never decided.
    private func check() async throws {
        let client = client()
        let id = ClientID(trusted: client)
        let token = try await fixture.standing(client).token ?? "none"
        trace.append("check \(client)")
        let expected = model.check(client)
        let found = try await fixture.engine.check(token, of: id, room: Self.room)
        try expect(found?.isValid == expected.isValid && found?.isKept == expected.isKept, "check \(client)")
        if chance(50) { advance() }
        guard expected.isKept, chance(70) else { return }
        trace.append("end check \(client)")
        model.endCheck(client)
        try await fixture.engine.endCheck(token, of: id, room: Self.room)
    }

    private func define() async throws {
        version += 1
        let limits = RoomLimits(
            maxActive: chance(10) ? 150 : whole(0...8), passSeconds: whole(1...12),
            // Intervals of whole milliseconds: nothing is rounded.
            admitPerMinute: chance(50) ? nil : [12, 60, 240, 600, 3000].randomElement(using: &generator)!,
            graceSeconds: whole(1...8),
            ordering: ([.fifo, .fifo, .fifo, .random, .random, .passthrough, .reject] as [RoomOrdering])
                .randomElement(using: &generator)!)
        trace.append("define \(limits)")
        model.define(limits)
        try await fixture.define(limits, version: version)
        // An older version changes nothing.
        if chance(20) { try await fixture.define(RoomLimits(maxActive: 1000), version: version - 1) }
    }

    private func changeWindow() async throws {
        let opens = chance(50) ? 0 : model.now + whole(-2000...3000)
        let isLive = chance(70)
        // Sometimes of what was known before, or is known.
        let version = chance(70) ? salesVersion + 1 : max(0, salesVersion - whole(0...1))
        salesVersion = max(salesVersion, version)
        let when = opens == 0 ? "at once" : "in \(opens - model.now) ms"
        trace.append("opens \(when), live: \(isLive), as of \(version)")
        let expected = model.setSales(
            opens: opens, isLive: isLive, version: version, passes: RoomCalls.passesPerTick)
        let sentHome = try await fixture.engine.setSales(
            of: Self.room,
            RoomSales(opensAt: opens == 0 ? nil : Timestamp(milliseconds: opens), isLive: isLive, version: version))
        try expect(sentHome == expected, "\(sentHome ?? -1) were sent home, not \(expected)")
    }

    private func orphan() async throws {
        let (gateway, lastBeat) = (whole(1...3), model.now - whole(0...4000))
        trace.append("gateway \(gateway) is dead since \(lastBeat - model.now) ms")
        model.orphan(gateway, lastBeat: lastBeat)
        _ = try await fixture.engine.letGo(
            of: gateway, lastBeat: Timestamp(milliseconds: lastBeat), room: Self.room)
    }

    /// Draws lots: at once when it is time, else after what makes it so.
    private func draw() async throws {
        if model.isDrawDue != true {
            version += 1
            let limits = RoomLimits(
                maxActive: whole(1...8), passSeconds: 5, graceSeconds: whole(2...8), ordering: .random)
            trace.append("define \(limits), not drawn, open")
            try await fixture.redis("HSET", Keys.Room(Self.room).state, "drawn", "0")
            model.forgetDraw()
            model.define(limits)
            try await fixture.define(limits, version: version)
            salesVersion += 1
            _ = model.setSales(opens: model.now, isLive: true, version: salesVersion, passes: 0)
            _ = try await fixture.engine.setSales(
                of: Self.room, RoomSales(opensAt: fixture.clock.now, isLive: true, version: salesVersion))
        }
        let late = chance(50) ? try await joinLate() : nil
        trace.append("draw")
        let (engine, token) = (fixture.engine, "t\(version)")
        guard case .begun(let length) = try await engine.beginDraw(Self.room, token: token) else {
            return found.append("there is nothing to draw")
        }
        model.beginDraw()
        if chance(50) {
            advance()
            try await tick()
            found += try await problems()
        }
        if chance(20) { try await define() }
        // Whoever began dies; somebody else begins anew.
        var isOurs = true
        if chance(20) {
            fixture.wait(10_000)
            model.now += 10_000
            trace.append("draw anew")
            if case .begun = try await engine.beginDraw(Self.room, token: token) {} else { isOurs = false }
        }
        let clients = try await engine.readDraw(Self.room, token: token, offset: 0, count: length) ?? []
        for chunk in Array(clients.reversed()).chunks(of: 300) where isOurs {
            isOurs = try await engine.writeDraw(
                Self.room, token: token, position: Int64(chunk.startIndex + 1), clients: Array(chunk))
        }
        if isOurs { isOurs = try await engine.endDraw(Self.room, token: token, count: Int64(clients.count)) }
        if !isOurs { found.append("the draw was not ours") }
        model.endDraw()
        if let late { try await late() }
    }

    /// Some join before lots are drawn, and one of them leaves before it hears of it. Returns what compares where they
    /// stand once lots are drawn.
    private func joinLate() async throws -> @LoopActor () async throws -> Void {
        let joins = (0..<whole(1...6)).map { _ in (client: client(), holder: holder()) }
        let leaving = chance(50) ? joins.randomElement(using: &generator)?.client : nil
        let named = joins.map { "\($0.client)/\($0.holder)" }
        trace.append("join \(named) before the draw; \(leaving ?? "nobody") leaves")
        let fixture = fixture
        let joined = EventLoop.task { () async -> [RoomStanding]? in try? await fixture.join(joins) }
        await EventLoop.nextTurn()
        // Redis answers in order: it has said that they have to wait.
        try await fixture.engine.ping()
        let left = leaving.map { client in
            EventLoop.task { () async -> Bool? in
                try? await fixture.engine.leave(ClientID(trusted: client), room: Self.room)?.wasThere
            }
        }
        await EventLoop.nextTurn()
        return { [self] in
            // The first asks whether lots are drawn.
            let expected = model.join([joins[0]]) + model.join(Array(joins.dropFirst()))
            compare(joins.map(\.client), await joined.value ?? [], expected)
            guard let left, let leaving else { return }
            let (wasThere, expectedThere) = (await left.value, model.leave(leaving))
            try expect(wasThere == expectedThere, "leave \(leaving): not \(expectedThere)")
        }
    }

    // MARK: comparing

    private var found: [String] = []

    private func expect(_ condition: Bool, _ problem: @autoclosure () -> String) throws {
        if !condition { found.append(problem()) }
    }

    private func compare(_ clients: [String], _ standings: [RoomStanding], _ expected: [RoomModel.Standing]) {
        if standings.count != expected.count { found.append("\(standings.count) answers, not \(expected.count)") }
        for (client, (standing, expected)) in zip(clients, zip(standings, expected)) {
            let plain: RoomModel.Standing =
                switch standing {
                case .waiting(let number, let rank): .waiting(number: number, rank: rank)
                case .admitted(_, let expires): .admitted(expires: expires.milliseconds)
                case .finished: .finished
                case .unknown: .unknown
                case .rejected: .rejected
                }
            if plain != expected { found.append("\(client): \(standing), expected \(expected)") }
        }
    }

    /// Where the room, the model and the map differ.
    func problems() async throws -> [String] {
        let inspection = try await watch.follow()
        let summary = inspection.summary
        if summary.waiting != Int64(model.line.count) {
            found.append("waiting \(summary.waiting), \(model.line.count)")
        }
        if summary.active != Int64(model.active.count) {
            found.append("active \(summary.active), \(model.active.count)")
        }
        let draw: RoomSummary.Draw = model.isDrawDue.map { $0 ? .due : .pending } ?? .none
        if summary.isHeld != model.isHeld { found.append("held \(summary.isHeld), expected \(model.isHeld)") }
        if summary.passSeconds != model.limits.passSeconds { found.append("passes of \(summary.passSeconds) s") }
        if (inspection.opensAt?.milliseconds ?? 0) != model.opens || inspection.isLive != model.isLive {
            found.append("opens \(inspection.opensAt?.milliseconds ?? 0), live \(inspection.isLive)")
        }
        if summary.draw != draw { found.append("draw \(summary.draw), expected \(draw)") }
        if summary.next != model.next { found.append("next \(summary.next), \(model.next)") }
        if summary.head > summary.next || summary.head >= model.line.first?.number ?? .max {
            found.append("head \(summary.head)")
        }
        // I7.
        if summary.active > max(activeBefore, model.limits.maxActive) { found.append("active \(summary.active)") }
        // I6: nobody was passed over by somebody who came later.
        let latest = model.admissions.suffix(200)
        if zip(latest, latest.dropFirst()).contains(where: { $0.number >= $1.number }) { found.append("out of order") }
        let counters = RoomModel.Counters(
            joined: inspection.joined, admitted: inspection.admitted, left: inspection.left,
            vanished: inspection.vanished, closed: inspection.closed, expired: inspection.expired,
            noShow: inspection.noShow, spent: inspection.spent)
        if counters != model.counters { found.append("\(counters), expected \(model.counters)") }
        // Nothing happens before it is looked for.
        if let due = model.due, summary.due.map({ $0.milliseconds > due }) ?? true {
            found.append("due in \(summary.due.map { $0.milliseconds - model.now } ?? -1), expected \(due - model.now)")
        }
        for (index, waiter) in model.line.enumerated() where watch.map.rank(of: waiter.number) != Int64(index + 1) {
            found.append("the map says \(watch.map.rank(of: waiter.number) ?? -1) of \(waiter), rank \(index + 1)")
        }
        let some = Self.names + model.line.shuffled(using: &generator).prefix(8).map(\.client)
        // Between two numberings nobody's place is known.
        if !model.isDrawing {
            compare(some, try await fixture.standings(some), some.map { model.standing($0) })
        }
        return found
    }

    /// Where what clients were told differs from what happened.
    func problemsOfLogs() async throws -> [String] {
        try await fixture.waitUntilTold()
        var problems: [String] = []
        for (client, expected) in model.told {
            let log = try await fixture.engine.outcomes(of: ClientID(trusted: client), after: 0).outcomes
            var tokens: Set<String> = []
            var last: String?
            let told: [RoomModel.Told] = log.compactMap { logged in
                switch logged.outcome {
                case .admitted(_, let token, let expires):
                    tokens.insert(token)
                    last = token
                    return .admitted(expires: expires.milliseconds)
                case .expired(_, let token): return token == last ? .expired : nil
                default: return nil
                }
            }
            let admissions = expected.filter { $0 != .expired }.count
            if told != expected || tokens.count != admissions { problems.append("\(client): \(told), not \(expected)") }
        }
        return problems
    }
}
