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

/// The whole audit.
struct Audit {
    let sales: [SaleAudit]
    /// Accounts whose balance is not the sum of their ledger.
    let ledgerDrift: Int64

    var drift: Int64 { sales.reduce(ledgerDrift) { $0 + $1.drift } }
}

/// Compares Redis and PostgreSQL.
@LoopActor
final class Auditor {
    private let engine: Engine
    private let store: Store
    private let directory: SaleDirectory

    init(engine: Engine, store: Store, directory: SaleDirectory) {
        self.engine = engine
        self.store = store
        self.directory = directory
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
        return Audit(sales: stored.compactMap { results[$0.sale.id] }, ledgerDrift: ledgerDrift)
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
            json.member("ledgerDrift", audit.ledgerDrift)
        }
    }
}
