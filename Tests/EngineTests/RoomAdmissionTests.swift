import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Who is let in, and when.
@Suite struct RoomAdmissionTests {
    /// A room with a line: nobody is admitted until the cap is raised.
    @LoopActor
    private static func line(_ count: Int, _ limits: RoomLimits) async throws -> EngineFixture {
        let fixture = try await EngineFixture()
        var closed = limits
        closed.maxActive = 0
        try await fixture.define(closed)
        try await fixture.joinMany((1...count).map { "c\($0)" })
        try await fixture.define(limits, version: 2)
        return fixture
    }

    // MARK: the pace

    /// In no window of time are more admitted than the pace allows, but for what one grain makes up for; and the pace
    /// is kept up with when it is asked at each moment that is due.
    @Test(arguments: [7, 60, 601, 6000] as [Int64])
    func thePaceIsARate(_ perMinute: Int64) async throws {
        try await onLoop {
            let fixture = try await RoomAdmissionTests.line(
                700, RoomLimits(maxActive: 1_000_000, passSeconds: 3600, admitPerMinute: perMinute))
            var generator = SeededGenerator(seed: UInt64(perMinute))
            let interval = 60_000 / Double(perMinute)
            let catchUp = max(0, 250 - interval)
            var admissions: [(at: Int64, count: Int64)] = []
            var before: Int64 = 0
            var isLate = false
            for _ in 0..<250 {
                var summary = try await fixture.tick()
                try await fixture.waitUntilTold()
                summary = try await fixture.inspect().summary
                let now = summary.now.milliseconds
                admissions.append((now, summary.active - before))
                before = summary.active
                guard summary.waiting > 0 else { break }
                let due = try #require(summary.due).milliseconds
                try #require(due > now)
                isLate = Int.random(in: 0..<4, using: &generator) == 0
                fixture.clock.now = Timestamp(
                    milliseconds: isLate ? due + Int64.random(in: 1...2000, using: &generator) : due)
            }
            for first in admissions.indices {
                var count: Int64 = 0
                for last in first..<admissions.count {
                    count += admissions[last].count
                    let window = Double(admissions[last].at - admissions[first].at)
                    let most = ((window + catchUp) / interval + 1e-6).rounded(.down) + 1
                    if Double(count) > most {
                        Issue.record("\(count) within \(window) ms, at most \(most)")
                        return
                    }
                }
            }
            // Whenever it was asked there was one to admit.
            #expect(admissions.allSatisfy { $0.count >= 1 })
            #expect(admissions.map(\.count).max()! <= max(1, Int64(250 / interval)))
        }
    }

    @Test func aTickInTimeKeepsThePace() async throws {
        try await onLoop {
            let fixture = try await RoomAdmissionTests.line(
                300, RoomLimits(maxActive: 1000, passSeconds: 3600, admitPerMinute: 6000))
            // A long pause is not made up for, but a grain of it.
            #expect(try await fixture.tick().active == 25)
            #expect(try await fixture.tick().active == 25)
            // A scheduler that looks every 100 ms admits ten each time.
            for round in 1...10 as ClosedRange<Int64> {
                fixture.wait(100)
                #expect(try await fixture.tick().active == 25 + 10 * round)
            }
            fixture.wait(60_000)
            #expect(try await fixture.tick().active == 125 + 25)
            #expect(try await fixture.tick().active == 150)
        }
    }

    @Test func passthroughIgnoresThePace() async throws {
        try await onLoop {
            let limits = RoomLimits(maxActive: 5, admitPerMinute: 1, ordering: .fifo)
            let fixture = try await RoomAdmissionTests.line(20, limits)
            #expect(try await fixture.tick().active == 1)
            try await fixture.waitUntilTold()
            var summary = try await fixture.inspect().summary
            #expect(summary.due == fixture.clock.now + 60_000)
            #expect(summary.perMinute == 1)
            var open = limits
            open.ordering = .passthrough
            try await fixture.define(open, version: 3)
            // What a scheduler reads says that it is time.
            #expect(try await fixture.inspect().summary.due == fixture.clock.now)
            summary = try await fixture.tick()
            #expect(summary.active == 5)
            // A place that falls free is given on at once.
            try await fixture.leave("c2")
            #expect(try await fixture.standing("c6").token != nil)
        }
    }

