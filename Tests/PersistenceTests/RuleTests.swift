import EventLoop
import Model
import Testing

@testable import Persistence

/// The rules hold against SQL that somebody types.
@Suite(.onLoop) struct RuleTests {
    @LoopActor
    private func expectRefused(
        _ constraint: String, by fixture: Fixture, _ sql: StaticString, _ location: SourceLocation = #_sourceLocation
    ) async {
        await #expect(sourceLocation: location) {
            try await fixture.sql(sql)
        } throws: { error in
            (error as? DatabaseError)?.constraint == constraint && (error as? DatabaseError)?.isTransient == false
        }
    }

    @Test @LoopActor func oversellingIsImpossible() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.sale(quantity: 2, limit: 2) == SaleID(1))
        try await fixture.sql(
            """
            insert into orders (sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price,
                accepted_at, confirmed_at)
            values (1, 1, 'a', 1, 1, 2, 2, 0, now(), now()), (1, 2, 'a', 2, 2, 2, 2, 0, now(), now())
            """)
        // A third ticket, the same ticket twice, a larger quantity that the sale does not have.
        await expectRefused(
            "orders_ticket_within_quantity", by: fixture,
            """
            insert into orders (sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price,
                accepted_at, confirmed_at) values (1, 3, 'b', 3, 1, 2, 2, 0, now(), now())
            """)
        await expectRefused(
            "orders_one_per_ticket", by: fixture,
            """
            insert into orders (sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price,
                accepted_at, confirmed_at) values (1, 3, 'b', 2, 1, 2, 2, 0, now(), now())
            """)
        await expectRefused(
            "orders_sale_id_quantity_per_client_limit_fkey", by: fixture,
            """
            insert into orders (sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price,
                accepted_at, confirmed_at) values (1, 3, 'b', 3, 1, 3, 2, 0, now(), now())
            """)
        // Over the client's limit: a slot beyond it, or one twice.
        await expectRefused(
            "orders_slot_within_limit", by: fixture,
            "update orders set slot = 3 where sequence = 2")
        await expectRefused(
            "orders_one_per_slot", by: fixture,
            "update orders set slot = 1 where sequence = 2")
        // Nor can the sale be changed under its orders, or an order come back to a ticket that is taken again.
        await expectRefused(
            "orders_sale_id_quantity_per_client_limit_fkey", by: fixture,
            "update sales set quantity = 1000 where id = 1")
        try await fixture.sql(
            "update orders set status = 'cancelled', cancelled_at = now(), released = false where sequence = 2")
        try await fixture.sql(
            """
            insert into orders (sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price,
                accepted_at, confirmed_at) values (1, 3, 'b', 2, 1, 2, 2, 0, now(), now())
            """)
        await expectRefused(
            "orders_one_per_ticket", by: fixture,
            "update orders set status = 'confirmed', cancelled_at = null, released = true where sequence = 2")
    }

    @Test @LoopActor func oversellingIsImpossibleForTheCommitterToo() async throws {
        let fixture = try await Fixture(attempts: 1)
        let sale = try await fixture.sale(quantity: 10, limit: 1)
        let orders =
            AcceptedOrder.many(sale, 1...12) + [
                .test(sale, 13, ticket: 3), .test(sale, 14, client: "c1", ticket: 9),
                .test(sale, 15, ticket: 1, slot: 2),
            ]
        let settlements = try await fixture.store.commit(orders)
        #expect(settlements.count(.confirmed) == 10)
        #expect(settlements.count(.failed) == 5)
        #expect(
            Set(settlements.compactMap(\.reason)) == [
                "orders_ticket_within_quantity", "orders_one_per_ticket", "orders_slot_within_limit",
            ])
    }

    @Test @LoopActor func moneyIsNeitherLostNorMade() async throws {
        let fixture = try await Fixture()
        _ = try await fixture.store.charge(ClientID("a")!, points: 5, reference: "r")
        await expectRefused(
            "accounts_balance_check", by: fixture, "update accounts set balance = balance - 6")
        await expectRefused(
            "ledger_entries_kind_reference_key", by: fixture,
            "insert into ledger_entries (client_id, amount, kind, reference) values ('a', 5, 'charge', 'a r')")
        await expectRefused(
            "ledger_entries_amount_check", by: fixture,
            "insert into ledger_entries (client_id, amount, kind, reference) values ('a', 0, 'charge', 'a s')")
        #expect(try await fixture.store.audit(sales: []).ledgerDrift == 0)
        try await fixture.sql("update accounts set balance = balance + 1")
        #expect(try await fixture.store.audit(sales: []).ledgerDrift == 1)
    }
}
