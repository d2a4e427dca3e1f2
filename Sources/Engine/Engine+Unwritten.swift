import Model

/// What Redis decided and PostgreSQL may not have heard of.
extension Engine {
    /// Entries that are looked through in one command, and in all.
    private static let entriesPerLook = 500
    private static let entriesLookedAt = 20_000

    /// The newest entry about a reservation in its performance's log; nil when PostgreSQL has heard of all there were, or
    /// the entry is behind more than 20,000 newer ones. `isWhole` tells which.
    /// - Throws: ``Outage``.
    public func unwritten(
        _ id: ReservationID
    ) async throws(Outage) -> (event: ReservationEvent?, isWhole: Bool) {
        let key = Keys.Performance(id.performance).log
        var end = "+"
        for _ in 0..<(Engine.entriesLookedAt / Engine.entriesPerLook) {
            let reply = try await router.ask(
                RedisCommand("XREVRANGE", key, end, "-", "COUNT", "\(Engine.entriesPerLook)"), about: key)
            if case .error(let error) = reply { throw error.outage }
            for entry in reply.elements {
                if let event = SeatTexts.event(entry, of: id.performance), event.hold.id == id { return (event, true) }
            }
            guard reply.elements.count == Engine.entriesPerLook, let last = reply.elements.last?.elements.first?.string
            else { return (nil, true) }
            end = "(" + last
        }
        return (nil, false)
    }
}
