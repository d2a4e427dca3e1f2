import Model

/// What a repair asks Redis: the streams as they are, whoever has their entries in hand, and the token by which it rebuilds.
extension Engine {
    /// How often whoever rebuilds renews its token, in milliseconds.
    public static let renewalMilliseconds = tokenMilliseconds / 3

    /// A token of its own for a rebuild.
    public static func newToken() -> String { String(UInt64.random(in: .min ... .max), radix: 36) }

    /// Keeps the token of a sale's rebuild, which is else over after 30 seconds.
    /// - Returns: false when it is over: another may rebuild the sale.
    /// - Throws: ``Outage``.
    public func keepRebuilding(_ sale: SaleID, by token: String) async throws(Outage) -> Bool {
        try await renew(Keys.Sale(sale).rebuild, token)
    }

    /// Keeps the token of a performance's rebuild.
    /// - Returns: false when it is over: another may rebuild it.
    /// - Throws: ``Outage``.
    public func keepRebuilding(_ performance: PerformanceID, by token: String) async throws(Outage) -> Bool {
        try await renew(Keys.Performance(performance).rebuild, token)
    }

    private func renew(_ key: String, _ token: String) async throws(Outage) -> Bool {
        var command = RedisCommand(function: .renew, keys: [key])
        command.append(token)
        command.append(Engine.tokenMilliseconds)
        return try await router.ask(calling: command, about: key).number == 1
    }

    /// Orders in a sale's stream after an entry, or from its beginning, oldest first. They stay there.
    /// - Returns: also the last entry, nil when there was none, and whether there may be more.
    /// - Throws: ``Outage``.
    public func auditStream(
        of sale: SaleID, after entry: String?, count: Int
    ) async throws(Outage) -> (orders: [AcceptedOrder], last: String?, hasMore: Bool) {
        let entries = try await entries(of: Keys.Sale(sale).orders, after: entry, count: count)
        return (
            entries.compactMap { StreamEntry.order($0, sale: sale) }, entries.last?.elements.first?.string,
            entries.count == count
        )
    }

    /// Entries of a performance's log, as of a sale's stream.
    /// - Throws: ``Outage``.
    public func auditLog(
        of performance: PerformanceID, after entry: String?, count: Int
    ) async throws(Outage) -> (events: [ReservationEvent], last: String?, hasMore: Bool) {
        let entries = try await entries(of: Keys.Performance(performance).log, after: entry, count: count)
        return (
            entries.compactMap { SeatTexts.event($0, of: performance) }, entries.last?.elements.first?.string,
            entries.count == count
        )
    }

    private func entries(of key: String, after entry: String?, count: Int) async throws(Outage) -> [RedisReply] {
        let from = entry.map { "(" + $0 } ?? "-"
        let reply = try await router.ask(RedisCommand("XRANGE", key, from, "+", "COUNT", String(count)), about: key)
        if case .error(let error) = reply { throw error.outage }
        return reply.elements
    }
}
