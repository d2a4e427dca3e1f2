import Model

/// What Redis is compared by with PostgreSQL, when it may have lost writes.
extension Engine {
    /// Whether all of this run of Redis was compared before, by whichever process. One that comes back from a disk, or took
    /// over from another, has the name of that one's run.
    /// - Throws: ``Outage``.
    public func isRunVerified() async throws(Outage) -> Bool {
        let reply = try await router.ask(RedisCommand("GET", Keys.verifiedRun), about: Keys.verifiedRun)
        if case .error(let error) = reply { throw error.outage }
        return serverRun != nil && reply.string == serverRun
    }

    /// Notes that all of a run of Redis was compared.
    /// - Throws: ``Outage``.
    public func markRunVerified(_ run: String) async throws(Outage) {
        _ = try await router.ask(RedisCommand("SET", Keys.verifiedRun, run), about: Keys.verifiedRun)
    }
}
