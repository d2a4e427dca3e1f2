import EventLoop
import TestServices
import Testing

/// The injectors do what they say; else the tests that use them would show nothing.
@Suite struct FaultProxyTests {
    @Test func aProxyHangsDelaysLosesAndCuts() async throws {
        try await onLoop {
            let redis = try await RedisServer.start()
            let proxy = try FaultProxy.redis(redis.socketPath)
            #expect(try await self.ask(proxy, "set", "a", "1") == "OK")
            #expect(try await self.ask(proxy, "get", "a") == "1")

            proxy.delay(milliseconds: 150)
            let before = EventLoop.nanoseconds
            #expect(try await self.ask(proxy, "get", "a") == "1")
            #expect(EventLoop.nanoseconds - before >= 300_000_000)
            try proxy.resume()

            // What is asked for happens, and nobody hears of it.
            proxy.hang(.replies)
            let deaf = try self.start(proxy, "set", "a", "2")
            try await eventually("Redis has answered") { proxy.heldBytes(.replies) > 0 }
            #expect(try await redis.ask("get", "a") == "2")
            #expect(deaf.output.items.isEmpty && proxy.connections == 1)
            proxy.cut()
            _ = try await deaf.waitForExit()
            #expect(!deaf.output.items.contains("OK") && proxy.connections == 0)
            try proxy.resume()

            // Whoever comes while all hangs is served when it is over.
            proxy.hang()
            let late = try self.start(proxy, "set", "a", "3")
            try await eventually("it is connected") { proxy.connections == 1 }
            #expect(try await redis.ask("get", "a") == "2")
            try proxy.resume()
            #expect(try await late.waitForExit().status == 0)
            #expect(late.output.items == ["OK"])

            proxy.refuse()
            let refused = try self.start(proxy, "set", "a", "4")
            #expect(try await refused.waitForExit().status != 0)
            try proxy.resume()
            #expect(try await self.ask(proxy, "get", "a") == "3")
        }
    }

    @Test func aReplicaMissesTheLastWrites() async throws {
        try await onLoop {
            let redis = try await RedisServer.start()
            try await redis.ask("set", "early", "1")
            let replica = try await redis.makeReplica()
            let proxy = try FaultProxy.redis(redis.socketPath)
            try await replica.stopFollowing()
            try await redis.ask("set", "late", "1")
            await redis.kill()
            try await replica.promote()
            proxy.target = .unix(path: replica.socketPath)
            #expect(try await self.ask(proxy, "exists", "early", "late") == "1")
            #expect(try await self.ask(proxy, "set", "later", "1") == "OK")
        }
    }

    /// Much more than a proxy holds, both ways at once.
    @Test func aProxyHoldsOnlySoMuch() async throws {
        try await onLoop {
            let redis = try await RedisServer.start()
            let proxy = try FaultProxy.redis(redis.socketPath)
            try await redis.ask("eval", "redis.call('set', 'big', string.rep('x', 20000000)) return 1", "0")
            proxy.hang(.replies)
            let reader = try self.start(proxy, "get", "big")
            try await eventually("it is full") { proxy.heldBytes(.replies) >= 256 * 1024 }
            #expect(proxy.heldBytes() < 512 * 1024)
            try proxy.resume()
            #expect(try await reader.waitForExit().status == 0)
            #expect(reader.output.items.map(\.utf8.count) == [20_000_000])
        }
    }

    @LoopActor
    private func start(_ proxy: FaultProxy, _ command: String...) throws -> Program {
        try Program("/usr/bin/redis-cli", ["-s", proxy.socketPath] + command)
    }

    @LoopActor
    private func ask(_ proxy: FaultProxy, _ command: String...) async throws -> String {
        try await Program.run("/usr/bin/redis-cli", ["-s", proxy.socketPath] + command)
    }
}
