import EventLoop
import Model
import Testing

@testable import Persistence

/// Orders become durable once, and a refused one hurts no other.
@Suite(.onLoop) struct CommitTests {
    @Test @LoopActor func committingTwiceChangesNothing() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale()
        let orders = AcceptedOrder.many(sale, 1...1000)
        #expect(try await fixture.store.commit(orders).count(.confirmed) == 1000)
        #expect(try await fixture.store.commit(orders).count(.confirmed) == 1000)
        #expect(
            try await fixture.store.commit(Array(orders[500...]) + AcceptedOrder.many(sale, 1001...1100)).count == 600)
        #expect(try await fixture.store.commit([AcceptedOrder]()).isEmpty)
        let audit = try await fixture.store.audit(sales: [sale])
        #expect(audit.sales[0].confirmed == 1100)
        #expect(audit.sales[0].countDrift == 0)
        let order = try #require(try await fixture.store.order(orders[6].order))
        #expect(order.client == orders[6].client)
        #expect(order.ticket == 7)
        #expect(order.status == .confirmed)
        #expect(order.acceptedAt == orders[6].acceptedAt)
        #expect(order.confirmedAt != nil)
        #expect(order.price == 0)
    }

    /// More bytes than a socket takes at once, in both directions.
    @Test @LoopActor func veryLargeBatch() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale(quantity: 10_000)
        #expect(try await fixture.store.commit(AcceptedOrder.many(sale, 1...10_000)).count(.confirmed) == 10_000)
        let snapshot = try await fixture.store.beginRebuild(sale)
        #expect(snapshot?.orders.count == 10_000)
        let stale = try await fixture.store.commit(AcceptedOrder.many(sale, 10_001...20_000))
        #expect(stale.allSatisfy { $0.reason == "stale_epoch" })
    }

    @Test @LoopActor func sameOrderTwiceInABatch() async throws {
        let fixture = try await Fixture()
        let free = try await fixture.sale()
        let priced = try await fixture.sale(price: 10)
        _ = try await fixture.store.charge(ClientID("c1")!, points: 100, reference: "r")
        for sale in [free, priced] {
            let order = AcceptedOrder.test(sale, 1)
            let settlements = try await fixture.store.commit([order, order])
            #expect(settlements.count(.confirmed) == 2)
        }
        #expect(try await fixture.store.balance(of: ClientID("c1")!) == 90)
        let audit = try await fixture.store.audit(sales: [free, priced])
        #expect(audit.sales.map(\.confirmed) == [1, 1])
        #expect(audit.sales.map(\.countDrift) == [0, 0])
        #expect(audit.ledgerDrift == 0)
    }

    @Test @LoopActor func refusedOrderIsIsolatedAndReplayed() async throws {
        let fixture = try await Fixture(attempts: 3)
        let sale = try await fixture.sale()
        try await fixture.sql("alter table orders add constraint no_poison check (client_id <> 'poison')")
        var orders = AcceptedOrder.many(sale, 1...1000)
        orders[612] = .test(sale, 613, client: "poison")

        var told: [Int] = []
        var settlements: [Settlement] = []
        try await fixture.store.commit(orders) {
            told.append($0.count)
            settlements += $0
        }
        #expect(settlements.count == 1000)
        #expect(settlements.count(.confirmed) == 999)
        #expect(told.last == 1)
        #expect(settlements.last == Settlement(order: orders[612], status: .failed, reason: "no_poison"))
        // It stays so, whoever asks and however often.
        #expect(try await fixture.store.commit([orders[612]]) == [settlements.last!])

        let failed = try #require(try await fixture.store.failedOrders(sale: sale, limit: 10).first)
        #expect(failed.attempts == 3)
        #expect(failed.reason == "no_poison")
        #expect(failed.status == .failed)
        #expect(failed.order.order == orders[612].order)
        #expect(try await fixture.store.order(failed.order.order)?.status == .failed)
        #expect(try await fixture.store.orders(of: ClientID("poison")!, in: sale, limit: 10).map(\.status) == [.failed])
        let audit = try await fixture.store.audit(sales: [sale])
        #expect(audit.sales[0].failed == 1)
        #expect(audit.sales[0].countDrift == 0)

        // Replayed while the cause is still there, it fails again; afterwards it commits, with another ticket.
        #expect(try await fixture.store.beginRetry(failed.order.order)?.status == .retrying)
        #expect(try await fixture.store.order(failed.order.order)?.status == .accepted)
        let again = AcceptedOrder.test(sale, 613, client: "poison", ticket: 1999, entry: 1001)
        #expect(try await fixture.store.commit([again]).count(.failed) == 1)
        #expect(try await fixture.store.failedOrders(sale: sale, limit: 10).map(\.status) == [.failed])
        #expect(try await fixture.store.failedOrders(sale: sale, limit: 10).map(\.order) == [again])
        try await fixture.sql("alter table orders drop constraint no_poison")
        #expect(try await fixture.store.beginRetry(failed.order.order) != nil)
        let replayed = AcceptedOrder.test(sale, 613, client: "poison", ticket: 2000, entry: 1002)
        #expect(try await fixture.store.commit([replayed]).count(.confirmed) == 1)
        #expect(try await fixture.store.order(replayed.order)?.ticket == 2000)
        #expect(try await fixture.store.failedOrders(sale: sale, limit: 10).isEmpty)
        #expect(try await fixture.store.beginRetry(failed.order.order) == nil)
        let after = try await fixture.store.audit(sales: [sale])
        #expect(after.sales[0].confirmed == 1000)
        #expect(after.sales[0].failed == 0)
        #expect(after.sales[0].countDrift == 0)
    }

    @Test @LoopActor func retryThatTheEngineRefusesIsFailedAgain() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale(quantity: 5)
        let order = AcceptedOrder.test(sale, 9)
        #expect(try await fixture.store.commit([order]).map(\.reason) == ["orders_ticket_within_quantity"])
        #expect(try await fixture.store.beginRetry(order.order) != nil)
        try await fixture.store.endRetry(order.order, failed: "sold_out")
        let failed = try await fixture.store.failedOrders(sale: nil, limit: 10)
        #expect(failed.map(\.reason) == ["sold_out"])
        #expect(try await fixture.store.failedOrders(sale: nil, before: failed[0].number, limit: 10).isEmpty)
        // Too late: it is not under retry any more.
        try await fixture.store.endRetry(order.order, failed: "again")
        #expect(try await fixture.store.order(order.order)?.reason == "sold_out")
    }

    @Test @LoopActor func triggerThatRaisesIsTheOrdersFault() async throws {
        let fixture = try await Fixture(attempts: 1)
        let sale = try await fixture.sale()
        try await fixture.sql(
            """
            create function refuse() returns trigger language plpgsql as $$
            begin
                if new.ticket % 10 = 3 then raise exception 'ticket % is unlucky', new.ticket; end if;
                return new;
            end $$
            """)
        try await fixture.sql("create trigger refuse before insert on orders for each row execute function refuse()")
        let settlements = try await fixture.store.commit(AcceptedOrder.many(sale, 1...50))
        #expect(settlements.count == 50)
        #expect(settlements.count(.failed) == 5)
        #expect(settlements.filter { $0.status == .failed }.allSatisfy { $0.reason == "P0001" })
        #expect(try await fixture.store.failedOrders(sale: sale, limit: 1)[0].message.contains("unlucky"))
    }

    /// Whatever class the refusal has that is not the database's own trouble.
    @Test(arguments: ["DB001", "54000", "0A000", "ZZ999"]) @LoopActor
    func refusalOfAnyClassIsTheOrdersFault(code: String) async throws {
        let fixture = try await Fixture(attempts: 1)
        let sale = try await fixture.sale()
        try await fixture.sql("create table code as select $1 as code", .text(code))
        try await fixture.sql(
            """
            create function refuse() returns trigger language plpgsql as $$
            begin
                if new.ticket = 3 then
                    raise exception 'refused' using errcode = (select c.code from code as c);
                end if;
                return new;
            end $$
            """)
        try await fixture.sql("create trigger refuse before insert on orders for each row execute function refuse()")
        let settlements = try await fixture.store.commit(AcceptedOrder.many(sale, 1...9))
        #expect(settlements.count(.confirmed) == 8)
        #expect(settlements.compactMap(\.reason) == [code])
    }

    @Test func whatIsTheDatabasesFault() {
        for code in [
            "08006", "25006", "40001", "40P01", "42P01", "42703", "42883", "53100", "55P03", "57014", "58030", "F0000",
            "XX000",
        ] {
            #expect(DatabaseError(sqlstate: code, message: "").isTransient, "\(code)")
        }
        for code in ["22003", "23505", "P0001", "54000", "DB001", "0A000", "44000", ""] {
            #expect(DatabaseError(sqlstate: code, message: "").isFaultOfData, "\(code)")
        }
    }

    @Test @LoopActor func databasesOwnFaultIsThrown() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale()
        try await fixture.sql("alter table orders rename to gone")
        await #expect {
            _ = try await fixture.store.commit([.test(sale, 1)])
        } throws: { error in
            (error as? DatabaseError)?.sqlstate == "42P01" && (error as? DatabaseError)?.isTransient == true
        }
        try await fixture.sql("alter table gone rename to orders")
        #expect(try await fixture.store.commit([.test(sale, 1)]).count(.confirmed) == 1)
    }

    @Test @LoopActor func whatNoSaleTakes() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale()
        #expect(try await fixture.store.commit([.test(SaleID(99), 1)]).map(\.reason) == ["unknown_sale"])
        #expect(try await fixture.store.commit([.test(sale, 1)]).count(.confirmed) == 1)
        #expect(try await fixture.store.beginRebuild(sale)?.epoch == 1)
        let settlements = try await fixture.store.commit([.test(sale, 1), .test(sale, 2), .test(sale, 3, epoch: 1)])
        #expect(settlements.map(\.status) == [.confirmed, .failed, .confirmed])
        #expect(settlements[1].reason == "stale_epoch")
        #expect(try await fixture.store.commit([.test(sale, 2)]).map(\.reason) == ["stale_epoch"])
        #expect(try await fixture.store.audit(sales: [sale]).sales[0].countDrift == 0)
    }

    @Test @LoopActor func twoCommittersOverTheSameOrders() async throws {
        let fixture = try await Fixture(committers: 4)
        let store = fixture.store
        let free = try await fixture.sale()
        let priced = try await fixture.sale(price: 1, limit: 2000)
        for client in 0..<10 { _ = try await store.charge(ClientID("p\(client)")!, points: 100, reference: "r") }
        // Each committer has the orders in an order of its own, and each batch both kinds.
        let orders = (1...1500).flatMap { number -> [AcceptedOrder] in
            let number = Int64(number)
            return [.test(free, number), .test(priced, number, client: "p\(number % 10)", slot: number)]
        }
        let settlements = try await concurrently(4) { committer in
            var generator = SystemRandomNumberGenerator()
            let shuffled = orders.shuffled(using: &generator)
            var settlements: [Settlement] = []
            for start in stride(from: 0, to: shuffled.count, by: 300) {
                settlements += try await store.commit(Array(shuffled[start..<start + 300]))
            }
            return settlements
        }
        // Whatever one was told, all were.
        let answers = settlements.map { Dictionary(uniqueKeysWithValues: $0.map { ($0.order.order, $0.status) }) }
        #expect(answers.allSatisfy { $0 == answers[0] })
        let audit = try await store.audit(sales: [free, priced])
        #expect(audit.sales[0].confirmed == 1500)
        #expect(audit.sales[1].confirmed == 1000)
        #expect(audit.sales[1].failed == 500)
        #expect(audit.sales.map(\.countDrift) == [0, 0])
        #expect(audit.ledgerDrift == 0)
        #expect(try await fixture.number("select sum(balance)::bigint from accounts") == 0)
        #expect(
            try await fixture.number("select deadlocks from pg_stat_database where datname = current_database()") == 0)
    }
}
