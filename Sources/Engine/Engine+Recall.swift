import EventLoop
import Model

/// What processes know, for a Redis that may have lost something. `docs/redis-loss.md` has the whole.
extension Engine {
    /// How far a sale's orders are settled.
    /// - Returns: nil when Redis does not know the sale.
    /// - Throws: ``Outage``.
    public func settled(_ sale: SaleID) async throws(Outage) -> SettledMark? {
        let keys = Keys.Sale(sale)
        let command = RedisCommand(function: .settled, keys: [keys.state, keys.orders])
        return SettledMark(try await router.ask(calling: command, about: keys.state))
    }

    /// How far a performance's holds have reached PostgreSQL.
    /// - Returns: nil when Redis does not know the performance, or can't tell for now.
    /// - Throws: ``Outage``.
    public func settled(_ performance: PerformanceID) async throws(Outage) -> SettledMark? {
        let keys = Keys.Performance(performance)
        let command = RedisCommand(function: .seatsSettled, keys: [keys.state, keys.log])
        return SettledMark(try await router.ask(calling: command, about: keys.state))
    }

    /// The oldest orders of a sale that nobody has settled, whichever committer has them in hand.
    /// - Throws: ``Outage``.
    public func unsettledOrders(of sale: SaleID, count: Int) async throws(Outage) -> [AcceptedOrder] {
        let key = Keys.Sale(sale).orders
        let reply = try await router.ask(RedisCommand("XRANGE", key, "-", "+", "COUNT", "\(count)"), about: key)
        if case .error(let error) = reply { throw error.outage }
        return reply.elements.compactMap { StreamEntry.order($0, sale: sale) }
    }

    /// Tells the other processes that this one listens, too.
    /// - Throws: ``Outage``.
    public func sayHello() async throws(Outage) {
        _ = try await router.ask(RedisCommand("PUBLISH", Keys.aliveChannel, "hello"), about: Keys.aliveChannel)
    }

    /// Listens to processes that begin.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribeHellos(_ handler: @escaping @LoopActor () -> Void) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.aliveChannel) { _ in handler() }
    }

    /// The oldest entries of a performance's log, whichever committer has them in hand.
    /// - Throws: ``Outage``.
    public func unwritten(of performance: PerformanceID, count: Int) async throws(Outage) -> [ReservationEvent] {
        let key = Keys.Performance(performance).log
        let reply = try await router.ask(RedisCommand("XRANGE", key, "-", "+", "COUNT", "\(count)"), about: key)
        if case .error(let error) = reply { throw error.outage }
        return reply.elements.compactMap { SeatTexts.event($0, of: performance) }
    }

    /// How many processes listen to this Redis, this one included.
    /// - Throws: ``Outage``.
    public func peerCount() async throws(Outage) -> Int64 {
        let reply = try await router.ask(
            RedisCommand("PUBSUB", "NUMSUB", Keys.aliveChannel), about: Keys.aliveChannel)
        if case .error(let error) = reply { throw error.outage }
        return reply.elements.count == 2 ? reply.elements[1].number ?? 0 : 0
    }

    /// What a process has to say, or to ask, while processes bring in what they know.
    public enum RecallStep: String, Sendable {
        /// It is at it; said again at least every two seconds.
        case busy = "b"
        /// It has done so.
        case done = "d"
        /// It only asks.
        case asking = "-"
    }

    /// Says how far a process is with bringing in what it knows since Redis became what `identity` names.
    /// - Returns: how many are at it, and how many have done so.
    /// - Throws: ``Outage``.
    @discardableResult
    public func recall(
        _ step: RecallStep, by process: String, identity: String
    ) async throws(Outage) -> (busy: Int64, done: Int64) {
        let keys = Keys.recall(identity)
        var command = RedisCommand(function: .recall, keys: keys)
        command.append(process)
        command.append(step.rawValue)
        let parts = try await router.ask(calling: command, about: keys[0]).elements
        guard parts.count == 2 else { throw Outage(.redis, "an unknown answer to a recall") }
        return (parts[0].number ?? 0, parts[1].number ?? 0)
    }

    /// Says which clients of this gateway wait in a room, with the numbers that they had, and which passes were told. Who is
    /// in the line keeps the place, for the grace at least; who isn't joins it with ``resume(_:)``.
    /// - Returns: how many are not in the line, and how many passes are good again; nil when Redis does not know the room.
    /// - Throws: ``Outage``: to be called again.
    public func bringBack(
        _ waiters: [(client: ClientID, number: Int64)],
        passes: [(client: ClientID, token: String, expiresAt: Timestamp)],
        to room: RoomID
    ) async throws(Outage) -> (missing: Int64, passes: Int64)? {
        var total: (missing: Int64, passes: Int64) = (0, 0)
        var waiting = waiters[...]
        var told = passes[...]
        repeat {
            let chunk = waiting.prefix(RoomCalls.clientsPerCall)
            let shown = told.prefix(RoomCalls.clientsPerCall)
            waiting = waiting.dropFirst(chunk.count)
            told = told.dropFirst(shown.count)
            let parts = try await rooms.ask(.roomReturn, room, passes: 0) { command in
                command.append(chunk.count)
                for waiter in chunk {
                    command.append(waiter.client.rawValue)
                    command.append(waiter.number)
                }
                for pass in shown {
                    command.append(pass.client.rawValue)
                    command.append(pass.token)
                    command.append(pass.expiresAt.milliseconds)
                }
            }
            guard let parts, parts.count >= 3 else { return nil }
            total.missing += parts[1].number ?? 0
            total.passes += parts[2].number ?? 0
        } while !waiting.isEmpty || !told.isEmpty
        return total
    }

    /// Lets those join whom gateways have brought back, in the order of the numbers that they had.
    /// - Throws: ``Outage``: to be called again, which lets nobody join twice.
    public func resume(_ room: RoomID) async throws(Outage) {
        while true {
            let parts = try await rooms.ask(.roomResume, room, passes: RoomCalls.passesPerTick, { _ in })
            guard let parts, parts.count >= 3 else { return }
            rooms.deliver(parts[1], of: room)
            if (parts[2].number ?? 0) == 0 { return }
        }
    }
}

/// How far what a sale or a performance decided has reached PostgreSQL.
public struct SettledMark: Hashable, Sendable {
    /// The epoch in which Redis knows it.
    public let epoch: Int64
    /// The last sequence that was given.
    public let lastSequence: Int64
    /// The sequence of the oldest that is not settled; nil when all are.
    public let oldestOpen: Int64?

    /// When the oldest entry that is not settled was written; nil when there is none. Of performances only.
    public let oldestAt: Timestamp?

    /// Whether what was given this sequence is settled. False also where Redis may have forgotten it.
    public func covers(_ sequence: Int64) -> Bool {
        SaleEpoch.of(sequence) == epoch && sequence <= lastSequence && sequence < oldestOpen ?? .max
    }

    init?(_ reply: RedisReply) {
        let parts = reply.elements
        guard parts.count >= 3, let epoch = parts[0].number, let last = parts[1].number else { return nil }
        self.epoch = epoch
        lastSequence = last
        oldestOpen = parts[2].number
        oldestAt = parts.count > 3 ? parts[3].number.map { Timestamp(milliseconds: $0) } : nil
    }
}
