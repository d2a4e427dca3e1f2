import Model

/// The committer's side of a performance's log.
extension Engine {
    /// Entries of a performance's log that no committer has read yet, oldest first, without waiting for any. They are this
    /// consumer's from now on, until it acknowledges them or another takes them over.
    ///
    /// Each says all about its reservation, and the order in which they are written down does not matter.
    /// - Throws: ``Outage``; then some may have been given to this consumer without its knowing:
    ///   ``takeOverReservations(of:consumer:idleMilliseconds:count:)`` finds those.
    public func readReservations(
        of performance: PerformanceID, consumer: String, count: Int
    ) async throws(Outage) -> [ReservationEvent] {
        let entries = try await unread(of: Keys.Performance(performance).log, consumer: consumer, count: count)
        return reservations(entries, of: performance)
    }

    /// Entries of a performance's log that another committer (or this one, in an earlier life) has read and not
    /// acknowledged for `idleMilliseconds`, oldest first. They are this consumer's from now on.
    /// - Throws: ``Outage``.
    public func takeOverReservations(
        of performance: PerformanceID, consumer: String, idleMilliseconds: Int64, count: Int
    ) async throws(Outage) -> [ReservationEvent] {
        try await takeOver(
            from: Keys.Performance(performance).log, consumer: consumer, idleMilliseconds: idleMilliseconds,
            count: count
        ) { self.reservations($0, of: performance) }
    }

    /// PostgreSQL has heard of these: they leave the log. Those that have left it are passed over.
    /// - Throws: ``Outage``: to be called again.
    public func acknowledge(_ events: [ReservationEvent]) async throws(Outage) {
        var questions: [CommandRouter.Question] = []
        for (performance, all) in Dictionary(grouping: events, by: \.hold.id.performance) {
            let key = Keys.Performance(performance).log
            for chunk in all.chunks(of: Engine.settlementsPerCall) {
                // First out of the stream: one that is gone, and only pending, is forgotten with the next XAUTOCLAIM. The
                // other way round it would stay for ever.
                for start in [RedisCommand("XDEL", key), RedisCommand("XACK", key, Keys.committers)] {
                    var command = start
                    for event in chunk { command.append(event.entry) }
                    questions.append((command, key))
                }
            }
        }
        _ = try await router.ask(all: questions, areCalls: false)
    }

    private func reservations(_ entries: [RedisReply], of performance: PerformanceID) -> [ReservationEvent] {
        entries.compactMap { entry in
            if let event = SeatTexts.event(entry, of: performance) { return event }
            // Deleted while it was pending: acknowledged. Anything else is not ours to throw away.
            if let id = entry.elements.first?.string, entry.elements.last != .null {
                log(.error, "reservation_unreadable", ["performance": LogValue(performance), "entry": .text(id)])
            }
            return nil
        }
    }
}
