import Model

/// What a sale's own numbers say at one instant.
public struct SaleNumbers: Hashable, Sendable {
    /// Definition, window and what is left.
    public let state: SaleState
    /// How often the sale was rebuilt.
    public let epoch: Int64
    /// The number of the last change: while it is the same, nothing was claimed and nothing came back.
    public let event: Int64
    /// Totals since the sale was registered.
    public let counts: Counts
    /// Clients that own something: tickets owned, where a client may own one only.
    public let owners: Int64
    /// The highest ticket that was ever given out.
    public let highestTicket: Int64
    /// Tickets that came back and wait to be sold again.
    public let returnedTickets: Int64
    /// Orders in the stream: accepted, and not settled yet.
    public let unsettled: Int64
    /// The oldest of them.
    public let oldestUnsettled: AcceptedOrder?
}

/// Orders of some clients at one instant.
public struct AuditedOwners: Sendable {
    /// Where to go on; nil at the end.
    public let next: String?
    /// In which epoch Redis knows the sale; nil when it doesn't know it.
    public let epoch: Int64?
    /// Whose they are, those of clients that own nothing included where they were named.
    public let clients: [(client: ClientID, orders: [LiveOrder])]
    /// Sequences of the orders that are still in the stream, of those that may be.
    public let unsettled: Set<Int64>
}

/// What the auditor asks Redis about sales. Each call looks at a bounded number of clients, so that nobody waits for it.
extension Engine {
    /// How many clients one call looks at.
    public static let auditPage = 50
    private static let auditorKey = "dibs:auditor"

    /// What a sale's numbers say; nil when Redis doesn't know it.
    /// - Throws: ``Outage``.
    public func auditNumbers(of sale: SaleID) async throws(Outage) -> SaleNumbers? {
        let keys = Keys.Sale(sale)
        let command = RedisCommand(
            function: .auditSale, keys: [keys.state, keys.clients, keys.returned, keys.orders, keys.counts])
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 6 else { return nil }
        let fields = parts[0].fields
        func number(_ field: String) -> Int64 { fields[field].flatMap { Int64($0) } ?? 0 }
        guard let state = SaleFields.state(sale, from: fields) else { return nil }
        return SaleNumbers(
            state: state, epoch: number("epoch"), event: number("event"), counts: Engine.counts(parts[1]),
            owners: parts[2].number ?? 0, highestTicket: number("fresh"), returnedTickets: parts[3].number ?? 0,
            unsettled: parts[4].number ?? 0,
            oldestUnsettled: parts[5].string.flatMap { StreamEntry.order(entry: "", text: $0, sale: sale) })
    }

    /// A page of all clients that own something of a sale, from a cursor on; `0` begins. Whoever owns something all the time is
    /// on one page at least.
    /// - Throws: ``Outage``.
    public func auditOwners(of sale: SaleID, from cursor: String) async throws(Outage) -> AuditedOwners {
        try await auditOwners(sale, cursor, Int64(Engine.auditPage), [], [])
    }

    /// What some clients own of a sale, and which of their orders, and of `sequences`, are in its stream.
    /// - Throws: ``Outage``.
    public func auditOwners(
        of sale: SaleID, _ clients: [ClientID], sequences: [Int64]
    ) async throws(Outage) -> AuditedOwners {
        try await auditOwners(sale, "", Int64(clients.count), clients, sequences)
    }

    private func auditOwners(
        _ sale: SaleID, _ cursor: String, _ count: Int64, _ clients: [ClientID], _ sequences: [Int64]
    ) async throws(Outage) -> AuditedOwners {
        let keys = Keys.Sale(sale)
        var command = RedisCommand(
            function: .auditOrders, keys: [keys.state, keys.clients, keys.orders, keys.replayed],
            reserving: 512 + 48 * clients.count + 24 * sequences.count)
        command.append(cursor)
        command.append(count)
        for client in clients { command.append(client.rawValue) }
        for sequence in sequences { command.append(sequence) }
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 4, let next = parts[0].string else { throw Outage(.redis, "an audit that isn't one") }
        let owned = parts[2].elements
        return AuditedOwners(
            next: next == "0" ? nil : next, epoch: parts[1].number,
            clients: stride(from: 0, to: owned.count - 1, by: 2).map { at in
                let client = ClientID(trusted: owned[at].string ?? "")
                return (client, Engine.orders(owned[at + 1].string ?? "", of: client, in: sale))
            }, unsettled: Set(parts[3].elements.compactMap(\.number)))
    }

    private static func orders(_ items: String, of client: ClientID, in sale: SaleID) -> [LiveOrder] {
        items.words.map { item in
            let parts = item.utf8.split(separator: UInt8(ascii: ":")).map { Substring($0) }
            // What isn't an item is one that nobody else has: it drifts.
            func number(_ at: Int) -> Int64 { at < parts.count ? Int64(parts[at]) ?? 0 : 0 }
            return LiveOrder(
                order: OrderID(sale: sale, sequence: number(0)), client: client, ticket: number(1), slot: number(2),
                isConfirmed: parts.count == 4 && parts[3] == "c")
        }
    }

    /// Some of the tickets that came back, in their order, from a place on.
    /// - Throws: ``Outage``.
    public func auditReturned(of sale: SaleID, from place: Int, count: Int) async throws(Outage) -> [Int64] {
        let keys = Keys.Sale(sale)
        let reply = try await router.ask(
            RedisCommand("LRANGE", keys.returned, String(place), String(place + count - 1)), about: keys.state)
        if case .error(let error) = reply { throw error.outage }
        return reply.elements.compactMap(\.number)
    }

    /// Puts an order that its client owns into the stream again, with its ticket: PostgreSQL decides about it.
    /// - Returns: false when the client doesn't own it, or it is in the stream.
    /// - Throws: ``Outage``; calling it again is harmless.
    public func requeue(_ order: OrderID, of client: ClientID) async throws(Outage) -> Bool {
        let keys = Keys.Sale(order.sale)
        var command = RedisCommand(
            function: .auditRequeue, keys: [keys.state, keys.clients, keys.orders, keys.replayed, keys.counts])
        command.append(now)
        command.append(order.sequence)
        command.append(client.rawValue)
        let isQueued = try await router.ask(calling: command, about: keys.state).number == 1
        // Who follows the stream reads it when the sale is told to have changed.
        if isQueued {
            _ = try await router.ask(
                RedisCommand("PUBLISH", Keys.salesChannel, String(order.sale.rawValue)), about: keys.state)
        }
        return isQueued
    }

    /// Whether this process is the one that audits all the time, of all schedulers: whoever asks keeps it for some seconds.
    /// - Throws: ``Outage``.
    public func keepAuditing(_ token: String, milliseconds: Int64) async throws(Outage) -> Bool {
        let key = Engine.auditorKey
        let life = String(milliseconds)
        let taken = try await router.ask(RedisCommand("SET", key, token, "NX", "PX", life), about: key)
        if taken.string == "OK" { return true }
        guard try await router.ask(RedisCommand("GET", key), about: key).string == token else { return false }
        _ = try await router.ask(RedisCommand("PEXPIRE", key, life), about: key)
        return true
    }
}
