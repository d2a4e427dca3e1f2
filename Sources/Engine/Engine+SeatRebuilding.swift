import EventLoop
import Model

/// Rebuilding a performance that Redis has lost, from what PostgreSQL knows.
extension Engine {
    /// How many reservations, and how many of their seats, go into one call.
    private static let reservationsPerCall = 250
    private static let seatsPerCall = 2000

    /// Makes a performance known again that Redis has lost. Until it is done the performance is unknown, and nobody else
    /// rebuilds it; when this process dies meanwhile, another can after 30 seconds.
    ///
    /// What is held keeps its deadline, what is paid is sold, all else is free. Payments under way are not known any more.
    /// - Parameters:
    ///   - epoch: rebuilds also a performance that is known in an epoch before this one; by default only one that isn't
    ///     known.
    ///   - isOfThisRun: instead of `epoch`: rebuilds also one that was made known in another run of Redis.
    ///   - token: the token to be taken, which the caller may renew; one of its own by default.
    ///   - snapshot: begins a new epoch in PostgreSQL and reads it there. Called only when it is this process that
    ///     rebuilds, after the performance became unknown: nothing falls between the reading and the rebuilt performance.
    ///     Nil when there is no such performance.
    /// - Returns: false when another process rebuilds it, it is known already, or there is no such performance.
    /// - Throws: ``Outage``, and whatever `snapshot` throws; then it stays unknown, and can be rebuilt again.
    public func rebuild(
        _ performance: PerformanceID, ifOlderThan epoch: Int64 = 0, unless isOfThisRun: Bool = false,
        by token: String? = nil, snapshot read: @LoopActor () async throws -> PerformanceSnapshot?
    ) async throws -> Bool {
        let keys = Keys.Performance(performance)
        return try await rebuild(
            .seatsRebuild, keys: [keys.state, keys.seats, keys.holds, keys.clients, keys.deadlines, keys.rebuild],
            rebuild: keys.rebuild, ifOlderThan: epoch, unless: isOfThisRun, by: token
        ) { token in
            guard let snapshot = try await read() else { return nil }
            return try await self.restore(keys, token, snapshot)
        }
    }

    private func restore(
        _ keys: Keys.Performance, _ token: String, _ snapshot: PerformanceSnapshot
    ) async throws(Outage) -> Bool {
        var rest = snapshot.reservations[...]
        while !rest.isEmpty {
            var (count, seats) = (0, 0)
            for reservation in rest.prefix(Engine.reservationsPerCall) {
                seats += reservation.seats.count
                guard count == 0 || seats <= Engine.seatsPerCall else { break }
                count += 1
            }
            guard try await restore(keys, token, snapshot, rest.prefix(count)) else { return false }
            rest = rest.dropFirst(count)
        }
        return try await define(
            snapshot.performance, token: token, epoch: snapshot.epoch,
            lastSequence: max(snapshot.lastSequence, SaleEpoch.base(snapshot.epoch)))
    }

    private func restore(
        _ keys: Keys.Performance, _ token: String, _ snapshot: PerformanceSnapshot,
        _ reservations: ArraySlice<Reservation>
    ) async throws(Outage) -> Bool {
        var command = RedisCommand(
            function: .seatsRestore, keys: [keys.rebuild, keys.seats, keys.holds, keys.clients, keys.deadlines],
            reserving: 512 + 128 * reservations.count)
        command.append(token)
        command.append(Engine.tokenMilliseconds)
        command.append(snapshot.performance.layout.count)
        for reservation in reservations {
            precondition(reservation.status.ownsSeats, "a reservation that has ended has no seats")
            command.append(reservation.id.sequence)
            command.append(SeatTexts.record(reservation))
        }
        return try await router.ask(calling: command, about: keys.state).number == 1
    }
}
