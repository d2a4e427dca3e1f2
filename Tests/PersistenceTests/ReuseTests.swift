import EventLoop
import Model
import Testing

@testable import Persistence

/// Redis lost its latest writes and gives the same order ids out again: a row answers only for the order it is of.
@Suite(.onLoop) struct ReuseTests {
    @Test(arguments: [0, 30]) @LoopActor func newcomerFailsAndHurtsNobody(price: Int64) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(price: price)
        for client in ["c1", "c2", "other"] {
            _ = try await store.charge(ClientID(client)!, points: 100, reference: "r")
        }
        let orders = [AcceptedOrder.test(sale, 1), .test(sale, 2)]
        #expect(try await store.commit(orders).count(.confirmed) == 2)
        _ = try await store.cancel(orders[1].order)
        let newcomers = [
            AcceptedOrder.test(sale, 1, client: "other"), .test(sale, 1, ticket: 9),
            .test(sale, 2, client: "other", ticket: 2),
        ]
        for _ in 0..<2 {
            // Alone, and with the orders that were there before.
            for newcomer in newcomers {
                let settlements = try await store.commit([newcomer])
                #expect(settlements == [Settlement(order: newcomer, status: .failed, reason: "stale_epoch")])
            }
            let settlements = try await store.commit(orders + newcomers)
            #expect(settlements.map(\.order) == orders + newcomers)
            #expect(settlements.map(\.status) == [.confirmed, .cancelled, .failed, .failed, .failed])
            #expect(settlements.dropFirst(2).allSatisfy { $0.reason == "stale_epoch" })
        }
        #expect(try await store.order(orders[0].order)?.client == orders[0].client)
        #expect(try await store.order(orders[0].order)?.status == .confirmed)
        #expect(try await store.balance(of: ClientID("other")!) == 100)
        #expect(try await store.balance(of: ClientID("c1")!) == 100 - price)
        #expect(try await store.balance(of: ClientID("c2")!) == 100)
        // Each id has one place on the dead-letter list.
        #expect(try await store.failedOrders(sale: sale, limit: 9).map(\.order) == [newcomers[2], newcomers[0]])
        #expect(try await store.orders(of: ClientID("other")!, in: sale, limit: 9).map(\.status) == [.failed, .failed])

        // A retry changes nothing of that.
        #expect(try await store.beginRetry(orders[0].order)?.order == newcomers[0])
        #expect(try await store.order(orders[0].order)?.status == .confirmed)
        #expect(try await store.commit(orders).map(\.status) == [.confirmed, .cancelled])
        let retried = AcceptedOrder.test(sale, 1, client: "other", ticket: 20, entry: 20)
        #expect(try await store.commit([retried]).map(\.reason) == ["stale_epoch"])
        #expect(try await store.failedOrders(sale: sale, limit: 9).map(\.status) == [.failed, .failed])
        let audit = try await store.audit(sales: [sale])
        #expect(audit.sales[0].confirmed == 1)
        #expect(audit.sales[0].failed == 2)
        #expect(audit.sales[0].countDrift == 0)
        #expect(audit.ledgerDrift == 0)
    }

    /// Both in one batch, neither known before: one gets it.
    @Test(arguments: [0, 30]) @LoopActor func bothInOneBatch(price: Int64) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(price: price)
        for client in ["a", "b"] { _ = try await store.charge(ClientID(client)!, points: 100, reference: "r") }
        let orders = [AcceptedOrder.test(sale, 1, client: "a"), .test(sale, 1, client: "b", ticket: 2)]
        let settlements = try await store.commit(orders)
        #expect(Set(settlements.map(\.status)) == [.confirmed, .failed])
        #expect(settlements.compactMap(\.reason) == ["stale_epoch"])
        #expect(
            try await store.balance(of: ClientID("a")!) + store.balance(of: ClientID("b")!) == 200 - price)
        let audit = try await store.audit(sales: [sale])
        #expect(audit.sales[0].countDrift == 0)
        #expect(audit.ledgerDrift == 0)
    }

    @Test @LoopActor func anothersFailureDoesNotAnswer() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 5)
        let failed = AcceptedOrder.test(sale, 9)
        let newcomer = AcceptedOrder.test(sale, 9, client: "other", ticket: 1)
        #expect(try await store.commit([failed]).map(\.reason) == ["orders_ticket_within_quantity"])
        #expect(try await store.commit([newcomer]).map(\.reason) == ["stale_epoch"])
        #expect(try await store.beginRetry(failed.order) != nil)
        #expect(try await store.commit([newcomer]).map(\.reason) == ["stale_epoch"])
        #expect(try await store.order(failed.order)?.status == .accepted)
        #expect(try await store.failedOrders(sale: sale, limit: 9).map(\.order.client) == [failed.client])
        // Nor when the newcomer is one that the database refuses.
        let refused = AcceptedOrder.test(sale, 9, client: "other", ticket: 99)
        #expect(try await store.commit([refused]).map(\.reason) == ["stale_epoch"])
        #expect(try await store.order(failed.order)?.status == .accepted)
        #expect(try await store.audit(sales: [sale]).sales[0].countDrift == 0)
    }

    /// What the function for refused orders answers when somebody else's order was committed meanwhile.
    @Test @LoopActor func refusedOrderOfATakenID() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale()
        #expect(try await fixture.store.commit([.test(sale, 1)]).count(.confirmed) == 1)
        for (client, ticket, status, reason) in [
            ("c1", 1, "confirmed", nil), ("other", 1, "failed", "stale_epoch"), ("c1", 2, "failed", "stale_epoch"),
        ] as [(String, Int64, String, String?)] {
            let row = try await fixture.sql(
                "select status, reason from fail_order($1, 1, $2, $3, 1, now(), 0, null, 1, 'x', 'x', 1)",
                .integer(sale.rawValue), .text(client), .integer(ticket))[0].first!
            #expect(row.text(0) == status)
            if let reason { #expect(row.text(1) == reason) }
        }
        #expect(try await fixture.store.failedOrders(sale: sale, limit: 9).map(\.order.client.rawValue) == ["other"])
        #expect(try await fixture.store.audit(sales: [sale]).sales[0].countDrift == 0)
    }
}

