import Model

/// The committer's side of a sale's stream.
extension Engine {
    /// How many orders go into one call, so that it doesn't keep Redis from everybody else for long.
    static let settlementsPerCall = 128

    /// Orders of a sale that no committer has read yet, oldest first, without waiting for any. They are this consumer's
    /// from now on, until it settles them or another takes them over.
    /// - Throws: ``Outage``; then some may have been given to this consumer without its knowing:
    ///   ``takeOverOrders(of:consumer:idleMilliseconds:count:)`` finds those.
    public func readOrders(of sale: SaleID, consumer: String, count: Int) async throws(Outage) -> [AcceptedOrder] {
        orders(try await unread(of: Keys.Sale(sale).orders, consumer: consumer, count: count), of: sale)
    }

    /// Orders of a sale that another committer (or this one, in an earlier life) has read and not settled for
    /// `idleMilliseconds`, oldest first. They are this consumer's from now on.
    /// - Throws: ``Outage``.
    public func takeOverOrders(
        of sale: SaleID, consumer: String, idleMilliseconds: Int64, count: Int
    ) async throws(Outage) -> [AcceptedOrder] {
        try await takeOver(
            from: Keys.Sale(sale).orders, consumer: consumer, idleMilliseconds: idleMilliseconds, count: count
        ) { self.orders($0, of: sale) }
    }

    /// Takes orders that PostgreSQL decided about out of the stream, and marks them or returns their tickets, each
    /// once.
    /// - Throws: ``Outage``: to be called again.
    public func settle(_ settlements: [Settlement]) async throws(Outage) {
        var questions: [CommandRouter.Question] = []
        for (sale, all) in Dictionary(grouping: settlements, by: \.order.order.sale) {
            let keys = Keys.Sale(sale)
            for chunk in all.chunks(of: Engine.settlementsPerCall) {
                var command = RedisCommand(
                    function: .settle,
                    keys: [
                        keys.state, keys.clients, keys.returned, keys.orders, keys.counts, keys.series, keys.replayed,
                    ], reserving: 512 + 72 * chunk.count)
                command.append(now)
                command.append(keys.events)
                command.append(Keys.committers)
                for settlement in chunk {
                    command.append(settlement.order.entry)
                    command.append(settlement.order.order.sequence)
                    command.append(settlement.order.client.rawValue)
                    switch settlement.status {
                    case .confirmed: command.append("c")
                    case .failed: command.append("f")
                    case .cancelled: command.append("x")
                    case .accepted: preconditionFailure("an accepted order is not settled")
                    }
                }
                questions.append((command, keys.state))
            }
        }
        _ = try await router.ask(all: questions)
    }

    private func orders(_ entries: [RedisReply], of sale: SaleID) -> [AcceptedOrder] {
        entries.compactMap { entry in
            if let order = StreamEntry.order(entry, sale: sale) { return order }
            // Deleted while it was pending: settled. Anything else is not ours to throw away.
            if let id = entry.elements.first?.string, entry.elements.last != .null {
                log(.error, "order_unreadable", ["sale": LogValue(sale), "entry": .text(id)])
            }
            return nil
        }
    }
}
