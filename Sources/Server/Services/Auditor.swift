import Engine
import EventLoop
import Model
import Persistence

/// What is to be audited: everything, or only what is named.
struct AuditScope: Sendable {
    var sale: SaleID?
    var performance: PerformanceID?
    var room: RoomID?
    var client: ClientID?

    /// Whether nothing is named.
    var isEverything: Bool { sale == nil && performance == nil && room == nil && client == nil }
}

/// What one sale looks like in Redis and in PostgreSQL.
struct SaleAudit {
    let sale: SaleID
    let quantity: Int64
    /// Confirmed in PostgreSQL.
    let sold: Int64
    /// Accepted in Redis and not settled yet.
    let inFlight: Int64
    /// What Redis has left to sell.
    let free: Int64
    /// Tickets that Redis knows the owners of.
    var owned: Int64
    let failed: Int64
    let cancelled: Int64
    /// Given back in PostgreSQL, and perhaps not in Redis yet.
    let unreleased: Int64
    /// How far PostgreSQL's statistics are from its orders.
    let countDrift: Int64
    /// What is found by looking at the sums only.
    var sums: [Drift] = []
    /// Drifts of its orders, where they were compared one by one.
    var orders: [Drift]?

    /// How far all of it is from agreeing.
    var drift: Int64 { drifts.reduce(0) { $0 + $1.amount } }

    /// All of it. What the orders themselves say stands for the sum of what is sold.
    var drifts: [Drift] { (orders == nil ? sums : sums.filter { $0.kind != .soldSum }) + (orders ?? []) }
}

/// What the seats of one performance look like in Redis and in PostgreSQL.
struct SeatAudit {
    let performance: PerformanceID
    /// In Redis.
    let live: SeatNumbers
    let counted: SeatTally
    /// In PostgreSQL.
    let stored: PerformanceAudit
    var sums: [Drift] = []
    /// Drifts of its reservations, where they were compared one by one.
    var reservations: [Drift]?

    /// Entries of the log that PostgreSQL may not have yet, and payments and refunds that Redis may not have yet.
    var inFlight: Int64 { live.unsettled + stored.unsettled }
    /// How far all of it is from agreeing.
    var drift: Int64 { drifts.reduce(0) { $0 + $1.amount } }
    /// All of it.
    var drifts: [Drift] { sums + (reservations ?? []) }
}

/// The whole audit.
struct Audit {
    var sales: [SaleAudit] = []
    var performances: [SeatAudit] = []
    var rooms: [RoomAudit] = []
    /// Accounts whose balance is not the sum of their ledger.
    var ledgerDrift: Int64 = 0
    /// All that was found.
    var list: DriftList

    var drift: Int64 { list.sum }
}

/// Compares Redis and PostgreSQL. `docs/audit.md` says what with what, and why nothing that is on its way is reported.
@LoopActor
final class Auditor {
    let engine: Engine
    let store: Store
    let directory: SaleDirectory
    let performances: PerformanceDirectory

    /// How many orders and reservations an audit of everything compares one by one: of the newest sales first.
    static let comparedAtOnce: Int64 = 200_000
    /// As how many of them counts what has none.
    private static let leastCost: Int64 = 1000

    init(engine: Engine, store: Store, directory: SaleDirectory, performances: PerformanceDirectory) {
        self.engine = engine
        self.store = store
        self.directory = directory
        self.performances = performances
    }

