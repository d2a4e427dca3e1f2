import Model

/// What Redis is compared by with PostgreSQL, when it may have lost writes.
extension Engine {
    /// Whether this run of Redis, with this data set, was compared before, by whichever process. One that comes back from a
    /// disk, or took over from another, has the name of that one.
    /// - Throws: ``Outage``.
    public func isVerified(_ identity: String) async throws(Outage) -> Bool {
        let reply = try await router.ask(RedisCommand("GET", Keys.verifiedRun), about: Keys.verifiedRun)
        if case .error(let error) = reply { throw error.outage }
        return reply.string == identity
    }

    /// Notes that all of a Redis was compared.
    /// - Throws: ``Outage``.
    public func markVerified(_ identity: String) async throws(Outage) {
        _ = try await router.ask(RedisCommand("SET", Keys.verifiedRun, identity), about: Keys.verifiedRun)
    }
}
