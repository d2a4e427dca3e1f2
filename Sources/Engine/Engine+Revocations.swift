import EventLoop
import Model

/// Tokens that were logged out.
extension Engine {
    /// Refuses a token everywhere from now on, until it would have expired; told to all who listen.
    /// - Throws: ``Outage``: to be called again.
    public func revoke(tokenID: String, until: Timestamp) async throws(Outage) {
        var command = RedisCommand(function: .revoke, keys: [Keys.revokedTokens])
        command.append(Keys.revokedChannel)
        command.append(tokenID)
        command.append(until.milliseconds)
        _ = try await router.ask(calling: command, about: Keys.revokedTokens)
    }

    /// The tokens that are revoked, and when each would have expired. Those that have are forgotten.
    /// - Throws: ``Outage``.
    public func revokedTokens() async throws(Outage) -> [String: Timestamp] {
        let now = configuration.clock?().milliseconds ?? EventLoop.wallMilliseconds
        let key = Keys.revokedTokens
        let replies = try await router.ask(
            all: [
                (RedisCommand("ZREMRANGEBYSCORE", key, "-inf", "(\(now)"), key),
                (RedisCommand("ZRANGE", key, "0", "-1", "WITHSCORES"), key),
            ], areCalls: false)
        return replies[1].fields.compactMapValues { Int64($0).map { Timestamp(milliseconds: $0) } }
    }
}