    /// Audits what is asked for: of everything, the newest 1,000 sales, the performances that are on sale, and all rooms.
    /// - Parameters:
    ///   - limit: how many orders and reservations are compared one by one.
    ///   - restores: whether what Redis doesn't know is made known to it; it is left out else.
    ///   - keepsAll: keeps every drift, not only the first of each kind.
    func audit(
        _ scope: AuditScope = AuditScope(), limit: Int64 = Auditor.comparedAtOnce, restores: Bool = true,
        keepsAll: Bool = false
    ) async throws -> Audit {
        var audit = Audit(list: DriftList(keepsAll: keepsAll))
        var left = limit
        if scope.isEverything || scope.sale != nil {
            audit.sales = try await auditSales(try await sales(in: scope), restores: restores)
            for index in audit.sales.indices {
                let cost = audit.sales[index].sold + audit.sales[index].owned + Auditor.leastCost
                guard left >= cost else { continue }
                left -= cost
                try await compare(&audit.sales[index])
            }
        }
        if scope.isEverything || scope.performance != nil {
            audit.performances = try await auditSeats(
                try await performances(in: scope), restores: restores, compares: &left)
        }
        if scope.isEverything || scope.room != nil {
            for room in try await rooms(in: scope) {
                let comparison = RoomComparison(room, engine: engine)
                guard let found = try await comparison.run() else { continue }
                audit.rooms.append(found)
                audit.list.add(comparison.drifts)
            }
        }
        for sale in audit.sales { audit.list.add(sale.drifts) }
        for seats in audit.performances { audit.list.add(seats.drifts) }
        if scope.isEverything || scope.client != nil { try await auditAccounts(of: scope.client, in: &audit) }
        return audit
    }

    private func rooms(in scope: AuditScope) async throws -> [RoomID] {
        if let room = scope.room { return [room] }
        return try await store.rooms().map(\.id)
    }

    private func auditAccounts(of client: ClientID?, in audit: inout Audit) async throws {
        let accounts: [AuditedAccount]
        if let client {
            accounts = try await store.auditAccount(of: client).map { [$0] } ?? []
            audit.ledgerDrift = Int64(accounts.count)
        } else {
            (accounts, audit.ledgerDrift) = try await store.auditAccounts(limit: DriftList.limit)
        }
        for account in accounts { audit.list.add(Auditor.drift(account)) }
        audit.list.add(.balance, more: audit.ledgerDrift - Int64(accounts.count))
    }

    static func drift(_ account: AuditedAccount) -> Drift {
        Drift(
            kind: .balance, client: account.client,
            database: "a balance of \(account.balance), a ledger of \(account.ledger)")
    }

    // MARK: Sales

    private func sales(in scope: AuditScope) async throws -> [SaleID] {
        guard let sale = scope.sale else { return try await store.sales(before: nil, limit: 1000).map(\.sale.id) }
        guard try await store.sale(sale) != nil else { throw WireError(.notFound, "no such sale") }
        return [sale]
    }

    /// Compares the sums of sales.
    ///
    /// The two can't be read at the same instant. A sale that seems to drift is read again, PostgreSQL before and after
    /// Redis: what is really wrong stays, what was on its way doesn't.
    func auditSales(_ sales: [SaleID], restores: Bool) async throws -> [SaleAudit] {
        var pending = sales
        var results: [SaleID: SaleAudit] = [:]
        for attempt in 0..<5 where !pending.isEmpty {
            if attempt > 0 { await EventLoop.sleep(milliseconds: 100) }
            let before = try await store.auditSums(of: pending)
            var live: [SaleID: SaleNumbers] = [:]
            for sale in before.map(\.sale) {
                if restores { _ = try await directory.state(of: sale) }
                live[sale] = try await engine.auditNumbers(of: sale)
            }
            for (first, last) in zip(before, try await store.auditSums(of: pending)) {
                if let numbers = live[first.sale] { results[first.sale] = Auditor.sums(first, last, numbers) }
            }
            pending = pending.filter { (results[$0]?.drift ?? 0) != 0 }
        }
        return sales.compactMap { results[$0] }
    }