    /// The pause that a slow pace had begun must not outlive it.
    @Test func aFasterPaceHoldsAtOnce() async throws {
        try await onLoop {
            var limits = RoomLimits(maxActive: 100, admitPerMinute: 1)
            let fixture = try await RoomAdmissionTests.line(20, limits)
            #expect(try await fixture.tick().active == 1)
            limits.admitPerMinute = 600
            try await fixture.define(limits, version: 3)
            try await fixture.waitUntilTold()
            #expect(try await fixture.inspect().summary.due == fixture.clock.now + 100)
            #expect(try await fixture.tick().active == 1)
            fixture.wait(100)
            #expect(try await fixture.tick().active == 2)
            // And without one, at once.
            limits.admitPerMinute = 1
            try await fixture.define(limits, version: 4)
            #expect(try await fixture.tick().active == 2)
            limits.admitPerMinute = nil
            try await fixture.define(limits, version: 5)
            #expect(try await fixture.inspect().summary.due == fixture.clock.now)
            #expect(try await fixture.tick().active == 20)
        }
    }

    /// An admin changes one limit after the other while people wait.
    @Test func limitsThatAreChangedLive() async throws {
        try await onLoop {
            var limits = RoomLimits(maxActive: 100, passSeconds: 100, admitPerMinute: 60, graceSeconds: 5)
            let fixture = try await RoomAdmissionTests.line(20, limits)
            var version: Int64 = 2
            @LoopActor func change(_ how: (inout RoomLimits) -> Void) async throws {
                how(&limits)
                version += 1
                try await fixture.define(limits, version: version)
            }
            #expect(try await fixture.tick().active == 1)
            // A slower pace: the next one still keeps the distance of the old rate.
            try await change { $0.admitPerMinute = 6 }
            #expect(try await fixture.inspect().summary.perMinute == 6)
            fixture.wait(999)
            #expect(try await fixture.tick().active == 1)
            fixture.wait(1)
            #expect(try await fixture.tick().active == 2)
            fixture.wait(1000)
            #expect(try await fixture.tick().active == 2)
            // Lifted, and set again: what the slow pace had put off is forgotten.
            try await change {
                $0.maxActive = 2; $0.admitPerMinute = nil
            }
            #expect(try await fixture.inspect().summary.perMinute == nil)
            try await change {
                $0.maxActive = 100; $0.admitPerMinute = 6
            }
            #expect(try await fixture.tick().active == 3)
            #expect(try await fixture.tick().active == 3)
            // The same by an ordering without pace.
            try await change {
                $0.maxActive = 3; $0.ordering = .passthrough
            }
            try await change {
                $0.maxActive = 100; $0.ordering = .fifo
            }
            #expect(try await fixture.tick().active == 4)
            // Passes are as long as they were when they were given.
            let old = try #require(try await fixture.standing("c4").expiresAt)
            try await change {
                $0.passSeconds = 7; $0.admitPerMinute = 60
            }
            #expect(try await fixture.inspect().summary.passSeconds == 7)
            fixture.wait(1000)
            #expect(try await fixture.tick().active == 5)
            #expect(try await fixture.standing("c4").expiresAt == old)
            #expect(try await fixture.standing("c5").expiresAt == fixture.clock.now + 7000)
            // The grace holds from each one's next sign of life on.
            try await change {
                $0.maxActive = 0; $0.graceSeconds = 2
            }
            try await fixture.away("c6", holder: 1)
            try await change { $0.graceSeconds = 1 }
            try await fixture.away("c7", holder: 1)
            fixture.wait(1250)
            try await fixture.tick()
            #expect(try await fixture.standings(["c6", "c7", "c8"]).map(\.rank) == [1, nil, 2])
            fixture.wait(1000)
            try await fixture.tick()
            #expect(try await fixture.standings(["c6", "c7", "c8"]).map(\.rank) == [nil, nil, 1])
        }
    }

