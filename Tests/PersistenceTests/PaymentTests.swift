import EventLoop
import Model
import Testing

@testable import Persistence

/// A payment is made once or not at all, and a refund once.
@Suite(.onLoop) struct PaymentTests {
    private let key = IdempotencyKey("k1")!

    /// Whether or not the committer was there before.
    @Test(arguments: [true, false]) @LoopActor func whatItComesTo(isCommitted: Bool) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(35, to: "c1", "c2")
        let hold = Hold.test(id, 1, seats: [3, 4, 5])
        if isCommitted { #expect(try await store.commit([hold.event()]).isEmpty) }
        #expect(try await store.payment(of: hold.id) == nil)
        #expect(try await store.pay(hold, point: 29, key: key) == .wrongPrice(30))
        #expect(try await store.balance(of: hold.client) == 35)
        guard case .paid(let number) = try await store.pay(hold, point: 30, key: key) else {
            Issue.record("not paid")
            return
        }
        #expect(try await store.pay(hold, point: 30, key: key) == .repeated(payment: number))
        // With the same key it is the same payment, whatever else it says.
        #expect(try await store.pay(hold, point: 29, key: key) == .repeated(payment: number))
        #expect(try await store.pay(hold, point: 30, key: nil) == .alreadyPaid(payment: number))
        #expect(try await store.pay(hold, point: 30, key: IdempotencyKey("k2")) == .alreadyPaid(payment: number))
        #expect(try await store.balance(of: hold.client) == 5)
        #expect(try await store.commit([hold.event(), hold.event(.expired), hold.event(.released)]) == [hold.id])
        #expect(try await store.close(hold) == .paid)

        let paid = try #require(try await store.reservation(hold.id))
        #expect(paid.status == .paid)
        #expect(paid.payment == number)
        #expect(paid.paidAt != nil)
        #expect(paid.price == 30)
        let payment = try #require(try await store.payment(of: hold.id))
        #expect(
            payment
                == Payment(
                    id: number, reservation: hold.id, client: hold.client, amount: 30, key: key, paidAt: paid.paidAt!,
                    refundedAt: nil))
        let legs = try await fixture.sql(
            "select account, is_house, amount, kind, reference from ledger_legs order by 4, 3")
        #expect(
            legs[0].rows.map { "\($0.text(0)) \($0.flag(1)) \($0.integer(2)) \($0.text(3)) \($0.text(4))" } == [
                "issued true -35 charge c1 given", "issued true -35 charge c2 given", "c1 false 35 charge c1 given",
                "c2 false 35 charge c2 given", "c1 false -30 payment \(hold.id)", "takings true 30 payment \(hold.id)",
            ])
        try await fixture.expectInOrder(id)

        // Another client, or other seats, with the same id: nothing.
        #expect(try await store.pay(.test(id, 1, seats: [3, 4, 5], client: "c2"), point: 30, key: key) == .stale)
        #expect(try await store.pay(.test(id, 1, seats: [3, 4]), point: 20, key: key) == .stale)
        #expect(try await store.balance(of: ClientID("c2")!) == 35)
    }
}

