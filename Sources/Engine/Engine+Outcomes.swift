import Model

/// Clients' outcome logs.
extension Engine {
    /// Appends outcomes to their clients' logs and publishes them, unless they are there already. It is merged with
    /// what else is told in this turn of the loop.
    /// - Returns: the offset of each, in the order of `items`; for one that was there already, its old one.
    /// - Throws: ``Outage``: to be called again, which adds nothing twice.
    public func tell(_ items: [(client: ClientID, outcome: Outcome)]) async throws(Outage) -> [Int64] {
        try await tells.tell(items)
    }

    /// The outcomes of a client after an offset that its log still keeps, oldest first, and the last offset in the log:
    /// 0 when it has none. Renews the log's life.
    ///
    /// An offset above `last` is one of an earlier life of the log, which has ended since.
    /// - Throws: ``Outage``.
    public func outcomes(
        of client: ClientID, after offset: Int64
    ) async throws(Outage) -> (last: Int64, outcomes: [LoggedOutcome]) {
        let key = Keys.client(client)
        var command = RedisCommand(function: .log, keys: [key])
        command.append(max(0, offset))
        command.append(configuration.outcomeLimit)
        command.append(configuration.outcomeSeconds)
        let parts = try await router.ask(calling: command, about: key).elements
        var outcomes: [LoggedOutcome] = []
        for index in stride(from: 1, to: parts.count - 1, by: 2) {
            if let offset = parts[index].number, let text = parts[index + 1].string,
                let outcome = Outcome(encoded: text)
            {
                outcomes.append(LoggedOutcome(offset: offset, outcome: outcome))
            }
        }
        return (parts.first?.number ?? 0, outcomes)
    }
}
