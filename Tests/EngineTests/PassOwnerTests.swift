import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Whose a pass is, through its whole life.
@Suite struct PassOwnerTests {
    private static let owners = "dibs:{room:main}:owners"

    private static func owner(_ pass: String, _ fixture: EngineFixture) async throws -> PassOwner {
        try await fixture.engine.owner(of: pass, room: .main)
    }

    private static func client(_ name: String) -> PassOwner { .client(ClientID(trusted: name)) }

    @Test func aPassHasItsOwnerUntilItEnds() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            #expect(try await Self.owner("x", fixture) == .unknownRoom)
            try await fixture.define(RoomLimits(maxActive: 4, passSeconds: 10))
            #expect(try await Self.owner("x", fixture) == .nobody)
            var passes: [String: String] = [:]
            for name in ["spent", "left", "expired", "late"] {
                let pass = try #require(try await fixture.join(name, holder: 1).token)
                passes[name] = pass
                #expect(try await Self.owner(pass, fixture) == Self.client(name))
                fixture.wait(100)
            }
            try await fixture.join("waits", holder: 1)
            #expect(try await Self.owner("waits", fixture) == .nobody)
            // Joining again changes nothing.
            #expect(try await fixture.join("spent", holder: 1).token == passes["spent"])
            #expect(try await Self.owner(passes["spent"]!, fixture) == Self.client("spent"))

            try await fixture.spend("spent")
            #expect(try await Self.owner(passes["spent"]!, fixture) == .nobody)
            // Whoever is admitted in its place has another.
            let token = try #require(try await fixture.standing("waits").token)
            #expect(try await Self.owner(token, fixture) == Self.client("waits"))
            try await fixture.leave("left")
            #expect(try await Self.owner(passes["left"]!, fixture) == .nobody)
            #expect(try await fixture.redis("HLEN", Self.owners) == "3")

            // One whose time is over has none, before anybody noticed, also while a claim keeps its place.
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.opening + 10_199)
            #expect(try await Self.owner(passes["expired"]!, fixture) == Self.client("expired"))
            _ = try await fixture.engine.check(passes["expired"]!, of: ClientID(trusted: "expired"), room: .main)
            fixture.wait(1)
            #expect(try await Self.owner(passes["expired"]!, fixture) == .nobody)
            #expect(try await Self.owner(passes["late"]!, fixture) == Self.client("late"))
            fixture.wait(60_000)
            try await fixture.tick()
            for (_, pass) in passes { #expect(try await Self.owner(pass, fixture) == .nobody) }
            #expect(try await fixture.redis("EXISTS", Self.owners) == "0")
            // A new pass of the same client.
            let again = try #require(try await fixture.join("late", holder: 1).token)
            #expect(try await Self.owner(again, fixture) == Self.client("late"))
            #expect(try await fixture.redis("HLEN", Self.owners) == "1")
        }
    }

    /// Many at once: no pass is left in the index, and none is missing.
    @Test func theIndexGrowsWithThePassesOnly() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 500, passSeconds: 10))
            let names = (1...500).map { "c\($0)" }
            try await fixture.joinMany(names)
            let tokens = try await fixture.standings(names).compactMap(\.token)
            #expect(Set(tokens).count == 500)
            #expect(try await fixture.redis("HLEN", Self.owners) == "500")
            #expect(try await Self.owner(tokens[321], fixture) == Self.client("c322"))
            for name in names.prefix(100) { try await fixture.leave(name) }
            #expect(try await fixture.redis("HLEN", Self.owners) == "400")
            fixture.wait(10_000)
            try await fixture.tick()
            #expect(try await fixture.redis("EXISTS", Self.owners) == "0")
        }
    }

    /// A process of an older version gives and ends passes without the index.
    @Test func passesOfAnOlderVersion() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            try await fixture.define(RoomLimits(maxActive: 3, passSeconds: 10))
            let first = try #require(try await fixture.join("a", holder: 1).token)
            let second = try #require(try await fixture.join("b", holder: 1).token)
            try await Self.old(.roomJoin, fixture, "c", "1")
            let third = try #require(try await fixture.standing("c").token)
            #expect(try await Self.owner(third, fixture) == Self.client("c"))
            #expect(try await fixture.redis("HLEN", Self.owners) == "3")
            try await Self.old(.roomLeave, fixture, "a")
            #expect(try await Self.owner(first, fixture) == .nobody)
            #expect(try await Self.owner(second, fixture) == Self.client("b"))
            #expect(try await fixture.redis("HLEN", Self.owners) == "2")
        }
    }

    /// Calls a function as a version did that did not know of the index.
    @LoopActor
    private static func old(
        _ function: FunctionLibrary.Function, _ fixture: EngineFixture, _ arguments: String...
    ) async throws {
        let keys = Keys.Room(.main)
        var command = RedisCommand(function: function, keys: keys.all.dropLast())
        command.append("\(fixture.clock.now.milliseconds)")
        command.append(keys.events)
        command.append(1)
        command.append("pass-of-an-older-version")
        for argument in arguments { command.append(argument) }
        _ = try await fixture.engine.router.ask(calling: command, about: keys.state)
    }
}