extension PaymentTests {
    @Test @LoopActor func tooFewPointsChangeNothing() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        let hold = Hold.test(id, 1, seats: [1, 2])
        #expect(try await store.pay(hold, point: 20, key: key) == .insufficientPoints(balance: 0))
        try await fixture.give(19, to: "c1")
        #expect(try await store.pay(hold, point: 20, key: key) == .insufficientPoints(balance: 19))
        #expect(try await store.reservation(hold.id) == hold.held)
        #expect(try await store.payment(of: hold.id) == nil)
        // The price is PostgreSQL's own, whatever Redis says.
        #expect(try await store.pay(.test(id, 1, seats: [1, 2], price: 5), point: 5, key: key) == .wrongPrice(20))
        #expect(try await store.unsettledReservations(limit: 9, olderThanMilliseconds: 0).isEmpty)
        _ = try await store.charge(hold.client, points: 1, reference: "one more")
        guard case .paid = try await store.pay(hold, point: 20, key: key) else {
            Issue.record("not paid")
            return
        }
        #expect(try await store.balance(of: hold.client) == 0)
        try await fixture.expectInOrder(id)
    }

    @Test @LoopActor func unknownPerformanceIsStale() async throws {
        let fixture = try await Fixture()
        let hold = Hold.test(PerformanceID(99), 1, seats: [1])
        #expect(try await fixture.store.pay(hold, point: 10, key: key) == .stale)
        #expect(try await fixture.store.close(hold) == .expired)
        #expect(try await fixture.store.refund(hold.id) == .notFound)
        #expect(try await fixture.store.reservation(hold.id) == nil)
    }

    @Test @LoopActor func whatIsOverCannotBePaid() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1", "c2", "c3", "c4")
        let holds = (1...4).map { Hold.test(id, $0, seats: [$0]) }
        _ = try await store.commit([holds[0].event(.expired), holds[1].event(.released), holds[2].event()])
        #expect(try await store.close(holds[2]) == .expired)
        #expect(try await store.close(holds[2]) == .expired)
        #expect(try await store.close(holds[1]) == .released)
        // Never written.
        #expect(try await store.close(holds[3]) == .expired)
        #expect(try await store.commit([holds[3].event(), holds[2].event()]).isEmpty)
        for hold in holds { #expect(try await store.pay(hold, point: 10, key: key) == .over) }
        for hold in holds { #expect(try await store.balance(of: hold.client) == 100) }
        #expect(try await store.reservation(holds[3].id)?.endedAt == holds[3].expiresAt)
        #expect(try await store.reservationCounts(of: id) == [.expired: 3, .released: 1])
        try await fixture.expectInOrder(id)
    }

    @Test @LoopActor func whatCostsNothingMovesNoPoints() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance(price: 0)
        let hold = Hold.test(id, 1, seats: [1, 2])
        #expect(try await store.pay(hold, point: 1, key: nil) == .wrongPrice(0))
        let results = try await concurrently(20) { _ in try await store.pay(hold, point: 0, key: nil) }
        let paid = results.compactMap { if case .paid(let number) = $0 { number } else { nil } }
        #expect(paid.count == 1)
        #expect(results.filter { $0 == .alreadyPaid(payment: paid[0]) }.count == 19)
        #expect(try await store.payment(of: hold.id)?.amount == 0)
        guard case .released(_, newly: true) = try await store.refund(hold.id) else {
            Issue.record("not refunded")
            return
        }
        #expect(try await store.payment(of: hold.id)?.refundedAt != nil)
        #expect(try await fixture.number("select count(*) from accounts") == 0)
        #expect(try await fixture.number("select count(*) from ledger_entries") == 0)
        try await fixture.expectInOrder(id)
    }

    @Test @LoopActor func refundedExactlyOnce() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1")
        let hold = Hold.test(id, 1, seats: [1, 2, 3])
        #expect(try await store.refund(hold.id) == .notFound)
        _ = try await store.commit([hold.event()])
        #expect(try await store.refund(hold.id) == .notPaid(.held))
        guard case .paid(let number) = try await store.pay(hold, point: 30, key: key) else {
            Issue.record("not paid")
            return
        }
        let results = try await concurrently(50) { _ in try await store.refund(hold.id) }
        let released = results.compactMap { if case .released(let what, let newly) = $0 { (what, newly) } else { nil } }
        #expect(released.count == 50)
        #expect(released.filter(\.1).count == 1)
        #expect(released.allSatisfy { $0.0.status == .released && $0.0.paidAt != nil && $0.0.payment == number })
        #expect(try await store.balance(of: hold.client) == 100)
        #expect(try await store.payment(of: hold.id)?.refundedAt == released[0].0.endedAt)
        // It stays so.
        #expect(try await store.pay(hold, point: 30, key: key) == .over)
        #expect(try await store.close(hold) == .released)
        #expect(try await store.commit([hold.event(), hold.event(.expired)]).isEmpty)
        #expect(try await store.commit([hold.event(.released)]).isEmpty)
        #expect(try await store.reservation(hold.id) == released[0].0)
        try await fixture.expectInOrder(id)

        let other = Hold.test(id, 2, seats: [1], client: "c1")
        _ = try await store.commit([other.event(.released)])
        #expect(try await store.refund(other.id) == .notPaid(.released))
        _ = try await store.commit([Hold.test(id, 3, seats: [2]).event(.expired)])
        #expect(try await store.refund(ReservationID(performance: id, sequence: 3)) == .notPaid(.expired))
    }

    @Test @LoopActor func unsettledUntilItIsNoted() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1", "c2", "c3")
        let holds = (1...3).map { Hold.test(id, $0, seats: [$0]) }
        func unsettled(_ age: Int64 = 0, limit: Int = 9) async throws -> [ReservationID] {
            try await store.unsettledReservations(limit: limit, olderThanMilliseconds: age).map(\.id)
        }
        _ = try await store.commit(holds.map { $0.event() })
        #expect(try await unsettled().isEmpty)
        for hold in holds { _ = try await store.pay(hold, point: 10, key: nil) }
        #expect(try await unsettled() == holds.map(\.id))
        #expect(try await unsettled(limit: 2) == Array(holds.map(\.id).prefix(2)))
        #expect(try await unsettled(60_000).isEmpty)
        #expect(try await store.auditPerformances([id]).map(\.unsettled) == [3])
        try await store.markSettled([holds[1].id, holds[0].id, ReservationID(performance: id, sequence: 9)], as: .paid)
        try await store.markSettled([], as: .paid)
        #expect(try await unsettled() == [holds[2].id])

        // A refund comes between the payment's being told and its being noted: it is still to be told.
        for hold in holds[1...] { _ = try await store.refund(hold.id) }
        try await store.markSettled(holds.map(\.id), as: .paid)
        #expect(try await unsettled() == [holds[1].id, holds[2].id])
        let found = try await store.unsettledReservations(limit: 9, olderThanMilliseconds: 0)
        #expect(found.map(\.status) == [.released, .released])
        #expect(found.map(\.seats) == [[2], [3]])
        try await store.markSettled(holds.map(\.id), as: .released)
        #expect(try await unsettled().isEmpty)
        #expect(try await store.auditPerformances([id]).map(\.unsettled) == [0])
        #expect(try await store.status(holds[0]) == .paid)
    }

    @Test @LoopActor func auditFindsWhatDoesNotFit() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let (id, other) = (try await fixture.performance(), try await fixture.performance())
        try await fixture.give(1000, to: "c1")
        let holds = (1...8).map { Hold.test(id, $0, seats: [$0 * 2, $0 * 2 + 1], client: "c1") }
        _ = try await store.commit(holds.map { $0.event() })
        for hold in holds[..<6] { _ = try await store.pay(hold, point: 20, key: nil) }
        for hold in holds[4..<6] { _ = try await store.refund(hold.id) }
        func found() async throws -> [Int64] {
            let audits = try await store.auditPerformances([other, id])
            #expect(audits.map(\.performance) == [other, id])
            #expect(audits[0].misplaced == 0 && audits[0].unpaid == 0)
            return [audits[1].held, audits[1].sold, audits[1].misplaced, audits[1].unpaid]
        }
        #expect(try await found() == [4, 8, 0, 0])
        // A held and a sold seat are gone; two seats are left of what is over.
        try await fixture.sql("delete from reservation_seats where seat in (3, 15)")
        #expect(try await found() == [3, 7, 2, 0])
        try await fixture.sql(
            """
            alter table reservation_seats
            drop constraint reservation_seats_performance_id_sequence_performance_seat_fkey
            """)
        try await fixture.sql("update reservation_seats set is_live = true where sequence = 5")
        #expect(try await found() == [3, 7, 4, 0])
        // A payment too little, of another, without its ledger entry, given back although it stands; a refund that was
        // none, or gave another sum; none at all.
        for (number, sql)
            in ([
                "update payments set amount = 19 where sequence = 1",
                "update payments set client_id = 'c9' where sequence = 2",
                "delete from ledger_entries where kind = 'payment' and reference like '%-3'",
                "update payments set refunded_at = now() where sequence = 4",
                "update payments set refunded_at = null where sequence = 5",
                "update ledger_entries set amount = 21 where kind = 'payment_refund' and reference like '%-6'",
                "update reservations set status = 'paid', paid_at = now() where sequence = 7",
            ] as [StaticString]).enumerated()
        {
            try await fixture.sql(sql)
            #expect(try await found().last == Int64(number + 1))
        }
        #expect(try await store.audit(sales: []).ledgerDrift == 1)
    }
}