/// Taking failed orders up again, whatever is lost on the way.
@Suite(.onLoop) struct RetryTests {
    @Test @LoopActor func retryThatStopsHalfWayIsFoundAndBegunAgain() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 5)
        let order = AcceptedOrder.test(sale, 9)
        #expect(try await store.beginRetry(order.order) == nil)
        #expect(try await store.commit([order]).count(.failed) == 1)
        #expect(try await store.stalledRetries(olderThanMilliseconds: 0, limit: 9).isEmpty)
        let begun = try #require(try await store.beginRetry(order.order))
        #expect(begun.status == .retrying)
        #expect(begun.order == order)
        #expect(try await store.stalledRetries(olderThanMilliseconds: 0, limit: 9) == [begun])
        #expect(try await store.stalledRetries(olderThanMilliseconds: 0, limit: 0).isEmpty)
        #expect(try await store.stalledRetries(olderThanMilliseconds: 60_000, limit: 9).isEmpty)
        try await fixture.sql("update failed_orders set retried_at = now() - interval '2 minutes'")
        #expect(try await store.stalledRetries(olderThanMilliseconds: 60_000, limit: 9) == [begun])
        #expect(try await store.order(order.order)?.status == .accepted)
        #expect(try await store.orders(of: order.client, in: nil, limit: 9).map(\.status) == [.accepted])

        // Begun again, the others leave it alone for a while.
        #expect(try await store.beginRetry(order.order) == begun)
        #expect(try await store.stalledRetries(olderThanMilliseconds: 60_000, limit: 9).isEmpty)
        let retried = AcceptedOrder.test(sale, 9, ticket: 1, entry: 10)
        #expect(try await store.commit([retried]).count(.confirmed) == 1)
        #expect(try await store.stalledRetries(olderThanMilliseconds: 0, limit: 9).isEmpty)
        #expect(try await store.beginRetry(order.order) == nil)
    }

    @Test(arguments: [0, 30]) @LoopActor func staleDuplicateDoesNotCommitARetriedOrder(price: Int64) async throws {
        let fixture = try await Fixture(attempts: 1)
        let store = fixture.store
        let sale = try await fixture.sale(price: price)
        try await fixture.sql("alter table orders add constraint refused check (client_id <> 'c1') not valid")
        let first = AcceptedOrder.test(sale, 1)
        _ = try await store.charge(first.client, points: 100, reference: "r")
        #expect(try await store.commit([first]).map(\.reason) == ["refused"])
        try await fixture.sql("alter table orders drop constraint refused")
        // Failed or under retry, and again after the retry has failed too, with another ticket.
        #expect(try await store.commit([first]).map(\.reason) == ["refused"])
        #expect(try await store.beginRetry(first.order) != nil)
        #expect(try await store.commit([first]).map(\.reason) == ["refused"])
        let second = AcceptedOrder.test(sale, 1, ticket: 1_000_001, entry: 7)
        #expect(try await store.commit([second, first]).allSatisfy { $0.status == .failed })
        #expect(try await store.failedOrders(sale: sale, limit: 9).map(\.order) == [second])
        #expect(try await store.beginRetry(first.order) != nil)
        for stale in [first, second, .test(sale, 1, ticket: 5, entry: 6)] {
            #expect(try await store.commit([stale]).map(\.reason) == ["orders_ticket_within_quantity"])
        }
        #expect(try await store.balance(of: first.client) == 100)
        #expect(try await store.order(first.order)?.status == .accepted)

        let third = AcceptedOrder.test(sale, 1, ticket: 3, entry: 8)
        #expect(try await store.commit([first, third, second]).map(\.status) == [.failed, .confirmed, .failed])
        #expect(try await store.commit([first, third, second]).map(\.status) == [.failed, .confirmed, .failed])
        #expect(try await store.order(first.order)?.ticket == 3)
        #expect(try await store.balance(of: first.client) == 100 - price)
        let audit = try await store.audit(sales: [sale])
        #expect(audit.sales[0].confirmed == 1)
        #expect(audit.sales[0].failed == 0)
        #expect(audit.sales[0].countDrift == 0)
        #expect(audit.ledgerDrift == 0)
    }

    /// The engine takes an order back that was given back in the meantime: it stays so.
    @Test @LoopActor func cancelledUnderRetryStaysCancelled() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 5)
        let order = AcceptedOrder.test(sale, 9)
        #expect(try await store.commit([order]).count(.failed) == 1)
        #expect(try await store.beginRetry(order.order) != nil)
        let retried = AcceptedOrder.test(sale, 9, ticket: 1, entry: 10)
        guard case .cancelled(_, newly: true) = try await store.cancel(order.order, ifUnsettled: retried) else {
            Issue.record("not cancelled")
            return
        }
        let late = AcceptedOrder.test(sale, 9, ticket: 2, entry: 11)
        #expect(try await store.commit([retried, late, order]).map(\.status) == [.cancelled, .cancelled, .failed])
        #expect(try await store.audit(sales: [sale]).sales[0].countDrift == 0)
    }
}
