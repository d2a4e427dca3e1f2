import EventLoop
import Model
import TestServices
import Testing

@testable import Persistence

/// However many do it at once, points and seats come out exact.
@Suite(.onLoop) struct PaymentRaceTests {
    @Test @LoopActor func manyPaymentsOfOneReservation() async throws {
        let fixture = try await Fixture(pool: 6)
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(1000, to: "c1")
        let hold = Hold.test(id, 1, seats: [1, 2])
        let results = try await concurrently(100) { number in
            // The committer comes in the middle of it.
            if number == 50 { _ = try await store.commit([hold.event()]) }
            return try await store.pay(hold, point: 20, key: IdempotencyKey("k\(number % 10)"))
        }
        let paid = results.compactMap { if case .paid(let number) = $0 { number } else { nil } }
        #expect(paid.count == 1)
        #expect(results.filter { $0 == .repeated(payment: paid[0]) }.count == 9)
        #expect(results.filter { $0 == .alreadyPaid(payment: paid[0]) }.count == 90)
        #expect(try await store.balance(of: hold.client) == 980)
        #expect(try await store.commit([hold.event(), hold.event(.expired)]) == [hold.id])
        try await fixture.expectInOrder(id)
    }

    @Test @LoopActor func pointsForThirtySevenOfAHundred() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance(seats: 100)
        try await fixture.give(379, to: "rich")
        let holds = (1...100).map { Hold.test(id, $0, seats: [$0], client: "rich") }
        _ = try await store.commit(holds[..<50].map { $0.event() })
        let results = try await concurrently(100) { try await store.pay(holds[$0], point: 10, key: nil) }
        #expect(results.filter { if case .paid = $0 { true } else { false } }.count == 37)
        #expect(results.filter { $0 == .insufficientPoints(balance: 9) }.count == 63)
        #expect(try await store.balance(of: ClientID("rich")!) == 9)
        #expect(try await store.reservationCounts(of: id) == [.paid: 37, .held: 63])
        #expect(try await store.auditPerformances([id]).map(\.sold) == [37])
        try await fixture.expectInOrder(id)
    }

    @Test @LoopActor func chargingAndPayingAtOnce() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance(seats: 100)
        let sale = try await fixture.sale(price: 3, limit: 100)
        let client = ClientID("c1")!
        try await fixture.give(1000, to: "c1")
        let orders = (1...100).map { AcceptedOrder.test(sale, $0, client: "c1", slot: $0) }
        // Of each: a charge of 7, a payment of 10, an order of 3; and every second payment is given back.
        let results = try await concurrently(100) { index in
            let hold = Hold.test(id, Int64(index + 1), seats: [Int64(index + 1)], client: "c1")
            _ = try await store.charge(client, points: 7, reference: "r\(index)")
            let result = try await store.pay(hold, point: 10, key: nil)
            _ = try await store.commit([orders[index]])
            if index % 2 == 0 { _ = try await store.refund(hold.id) }
            return result
        }
        #expect(results.filter { if case .paid = $0 { true } else { false } }.count == 100)
        #expect(try await store.balance(of: client) == 1000 + 700 - 1000 - 300 + 500)
        #expect(try await store.reservationCounts(of: id) == [.paid: 50, .released: 50])
        try await fixture.expectInOrder(id)
        #expect(
            try await fixture.number("select deadlocks from pg_stat_database where datname = current_database()") == 0)
    }

    /// The deadline, as a scheduler sees it or as the log says it, and a payment under way: charged means seats.
    @Test @LoopActor func deadlineAndPayment() async throws {
        let fixture = try await Fixture(committers: 2)
        let store = fixture.store
        let id = try await fixture.performance(seats: 400)
        let holds = (1...200).map { Hold.test(id, Int64($0), seats: [Int64($0), Int64($0) + 200]) }
        try await fixture.sql(
            "insert into accounts (client_id, balance) select 'c' || n, 20 from generate_series(1, 200) n")
        try await fixture.sql(
            """
            insert into ledger_entries (client_id, amount, kind, reference)
            select 'c' || n, 20, 'charge', 'c' || n from generate_series(1, 200) n
            """)
        _ = try await store.commit(holds[..<100].map { $0.event() })
        // Of each two tasks one pays and one ends the hold; which of the two begins changes from hold to hold.
        let results = try await concurrently(400) { index -> PaymentResult? in
            let hold = holds[index / 2]
            if (index + index / 2) % 2 == 0 { return try await store.pay(hold, point: 20, key: nil) }
            if index % 3 == 0 {
                // Of a paid one the log is not believed.
                let refused = try await store.commit([hold.event(.expired)])
                let status = try await store.status(hold)
                #expect(refused == (status == .paid ? [hold.id] : []))
            } else {
                let status = try await store.close(hold)
                #expect(try await store.status(hold) == status)
            }
            return nil
        }.compactMap { $0 }
        #expect(results.count == 200)
        for (hold, result) in zip(holds, results) {
            let owner = try await fixture.holder(of: hold.seats[1], id)
            let balance = try await store.balance(of: hold.client)
            let status = try await store.status(hold)
            if case .paid = result {
                #expect(status == .paid && owner == hold.id.sequence && balance == 0)
            } else {
                #expect(result == .over && status == .expired && owner == nil && balance == 20)
            }
        }
        #expect(Set(results.map { $0 == .over }) == [true, false])
        try await fixture.expectInOrder(id)
    }

    /// Both ways, one after the other: whoever has the row first.
    @Test(arguments: [true, false]) @LoopActor func whoHasTheRowFirst(paysFirst: Bool) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(10, to: "c1")
        let hold = Hold.test(id, 1, seats: [1])
        _ = try await store.commit([hold.event()])
        // Somebody holds the row, so that the two queue up for it.
        let other = try Store(
            StoreConfiguration(connectionString: fixture.connectionString, poolSize: 1), log: .none)
        other.start()
        func waiting() async throws -> Int64 {
            try await fixture.number(
                """
                select count(*) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '%_reservation(%'
                """)
        }
        _ = try await other.pool.perform(Statement("begin"))
        _ = try await other.pool.perform(Statement("select from reservations for update"))
        var paying: Task<PaymentResult?, Never>?
        if paysFirst {
            paying = EventLoop.task { try? await store.pay(hold, point: 10, key: nil) }
            try await eventually("it waits", within: 20_000) { try await waiting() > 0 }
        }
        let impatient = try await fixture.impatient(timeout: 30_000)
        let closing = EventLoop.task { try? await impatient.close(hold) }
        try await eventually("it waits", within: 20_000) { try await waiting() == (paysFirst ? 2 : 1) }
        if !paysFirst {
            paying = EventLoop.task { try? await store.pay(hold, point: 10, key: nil) }
            try await eventually("it waits", within: 20_000) { try await waiting() == 2 }
        }
        _ = try await other.pool.perform(Statement("commit"))
        let (status, result) = (await closing.value, await paying!.value)
        if case .paid = result {
            #expect(status == .paid)
            #expect(try await store.balance(of: hold.client) == 0)
        } else {
            #expect(result == .over)
            #expect(status == .expired)
            #expect(try await store.balance(of: hold.client) == 10)
        }
        // PostgreSQL lets those who wait for a row have it in their order.
        #expect((status == .paid) == paysFirst)
        await other.stop()
        await impatient.stop()
        try await fixture.expectInOrder(id)
    }

    @Test @LoopActor func payingAndRefundingAtOnce() async throws {
        let fixture = try await Fixture(pool: 6)
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1")
        for round in 1...100 {
            let hold = Hold.test(id, Int64(round), seats: [1, 2], client: "c1")
            let refunds = try await concurrently(6) { number -> RefundResult? in
                guard number % 3 != 0 else {
                    _ = try await store.pay(hold, point: 20, key: nil)
                    return nil
                }
                return try await store.refund(hold.id)
            }.compactMap { $0 }
            let newly = refunds.filter { if case .released(_, newly: true) = $0 { true } else { false } }
            #expect(newly.count <= 1)
            #expect(try await store.balance(of: hold.client) == (newly.isEmpty ? 80 : 100))
            #expect(try await store.status(hold) == (newly.isEmpty ? .paid : .released))
            _ = try await store.refund(hold.id)
            #expect(try await store.balance(of: hold.client) == 100)
        }
        try await fixture.expectInOrder(id)
    }

    /// PostgreSQL is killed again and again while payments are made and asked for again: each is made once.
    @Test(.timeLimit(.minutes(2 * patience))) @LoopActor func killedInTheMiddleOfPayments() async throws {
        let server = try await PostgresServer.launch()
        let fixture = try await Fixture(on: server)
        let store = fixture.store
        let id = try await fixture.performance(seats: 300)
        try await fixture.give(3000, to: "c1")
        var (paid, failures) = (0, 0)
        let paying = EventLoop.task {
            for number in 1...300 as ClosedRange<Int64> {
                let hold = Hold.test(id, number, seats: [number], client: "c1")
                while true {
                    do {
                        if number % 2 == 0 { _ = try await store.commit([hold.event()]) }
                        let result = try await store.pay(hold, point: 10, key: IdempotencyKey("k\(number)"))
                        switch result {
                        case .paid, .repeated: paid += 1
                        default: Issue.record("\(result)")
                        }
                        break
                    } catch {
                        #expect(error is Outage, "\(error)")
                        failures += 1
                    }
                }
            }
        }
        for round in 1...3 {
            try await eventually("payments go on") { paid >= round * 60 }
            try await server.kill()
            try await server.start()
        }
        await paying.value
        #expect(failures > 0)
        #expect(paid == 300)
        #expect(try await store.balance(of: ClientID("c1")!) == 0)
        #expect(try await store.reservationCounts(of: id) == [.paid: 300])
        try await fixture.expectInOrder(id)
        await store.stop()
    }
}
