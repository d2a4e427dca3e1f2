import Engine
import EventLoop
import Model
import Persistence

/// Compares the orders of one sale, page by page, so that it can be done at once or a little now and then.
///
/// All that Redis knows is looked up in PostgreSQL, then all that PostgreSQL has in Redis. What differs is a suspect only:
/// the two were not read at the same instant. Suspects are looked at again, by name, PostgreSQL before and after Redis,
/// several times over a second: an order that was right in any of these looks, or on its way, is no drift.
@LoopActor
final class SaleComparison {
    /// How many orders are asked of PostgreSQL at once.
    static let page = 100
    /// How often suspects are looked at again, and after which pauses.
    static let looks = 4
    static let pauseMilliseconds: Int64 = 350
    /// How long an order may be in the stream.
    static let stuckMilliseconds: Int64 = 60_000
    /// Tickets beyond this are not looked at for whether two have the same: a bit each.
    private static let longestMap: Int64 = 1 << 27

    private enum Step {
        case owners(cursor: String)
        case orders(after: Int64)
        case returned(place: Int)
        case done
    }

    /// An order that Redis and PostgreSQL say different things of.
    struct Suspect: Hashable {
        let sequence: Int64
        let client: ClientID
    }

    private let sale: Sale
    private let engine: Engine
    private let store: Store
    private let pace: ComparisonPace
    private var step = Step.owners(cursor: "0")
    private var suspects: Set<Suspect> = []
    private var tickets: [UInt64] = []
    /// Tickets that were met again: the same client's, when the page was read twice, or another's.
    private var again: [Int64: Set<Suspect>] = [:]
    private var firstEvent: Int64?
    private var owned: Int64 = 0
    private var freeAndOwned: [Int64] = []

    /// What is wrong for certain.
    private(set) var list: DriftList
    var drifts: [Drift] { list.drifts }
    /// Orders that were compared.
    private(set) var compared: Int64 = 0
    /// Tickets that clients own, where nothing changed while they were counted.
    private(set) var ownedTickets: Int64?

    init(_ sale: Sale, engine: Engine, store: Store, pace: ComparisonPace = ComparisonPace()) {
        self.pace = pace
        list = DriftList(keepsAll: pace.keepsAll)
        self.sale = sale
        self.engine = engine
        self.store = store
    }

    /// Compares all of it.
    /// - Returns: false when Redis doesn't know the sale, or it was rebuilt meanwhile.
    func run() async throws -> Bool {
        while try await !advance() {}
        return try await confirm()
    }

    /// Compares one page.
    /// - Returns: whether it was the last; ``confirm()`` is left to do.
    func advance() async throws -> Bool {
        switch step {
        case .owners(let cursor): try await compareOwners(from: cursor)
        case .orders(let sequence): try await compareOrders(after: sequence)
        case .returned(let place): try await compareReturned(from: place)
        case .done: return true
        }
        if case .done = step { return true }
        return false
    }

    // MARK: Redis' orders in PostgreSQL

    private func compareOwners(from cursor: String) async throws {
        if firstEvent == nil { firstEvent = try await engine.auditNumbers(of: sale.id)?.event }
        let page = try await engine.auditOwners(of: sale.id, from: cursor)
        let rows = try await store.auditOrders(of: sale.id, page.clients.flatMap { $0.orders.map(\.order.sequence) })
        for (client, orders) in page.clients {
            check(client, orders)
            for order in orders {
                compared += 1
                note(order)
                let row = rows[order.order.sequence]
                let verdict = SaleComparison.verdict(
                    order, isInFlight: page.unsettled.contains(order.order.sequence), before: row, after: row)
                if verdict != nil { suspect(Suspect(sequence: order.order.sequence, client: client)) }
            }
        }
        step = page.next.map { .owners(cursor: $0) } ?? .orders(after: 0)
    }

    private func suspect(_ suspect: Suspect) {
        if suspects.count < pace.suspects { suspects.insert(suspect) }
    }

    /// What one client owns is in one field: this is never on its way.
    private func check(_ client: ClientID, _ orders: [LiveOrder]) {
        let slots = Set(orders.map(\.slot)).filter { (1...sale.perClientLimit).contains($0) }
        if Int64(orders.count) > sale.perClientLimit || slots.count < orders.count {
            let text = orders.prefix(10).map { "\($0.order) at \($0.slot)" }.joined(separator: ", ")
            list.add(Drift(kind: .overLimit, sale: sale.id, client: client, redis: text))
        }
        for order in orders where !(1...sale.quantity).contains(order.ticket) {
            list.add(
                Drift(kind: .ticketRange, sale: sale.id, client: client, order: order.order, ticket: order.ticket))
        }
    }

