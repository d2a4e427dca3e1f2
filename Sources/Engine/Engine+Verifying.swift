import Model

/// What Redis is compared by with PostgreSQL, when it may have lost writes.
extension Engine {
    /// By how much the numbers of messages are raised where some may be lost: more than can be in the seconds that Redis
    /// may lose.
    private static let eventsLostAtMost: Int64 = 1_000_000

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

    /// The reservations of a performance that Redis has records of, held and sold.
    /// - Throws: ``Outage``.
    public func recordedReservations(of performance: PerformanceID) async throws(Outage) -> [ReservationID] {
        let key = Keys.Performance(performance).holds
        let reply = try await router.ask(RedisCommand("HKEYS", key), about: key)
        if case .error(let error) = reply { throw error.outage }
        return reply.elements.compactMap { $0.string.flatMap { Int64($0) } }
            .map { ReservationID(performance: performance, sequence: $0) }
    }

    /// Raises the numbers of these performances' messages above all that Redis may have lost, so that nobody who heard
    /// those takes a newer one for one of them. The performances have to be known.
    /// - Throws: ``Outage``.
    public func raiseEvents(of performances: [PerformanceID]) async throws(Outage) {
        let replies = try await router.ask(
            all: performances.map { performance in
                let key = Keys.Performance(performance).state
                return (RedisCommand("HINCRBY", key, "event", "\(Engine.eventsLostAtMost)"), key)
            }, areCalls: false)
        for reply in replies { if case .error(let error) = reply { throw error.outage } }
    }
}
