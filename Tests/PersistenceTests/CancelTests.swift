import EventLoop
import Model
import Testing

@testable import Persistence

/// Giving back happens once, whoever asks and whenever.
@Suite(.onLoop) struct CancelTests {
    @Test @LoopActor func inParallelExactlyOnceWithRefund() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 10, price: 30)
        let order = AcceptedOrder.test(sale, 1)
        _ = try await store.charge(order.client, points: 100, reference: "r")
        #expect(try await store.commit([order]).count(.confirmed) == 1)
        #expect(try await store.balance(of: order.client) == 70)

        let results = try await concurrently(20) { _ in try await store.cancel(order.order) }
        let newly = results.filter { if case .cancelled(_, newly: true) = $0 { true } else { false } }
        #expect(newly.count == 1)
        #expect(
            results.allSatisfy { if case .cancelled(let order, _) = $0 { order.status == .cancelled } else { false } })
        #expect(try await store.balance(of: order.client) == 100)
        let audit = try await store.audit(sales: [sale])
        #expect(audit.sales[0].confirmed == 0)
        #expect(audit.sales[0].cancelled == 1)
        #expect(audit.sales[0].unreleased == 1)
        #expect(audit.sales[0].countDrift == 0)
        #expect(audit.ledgerDrift == 0)

        // The stream brings it again: it stays cancelled. Its ticket and its client's place are free again.
        #expect(try await store.commit([order]).map(\.status) == [.cancelled])
        #expect(try await store.commit([.test(sale, 2, client: "c1", ticket: 1)]).map(\.status) == [.confirmed])
        #expect(try await store.orders(of: order.client, in: nil, limit: 9).map(\.status) == [.confirmed, .cancelled])

        #expect(try await store.unreleased(limit: 9, olderThanMilliseconds: 60_000).isEmpty)
        #expect(try await store.unreleased(limit: 9, olderThanMilliseconds: 0).map(\.id) == [order.order])
        #expect(try await store.activeSales(endedWithinMilliseconds: 0).map(\.sale.id) == [sale])
        try await store.markReleased([order.order])
        try await store.markReleased([order.order])
        try await store.markReleased([])
        #expect(try await store.unreleased(limit: 9, olderThanMilliseconds: 0).isEmpty)
    }

    @Test @LoopActor func beforeItIsCommitted() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(price: 30)
        let order = AcceptedOrder.test(sale, 1)
        _ = try await store.charge(order.client, points: 100, reference: "r")
        #expect(try await store.cancel(order.order) == .notFound)
        guard case .cancelled(let cancelled, newly: true) = try await store.cancel(order.order, ifUnsettled: order)
        else {
            Issue.record("not cancelled")
            return
        }
        #expect(cancelled.price == 0)
        #expect(cancelled.confirmedAt == nil)
        #expect(try await store.commit([order]) == [Settlement(order: order, status: .cancelled)])
        #expect(try await store.balance(of: order.client) == 100)
        #expect(try await store.audit(sales: [sale]).sales[0].countDrift == 0)
        #expect(try await store.cancel(OrderID(sale: SaleID(77), sequence: 1)) == .notFound)
        #expect(
            try await store.cancel(OrderID(sale: SaleID(77), sequence: 1), ifUnsettled: .test(SaleID(77), 1))
                == .notFound)
    }

    @Test @LoopActor func failedOrderHasNothingToGiveBack() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(price: 30)
        let order = AcceptedOrder.test(sale, 1)
        #expect(try await store.commit([order]).count(.failed) == 1)
        guard case .failed(let failed) = try await store.cancel(order.order, ifUnsettled: order) else {
            Issue.record("not failed")
            return
        }
        #expect(failed.reason == "insufficient_points")
        // Under retry it can be given back again, and is then resolved.
        #expect(try await store.beginRetry(order.order) != nil)
        #expect(try await store.cancel(order.order) == .notFound)
        guard case .cancelled(_, newly: true) = try await store.cancel(order.order, ifUnsettled: order) else {
            Issue.record("not cancelled")
            return
        }
        #expect(try await store.failedOrders(sale: nil, limit: 9).isEmpty)
        #expect(try await store.order(order.order)?.status == .cancelled)
        #expect(try await store.audit(sales: [sale]).sales[0].countDrift == 0)
    }

    /// Redis gave the order's id out again: the client who cancels has another order in mind.
    @Test(arguments: [0, 30]) @LoopActor func anothersOrderStays(price: Int64) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(price: price)
        _ = try await store.charge(ClientID("c1")!, points: 30, reference: "r")
        let order = AcceptedOrder.test(sale, 1)
        let newcomer = AcceptedOrder.test(sale, 1, client: "other", ticket: 2)
        #expect(try await store.commit([order]).count(.confirmed) == 1)
        #expect(try await store.cancel(order.order, ifUnsettled: newcomer) == .notFound)
        #expect(try await store.order(order.order)?.status == .confirmed)
        #expect(try await store.balance(of: order.client) == 30 - price)
        guard case .cancelled(_, newly: true) = try await store.cancel(order.order, ifUnsettled: order) else {
            Issue.record("not cancelled")
            return
        }
        #expect(try await store.cancel(order.order, ifUnsettled: newcomer) == .notFound)

        // Nor does another's failure answer, nor is another's retry resolved.
        let failed = AcceptedOrder.test(sale, 3, ticket: 1_000_001)
        let late = AcceptedOrder.test(sale, 3, client: "other")
        #expect(try await store.commit([failed]).count(.failed) == 1)
        #expect(try await store.cancel(failed.order, ifUnsettled: late) == .notFound)
        #expect(try await store.beginRetry(failed.order) != nil)
        #expect(try await store.cancel(failed.order, ifUnsettled: late) == .notFound)
        #expect(try await store.failedOrders(sale: sale, limit: 9).map(\.status) == [.retrying])
        #expect(try await store.audit(sales: [sale]).sales[0].countDrift == 0)
    }

    @Test(arguments: [0, 30]) @LoopActor func racingTheCommitter(price: Int64) async throws {
        let fixture = try await Fixture(committers: 2)
        let store = fixture.store
        let sale = try await fixture.sale(price: price)
        let orders = AcceptedOrder.many(sale, 1...300)
        if price > 0 {
            try await fixture.sql(
                """
                insert into accounts (client_id, balance) select 'c' || n, 30 from generate_series(1, 300) n
                """)
            try await fixture.sql(
                """
                insert into ledger_entries (client_id, amount, kind, reference)
                select 'c' || n, 30, 'charge', 'c' || n from generate_series(1, 300) n
                """)
        }
        let committing = EventLoop.task { () async -> [Settlement] in
            var settlements: [Settlement] = []
            for start in stride(from: 0, to: 300, by: 50) {
                settlements += (try? await store.commit(Array(orders[start..<start + 50]))) ?? []
            }
            return settlements
        }
        let results = try await concurrently(300) { index in
            let order = orders[299 - index]
            return try await store.cancel(order.order, ifUnsettled: order)
        }
        #expect(await committing.value.count == 300)
        #expect(results.allSatisfy { if case .cancelled(_, newly: true) = $0 { true } else { false } })
        let audit = try await store.audit(sales: [sale])
        #expect(audit.sales[0].cancelled == 300)
        #expect(audit.sales[0].confirmed == 0)
        #expect(audit.sales[0].countDrift == 0)
        #expect(audit.ledgerDrift == 0)
        #expect(try await fixture.number("select count(*) from accounts where balance <> 30") == 0)
        #expect(
            try await fixture.number("select deadlocks from pg_stat_database where datname = current_database()") == 0)
    }
}