    /// Notes whose ticket it is.
    private func note(_ order: LiveOrder) {
        let ticket = order.ticket
        guard ticket > 0, ticket <= min(sale.quantity, Self.longestMap) else { return }
        let (word, bit) = (Int(ticket / 64), UInt64(1) << UInt64(ticket % 64))
        if word >= tickets.count {
            tickets += Array(repeating: 0, count: max(word + 1 - tickets.count, tickets.count))
        }
        if tickets[word] & bit == 0 {
            tickets[word] |= bit
            owned += 1
        } else if again.count < pace.suspects {
            again[ticket, default: []].insert(Suspect(sequence: order.order.sequence, client: order.client))
        }
    }

    private func isOwned(_ ticket: Int64) -> Bool {
        let word = Int(ticket / 64)
        return ticket > 0 && word < tickets.count && tickets[word] & (1 << UInt64(ticket % 64)) != 0
    }

    // MARK: PostgreSQL's orders in Redis

    private func compareOrders(after sequence: Int64) async throws {
        let rows = try await store.auditOrders(of: sale.id, after: sequence, limit: Self.page)
        let confirmed = rows.filter(\.isConfirmed)
        let page = try await engine.auditOwners(
            of: sale.id, Array(Set(confirmed.compactMap(\.client))), sequences: confirmed.map(\.sequence))
        let owned = SaleComparison.owned(page)
        for row in rows {
            if row.isMispaid {
                list.add(
                    Drift(
                        kind: .orderPayment, sale: sale.id, client: row.client,
                        order: OrderID(sale: sale.id, sequence: row.sequence), ticket: row.ticket,
                        database: "the ledger has not what the order costs"))
            }
            guard let client = row.client else { continue }
            let suspect = Suspect(sequence: row.sequence, client: client)
            if row.isLate { self.suspect(suspect) }
            guard row.isConfirmed else { continue }
            compared += 1
            let isInFlight = page.unsettled.contains(row.sequence)
            if SaleComparison.verdict(owned[suspect], isInFlight: isInFlight, before: row, after: row) != nil {
                self.suspect(suspect)
            }
        }
        step = rows.count < Self.page ? .returned(place: 0) : .orders(after: rows.last!.sequence)
    }

    // MARK: Tickets that came back

    private func compareReturned(from place: Int) async throws {
        let count = 1000
        let tickets = try await engine.auditReturned(of: sale.id, from: place, count: count)
        freeAndOwned += tickets.filter(isOwned)
        guard tickets.count < count else {
            step = .returned(place: place + count)
            return
        }
        step = .done
        guard let numbers = try await engine.auditNumbers(of: sale.id), numbers.event == firstEvent else { return }
        // Nothing was claimed and nothing came back since the beginning: all was read as at one instant.
        ownedTickets = owned
        let gone = sale.quantity - numbers.state.remaining
        // Where a client may own one only, the numbers say it themselves.
        if sale.perClientLimit > 1, sale.quantity <= Self.longestMap, owned != gone {
            list.add(
                Drift(
                    kind: .stockSum, sale: sale.id,
                    redis: "\(numbers.state.remaining) left of \(sale.quantity), \(owned) owned",
                    amount: abs(gone - owned)))
        }
        for ticket in freeAndOwned {
            list.add(
                Drift(kind: .ticketTwice, sale: sale.id, ticket: ticket, redis: "owned, and among those to be sold"))
        }
    }

    // MARK: Suspects

    /// Looks at the suspects again, until each has turned out to be right or not.
    /// - Returns: false when Redis doesn't know the sale, or it was rebuilt meanwhile: then nothing is known.
    func confirm() async throws -> Bool {
        guard let numbers = try await engine.auditNumbers(of: sale.id) else { return false }
        try await compareTwins()
        var found: [Suspect: Drift] = [:]
        for look in 0..<Self.looks where !suspects.isEmpty {
            if look > 0 { await EventLoop.sleep(milliseconds: Self.pauseMilliseconds) }
            found = [:]
            for chunk in Array(suspects).chunks(of: Engine.auditPage) {
                try await pace.pause()
                for drift in try await self.look(at: chunk) { found[drift.key] = drift.value }
            }
            suspects = Set(found.keys)
        }
        // An order that another client has is not missing as well.
        let moved = Set(found.values.filter { $0.kind == .ownerDiffers }.map(\.order))
        found = found.filter { $0.value.kind != .orderMissingInRedis || !moved.contains($0.value.order) }
        list.add(found.values.sorted { ($0.order?.sequence ?? 0) < ($1.order?.sequence ?? 0) })
        if let stuck = try await stuckOrder(numbers) { list.add(stuck) }
        return try await engine.auditNumbers(of: sale.id)?.epoch == numbers.epoch
    }

