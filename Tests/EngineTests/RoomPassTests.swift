import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// What a pass is good for, how it ends, and how its client hears of it.
@Suite struct RoomPassTests {
    private static let gone = Timestamp(milliseconds: .max / 2)

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
                [(a, "other", RoomPassTests.gone), (b, nil, RoomPassTests.gone)], room: .main)
            // One that was issued after the order was accepted is another.
            try await engine.spend([(a, nil, start + -1), (a, token, start + -1)], room: .main)
            #expect(try await fixture.standing("a").token == token)
            #expect(try await fixture.inspect().spent == 0)
            // Twice in one call, and once more: once.
            try await engine.spend([(a, token, start), (a, nil, RoomPassTests.gone)], room: .main)
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
                    "g a \(token) \((start + 1000).milliseconds)", "b a \(token) \((start + 1000).milliseconds)",
                ])
            // Nobody had told the beginning: the end brings it along. Both were decided, and whoever did so is dead. Two schedulers find them at once.
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
