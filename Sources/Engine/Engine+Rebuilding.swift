import EventLoop
import Model

/// Rebuilding a sale that Redis has lost, from what PostgreSQL knows.
extension Engine {
    /// How many orders go into one call.
    private static let ordersPerCall = 500
    /// How long whoever rebuilds may take from one call to the next, in milliseconds.
    private static let tokenMilliseconds: Int64 = 30_000

    /// Makes a sale known again as PostgreSQL has it; see ``rebuild(_:epoch:snapshot:)``, which is safe against what
    /// happens between reading PostgreSQL and this call: here, a ticket that goes back to a Redis that still has an
    /// older epoch of the sale in that time would be lost.
    /// - Throws: ``Outage``; then nothing is known of the sale, and another try can begin after 30 seconds.
    public func rebuild(
        _ state: SaleState, epoch: Int64, lastSequence: Int64, orders: [LiveOrder], counts: Counts,
        firstClaimAt: Timestamp?, soldOutAt: Timestamp?
    ) async throws(Outage) -> Bool {
        let snapshot = SaleSnapshot(
            state: state, lastSequence: lastSequence, orders: orders, counts: counts, firstClaimAt: firstClaimAt,
            soldOutAt: soldOutAt)
        return try await rebuild(state.sale.id, epoch: epoch) { snapshot }
    }

    /// Makes a sale known again as PostgreSQL has it. Until it is done the sale is unknown, and nobody else rebuilds
    /// it; when this process dies meanwhile, another can after 30 seconds.
    ///
    /// `epoch` must have been raised in PostgreSQL before, so that no order of an older one is committed any more.
    /// - Parameter snapshot: reads PostgreSQL. Called only when it is this process that rebuilds, after the sale became
    ///   unknown: whoever gives a ticket back from then on is told to come again.
    /// - Returns: false when another process rebuilds the sale, or it is known in this epoch or a newer one already.
    /// - Throws: ``Outage``, also that of `snapshot`; then nothing is known of the sale, and another try can begin
    ///   after 30 seconds.
    public func rebuild(
        _ sale: SaleID, epoch: Int64, snapshot: @LoopActor () async throws(Outage) -> SaleSnapshot
    ) async throws(Outage) -> Bool {
        let keys = Keys.Sale(sale)
        let token = String(UInt64.random(in: .min ... .max), radix: 36)
        var command = RedisCommand(
            function: .rebuild,
            keys: [keys.state, keys.clients, keys.keys, keys.returned, keys.counts, keys.rebuild])
        command.append(token)
        command.append(epoch)
        command.append(Engine.tokenMilliseconds)
        guard try await router.ask(calling: command, about: keys.state).number == 1 else { return false }

        let snapshot = try await snapshot()
        let orders = snapshot.orders
        for chunk in orders.chunks(of: Engine.ordersPerCall) {
            guard try await restore(keys, token, orders: chunk) else { return false }
        }
        let highest = orders.map(\.ticket).max() ?? 0
        let owned = Set(orders.map(\.ticket))
        let free = (0..<highest).lazy.map { $0 + 1 }.filter { !owned.contains($0) }
        for chunk in Array(free).chunks(of: 2 * Engine.ordersPerCall) {
            guard try await restore(keys, token, tickets: chunk) else { return false }
        }
        let values = snapshot.counts.values.filter { $0.value != 0 }
        guard try await restore(keys, token, counts: values) else { return false }

        var fields = [("fresh", highest), ("left", snapshot.state.sale.quantity - Int64(orders.count))]
        if let firstClaimAt = snapshot.firstClaimAt { fields.append(("first", firstClaimAt.milliseconds)) }
        if let soldOutAt = snapshot.soldOutAt { fields.append(("out", soldOutAt.milliseconds)) }
        return try await register(
            snapshot.state, token: token, epoch: epoch,
            lastSequence: max(snapshot.lastSequence, SaleEpoch.base(epoch)), fields: fields)
    }

    private func restore(
        _ keys: Keys.Sale, _ token: String, orders: ArraySlice<LiveOrder> = [], tickets: ArraySlice<Int64> = [],
        counts: [Counter: Int64] = [:]
    ) async throws(Outage) -> Bool {
        let keyed = orders.filter { $0.key != nil }
        var command = RedisCommand(
            function: .restore, keys: [keys.rebuild, keys.clients, keys.keys, keys.returned, keys.counts],
            reserving: 512 + 96 * orders.count + 16 * tickets.count)
        command.append(token)
        command.append(Engine.tokenMilliseconds)
        for count in [orders.count, keyed.count, tickets.count, counts.count] { command.append(count) }
        for order in orders {
            command.append(order.client.rawValue)
            command.append("\(order.order.sequence):\(order.ticket):\(order.slot):\(order.isConfirmed ? "c" : "a")")
        }
        for order in keyed {
            command.append(order.client.rawValue, " ", order.key!.rawValue)
            command.append("\(order.order.sequence):\(order.ticket)")
        }
        for ticket in tickets { command.append(ticket) }
        for (counter, value) in counts {
            command.append(counter.name)
            command.append(value)
        }
        return try await router.ask(calling: command, about: keys.state).number == 1
    }
}