    /// The oldest order in the stream, when it is there for long and does not move.
    private func stuckOrder(_ before: SaleNumbers) async throws -> Drift? {
        guard let oldest = before.oldestUnsettled else { return nil }
        let age = EventLoop.wallMilliseconds - oldest.acceptedAt.milliseconds
        guard age > Self.stuckMilliseconds else { return nil }
        await EventLoop.sleep(milliseconds: 1000)
        guard try await engine.auditNumbers(of: sale.id)?.oldestUnsettled == oldest else { return nil }
        return Drift(
            kind: .streamStuck, sale: sale.id, client: oldest.client, order: oldest.order, ticket: oldest.ticket,
            redis: "in the stream for \(age / 1000) s")
    }

    private func look(at chunk: ArraySlice<Suspect>) async throws -> [Suspect: Drift] {
        let sequences = Array(Set(chunk.map(\.sequence)))
        let before = try await store.auditOrders(of: sale.id, sequences)
        let clients = Set(chunk.map(\.client)).union(before.values.compactMap(\.client))
        let page = try await engine.auditOwners(of: sale.id, Array(clients), sequences: sequences)
        let after = try await store.auditOrders(of: sale.id, sequences)
        guard page.epoch != nil else { return [:] }
        let owned = SaleComparison.owned(page)
        var found: [Suspect: Drift] = [:]
        for suspect in chunk {
            let (order, row) = (owned[suspect], after[suspect.sequence])
            let verdict = SaleComparison.verdict(
                order, isInFlight: page.unsettled.contains(suspect.sequence), before: before[suspect.sequence],
                after: row, client: suspect.client)
            guard let verdict else { continue }
            found[suspect] = Drift(
                kind: verdict, sale: sale.id, client: suspect.client,
                order: OrderID(sale: sale.id, sequence: suspect.sequence), ticket: order?.ticket ?? row?.ticket,
                redis: order.map(SaleComparison.text), database: row.map(SaleComparison.text))
        }
        return found
    }

    /// Tickets that were met more than once: whose they are at one instant.
    private func compareTwins() async throws {
        guard !again.isEmpty else { return }
        var owners = again
        var cursor: String? = "0"
        while let from = cursor {
            let page = try await engine.auditOwners(of: sale.id, from: from)
            for (client, orders) in page.clients {
                for order in orders where owners[order.ticket] != nil {
                    owners[order.ticket]!.insert(Suspect(sequence: order.order.sequence, client: client))
                }
            }
            cursor = page.next
            try await pace.pause()
        }
        for (ticket, suspects) in owners.sorted(by: { $0.key < $1.key }) where suspects.count > 1 {
            let page = try await engine.auditOwners(of: sale.id, Array(Set(suspects.map(\.client))), sequences: [])
            let holders = page.clients.flatMap(\.orders).filter { $0.ticket == ticket }
            guard holders.count > 1 else { continue }
            list.add(
                Drift(
                    kind: .ticketTwice, sale: sale.id, ticket: ticket,
                    redis: holders.map { "\($0.order) of \($0.client)" }.sorted().joined(separator: ", ")))
        }
    }

    // MARK: What is right

    /// What is wrong with an order; nil when nothing is, or it is on its way.
    /// - Parameters:
    ///   - order: what Redis says, between the two looks at PostgreSQL; nil when the client does not own it.
    ///   - client: whom Redis was asked about; the order's when nil.
    nonisolated static func verdict(
        _ order: LiveOrder?, isInFlight: Bool, before: AuditedOrder?, after row: AuditedOrder?, client: ClientID? = nil
    ) -> DriftKind? {
        guard !isInFlight, before == row, row?.failure != "retrying" else { return nil }
        guard let row, let owner = row.client else {
            guard order != nil else { return nil }
            return row?.failure == "failed" ? .failedNotReturned : .orderMissingInDatabase
        }
        guard let order else {
            // Another client's order has this number: that one is looked at for itself.
            if let client, client != owner { return nil }
            return row.isConfirmed ? .orderMissingInRedis : row.isLate ? .unreleased : nil
        }
        if order.client != owner { return .ownerDiffers }
        if row.isConfirmed {
            if order.ticket != row.ticket || order.slot != row.slot { return .ownerDiffers }
            return order.isConfirmed ? nil : .confirmedState
        }
        return row.isReleased ? .cancelledNotReturned : row.isLate ? .unreleased : nil
    }

    private static func owned(_ page: AuditedOwners) -> [Suspect: LiveOrder] {
        Dictionary(
            page.clients.flatMap { client, orders in
                orders.map { (Suspect(sequence: $0.order.sequence, client: client), $0) }
            }
        ) { first, _ in first }
    }

    private static func text(_ order: LiveOrder) -> String {
        "\(order.isConfirmed ? "confirmed" : "accepted"), ticket \(order.ticket) of \(order.client)"
    }

    private static func text(_ row: AuditedOrder) -> String {
        guard let client = row.client else { return row.failure ?? "nothing" }
        let status = row.isConfirmed ? "confirmed" : row.isReleased ? "cancelled" : "cancelled, ticket not returned"
        return "\(status), ticket \(row.ticket) of \(client)"
    }
}
