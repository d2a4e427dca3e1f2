import EventLoop
import Model

/// Rebuilding a sale that Redis has lost, from what PostgreSQL knows.
extension Engine {
    /// How many orders go into one call.
    private static let ordersPerCall = 500
    /// How long whoever rebuilds may take from one call to the next, in milliseconds.
    static let tokenMilliseconds: Int64 = 30_000

    /// Makes a sale known again that Redis has lost. Until it is done the sale is unknown, and nobody else rebuilds it;
    /// when this process dies meanwhile, another can after 30 seconds.
    /// - Parameters:
    ///   - epoch: rebuilds also a sale that is known in an epoch before this one; by default only one that isn't known.
    ///   - isOfThisRun: instead of `epoch`: rebuilds also a sale that was made known in another run of Redis. So each is
    ///     rebuilt once in a run, whichever process comes first, and however late another comes.
    ///   - token: the token to be taken, which the caller may renew; one of its own by default.
    ///   - snapshot: begins a new epoch in PostgreSQL and reads it there. Called only when it is this process that
    ///     rebuilds, after the sale became unknown: whoever gives a ticket back from then on is told to come again, so
    ///     nothing falls between the reading and the rebuilt sale. Nil when there is no such sale.
    /// - Returns: false when another process rebuilds the sale, it is known already, or there is no such sale.
    /// - Throws: ``Outage``, and whatever `snapshot` throws; then the sale stays unknown, and can be rebuilt again.
    public func rebuild(
        _ sale: SaleID, ifOlderThan epoch: Int64 = 0, unless isOfThisRun: Bool = false, by token: String? = nil,
        snapshot read: @LoopActor () async throws -> SaleSnapshot?
    ) async throws -> Bool {
        let keys = Keys.Sale(sale)
        return try await rebuild(
            .rebuild,
            keys: [keys.state, keys.clients, keys.keys, keys.returned, keys.counts, keys.rebuild, keys.series],
            rebuild: keys.rebuild, ifOlderThan: epoch, unless: isOfThisRun, by: token
        ) { token in
            guard let snapshot = try await read() else { return nil }
            return try await self.restore(keys, token, snapshot)
        }
    }

    /// Takes the token by a function that begins a rebuild, and rebuilds with it.
    /// - Parameter restore: reads and restores, with the token; false when it was lost meanwhile, nil when there is nothing
    ///   to be rebuilt.
    func rebuild(
        _ function: FunctionLibrary.Function, keys: [String], rebuild key: String, ifOlderThan epoch: Int64,
        unless isOfThisRun: Bool, by token: String?,
        restore: @LoopActor (_ token: String) async throws -> Bool?
    ) async throws -> Bool {
        let token = token ?? Engine.newToken()
        var command = RedisCommand(function: function, keys: keys)
        command.append(token)
        command.append(epoch)
        command.append(Engine.tokenMilliseconds)
        if isOfThisRun { command.append(runTag) }
        guard try await router.ask(calling: command, about: key).number == 1 else { return false }
        do {
            if let isRestored = try await restore(token) { return isRestored }
            try await abandon(key, token)
            return false
        } catch {
            try? await abandon(key, token)
            throw error
        }
    }

    /// Lets others try at once.
    private func abandon(_ key: String, _ token: String) async throws(Outage) {
        var command = RedisCommand(function: .abandon, keys: [key])
        command.append(token)
        _ = try await router.ask(calling: command, about: key)
    }

    private func restore(
        _ keys: Keys.Sale, _ token: String, _ snapshot: SaleSnapshot
    ) async throws(Outage) -> Bool {
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
        guard try await restore(keys, token, counts: values, series: snapshot.series) else { return false }

        var fields = [("fresh", highest), ("left", snapshot.state.sale.quantity - Int64(orders.count))]
        if let firstClaimAt = snapshot.firstClaimAt { fields.append(("first", firstClaimAt.milliseconds)) }
        if let soldOutAt = snapshot.soldOutAt { fields.append(("out", soldOutAt.milliseconds)) }
        return try await register(
            snapshot.state, token: token, epoch: snapshot.epoch,
            lastSequence: max(snapshot.lastSequence, SaleEpoch.base(snapshot.epoch)), fields: fields)
    }

    private func restore(
        _ keys: Keys.Sale, _ token: String, orders: ArraySlice<LiveOrder> = [], tickets: ArraySlice<Int64> = [],
        counts: [Counter: Int64] = [:], series: [SeriesCount] = []
    ) async throws(Outage) -> Bool {
        let keyed = orders.filter { $0.key != nil }
        var command = RedisCommand(
            function: .restore, keys: [keys.rebuild, keys.clients, keys.keys, keys.returned, keys.counts, keys.series],
            reserving: 512 + 96 * orders.count + 16 * tickets.count)
        command.append(token)
        command.append(Engine.tokenMilliseconds)
        for count in [orders.count, keyed.count, tickets.count, counts.count, series.count] { command.append(count) }
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
        for entry in series {
            command.append("\(entry.second):\(entry.counter.name)")
            command.append(entry.value)
        }
        return try await router.ask(calling: command, about: keys.state).number == 1
    }
}
