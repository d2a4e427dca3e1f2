import EventLoop
import Model

/// What Redis knows of the orders that clients own: whoever was told `confirmed` is here, whatever PostgreSQL knows.
extension Engine {
    /// How many fields are looked through in one command.
    private static let ownersPerLook = 500

    /// Which database was committed to, as whoever compared it last wrote it down; nil when nobody did.
    /// - Throws: ``Outage``.
    public func databaseSeen() async throws(Outage) -> String? {
        let reply = try await router.ask(RedisCommand("GET", Keys.database), about: Keys.database)
        if case .error(let error) = reply { throw error.outage }
        return reply.string
    }

    /// Notes which database commits go to.
    /// - Throws: ``Outage``.
    public func noteDatabase(_ name: String) async throws(Outage) {
        let reply = try await router.ask(RedisCommand("SET", Keys.database, name), about: Keys.database)
        if case .error(let error) = reply { throw error.outage }
    }

    /// All sales that Redis knows. Looks through all keys, a few at a time: for when PostgreSQL may have forgotten some.
    /// - Throws: ``Outage``.
    public func knownSales() async throws(Outage) -> Set<SaleID> {
        let prefix = "dibs:{sale:"
        var found: Set<SaleID> = []
        try await scan({ RedisCommand("SCAN", $0, "MATCH", prefix + "*", "COUNT", "1000") }, about: Keys.dataEpoch) {
            for key in $0 {
                guard let key = key.string, key.hasSuffix("}") else { continue }
                if let id = Int64(key.dropFirst(prefix.count).dropLast()) { found.insert(SaleID(id)) }
            }
        }
        return found
    }

    /// Calls `chunk` with the orders of a sale that clients own, some at a time. One that is owned all the while comes at
    /// least once.
    /// - Throws: ``Outage``, and what `chunk` throws.
    public func owned(of sale: SaleID, chunk: @LoopActor ([LiveOrder]) async throws -> Void) async throws {
        let key = Keys.Sale(sale).clients
        var cursor = "0"
        repeat {
            let (next, fields) = try await look(
                RedisCommand("HSCAN", key, cursor, "COUNT", "\(Engine.ownersPerLook)"), about: key)
            cursor = next
            var orders: [LiveOrder] = []
            for index in stride(from: 0, to: fields.count - 1, by: 2) {
                guard let client = fields[index].string, let items = fields[index + 1].string else { continue }
                orders += Engine.orders(items, of: ClientID(trusted: client), in: sale)
            }
            try await chunk(orders)
        } while cursor != "0"
    }

    /// The orders of a sale that some clients own.
    /// - Throws: ``Outage``.
    public func owned(of sale: SaleID, by clients: [ClientID]) async throws(Outage) -> Set<OrderID> {
        guard !clients.isEmpty else { return [] }
        let key = Keys.Sale(sale).clients
        var command = RedisCommand("HMGET", key)
        for client in clients { command.append(client.rawValue) }
        let reply = try await router.ask(command, about: key)
        if case .error(let error) = reply { throw error.outage }
        var owned: Set<OrderID> = []
        for (client, items) in zip(clients, reply.elements) {
            owned.formUnion(Engine.orders(items.string ?? "", of: client, in: sale).map(\.order))
        }
        return owned
    }

    /// The idempotency keys by which orders of a sale were claimed, by the orders' sequences.
    /// - Throws: ``Outage``.
    public func keys(of sale: SaleID, for sequences: Set<Int64>) async throws(Outage) -> [Int64: IdempotencyKey] {
        let key = Keys.Sale(sale).keys
        var found: [Int64: IdempotencyKey] = [:]
        try await scan({ RedisCommand("HSCAN", key, $0, "COUNT", "\(Engine.ownersPerLook)") }, about: key) { fields in
            for index in stride(from: 0, to: fields.count - 1, by: 2) {
                // client, space, key → seq:ticket
                guard let field = fields[index].string, let answer = fields[index + 1].string,
                    let sequence = Int64(answer.prefix { $0 != ":" }), sequences.contains(sequence),
                    let space = field.firstIndex(of: " ")
                else { continue }
                found[sequence] = IdempotencyKey(String(field[field.index(after: space)...]))
            }
        }
        return found
    }

    /// Calls `chunk` with the reservations of a performance that have their seats, some at a time, as ``owned(of:chunk:)``.
    /// - Throws: ``Outage``, and what `chunk` throws.
    public func records(
        of performance: PerformanceID, chunk: @LoopActor ([HoldRecord]) async throws -> Void
    ) async throws {
        let keys = Keys.Performance(performance)
        var cursor = "0"
        repeat {
            let (next, fields) = try await look(
                RedisCommand("HSCAN", keys.holds, cursor, "COUNT", "\(Engine.ownersPerLook)"), about: keys.state)
            cursor = next
            try await chunk(
                stride(from: 0, to: fields.count - 1, by: 2).compactMap { index in
                    guard let sequence = fields[index].string.flatMap({ Int64($0) }),
                        let text = fields[index + 1].string
                    else { return nil }
                    return SeatTexts.record(text, of: ReservationID(performance: performance, sequence: sequence))
                })
        } while cursor != "0"
    }

    private func scan(
        _ command: (String) -> RedisCommand, about key: String, _ chunk: ([RedisReply]) -> Void
    ) async throws(Outage) {
        var cursor = "0"
        repeat {
            let (next, elements) = try await look(command(cursor), about: key)
            cursor = next
            chunk(elements)
        } while cursor != "0"
    }

    private func look(
        _ command: RedisCommand, about key: String
    ) async throws(Outage) -> (cursor: String, elements: [RedisReply]) {
        let reply = try await router.ask(command, about: key)
        if case .error(let error) = reply { throw error.outage }
        let parts = reply.elements
        guard parts.count == 2, let cursor = parts[0].string else { return ("0", []) }
        return (cursor, parts[1].elements)
    }

    /// From `seq:ticket:slot:state`, separated by spaces.
    private static func orders(_ items: String, of client: ClientID, in sale: SaleID) -> [LiveOrder] {
        items.words.compactMap { item in
            let parts = item.split(separator: ":")
            guard parts.count == 4, let sequence = Int64(parts[0]), let ticket = Int64(parts[1]),
                let slot = Int64(parts[2])
            else { return nil }
            return LiveOrder(
                order: OrderID(sale: sale, sequence: sequence), client: client, ticket: ticket, slot: slot, key: nil,
                isConfirmed: parts[3] == "c")
        }
    }
}
