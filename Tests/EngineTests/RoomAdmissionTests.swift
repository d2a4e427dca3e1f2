import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Who is let in, when, and how passes end.
@Suite struct RoomAdmissionTests {
    private static let gone = Timestamp(milliseconds: .max / 2)

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
            let statistics = try await fixture.redis("INFO", "commandstats")
            var calls: [String: Int] = [:]
            for line in statistics.split(whereSeparator: \.isNewline) where line.hasPrefix("cmdstat_") {
                let parts = line.dropFirst(8).split(separator: ":", maxSplits: 1)
                calls[String(parts[0])] = parts.count == 2 ? Int(parts[1].prefix { $0 != "," }.dropFirst(6)) : nil
            }
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

    // MARK: passes

    @Test func aPassOfOneSecond() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 1))
            let start = fixture.clock.now
            let standings = try await fixture.join([("seen", 1), ("unseen", 0), ("asks", 0), ("last", 1)])
            #expect(standings[0].expiresAt == start + 1000)
            // The same pass as long as it lasts.
            #expect(try await fixture.join("seen") == standings[0])
            #expect(try await fixture.standing("seen") == standings[0])
            fixture.wait(999)
            #expect(try await fixture.tick().due == start + 1000)
            #expect(try await fixture.standing("seen") == standings[0])
            fixture.wait(1)
            // Its time is over, even before anybody has looked.
            #expect(try await fixture.standing("seen") == .finished)
            try await fixture.tick()
            #expect(try await fixture.standing("seen") == .finished)
            let unseen = try #require(try await fixture.standing("unseen").token)
            fixture.wait(1000)
            try await fixture.tick()
            #expect(try await fixture.inspect().noShow == 1)
            let answer = try await fixture.engine.standing(
                of: ClientID(trusted: "asks"), room: .main, asksItself: true)
            #expect(answer?.standing.token != nil)
            fixture.wait(1000)
            try await fixture.tick()
            fixture.wait(1000)
            try await fixture.tick()
            let inspection = try await fixture.inspect()
            #expect((inspection.admitted, inspection.expired, inspection.noShow) == (4, 4, 1))
            #expect(inspection.summary.due.map { $0 > fixture.clock.now } ?? true)
            #expect(
                try await fixture.told("unseen") == [
                    .admitted(.main, token: unseen, expiresAt: start + 2000), .expired(.main, token: unseen),
                ])
            // Back in line, and in.
            #expect(try await fixture.join("seen").token != nil)
        }
    }

    @Test(arguments: ["join", "hold", "check"])
    func whoeverShowsUpWasThere(_ how: String) async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 10))
            let token = try #require(try await fixture.join("a").token)
            let client = ClientID(trusted: "a")
            switch how {
            case "join": try await fixture.join("a", holder: 1)
            case "hold":
                let held = try await fixture.engine.hold([client], room: .main, holder: 1)
                #expect(held?.standings == [.admitted(token: token, expiresAt: fixture.clock.now + 10_000)])
            default: #expect(try await fixture.engine.check(token, of: client, room: .main)?.isValid == true)
            }
            fixture.wait(10_000)
            try await fixture.tick()
            let inspection = try await fixture.inspect()
            #expect((inspection.expired, inspection.noShow) == (1, 0))
        }
    }

    @Test func whatIsRememberedOfThoseWhoAreDone() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 2, passSeconds: 10, graceSeconds: 1))
            #expect(try await fixture.standing("a") == .unknown)
            #expect(try await fixture.leave("a") == false)
            #expect(try await fixture.standing("a") == .unknown)
            try await fixture.join([("left", 1), ("spent", 1), ("gone", 0), ("gaveUp", 1)])
            #expect(try await fixture.leave("left"))
            #expect(try await fixture.leave("left") == false)
            try await fixture.leave("gaveUp")
            try await fixture.spend("spent")
            // `gone` was admitted in place of `left`.
            fixture.wait(10_000)
            try await fixture.tick()
            let all = ["left", "spent", "gone", "gaveUp"]
            #expect(try await fixture.standings(all) == [.finished, .finished, .finished, .finished])
            fixture.wait(3_600_001)
            try await fixture.join("x")
            try await fixture.leave("x")
            #expect(try await fixture.standings(all) == [.unknown, .unknown, .unknown, .unknown])
            let inspection = try await fixture.inspect()
            #expect((inspection.joined, inspection.left, inspection.spent, inspection.expired) == (5, 3, 1, 1))
        }
    }

    @Test func onlyThePassThatIsMeantIsSpent() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1))
            let (a, b) = (ClientID(trusted: "a"), ClientID(trusted: "b"))
            let start = fixture.clock.now
            let token = try #require(try await fixture.join("a").token)
            try await fixture.join("b", holder: 1)
            let engine = fixture.engine
            try await engine.spend(
                [(a, "other", RoomAdmissionTests.gone), (b, nil, RoomAdmissionTests.gone)], room: .main)
            // One that was issued after the order was accepted is another.
            try await engine.spend([(a, nil, start + -1), (a, token, start + -1)], room: .main)
            #expect(try await fixture.standing("a").token == token)
            #expect(try await fixture.inspect().spent == 0)
            // Twice in one call, and once more: once.
            try await engine.spend([(a, token, start), (a, nil, RoomAdmissionTests.gone)], room: .main)
            try await engine.spend([(a, token, start)], room: .main)
            #expect(try await fixture.inspect().spent == 1)
            #expect(try await fixture.standing("a") == .finished)
            #expect(try await fixture.standing("b").token != nil)
            // The committer comes late: the client has a new pass.
            fixture.wait(5)
            try await fixture.join("a")
            try await fixture.leave("b")
            try await engine.spend([(a, nil, start)], room: .main)
            #expect(try await fixture.standing("a").token != nil)
            #expect(try await fixture.told("b").count == 1)
        }
    }

    /// Between the check and the end of it a place never falls free, for five seconds at most.
    @Test func aPassThatIsShownKeepsItsPlace() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 10))
            let (engine, a) = (fixture.engine, ClientID(trusted: "a"))
            let token = try #require(try await fixture.join("a").token)
            try await fixture.join("b", holder: 1)
            var check = try #require(try await engine.check(token, of: a, room: .main))
            #expect(check == (true, false))
            check = try #require(try await engine.check("other", of: a, room: .main))
            #expect(check == (false, false))
            check = try #require(try await engine.check(token, of: ClientID(trusted: "b"), room: .main))
            #expect(check == (false, false))
            #expect(try await engine.check(token, of: a, room: RoomID("other")!) == nil)
            fixture.wait(9999)
            check = try #require(try await engine.check(token, of: a, room: .main))
            #expect(check == (true, true))
            for milliseconds in [1, 1, 4997] as [Int64] {
                fixture.wait(milliseconds)
                #expect(try await fixture.tick().active == 1)
                // Its time is over: nobody else may use it now.
                #expect(try await engine.check(token, of: a, room: .main)?.isValid == false)
                #expect(try await fixture.standing("a") == .finished)
                #expect(try await fixture.standing("b").rank == 1)
            }
            // Nobody said that it was decided.
            fixture.wait(1)
            try await fixture.tick()
            #expect(try await fixture.standing("b").token != nil)
            #expect(try await fixture.inspect().expired == 1)
        }
    }

    @Test func theEndOfACheckGivesThePlaceOn() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 10))
            let (engine, a) = (fixture.engine, ClientID(trusted: "a"))
            let token = try #require(try await fixture.join("a").token)
            try await fixture.join("b", holder: 1)
            let watch = try await RoomWatch(engine)
            fixture.wait(8000)
            #expect(try #require(try await engine.check(token, of: a, room: .main)) == (true, true))
            // Decided in time: the pass ends when it would have.
            try await engine.endCheck(token, of: a, room: .main)
            #expect(try await fixture.inspect().summary.due == fixture.clock.now + 2000)
            #expect(try #require(try await engine.check(token, of: a, room: .main)) == (true, true))
            fixture.wait(2500)
            #expect(try await fixture.tick().active == 1)
            try await watch.follow()
            #expect(watch.messages.isEmpty)
            // Schedulers are told that there is something to do; another's token ends nothing.
            try await engine.endCheck("other", of: a, room: .main)
            try await watch.follow()
            #expect(watch.messages.isEmpty)
            try await engine.endCheck(token, of: a, room: .main)
            try await watch.follow()
            #expect(watch.messages.count == 1)
            #expect(watch.messages.last?.summary.due.map { $0 <= fixture.clock.now } == true)
            try await fixture.tick()
            #expect(try await fixture.standing("b").token != nil)
            // Spent while it was kept: no longer there to be ended.
            let other = try #require(try await fixture.standing("b").token)
            fixture.wait(9000)
            _ = try await engine.check(other, of: ClientID(trusted: "b"), room: .main)
            fixture.wait(2000)
            try await fixture.spend("b", token: other)
            try await engine.endCheck(other, of: ClientID(trusted: "b"), room: .main)
            let inspection = try await fixture.inspect()
            #expect((inspection.summary.active, inspection.spent, inspection.expired) == (0, 1, 1))
        }
    }

    /// Two claims by one pass at once: the first that is decided doesn't end the second one's check.
    @Test func claimsAtTheSameTimeKeepThePlaceUntilTheLast() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 10))
            let (engine, a) = (fixture.engine, ClientID(trusted: "a"))
            let token = try #require(try await fixture.join("a").token)
            try await fixture.join("b", holder: 1)
            // One that was checked long before the end keeps nothing.
            #expect(try #require(try await engine.check(token, of: a, room: .main)) == (true, false))
            fixture.wait(9000)
            for _ in 1...3 { #expect(try #require(try await engine.check(token, of: a, room: .main)) == (true, true)) }
            try await fixture.join("a")
            fixture.wait(2000)
            for _ in 1...2 {
                try await engine.endCheck(token, of: a, room: .main)
                #expect(try await fixture.tick().active == 1)
                #expect(try await fixture.standing("b").rank == 1)
            }
            try await engine.endCheck(token, of: a, room: .main)
            try await fixture.tick()
            #expect(try await fixture.standing("b").token != nil)
            // One that nobody ended does not outlive its five seconds.
            let other = try #require(try await fixture.standing("b").token)
            fixture.wait(8000)
            for _ in 1...20 { _ = try await engine.check(other, of: ClientID(trusted: "b"), room: .main) }
            try await engine.endCheck(other, of: ClientID(trusted: "b"), room: .main)
            fixture.wait(4999)
            #expect(try await fixture.tick().active == 1)
            fixture.wait(1)
            #expect(try await fixture.tick().active == 0)
            #expect(try await fixture.inspect().noShow == 0)
        }
    }

    // MARK: telling

    /// Whoever decided died before telling: a second later any scheduler does.
    @Test func whatNobodyToldIsToldOnce() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 30))
            let start = fixture.clock.now
            let reply = try await fixture.call(.roomJoin, passes: 2, .main, "a", "1", "b", "1")
            #expect(reply.elements.count == 4)
            let token = try #require(try await fixture.standing("a").token)
            #expect(reply.elements[1].elements == [.string("g a \(token) \((start + 30_000).milliseconds)")])
            #expect(reply.elements[3] == .string("w2:1"))
            #expect(try await fixture.inspect().summary.due == start + 1000)
            fixture.wait(999)
            try await fixture.tick()
            #expect(try await fixture.redis("ZCARD", "dibs:{room:main}:outbox") == "1")
            #expect(try await fixture.engine.outcomes(of: ClientID(trusted: "a"), after: 0).last == 0)
            fixture.wait(1)
            try await fixture.tick()
            let admitted = Outcome.admitted(.main, token: token, expiresAt: start + 30_000)
            #expect(try await fixture.told("a") == [admitted])
            // Not again.
            fixture.wait(2000)
            try await fixture.tick()
            #expect(try await fixture.told("a") == [admitted])
        }
    }

    @Test func theEndIsToldAfterTheBeginning() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 1))
            let heard = Heard<ClientEvent>()
            let subscription = try await fixture.engine.subscribe(client: ClientID(trusted: "a")) { heard.hear($0) }
            let start = fixture.clock.now
            _ = try await fixture.call(.roomJoin, passes: 1, .main, "a", "1")
            let token = try #require(try await fixture.standing("a").token)
            fixture.wait(1000)
            let reply = try await fixture.call(.roomTick, passes: 1)
            #expect(
                Set(reply.elements[1].elements.compactMap(\.string)) == [
                    "g a \(token) \((start + 1000).milliseconds)", "t a \(token) \((start + 1000).milliseconds)",
                ])
            // Both were decided, and whoever did so is dead. Two schedulers find them at once.
            fixture.wait(1000)
            let another = try await fixture.another()
            try await fixture.tick()
            _ = try await another.tick(.main)
            fixture.wait(1000)
            try await fixture.tick()
            _ = try await another.tick(.main)
            let expected: [Outcome] = [
                .admitted(.main, token: token, expiresAt: start + 1000), .expired(.main, token: token),
            ]
            #expect(try await fixture.told("a") == expected)
            try await heard.wait(for: 2)
            #expect(
                heard.events
                    == expected.enumerated().map {
                        .outcome(LoggedOutcome(offset: Int64($0.offset + 1), outcome: $0.element))
                    })
            subscription.cancel()
            await another.stop()
        }
    }

    /// The one who expires the pass tells both, even where the admission is still in the outbox of somebody dead.
    @Test func theEndBringsTheBeginning() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 1, passSeconds: 1))
            let start = fixture.clock.now
            _ = try await fixture.call(.roomJoin, passes: 1, .main, "a", "1")
            let token = try #require(try await fixture.standing("a").token)
            fixture.wait(1000)
            // A join is no scheduler: it tells what it has decided itself.
            #expect(try await fixture.join("b", holder: 1).token != nil)
            let deadline = EventLoop.monotonicMilliseconds + 30_000
            while try await fixture.redis("ZCARD", "dibs:{room:main}:outbox") != "1" {
                try #require(EventLoop.monotonicMilliseconds < deadline)
            }
            let log = try await fixture.engine.outcomes(of: ClientID(trusted: "a"), after: 0)
            let expected: [Outcome] = [
                .admitted(.main, token: token, expiresAt: start + 1000), .expired(.main, token: token),
            ]
            #expect(log.outcomes.map(\.outcome) == expected)
            try await fixture.tick()
            #expect(try await fixture.told("a") == expected)
        }
    }
}
