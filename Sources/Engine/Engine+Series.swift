import Model

/// Counts per second, until PostgreSQL has them.
extension Engine {
    /// All counts per second of a sale that were not dropped yet, by time. The values only grow: the newest second's
    /// may not be final.
    /// - Throws: ``Outage``.
    public func series(of sale: SaleID) async throws(Outage) -> [SeriesCount] {
        let key = Keys.Sale(sale).series
        let reply = try await router.ask(RedisCommand("HGETALL", key), about: key)
        if case .error(let error) = reply { throw error.outage }
        let counts: [SeriesCount] = reply.fields.compactMap { field, value in
            let parts = field.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, let second = Int64(parts[0]), let counter = Counter(name: parts[1]),
                let value = Int64(value)
            else { return nil }
            return SeriesCount(second: second, counter: counter, value: value)
        }
        return counts.sorted { ($0.second, $0.counter.name) < ($1.second, $1.counter.name) }
    }

    /// Forgets counts that PostgreSQL has; one whose value has changed since stays.
    ///
    /// A second that goes on counting after it was dropped would begin at 0 again: drop only seconds that are over.
    /// - Throws: ``Outage``.
    public func dropSeries(of sale: SaleID, _ entries: [SeriesCount]) async throws(Outage) {
        let key = Keys.Sale(sale).series
        _ = try await router.ask(
            all: entries.chunks(of: 1000).map { chunk in
                var command = RedisCommand(function: .drop, keys: [key], reserving: 256 + 48 * chunk.count)
                for entry in chunk {
                    command.append("\(entry.second):\(entry.counter.name)")
                    command.append(entry.value)
                }
                return (command, key)
            })
    }
}
