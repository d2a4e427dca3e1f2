import EventLoop
import Model

/// Claims, and the orders that they become.
extension Engine {
    /// Decides a claim. It is merged with the other claims of that sale in this turn of the loop.
    /// - Throws: ``Outage``: then it may have been accepted. The client's key tells, and the stream: an accepted order
    ///   is told to its client by the committer in any case.
    public func claim(_ claim: Claim, on sale: SaleID) async throws(Outage) -> ClaimDecision {
        try await claims.decide(claim, on: sale)
    }

    /// As ``claim(_:on:)``, for whoever has no task: going on as one costs more than the rest of a refusal. `answer` is
    /// called once, which may be at once.
    public func claim(
        _ claim: Claim, on sale: SaleID,
        _ answer: @escaping @LoopActor @Sendable (Result<ClaimDecision, Outage>) -> Void
    ) { claims.decide(claim, on: sale, answer) }

    /// The orders of a client in a sale that own a ticket, in the order in which they got it; none when it has none,
    /// or the sale is unknown.
    /// - Throws: ``Outage``.
    public func liveOrders(of client: ClientID, in sale: SaleID) async throws(Outage) -> [LiveOrder] {
        let keys = Keys.Sale(sale)
        let reply = try await router.ask(RedisCommand("HGET", keys.clients, client.rawValue), about: keys.state)
        if case .error(let error) = reply { throw error.outage }
        return (reply.string ?? "").words.compactMap { item in
            let parts = item.split(separator: ":")
            guard parts.count == 4, let sequence = Int64(parts[0]), let ticket = Int64(parts[1]),
                let slot = Int64(parts[2])
            else { return nil }
            return LiveOrder(
                order: OrderID(sale: sale, sequence: sequence), client: client, ticket: ticket, slot: slot,
                isConfirmed: parts[3] == "c")
        }
    }

    /// An order that was accepted and is not settled yet; nil when it was settled, or never was.
    /// - Throws: ``Outage``.
    public func unsettled(_ order: OrderID) async throws(Outage) -> AcceptedOrder? {
        let keys = Keys.Sale(order.sale)
        var command = RedisCommand(function: .unsettled, keys: [keys.orders, keys.replayed])
        command.append(order.sequence)
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 2, let entry = parts[0].string, let text = parts[1].string else { return nil }
        return StreamEntry.order(entry: entry, text: text, sale: order.sale)
    }

    /// Gives back the tickets of orders that were cancelled or failed, each once, however often it is called.
    ///
    /// To be called after PostgreSQL has it so. An order that is still in the stream stays there: its committer finds
    /// it cancelled and settles it.
    /// - Parameter status: `cancelled` or `failed`, for the counts.
    /// - Throws: ``Outage``, also when Redis doesn't know one of the sales, because it is being rebuilt: then it has
    ///   to be called again later.
    public func release(_ orders: [ReleasedOrder], status: OrderStatus = .cancelled) async throws(Outage) {
        var questions: [CommandRouter.Question] = []
        for (sale, all) in Dictionary(grouping: orders, by: \.order.sale) {
            let keys = Keys.Sale(sale)
            for chunk in all.chunks(of: Engine.settlementsPerCall) {
                var command = RedisCommand(
                    function: .release, keys: [keys.state, keys.clients, keys.returned, keys.counts, keys.series],
                    reserving: 512 + 48 * chunk.count)
                command.append(now)
                command.append(keys.events)
                command.append((status == .failed ? Counter.failed : Counter.cancelled).name)
                for order in chunk {
                    command.append(order.order.sequence)
                    command.append(order.client.rawValue)
                }
                questions.append((command, keys.state))
            }
        }
        let replies = try await router.ask(all: questions)
        if replies.contains(where: { $0.number == -1 }) {
            throw Outage(.redis, "a sale is not known: it is to be rebuilt")
        }
    }

    /// Puts a failed order back into the stream, with a ticket taken anew. The window doesn't matter: its claim was in
    /// time.
    /// - Throws: ``Outage``; then it may have been done, and another call says ``RetryDecision/alreadyLive``.
    public func retry(
        _ order: OrderID, client: ClientID, key: IdempotencyKey? = nil
    ) async throws(Outage) -> RetryDecision {
        let keys = Keys.Sale(order.sale)
        var command = RedisCommand(
            function: .retry,
            keys: [keys.state, keys.clients, keys.keys, keys.returned, keys.orders, keys.replayed])
        command.append(now)
        command.append(keys.events)
        command.append(order.sequence)
        command.append(client.rawValue)
        command.append(key?.rawValue ?? "")
        let parts = try await router.ask(calling: command, about: keys.state).elements
        switch parts.first?.string {
        case "?": return .unknownSale
        case "l": return .alreadyLive
        case "x": return .refused(.cancelled)
        case "d": return .refused(.duplicate)
        case "s": return .refused(.soldOut)
        case "a":
            guard parts.count == 4, let entry = parts[1].string, let text = parts[2].string,
                let remaining = parts[3].number,
                let accepted = StreamEntry.order(entry: entry, text: text, sale: order.sale)
            else { throw Outage(.redis, "an answer to a replay that isn't one") }
            return .accepted(accepted, remaining: remaining)
        default: throw Outage(.redis, "an unknown answer to a replay")
        }
    }
}