    /// What the sums of a sale say: of PostgreSQL before and after, of Redis in between.
    static func sums(
        _ before: Persistence.SaleAudit, _ fact: Persistence.SaleAudit, _ numbers: SaleNumbers
    ) -> SaleAudit {
        let sale = numbers.state.sale
        // Where a client may own several, what is owned is counted with the orders.
        let owned = sale.perClientLimit == 1 ? numbers.owners : sale.quantity - numbers.state.remaining
        var audit = SaleAudit(
            sale: sale.id, quantity: sale.quantity, sold: fact.confirmed, inFlight: numbers.unsettled,
            free: numbers.state.remaining, owned: owned, failed: fact.failed, cancelled: fact.cancelled,
            unreleased: fact.unreleased, countDrift: fact.countDrift)
        audit.sums = stock(numbers)
        if fact.countDrift > 0 {
            audit.sums.append(
                Drift(
                    kind: .statistics, sale: sale.id, database: "the statistics count other orders than there are",
                    amount: fact.countDrift))
        }
        // Orders in flight are on both sides while the committer is between its commit and its acknowledgement: what is
        // sold may then exceed what is owned and not in flight, by at most as many.
        // What was confirmed and cancelled between the two looks may or may not have been so in Redis' moment.
        let cancelled = fact.cancelled - before.cancelled
        let unreleased = max(before.unreleased, fact.unreleased)
        let lost = max(0, owned - fact.confirmed - cancelled - numbers.unsettled - unreleased)
        let surplus = max(0, before.confirmed - cancelled - owned)
        if lost + surplus > 0 {
            audit.sums.append(
                Drift(
                    kind: .soldSum, sale: sale.id, redis: "\(owned) owned, \(numbers.unsettled) in flight",
                    database: "\(fact.confirmed) confirmed, \(fact.unreleased) on their way back",
                    amount: lost + surplus))
        }
        return audit
    }

    /// What Redis' own numbers say of a sale's stock. They are of one instant.
    static func stock(_ numbers: SaleNumbers) -> [Drift] {
        let sale = numbers.state.sale
        let left = numbers.state.remaining
        var drifts: [Drift] = []
        let fresh = sale.quantity - numbers.highestTicket
        if left != fresh + numbers.returnedTickets {
            drifts.append(
                Drift(
                    kind: .stockSum, sale: sale.id,
                    redis: "\(left) left, \(fresh) never given out, \(numbers.returnedTickets) returned",
                    amount: abs(left - fresh - numbers.returnedTickets)))
        }
        if sale.perClientLimit == 1, numbers.owners != sale.quantity - left {
            drifts.append(
                Drift(
                    kind: .stockSum, sale: sale.id,
                    redis: "\(left) left of \(sale.quantity), \(numbers.owners) owned",
                    amount: abs(sale.quantity - left - numbers.owners)))
        }
        return drifts
    }

    /// Compares the orders of a sale one by one.
    private func compare(_ audit: inout SaleAudit) async throws {
        guard let before = try await engine.auditNumbers(of: audit.sale) else { return }
        let comparison = SaleComparison(before.state.sale, engine: engine, store: store)
        guard try await comparison.run() else {
            // It was rebuilt: what its sums were before says nothing any more.
            if let now = try await auditSales([audit.sale], restores: false).first { audit = now }
            return
        }
        if let owned = comparison.ownedTickets { audit.owned = owned }
        audit.orders = comparison.drifts
    }

    // MARK: Performances

    private func performances(in scope: AuditScope) async throws -> [PerformanceID] {
        guard let id = scope.performance else { return try await store.activePerformances().map(\.performance.id) }
        guard try await store.performance(id) != nil else { throw WireError(.notFound, "no such performance") }
        return [id]
    }

    private func auditSeats(
        _ ids: [PerformanceID], restores: Bool, compares left: inout Int64
    ) async throws -> [SeatAudit] {
        var audits = try await auditSeats(ids, restores: restores)
        for index in audits.indices {
            let id = audits[index].performance
            let cost = audits[index].stored.sold + audits[index].stored.held + Auditor.leastCost
            audits[index].sums += try await namedDrifts(audits[index])
            guard left >= cost else { continue }
            left -= cost
            let comparison = SeatComparison(id, engine: engine, store: store)
            if try await comparison.run() {
                audits[index].reservations = comparison.drifts
            } else if let now = try await auditSeats([id], restores: false).first {
                audits[index] = now
            }
        }
        return audits
    }

