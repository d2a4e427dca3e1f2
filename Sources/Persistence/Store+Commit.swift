import EventLoop
import Model

extension Store {
    /// Commits accepted orders, and answers what became of each, in any order. An order that was settled before keeps
    /// what it is. One that has the id of another client's order, or another ticket than the order of its id, fails with
    /// `stale_epoch`: Redis gave the id out twice. Of an order that failed before, an entry that is not later than the
    /// one that failed has failed with it.
    ///
    /// All go in one transaction. When the database refuses that, the batch is halved until each refused order stands
    /// alone, and the rest goes through. A refused one is tried ``StoreConfiguration/commitAttempts`` times before it
    /// goes to the dead-letter list.
    /// - Throws: ``Outage``, or a ``DatabaseError`` that is the database's fault: some may be committed, and the caller
    ///   tries all again.
    public func commit(_ orders: [AcceptedOrder]) async throws -> [Settlement] {
        var settlements: [Settlement] = []
        try await commit(orders) { settlements += $0 }
        return settlements
    }

    /// Commits accepted orders like ``commit(_:)``, and tells what became of some as soon as that is certain, so that
    /// nobody waits for another's refused order. Every order is told of once, unless this throws.
    public func commit(
        _ orders: [AcceptedOrder], settled: @LoopActor ([Settlement]) -> Void
    ) async throws {
        var refused = try await commitHalving(orders, settled: settled)
        var backoff = Backoff(base: 20, cap: 1000)
        var attempt = 1
        while !refused.isEmpty && attempt < configuration.commitAttempts {
            await EventLoop.sleep(milliseconds: backoff.next())
            refused = try await commitHalving(refused.map(\.item), settled: settled)
            attempt += 1
        }
        for (order, error) in refused {
            let settlement = try await fail(order, error, attempts: attempt)
            log(
                .warning, "order_refused",
                ["order": LogValue(order.order), "reason": .text(error.reason), "attempts": LogValue(attempt)])
            settled([settlement])
        }
    }

    /// Commits what the database takes, and answers the orders that it refuses, each with its error.
    private func commitHalving(
        _ orders: [AcceptedOrder], settled: @LoopActor ([Settlement]) -> Void
    ) async throws -> [(item: AcceptedOrder, error: DatabaseError)] {
        try await halving(orders) { settled(try await commitTogether($0)) }
    }

    /// Does all together; when the database refuses that, each half of it, until each refused item stands alone.
    /// - Returns: the refused ones, each with its error.
    /// - Throws: ``Outage``, or a ``DatabaseError`` that is the database's fault.
    func halving<Item>(
        _ items: [Item], together: @LoopActor ([Item]) async throws -> Void
    ) async throws -> [(item: Item, error: DatabaseError)] {
        guard !items.isEmpty else { return [] }
        do {
            try await together(items)
            return []
        } catch let error as DatabaseError where error.isFaultOfData {
            guard items.count > 1 else { return [(items[0], error)] }
            let half = items.count / 2
            let first = try await halving(Array(items[..<half]), together: together)
            return try await first + halving(Array(items[half...]), together: together)
        }
    }

    /// One transaction. The database answers only for orders that are not confirmed now.
    private func commitTogether(_ orders: [AcceptedOrder]) async throws -> [Settlement] {
        let results = try await committer.perform(
            Statement(
                """
                select answered_place, answered_status, answered_reason
                from commit_orders($1, $2, $3, $4, $5, $6, $7, $8, $9)
                """, .integers(orders.map(\.order.sale.rawValue)), .integers(orders.map(\.order.sequence)),
                .texts(orders.map(\.client.rawValue)), .integers(orders.map(\.ticket)), .integers(orders.map(\.slot)),
                .moments(orders.map(\.acceptedAt)), .integers(orders.map(\.epoch)),
                .texts(orders.map(\.key?.rawValue)), .integers(orders.map(\.entryNumber))), DatabaseState.reached)
        reached(results[1].first!.integer(0))
        var settlements = orders.map { Settlement(order: $0, status: .confirmed) }
        for row in results[0].rows {
            let place = Int(row.integer(0)) - 1
            let status = try Self.settled(row.optionalText(1))
            settlements[place] = Settlement(
                order: orders[place], status: status, reason: status == .failed ? row.optionalText(2) : nil)
        }
        return settlements
    }

    private func fail(_ order: AcceptedOrder, _ error: DatabaseError, attempts: Int) async throws -> Settlement {
        let results = try await committer.perform(
            Statement(
                "select status, reason from fail_order($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                .integer(order.order.sale.rawValue), .integer(order.order.sequence), .text(order.client.rawValue),
                .integer(order.ticket), .integer(order.slot), .moment(order.acceptedAt), .integer(order.epoch),
                .text(order.key?.rawValue), .integer(order.entryNumber), .text(error.reason), .text(error.message),
                .integer(Int64(attempts))))
        let row = results[0].first!
        let status = try Self.settled(row.optionalText(0))
        return Settlement(order: order, status: status, reason: status == .failed ? row.optionalText(1) : nil)
    }

    private static func settled(_ status: String?) throws -> OrderStatus {
        switch status {
        case "confirmed": return .confirmed
        case "cancelled": return .cancelled
        case "failed": return .failed
        // A bug in the functions' locking; the class says that the committer tries again.
        default: throw DatabaseError(sqlstate: "XX000", message: "an order was left \(status ?? "unsettled")")
        }
    }
}

extension AcceptedOrder {
    /// The number of its entry in the stream, which is `<number>-0`: the sequence, unless it is a retried order.
    fileprivate var entryNumber: Int64 { Int64(entry.prefix { $0 != "-" }) ?? order.sequence }
}
