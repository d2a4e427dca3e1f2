import Model

/// Rebuilding a sale that Redis has lost, from what PostgreSQL knows.
extension Engine {
    /// How many orders go into one call.
    private static let ordersPerCall = 500
    /// How long whoever rebuilds may take from one call to the next, in milliseconds.
    private static let tokenMilliseconds: Int64 = 30_000

    /// Makes a sale known again as PostgreSQL has it. Until it is done the sale stays unknown, and nobody else rebuilds it;
    /// when this process dies meanwhile, another can after 30 seconds.
    ///
    /// `epoch` must have been raised in PostgreSQL before `orders` were read, so that no order of the old epoch is
    /// committed after that.
    /// - Parameters:
    ///   - state: definition and window; ``SaleState/remaining`` is not looked at, `orders` say what is left.
    ///   - lastSequence: the highest sequence that was ever used in this epoch, at least ``SaleEpoch/base(_:)``.
    ///   - orders: all that own a ticket.
    /// - Returns: false when another process rebuilds the sale, or it is known in this epoch or a newer one already.
    /// - Throws: ``Outage``; then nothing is known of the sale, and another try can begin after 30 seconds.
    public func rebuild(
        _ state: SaleState, epoch: Int64, lastSequence: Int64, orders: [LiveOrder], counts: Counts,
        firstClaimAt: Timestamp?, soldOutAt: Timestamp?
    ) async throws(Outage) -> Bool {
        let keys = Keys.Sale(state.sale.id)
        let token = String(UInt64.random(in: .min ... .max), radix: 36)
        var command = RedisCommand(
            function: .rebuild,
            keys: [keys.state, keys.clients, keys.keys, keys.returned, keys.counts, keys.rebuild])
        command.append(token)
        command.append(epoch)
        command.append(Engine.tokenMilliseconds)
        guard try await router.ask(calling: command, about: keys.state).number == 1 else { return false }

        for chunk in orders.chunks(of: Engine.ordersPerCall) {
            guard try await restore(keys, token, orders: chunk) else { return false }
        }
        let highest = orders.map(\.ticket).max() ?? 0
        let owned = Set(orders.map(\.ticket))
        let free = (0..<highest).lazy.map { $0 + 1 }.filter { !owned.contains($0) }
        for chunk in Array(free).chunks(of: 2 * Engine.ordersPerCall) {
            guard try await restore(keys, token, tickets: chunk) else { return false }
        }
        let values = counts.values.filter { $0.value != 0 }
        guard try await restore(keys, token, counts: values) else { return false }

        var fields = [("fresh", highest), ("left", state.sale.quantity - Int64(orders.count))]
        if let firstClaimAt { fields.append(("first", firstClaimAt.milliseconds)) }
        if let soldOutAt { fields.append(("out", soldOutAt.milliseconds)) }
        return try await register(
            state, token: token, epoch: epoch, lastSequence: max(lastSequence, SaleEpoch.base(epoch)), fields: fields)
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