    /// Reservations with which PostgreSQL does not agree with itself, by name.
    func namedDrifts(_ audit: SeatAudit) async throws -> [Drift] {
        guard audit.stored.unpaid > 0 || audit.stored.misplaced > 0 else { return [] }
        let id = audit.performance
        let mispaid = try await store.mispaidReservations(of: id, limit: DriftList.limit)
        let misplaced = try await store.misplacedReservations(of: id, limit: DriftList.limit)
        func drifts(_ sequences: [Int64], _ kind: DriftKind, _ count: Int64, _ text: String) -> [Drift] {
            var drifts = sequences.map {
                Drift(
                    kind: kind, performance: id, reservation: ReservationID(performance: id, sequence: $0),
                    database: text)
            }
            let rest = count - Int64(sequences.count)
            if rest > 0 { drifts.append(Drift(kind: kind, performance: id, database: text, amount: rest)) }
            return drifts
        }
        return drifts(mispaid, .reservationPayment, audit.stored.unpaid, "payment and ledger do not fit it")
            + drifts(misplaced, .seatsMisplaced, audit.stored.misplaced, "it has not the seats that are live")
    }

    /// Compares the sums of performances. Redis is read between two looks at PostgreSQL that have to say the same.
    func auditSeats(_ ids: [PerformanceID], restores: Bool) async throws -> [SeatAudit] {
        var pending = ids
        var results: [PerformanceID: SeatAudit] = [:]
        for attempt in 0..<5 where !pending.isEmpty {
            if attempt > 0 { await EventLoop.sleep(milliseconds: 100) }
            let before = try await store.auditPerformances(pending)
            var live: [PerformanceID: SeatNumbers] = [:]
            for id in pending {
                if restores {
                    live[id] = try await performances.with(id) { try await self.engine.auditNumbers(of: id) }
                } else {
                    live[id] = try await engine.auditNumbers(of: id)
                }
            }
            let after = try await store.auditPerformances(pending)
            for (first, last) in zip(before, after) {
                guard let live = live[first.performance] else { continue }
                // What PostgreSQL did meanwhile makes no drift.
                if first != last && attempt < 4 { continue }
                results[first.performance] = Auditor.sums(last, live, isMoving: first != last)
            }
            pending = pending.filter { results[$0].map { $0.drift != 0 } ?? true }
        }
        return results.values.sorted { $0.performance > $1.performance }
    }

    /// What the sums of a performance say. While something is in flight the two may differ by it, and are not compared.
    static func sums(_ stored: PerformanceAudit, _ live: SeatNumbers, isMoving: Bool) -> SeatAudit {
        let counted = live.counted
        var audit = SeatAudit(performance: stored.performance, live: live, counted: counted, stored: stored)
        audit.sums = tally(live, counted, of: stored.performance)
        let all = counted.free + counted.held + counted.sold
        if all != stored.seats {
            audit.sums.append(
                Drift(
                    kind: .seatSum, performance: stored.performance, redis: "\(all) seats",
                    database: "\(stored.seats) seats", amount: abs(all - stored.seats)))
        }
        let apart = abs(counted.held - stored.held) + abs(counted.sold - stored.sold)
        if audit.inFlight == 0, !isMoving, apart > 0 {
            audit.sums.append(
                Drift(
                    kind: .seatSum, performance: stored.performance,
                    redis: "\(counted.held) held, \(counted.sold) sold",
                    database: "\(stored.held) held, \(stored.sold) sold", amount: apart))
        }
        return audit
    }

    /// What Redis' own numbers say of a performance's seats. They are of one instant.
    static func tally(_ live: SeatNumbers, _ counted: SeatTally, of performance: PerformanceID) -> [Drift] {
        let apart =
            abs(live.tally.free - counted.free) + abs(live.tally.held - counted.held)
            + abs(live.tally.sold - counted.sold)
        guard apart > 0 else { return [] }
        return [
            Drift(
                kind: .seatSum, performance: performance,
                redis: "\(live.tally.free) free, \(live.tally.held) held, \(live.tally.sold) sold, by the seats "
                    + "\(counted.free), \(counted.held), \(counted.sold)", amount: apart)
        ]
    }
}