    @Test func aClockThatGoesBackHoldsNobodyUp() async throws {
        try await onLoop {
            let fixture = try await RoomAdmissionTests.line(5, RoomLimits(maxActive: 100, admitPerMinute: 60))
            #expect(try await fixture.tick().active == 1)
            fixture.wait(-3_600_000)
            #expect(try await fixture.tick().active == 1)
            fixture.wait(1000)
            #expect(try await fixture.tick().active == 2)
        }
    }

    // MARK: opening and closing

    @Test(arguments: RoomOrdering.allCases)
    func whatHoldsBeforeTheOpening(_ ordering: RoomOrdering) async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 2, graceSeconds: 3600, ordering: ordering))
            let opening = fixture.clock.now + 60_000
            #expect(try await fixture.engine.setSales(of: .main, opensAt: opening, isLive: true) == 0)
            let standings = try await fixture.join([("a", 1), ("b", 1), ("c", 1)])
            var summary = try await fixture.tick()
            switch ordering {
            case .passthrough:
                #expect(standings.map { $0.token != nil } == [true, true, false])
                #expect(standings[2] == .waiting(number: 3, rank: 1))
                return
            case .reject:
                #expect(standings == [.rejected, .rejected, .rejected])
                #expect(try await fixture.standing("a") == .unknown)
                #expect(summary.next == 0)
                return
            case .fifo, .random: break
            }
            #expect(standings.map(\.rank) == [1, 2, 3])
            #expect(summary.active == 0)
            #expect(summary.due == opening)
            #expect(summary.draw == (ordering == .random ? .pending : .none))
            fixture.clock.now = opening + -1
            #expect(try await fixture.tick().active == 0)
            fixture.clock.now = opening
            summary = try await fixture.tick()
            if ordering == .fifo {
                #expect(summary.active == 2)
            } else {
                #expect(summary.active == 0)
                #expect(summary.draw == .due)
            }
            // A room whose sales don't hold it back draws no lots.
            _ = try await fixture.engine.setSales(of: .main, opensAt: nil, isLive: true)
            #expect(try await fixture.inspect().summary.active == 2)
            #expect(try await fixture.standing("c").rank == 1)
        }
    }

    /// What somebody read of the sales earlier says nothing; of what is known the clock only ends sales.
    @Test func salesThatWereReadEarlier() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let opening = fixture.clock.now + 5000
            // A room that is new to Redis begins with its sales: nobody is in before the first opens.
            try await fixture.define(
                RoomLimits(maxActive: 1), sales: RoomSales(opensAt: opening, isLive: true, version: 5))
            #expect(try await fixture.join([("a", 1), ("b", 1), ("c", 1)]).map(\.rank) == [1, 2, 3])
            // One that is known keeps what it has.
            try await fixture.define(
                RoomLimits(maxActive: 2), version: 2, sales: RoomSales(opensAt: nil, isLive: false, version: 9))
            @LoopActor func set(_ opens: Timestamp?, _ isLive: Bool, _ version: Int64) async throws -> Int64? {
                let sentHome = try await fixture.engine.setSales(
                    of: .main, RoomSales(opensAt: opens, isLive: isLive, version: version))
                return sentHome
            }
            @LoopActor func isNow(
                _ opens: Timestamp?, _ isLive: Bool, waiting: Int64, _ location: SourceLocation = #_sourceLocation
            ) async throws {
                let inspection = try await fixture.inspect()
                #expect(inspection.opensAt == opens, sourceLocation: location)
                #expect(inspection.isLive == isLive, sourceLocation: location)
                #expect(inspection.summary.waiting == waiting, sourceLocation: location)
            }
            try await isNow(opening, true, waiting: 3)
            let watch = try await RoomWatch(fixture.engine)
            // Older: neither is the line sent home, nor are they let in.
            #expect(try await set(nil, false, 4) == 0)
            #expect(try await set(nil, true, 4) == 0)
            try await isNow(opening, true, waiting: 3)
            // The same, said again.
            #expect(try await set(opening, true, 5) == 0)
            try await watch.follow()
            #expect(watch.messages.isEmpty)
            // Another window of the same version is what the clock makes of it: one sale has ended, the next opens later.
            #expect(try await set(opening + 1000, true, 5) == 0)
            try await isNow(opening + 1000, true, waiting: 3)
            // A sale was added.
            #expect(try await set(opening, true, 7) == 0)
            #expect(try await set(opening + 1000, true, 6) == 0)
            try await isNow(opening, true, waiting: 3)
            // Its end by the clock has no version of its own; whoever did not see it yet does not bring it back.
            #expect(try await set(nil, false, 7) == 3)
            #expect(try await set(opening, true, 7) == 0)
            #expect(try await set(opening, true, 6) == 0)
            try await isNow(nil, false, waiting: 0)
            #expect(try await fixture.join("a").token != nil)
            #expect(try await fixture.inspect().closed == 3)
            // A newer sale does.
            #expect(try await set(opening, true, 8) == 0)
            try await isNow(opening, true, waiting: 0)
            #expect(try await fixture.join("b").rank == 1)
            // A call that is too old fills free places nevertheless.
            fixture.clock.now = opening
            #expect(try await set(nil, false, 7) == 0)
            #expect(try await fixture.standing("b").token != nil)
        }
    }

    /// Who is held says so, and has no estimate, nor a moment at which an admission is due.
    @Test func whoeverIsHeldIsToldSo() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let opening = fixture.clock.now + 5000
            try await fixture.define(
                RoomLimits(maxActive: 5, passSeconds: 77, admitPerMinute: 60),
                sales: RoomSales(opensAt: opening, isLive: true, version: 1))
            try await fixture.join([("a", 1), ("b", 1)])
            var summary = try await fixture.tick()
            #expect((summary.isHeld, summary.draw, summary.passSeconds) == (true, .none, 77))
            #expect(summary.due == opening)
            #expect(summary.estimatedSeconds(rank: 2, waiting: 2, at: summary.now) == nil)
            try await fixture.define(
                RoomLimits(maxActive: 5, passSeconds: 77, admitPerMinute: 60, ordering: .reject), version: 2)
            fixture.clock.now = opening
            summary = try await fixture.tick()
            #expect((summary.isHeld, summary.draw, summary.active) == (true, .none, 0))
            #expect(summary.due == nil)
            try await fixture.define(
                RoomLimits(maxActive: 5, passSeconds: 77, admitPerMinute: 60, ordering: .random), version: 3)
            summary = try await fixture.tick()
            #expect((summary.isHeld, summary.draw, summary.active) == (true, .due, 0))
            #expect(summary.due == nil)
            try await fixture.define(
                RoomLimits(maxActive: 5, passSeconds: 77, admitPerMinute: 60), version: 4)
            summary = try await fixture.tick()
            #expect((summary.isHeld, summary.draw, summary.active) == (false, .none, 1))
            #expect(summary.estimatedSeconds(rank: 1, waiting: 1, at: summary.now) == 1)
            #expect(summary.due != nil)
        }
    }

    @Test func theEndOfTheSalesEmptiesTheLine() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1))
            _ = try await fixture.engine.setSales(of: .main, opensAt: fixture.clock.now, isLive: true)
            try await fixture.join([("a", 1), ("b", 1), ("c", 0), ("d", 1)])
            try await fixture.leave("c")
            let watch = try await RoomWatch(fixture.engine)
            #expect(try await fixture.engine.setSales(of: .main, opensAt: nil, isLive: false) == 2)
            #expect(
                try await fixture.standings(["a", "b", "c", "d"]).map { $0 == .finished } == [false, true, true, true])
            let inspection = try await watch.follow()
            #expect(watch.messages.map(\.kind) == [.closed])
            #expect(inspection.closed == 2)
            #expect(inspection.summary.waiting == 0)
            #expect(inspection.summary.active == 1)
            #expect(!inspection.isLive)
            for key in ["line", "gone", "sums", "presence", "blocks", "members"] {
                #expect(try await fixture.redis("EXISTS", "dibs:{room:main}:\(key)") == "0", "\(key)")
            }
            let life = try #require(Int64(try await fixture.redis("TTL", "dibs:{room:main}:cleared")))
            #expect((3500...3600).contains(life))
            // Said again it changes nothing.
            #expect(try await fixture.engine.setSales(of: .main, opensAt: nil, isLive: false) == 0)
            // Whoever comes back stands at the end.
            #expect(try await fixture.join("b") == .waiting(number: 5, rank: 1))
            #expect(try await fixture.standing("d") == .finished)
            #expect(try await fixture.engine.setSales(of: RoomID("other")!, opensAt: nil, isLive: true) == nil)
        }
    }

    // MARK: the cap

    @Test func theCapHoldsWhenItIsLowered() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 5, passSeconds: 100))
            try await fixture.join((1...9).map { ("c\($0)", 1) })
            try await fixture.define(RoomLimits(maxActive: 2, passSeconds: 100), version: 2)
            // Those who are in stay in; nobody is let in until there are fewer.
            for client in ["c1", "c2", "c3"] {
                try await fixture.leave(client)
                #expect(try await fixture.standing("c6").rank == 1)
            }
            var summary = try await fixture.inspect().summary
            #expect((summary.active, summary.waiting, summary.maxActive) == (2, 4, 2))
            #expect(try #require(summary.due) > summary.now)
            try await fixture.leave("c4")
            #expect(try await fixture.standing("c6").token != nil)
            try await fixture.define(RoomLimits(maxActive: 0, passSeconds: 100), version: 3)
            try await fixture.leave("c5")
            try await fixture.leave("c6")
            summary = try await fixture.tick()
            #expect((summary.active, summary.waiting) == (0, 3))
            #expect(summary.due == nil)
            try await fixture.define(RoomLimits(maxActive: 1000, passSeconds: 100), version: 4)
            #expect(try await fixture.inspect().summary.due == fixture.clock.now)
            #expect(try await fixture.tick().active == 3)
            // An older version, and one of the same number, say nothing.
            try await fixture.define(RoomLimits(maxActive: 7), version: 3)
            try await fixture.define(RoomLimits(maxActive: 7), version: 4)
            #expect(try await fixture.inspect().summary.maxActive == 1000)
        }
    }

    // MARK: blanks

    /// Those who left out of turn, at the front and in between, are passed over: wherever they begin and end.
    @Test(arguments: [0, 3, 65_536 - 20] as [Int64])
    func runsOfBlanksAreSkipped(_ origin: Int64) async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let length = 40
            var cases: [(blanks: Set<Int>, places: Int64)] = []
            // A run at the front, of each length; with another behind the first who stays.
            for run in 0..<length {
                cases.append((Set(0..<run), 1))
                if run + 9 < length { cases.append((Set(0..<run).union(run + 1..<run + 9), 2)) }
            }
            // One behind the other, in bytes, and at the end of what the bits say.
            cases.append((Set(stride(from: 0, to: length, by: 2)), 20))
            cases.append((Set(stride(from: 1, to: length, by: 2)), 3))
            cases.append((Set(0..<8).union(16..<24).union(32..<length), 16))
            cases.append((Set(8..<length), 40))
            cases.append((Set(1..<length), 1))
            cases.append((Set(0..<length), 5))
            var generator = SeededGenerator(seed: UInt64(origin))
            for _ in 0..<20 {
                let percent = Int.random(in: 5...95, using: &generator)
                cases.append(
                    (
                        Set((0..<length).filter { _ in Int.random(in: 0..<100, using: &generator) < percent }),
                        Int64.random(in: 1...12, using: &generator)
                    ))
            }
            for (index, (blanks, places)) in cases.enumerated() {
                let room = RoomID("r\(index)")!
                try await fixture.define(RoomLimits(maxActive: 0), id: room)
                if origin > 0 { try await fixture.begin(at: origin, origin: origin - origin % 8, room) }
                let clients = (0..<length).map { "c\($0)" }
                try await fixture.fill(clients, holder: 1, room)
                try await fixture.empty(blanks.sorted().map { clients[$0] }, room)
                // Somebody who came after the departures, for whom there is no bit yet.
                try await fixture.fill(["last"], holder: 1, room)
                try await fixture.define(RoomLimits(maxActive: places), version: 2, id: room)
                let summary = try await fixture.tick(room)
                let line = clients.indices.filter { !blanks.contains($0) }.map { clients[$0] } + ["last"]
                let standings = try await fixture.standings(line, room)
                let expected = line.indices.map { $0 < places ? nil : Int64($0) - places + 1 }
                let name = "blanks \(blanks.sorted()), \(places) places"
                #expect(standings.map(\.rank) == expected, "\(name)")
                #expect(standings.filter { $0.token != nil }.count == min(Int(places), line.count), "\(name)")
                // The head is at the last who was let in, and the list begins behind it.
                let all = clients + ["last"]
                let last = all.firstIndex(of: line[min(Int(places), line.count) - 1])!
                let head = summary.waiting == 0 ? Int64(all.count) : Int64(last + 1)
                #expect(summary.head == origin + head, "\(name)")
                let list = try await fixture.redis("LLEN", "dibs:{room:\(room)}:line")
                #expect(list == "\(Int64(all.count) - head)", "\(name)")
            }
        }
    }

    /// However many left at the front: Redis passes over them in a handful of commands.
    @Test func manyBlanksAreSkippedAtOnce() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 0, graceSeconds: 3600))
            let gone = (1...200_000).map { "c\($0)" }
            try await fixture.fill(gone, holder: 1)
            try await fixture.fill(["a", "b", "c"], holder: 1)
            try await fixture.empty(gone)
            try await fixture.empty(["b"])
            try await fixture.define(RoomLimits(maxActive: 1), version: 2)
            try await fixture.redis("CONFIG", "RESETSTAT")
            let reply = try await fixture.call(.roomTick, passes: 4)
            let calls = try await fixture.calls()
            let summary = try #require(reply.elements.first?.string.flatMap { RoomSummary($0) })
            #expect((summary.active, summary.waiting, summary.head) == (1, 1, 200_001))
            #expect(calls["fcall"] == 1)
            #expect(calls["ltrim"] == 1)
            #expect(calls["lpop"] == 1)
            #expect(calls["bitpos"] == 2)
            #expect(calls["getbit"] == nil)
            #expect(calls.values.reduce(0, +) < 60, "\(calls)")
            #expect(try await fixture.standings(["a", "c"]).map(\.rank) == [nil, 1])
        }
    }

    /// More places than passes were sent along: the rest is due at once.
    @Test func manyPlacesFallFreeAtOnce() async throws {
        try await onLoop {
            let fixture = try await RoomAdmissionTests.line(300, RoomLimits(maxActive: 200))
            var counts: [Int64] = []
            var summary = try await fixture.tick()
            counts.append(summary.active)
            while summary.due == summary.now, counts.count < 10 {
                summary = try await fixture.tick()
                counts.append(summary.active)
            }
            #expect(counts == [64, 128, 192, 200])
            #expect(try await fixture.standings(["c200", "c201", "c300"]).map(\.rank) == [nil, 1, 100])
        }
    }
}
