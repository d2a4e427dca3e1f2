import Engine
import EventLoop
import Model
import Persistence

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
    let owned: Int64
    let failed: Int64
    let cancelled: Int64
    /// Given back in PostgreSQL, and perhaps not in Redis yet.
    let unreleased: Int64
    /// How far PostgreSQL's statistics are from its orders.
    let countDrift: Int64

    /// How far Redis' stock is from adding up, plus how far the two are from agreeing about what is sold.
    ///
    /// Orders in flight are on both sides while the committer is between its commit and its acknowledgement: `sold` may
    /// then exceed what is owned and not in flight, by at most `inFlight`.
    var drift: Int64 {
        let stock = abs(quantity - owned - free)
        let lost = max(0, owned - sold - inFlight - unreleased)
        let surplus = max(0, sold - owned)
        return stock + lost + surplus + countDrift
    }
}

/// What the seats of one performance look like in Redis and in PostgreSQL.
struct SeatAudit {
    let performance: PerformanceID
    /// In Redis.
    let live: SeatInspection
    /// In PostgreSQL.
    let stored: PerformanceAudit

    /// Entries of the log that PostgreSQL may not have yet, and payments and refunds that Redis may not have yet.
    var inFlight: Int64 { live.unsettled + stored.unsettled }

    /// How far Redis' own numbers are from each other, and the two from agreeing.
    ///
    /// While something is in flight the two may differ by it, and are not compared.
    var drift: Int64 {
        let stock = abs(stored.seats - live.counted.count)
        let numbers =
            abs(live.tally.free - live.counted.free) + abs(live.tally.held - live.counted.held)
            + abs(live.tally.sold - live.counted.sold)
        let records = abs(live.heldInRecords - live.counted.held) + abs(live.soldInRecords - live.counted.sold)
        let agreement = inFlight > 0 ? 0 : abs(live.counted.held - stored.held) + abs(live.counted.sold - stored.sold)
        return stock + numbers + records + agreement + stored.misplaced + stored.unpaid
    }
}

/// The whole audit.
struct Audit {
    let sales: [SaleAudit]
    let performances: [SeatAudit]
    /// Accounts whose balance is not the sum of their ledger.
    let ledgerDrift: Int64

    var drift: Int64 {
        sales.reduce(ledgerDrift) { $0 + $1.drift } + performances.reduce(0) { $0 + $1.drift }
    }
}

/// Compares Redis and PostgreSQL.
@LoopActor
final class Auditor {
    private let engine: Engine
    private let store: Store
    private let directory: SaleDirectory
    private let performances: PerformanceDirectory

    init(engine: Engine, store: Store, directory: SaleDirectory, performances: PerformanceDirectory) {
        self.engine = engine
        self.store = store
        self.directory = directory
        self.performances = performances
    }

    /// Audits the newest 1,000 sales.
    ///
    /// The two can't be read at the same instant. A sale that seems to drift is read again, PostgreSQL before and after
    /// Redis: what is really wrong stays, what was on its way doesn't.
    func audit() async throws -> Audit {
        let stored = try await store.sales(before: nil, limit: 1000)
        var pending = stored.map(\.sale.id)
        var results: [SaleID: SaleAudit] = [:]
        var ledgerDrift: Int64 = 0
        for attempt in 0..<5 where !pending.isEmpty || attempt == 0 {
            if attempt > 0 { await EventLoop.sleep(milliseconds: 100) }
            let facts = try await store.audit(sales: pending)
            ledgerDrift = facts.ledgerDrift
            for fact in facts.sales {
                let sale = fact.sale
                _ = try await directory.state(of: sale)
                guard let inspection = try await engine.inspect(sale) else { continue }
                results[sale] = SaleAudit(
                    sale: sale, quantity: inspection.state.sale.quantity, sold: fact.confirmed,
                    inFlight: inspection.unsettled, free: inspection.state.remaining, owned: inspection.ownedTickets,
                    failed: fact.failed, cancelled: fact.cancelled,
                    unreleased: fact.unreleased, countDrift: fact.countDrift)
            }
            pending = pending.filter { (results[$0]?.drift ?? 0) != 0 }
        }
        return Audit(
            sales: stored.compactMap { results[$0.sale.id] }, performances: try await auditSeats(),
            ledgerDrift: ledgerDrift)
    }

    /// Audits the performances that are on sale. Redis is read between two looks at PostgreSQL that have to say the same.
    private func auditSeats() async throws -> [SeatAudit] {
        var pending = try await store.activePerformances().map(\.performance.id)
        var results: [PerformanceID: SeatAudit] = [:]
        for attempt in 0..<5 where !pending.isEmpty {
            if attempt > 0 { await EventLoop.sleep(milliseconds: 100) }
            let before = try await store.auditPerformances(pending)
            var live: [PerformanceID: SeatInspection] = [:]
            for id in pending {
                live[id] = try await performances.with(id) { try await self.engine.inspect(id) }
            }
            let after = try await store.auditPerformances(pending)
            for (first, last) in zip(before, after) {
                guard let live = live[first.performance] else { continue }
                // What PostgreSQL did meanwhile makes no drift, unless it is there at the last look too.
                if first != last && attempt < 4 { continue }
                results[first.performance] = SeatAudit(performance: first.performance, live: live, stored: last)
            }
            pending = pending.filter { results[$0].map { $0.drift != 0 } ?? true }
        }
        return results.values.sorted { $0.performance > $1.performance }
    }
}

extension JSONWriter {
    /// The audit as the admin sees it.
    mutating func audit(_ audit: Audit) {
        object { json in
            json.member("drift", audit.drift)
            json.member("sales") { json in
                json.array { json in
                    for sale in audit.sales {
                        json.object { json in
                            json.member("sale", sale.sale.rawValue)
                            json.member("quantity", sale.quantity)
                            json.member("sold", sale.sold)
                            json.member("held", 0 as Int64)
                            json.member("free", sale.free)
                            json.member("inFlight", sale.inFlight)
                            json.member("owned", sale.owned)
                            json.member("failed", sale.failed)
                            json.member("cancelled", sale.cancelled)
                            json.member("unreleased", sale.unreleased)
                            json.member("countDrift", sale.countDrift)
                            json.member("drift", sale.drift)
                        }
                    }
                }
            }
            json.member("performances") { json in
                json.array { json in for seats in audit.performances { json.seats(seats) } }
            }
            json.member("ledgerDrift", audit.ledgerDrift)
        }
    }

    private mutating func seats(_ audit: SeatAudit) {
        object { json in
            json.member("performance", audit.performance.rawValue)
            json.member("quantity", audit.stored.seats)
            json.member("sold", audit.live.counted.sold)
            json.member("held", audit.live.counted.held)
            json.member("free", audit.live.counted.free)
            json.member("soldInDatabase", audit.stored.sold)
            json.member("heldInDatabase", audit.stored.held)
            json.member("inFlight", audit.inFlight)
            json.member("unsettled", audit.stored.unsettled)
            json.member("misplaced", audit.stored.misplaced)
            json.member("unpaid", audit.stored.unpaid)
            json.member("drift", audit.drift)
        }
    }
}
