import EventLoop

/// Fail-over to a replica that has missed the last writes.
extension RedisServer {
    /// Starts a replica of this one; returns when it has all that is here.
    public func makeReplica() async throws -> RedisServer {
        // Replication goes by TCP only. Not one of the ports that the kernel gives to connections.
        var port = "0"
        try await eventually("a free port") {
            port = String(UInt16.random(in: 20_000..<32_000))
            return try await ask("config", "set", "port", port) == "OK"
        }
        var options = Options()
        options.password = password
        options.arguments = ["--replicaof", "127.0.0.1 \(port)", "--repl-diskless-sync-delay", "0"]
        if let password { options.arguments += ["--masterauth", password] }
        let replica = try await RedisServer.start(options)
        try await waitUntil(hasAll: replica)
        return replica
    }

    /// Returns when a replica has all that was written here until now.
    public func waitUntil(hasAll replica: RedisServer) async throws {
        func offset(_ server: RedisServer, _ name: String) async throws -> Int64? {
            let info = try await server.ask("info", "replication")
            let line = info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name + ":") }
            return line.flatMap { Int64($0.dropFirst(name.count + 1)) }
        }
        let written = try await offset(self, "master_repl_offset") ?? 0
        try await eventually("the replica has all") {
            guard try await replica.ask("info", "replication").contains("master_link_status:up") else { return false }
            return try await offset(replica, "slave_repl_offset") ?? -1 >= written
        }
    }

    /// A replica hears no more of its primary: whatever is written from now on is lost when it takes over.
    public func stopFollowing() async throws {
        // Where nobody listens. It stays a replica with what it has.
        try await ask("replicaof", "127.0.0.1", "1")
    }

    /// A replica takes over.
    public func promote() async throws { try await ask("replicaof", "no", "one") }

    /// Asks it by `redis-cli`.
    @discardableResult
    public func ask(_ command: String...) async throws -> String {
        let arguments = ["-s", socketPath] + (password.map { ["--no-auth-warning", "-a", $0] } ?? []) + command
        return try await Program.run("/usr/bin/redis-cli", arguments)
    }
}
