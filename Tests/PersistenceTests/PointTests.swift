import EventLoop
import Model
import Testing

@testable import Persistence

/// Points are moved exactly, however many move them at once.
@Suite(.onLoop) struct PointTests {
    private let client = ClientID("alice")!

    @Test @LoopActor func chargingIsCountedOncePerReference() async throws {
        let store = try await Fixture().store
        #expect(try await store.balance(of: client) == 0)
        let balances = try await concurrently(20) {
            try await store.charge(self.client, points: 7, reference: "r\($0 / 2)")
        }
        #expect(balances.max() == 70)
        #expect(try await store.balance(of: client) == 70)
        // Another's reference is another reference.
        #expect(try await store.charge(ClientID("bob")!, points: 1, reference: "r1") == 1)
        #expect(try await store.audit(sales: []).ledgerDrift == 0)
    }

    @Test @LoopActor func whatCannotBeCharged() async throws {
        let store = try await Fixture().store
        let largest: Int64 = 1 << 53 - 1
        #expect(try await store.charge(client, points: largest, reference: "r") == largest)
        for points in [1, .max, 0, -1, .min] as [Int64] {
            await #expect {
                _ = try await store.charge(client, points: points, reference: "s")
            } throws: { ($0 as? WireError)?.code == .invalid }
        }
        #expect(try await store.charge(client, points: largest, reference: "r") == largest)
        #expect(try await store.balance(of: client) == largest)
    }

    @Test @LoopActor func pricedOrdersInParallelSpendEachPointOnce() async throws {
        let fixture = try await Fixture(committers: 4)
        let store = fixture.store
        let sale = try await fixture.sale(price: 30, limit: 1000)
        for number in 0..<4 { _ = try await store.charge(ClientID("p\(number)")!, points: 1000, reference: "r") }
        // 4 clients × 100 orders of 30 points; each can pay 33 and keeps 10.
        let settlements = try await concurrently(40) { batch in
            try await store.commit(
                (0..<10).map { index in
                    let number = Int64(batch * 10 + index + 1)
                    return .test(sale, number, client: "p\(number % 4)", slot: number)
                })
        }.flatMap { $0 }
        #expect(settlements.count(.confirmed) == 4 * 33)
        #expect(settlements.count(.failed) == 400 - 4 * 33)
        #expect(Set(settlements.compactMap(\.reason)) == ["insufficient_points"])
        for number in 0..<4 { #expect(try await store.balance(of: ClientID("p\(number)")!) == 10) }
        let audit = try await store.audit(sales: [sale])
        #expect(audit.ledgerDrift == 0)
        #expect(audit.sales[0].countDrift == 0)
        #expect(audit.sales[0].failed == 400 - 4 * 33)

        // A failed one commits when there are points, by a retry only.
        let failed = try await store.failedOrders(sale: sale, limit: 1)[0].order
        _ = try await store.charge(failed.client, points: 1000, reference: "s")
        #expect(try await store.commit([failed]).map(\.reason) == ["insufficient_points"])
        #expect(try await store.beginRetry(failed.order) != nil)
        let retried = AcceptedOrder.test(
            sale, failed.order.sequence, client: failed.client.rawValue, ticket: failed.ticket, slot: failed.slot,
            entry: 1000)
        #expect(try await store.commit([retried]).count(.confirmed) == 1)
        #expect(try await store.balance(of: failed.client) == 980)
        #expect(try await store.audit(sales: [sale]).sales[0].countDrift == 0)
    }

    @Test @LoopActor func orderOfAClientWithoutAccount() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale(price: 30)
        #expect(try await fixture.store.commit([.test(sale, 1)]).map(\.reason) == ["insufficient_points"])
        #expect(try await fixture.store.balance(of: ClientID("c1")!) == 0)
    }
}
