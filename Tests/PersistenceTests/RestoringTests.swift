import EventLoop
import Model
import TestServices
import Testing

@testable import Persistence

/// A database gets back what it has lost, from what Redis has; twice is as once.
@Suite struct RestoringTests {
    private func live(_ sale: SaleID, _ sequence: Int64, ticket: Int64? = nil, key: String? = nil) -> LiveOrder {
        LiveOrder(
            order: OrderID(sale: sale, sequence: sequence), client: ClientID("c\(sequence)")!,
            ticket: ticket ?? sequence, slot: 1, key: key.flatMap { IdempotencyKey($0) }, isConfirmed: true)
    }

    @Test @LoopActor func ordersArePaidOnceAndMissingPointsAreCharged() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 10, price: 10)
        // One has its points still, one some of them, one none.
        _ = try await store.charge(ClientID("c1")!, points: 15, reference: "a")
        _ = try await store.charge(ClientID("c2")!, points: 4, reference: "a")
        let lost = [live(sale, 1, key: "k"), live(sale, 2), live(sale, 3)]
        #expect(try await store.unknown(lost, of: sale) == lost)
        for _ in 0..<2 {
            let refused = try await store.restore(lost, of: sale, epoch: 0, lastSequence: 7, at: .at(5000))
            #expect(refused.isEmpty)
        }
        #expect(try await store.unknown(lost, of: sale).isEmpty)
        #expect(try await fixture.number("select sum(balance)::bigint from accounts") == 5)
        #expect(try await fixture.number("select count(*) from orders where status = 'confirmed' and price = 10") == 3)
        #expect(try await fixture.number("select count(*) from ledger_entries where kind = 'order'") == 3)
        #expect(try await fixture.number("select sum(amount)::bigint from ledger_entries where kind = 'charge'") == 35)
        #expect(try await fixture.number("select count(*) from orders where idempotency_key = 'k'") == 1)
        let audit = try await store.audit(sales: [sale])
        #expect(audit.ledgerDrift == 0 && audit.sales[0].countDrift == 0 && audit.sales[0].confirmed == 3)
    }

    /// It had failed, and was replayed and confirmed in the time that was lost.
    @Test @LoopActor func aReplayedOrderIsConfirmedAgain() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 10, price: 10)
        #expect(try await store.commit([.test(sale, 1)]).map(\.reason) == ["insufficient_points"])
        // A replayed order has a ticket of its own.
        let refused = try await store.restore(
            [live(sale, 1, ticket: 2)], of: sale, epoch: 0, lastSequence: 3, at: .at(5000))
        #expect(refused.isEmpty)
        let order = OrderID(sale: sale, sequence: 1)
        #expect(try await store.order(order)?.status == .confirmed)
        #expect(try await store.failedOrders(sale: sale, limit: 9).isEmpty)
    }

    @Test @LoopActor func whatCantBeIsRefusedAloneAndSaid() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 10)
        #expect(try await store.commit([.test(sale, 4)]).count(.confirmed) == 1)
        let refused = try await store.restore(
            [live(sale, 1), live(sale, 2, ticket: 4), live(sale, 3)], of: sale, epoch: 0, lastSequence: 5,
            at: .at(5000))
        #expect(refused.map(\.order.order.sequence) == [2])
        #expect(refused.map(\.reason) == ["orders_one_per_ticket"])
        #expect(try await fixture.number("select count(*) from orders") == 3)
    }

    @Test @LoopActor func aForgottenSaleComesBackAsItWas() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let known = try #require(try await store.sale(fixture.sale(quantity: 10, limit: 3)))
        let window = SaleWindow(opensAt: .at(1000), closesAt: .at(9_000_000_000_000), isCancelled: false, version: 4)
        let forgotten = Sale(
            id: SaleID(known.sale.id.rawValue + 100), name: "forgotten", quantity: 7, price: 3, perClientLimit: 2,
            room: nil, rejectPercent: 5)
        for _ in 0..<2 {
            try await store.restoreSale(SaleState(sale: forgotten, window: window, remaining: 1), epoch: 2)
            // Of one that is known only what is newer counts.
            try await store.restoreSale(SaleState(sale: known.sale, window: window, remaining: 1), epoch: 0)
        }
        let back = try #require(try await store.sale(forgotten.id))
        #expect(back.sale == forgotten && back.window == window && back.epoch == 2)
        let kept = try #require(try await store.sale(known.sale.id))
        #expect(kept.sale == known.sale && kept.window == window && kept.epoch == 0)
        #expect(try await fixture.sale() > forgotten.id)
    }

    /// Until a database is accepted, nothing is committed to it; all else goes on.
    @Test @LoopActor func commitsWaitUntilTheDatabaseIsAccepted() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale()
        let store = try Store(
            StoreConfiguration(connectionString: fixture.connectionString, requestTimeoutMilliseconds: 30_000),
            log: .none)
        let seen = Journal<DatabaseState>()
        store.onOtherDatabase = { seen.add($0) }
        store.start()
        let state = try await seen.next("the database")
        #expect(try await store.sale(sale) != nil)
        let committed = Journal<[Settlement]>()
        EventLoop.task { if let settled = try? await store.commit([.test(sale, 1)]) { committed.add(settled) } }
        #expect(try await fixture.number("select count(*) from orders") == 0)
        store.accept(state)
        #expect(try await committed.next("the commit").count(.confirmed) == 1)
        // Commits say how far it has come; one that is not as far is another.
        #expect(store.database!.position > state.position)
        await store.stop()
    }
}
