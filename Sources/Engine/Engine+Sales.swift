import Model

/// Sales: making them known, and what is known of them.
extension Engine {
    /// Makes a new sale known, with all of its quantity left. A sale that is known in this epoch or a newer one is left
    /// alone, whatever ``SaleState/remaining`` says.
    /// - Throws: ``Outage``.
    public func register(_ state: SaleState, epoch: Int64) async throws(Outage) {
        let base = SaleEpoch.base(epoch)
        _ = try await register(
            state, token: "", epoch: epoch, lastSequence: base,
            fields: [("fresh", 0), ("left", state.sale.quantity)])
    }

    /// Sets the window of a sale, unless a newer one is known.
    /// - Returns: whether Redis knows the sale; it has to be rebuilt from PostgreSQL first when not.
    /// - Throws: ``Outage``.
    public func setWindow(_ window: SaleWindow, of sale: SaleID) async throws(Outage) -> Bool {
        let keys = Keys.Sale(sale)
        var command = RedisCommand(function: .window, keys: [keys.state])
        command.append(Keys.salesChannel)
        command.append(sale.rawValue)
        command.append(keys.events)
        command.append(window.opensAt.milliseconds)
        command.append(window.closesAt.milliseconds)
        command.append(window.isCancelled ? 1 : 0)
        command.append(window.version)
        return try await router.ask(calling: command, about: keys.state).number != -1
    }

    /// A sale as it stands; nil when Redis doesn't know it.
    /// - Throws: ``Outage``.
    public func state(of sale: SaleID) async throws(Outage) -> SaleState? {
        try await states(of: [sale])[sale]
    }

    /// Sales as they stand, without those that Redis doesn't know. All are asked for at once.
    /// - Throws: ``Outage``.
    public func states(of sales: [SaleID]) async throws(Outage) -> [SaleID: SaleState] {
        let replies = try await router.ask(
            all: sales.map { sale in
                let key = Keys.Sale(sale).state
                var command = RedisCommand("HMGET", key)
                for name in SaleFields.names { command.append(name) }
                return (command, key)
            }, areCalls: false)
        var states: [SaleID: SaleState] = [:]
        for (sale, reply) in zip(sales, replies) {
            var fields: [String: String] = [:]
            for (name, value) in zip(SaleFields.names, reply.elements) { fields[name] = value.string }
            states[sale] = SaleFields.state(sale, from: fields)
        }
        return states
    }

    /// All that Redis knows of a sale, at one instant; nil when it doesn't know it.
    ///
    /// Where a client may own several tickets it looks at every client: for the auditor only. ``tallies(of:)`` has what
    /// statistics need.
    /// - Throws: ``Outage``.
    public func inspect(_ sale: SaleID) async throws(Outage) -> SaleInspection? {
        let keys = Keys.Sale(sale)
        let command = RedisCommand(
            function: .inspect, keys: [keys.state, keys.clients, keys.returned, keys.orders, keys.counts])
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 5 else { return nil }
        let fields = parts[0].fields
        func number(_ field: String) -> Int64? { fields[field].flatMap { Int64($0) } }
        func moment(_ field: String) -> Timestamp? { number(field).map { Timestamp(milliseconds: $0) } }
        guard let state = SaleFields.state(sale, from: fields) else { return nil }
        let counts = Engine.counts(parts[1])
        return SaleInspection(
            state: state, epoch: number("epoch") ?? 0, lastSequence: number("seq") ?? 0, event: number("event") ?? 0,
            counts: counts, firstClaimAt: moment("first"), soldOutAt: moment("out"),
            ownedTickets: parts[2].number ?? 0, highestTicket: number("fresh") ?? 0,
            returnedTickets: parts[3].number ?? 0, unsettled: parts[4].number ?? 0)
    }

    /// What is counted of a sale, and what is left; nil when Redis doesn't know it, or it is rebuilt in this moment.
    /// Costs the same however many clients there are.
    /// - Throws: ``Outage``.
    public func tallies(of sale: SaleID) async throws(Outage) -> SaleTallies? {
        let keys = Keys.Sale(sale)
        let key = keys.state
        let replies = try await router.ask(
            all: [
                (RedisCommand("HGET", key, "epoch"), key), (RedisCommand("HGETALL", keys.counts), key),
                (RedisCommand("HMGET", key, "epoch", "left", "first", "out"), key),
            ], areCalls: false)
        let state = replies[2].elements
        // The same epoch before and after: the counts are not those of a rebuild that is half done.
        guard state.count == 4, let epoch = state[0].number, epoch == replies[0].number,
            let remaining = state[1].number
        else { return nil }
        return SaleTallies(
            counts: Engine.counts(replies[1]), firstClaimAt: state[2].number.map { Timestamp(milliseconds: $0) },
            soldOutAt: state[3].number.map { Timestamp(milliseconds: $0) }, remaining: remaining)
    }

    /// How far Redis is with sales, all asked for at once. A sale that it doesn't know is among them, in epoch -1, when
    /// its stream still has entries; else not.
    /// - Throws: ``Outage``.
    public func positions(of sales: [SaleID]) async throws(Outage) -> [SaleID: SalePosition] {
        let keys = sales.map { Keys.Sale($0) }
        let found = try await positions(of: keys.map { ($0.state, $0.orders) })
        var positions: [SaleID: SalePosition] = [:]
        for (sale, position) in zip(sales, found) { positions[sale] = position }
        return positions
    }

    /// The positions of things with a state and a stream, in their order; nil for one of which there is nothing.
    func positions(of keys: [(state: String, stream: String)]) async throws(Outage) -> [SalePosition?] {
        let replies = try await router.ask(
            all: keys.flatMap { key in
                [
                    (RedisCommand("HMGET", key.state, "epoch", "seq"), key.state),
                    (RedisCommand("XLEN", key.stream), key.state),
                ]
            }, areCalls: false)
        return keys.indices.map { index in
            let fields = replies[2 * index].elements
            let unsettled = replies[2 * index + 1].number ?? 0
            if fields.count == 2, let epoch = fields[0].number, let sequence = fields[1].number {
                return SalePosition(epoch: epoch, lastSequence: sequence, unsettled: unsettled)
            }
            return unsettled > 0 ? SalePosition(epoch: -1, lastSequence: 0, unsettled: unsettled) : nil
        }
    }

    static func counts(_ reply: RedisReply) -> Counts {
        var counts = Counts()
        for (name, value) in reply.fields {
            if let counter = Counter(name: name), let value = Int64(value) { counts[counter] = value }
        }
        return counts
    }

    func register(
        _ state: SaleState, token: String, epoch: Int64, lastSequence: Int64, fields: [(String, Int64)]
    ) async throws(Outage) -> Bool {
        let keys = Keys.Sale(state.sale.id)
        var command = RedisCommand(
            function: .register, keys: [keys.state, keys.orders, keys.rebuild], reserving: 1024)
        command.append(token)
        command.append(Keys.salesChannel)
        command.append(state.sale.id.rawValue)
        command.append(keys.events)
        command.append(Keys.committers)
        command.append(epoch)
        command.append(lastSequence)
        // The number of the sale's last message: an epoch begins above all those of the one before, as the orders do.
        command.append(SaleEpoch.base(epoch))
        SaleFields.append(state, to: &command)
        command.append("run")
        command.append(runTag)
        for (field, value) in fields {
            command.append(field)
            command.append(value)
        }
        return try await router.ask(calling: command, about: keys.state).number == 1
    }
}
