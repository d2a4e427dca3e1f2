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
        #expect(try await store.commit([hold.event(), hold.event(.expired), hold.event(.released)]).isEmpty)
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
