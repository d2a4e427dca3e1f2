import EventLoop
import Model
import Testing

@testable import Persistence

/// Sales, their windows and their rebuilding.
@Suite(.onLoop) struct SaleTests {
    private func window(_ opens: Int64, _ closes: Int64, version: Int64 = 1, cancelled: Bool = false) -> SaleWindow {
        SaleWindow(opensAt: .at(opens), closesAt: .at(closes), isCancelled: cancelled, version: version)
    }

    @Test @LoopActor func whatIsRegisteredIsRead() async throws {
        let store = try await Fixture().store
        let opens = EventLoop.wallMilliseconds + 1001
        let state = try await store.insertSale(
            name: "Schuhe „ß“ 👟'; drop table sales; --", quantity: 100, price: 5, perClientLimit: 2, room: "main",
            rejectPercent: 30, window: window(opens, opens + 777))
        #expect(state.remaining == 100)
        let stored = try #require(try await store.sale(state.sale.id))
        #expect(stored == StoredSale(sale: state.sale, window: state.window, epoch: 0))
        #expect(stored.sale.name == "Schuhe „ß“ 👟'; drop table sales; --")
        #expect(stored.window == window(opens, opens + 777))
        #expect(stored.sale.room == "main")
        #expect(try await store.sale(SaleID(12345)) == nil)
    }

    @Test @LoopActor func nonsenseIsRefused() async throws {
        let store = try await Fixture().store
        for (quantity, price, limit, percent, closes) in [
            (0, 0, 1, 0, 2000), (1, -1, 1, 0, 2000), (1, 0, 0, 0, 2000), (1, 0, 1, 101, 2000), (1, 0, 1, 0, 999),
        ] as [(Int64, Int64, Int64, Int64, Int64)] {
            await #expect {
                _ = try await store.insertSale(
                    name: "x", quantity: quantity, price: price, perClientLimit: limit, room: nil,
                    rejectPercent: percent, window: window(1000, closes))
            } throws: { ($0 as? DatabaseError)?.sqlstate == "23514" }
        }
    }

    @Test @LoopActor func pagesAndActivity() async throws {
        let store = try await Fixture().store
        let now = EventLoop.wallMilliseconds
        var ids: [SaleID] = []
        for closes in [now - 7_200_000, now - 60_000, now + 60_000, now + 60_000] {
            ids.append(
                try await store.insertSale(
                    name: "x", quantity: 1, price: 0, perClientLimit: 1, room: nil, rejectPercent: 0,
                    window: window(1000, closes)
                ).sale.id)
        }
        #expect(try await store.sales(limit: 3).map(\.sale.id) == [ids[3], ids[2], ids[1]])
        #expect(try await store.sales(before: ids[1], limit: 3).map(\.sale.id) == [ids[0]])
        _ = try await store.setWindow(window(1000, now + 60_000, version: 2, cancelled: true), of: ids[3])
        #expect(try await store.activeSales().map(\.sale.id) == ids.dropFirst().map { $0 })
        #expect(try await store.activeSales(endedWithinMilliseconds: 86_400_000).map(\.sale.id) == ids)
    }

    @Test @LoopActor func activityOfAllTimes() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let (ancient, cancelled, recent) = (
            try await fixture.sale(), try await fixture.sale(), try await fixture.sale()
        )
        _ = try await store.setWindow(window(.min, .min, version: 2), of: ancient)
        _ = try await store.setWindow(window(1000, 2000, version: 2, cancelled: true), of: cancelled)
        try await fixture.sql(
            "update sales set window_changed_at = '1990-01-01' where id = $1", .integer(cancelled.rawValue))
        for time in [.max, .max / 2, 1 << 53] as [Int64] {
            #expect(
                try await store.activeSales(endedWithinMilliseconds: time).map(\.sale.id)
                    == [ancient, cancelled, recent])
        }
        #expect(try await store.activeSales(endedWithinMilliseconds: .min).isEmpty)
        #expect(try await store.unreleased(limit: 9, olderThanMilliseconds: .max).isEmpty)
        #expect(try await store.stalledRetries(olderThanMilliseconds: .max, limit: 9).isEmpty)
    }

    @Test @LoopActor func lastSequencesOfOrdersAndFailedOnes() async throws {
        let fixture = try await Fixture(attempts: 1)
        let store = fixture.store
        let (one, two, none) = (
            try await fixture.sale(), try await fixture.sale(quantity: 5), try await fixture.sale()
        )
        _ = try await store.commit([.test(one, 1), .test(one, 7), .test(one, 3), .test(two, 2), .test(two, 9)])
        _ = try await store.beginRebuild(two)
        let found = try await store.lastSequences(of: [none, two, one, SaleID(99), one])
        #expect(found.count == 3)
        #expect([one, two, none].map { found[$0]?.epoch } == [0, 1, 0])
        #expect([one, two, none].map { found[$0]?.lastSequence } == [7, 9, 0])
        #expect(try await store.lastSequences(of: [SaleID]()).isEmpty)
    }

    @Test @LoopActor func olderWindowNeverReplacesANewer() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale()
        let newer = window(1, 5000, version: 5)
        #expect(try await store.setWindow(newer, of: sale) == newer)
        for version in [1, 4, 5] as [Int64] {
            #expect(try await store.setWindow(window(7, 8, version: version), of: sale) == newer)
        }
        #expect(try await store.setWindow(newer, of: SaleID(99)) == nil)
        // Of several at once, one wins, and all hear which.
        let answers = try await concurrently(8) {
            try await store.setWindow(window(Int64($0), 9000, version: 6), of: sale)
        }
        #expect(Set(answers).count == 1)
        #expect(try await store.sale(sale)?.window == answers[0])
    }

    @Test @LoopActor func rebuildReadsEverythingOnce() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 50)
        _ = try await fixture.sale()
        var orders = AcceptedOrder.many(sale, 1...20)
        orders[4] = .test(sale, 5, key: "a-key")
        orders.append(.test(sale, 21, ticket: 51))
        #expect(try await store.commit(orders).count(.confirmed) == 20)
        _ = try await store.cancel(orders[9].order)
        try await store.storeMoments(sale, firstClaimAt: .at(1234), soldOutAt: nil)

        let snapshot = try #require(try await store.beginRebuild(sale))
        #expect(snapshot.epoch == 1)
        #expect(snapshot.lastSequence == 21)
        #expect(snapshot.orders.map(\.order.sequence) == (1...20).filter { $0 != 10 })
        #expect(
            snapshot.orders[4]
                == LiveOrder(
                    order: OrderID(sale: sale, sequence: 5), client: ClientID("c5")!, ticket: 5, slot: 1,
                    key: IdempotencyKey("a-key"), isConfirmed: true))
        #expect(snapshot.counts[.confirmed] == 20)
        #expect(snapshot.counts[.cancelled] == 1)
        #expect(snapshot.counts[.failed] == 1)
        #expect(snapshot.firstClaimAt == .at(1234))
        #expect(try await store.beginRebuild(SaleID(99)) == nil)
        #expect(
            try await concurrently(4) { _ in try await store.beginRebuild(sale)!.epoch }.sorted() == [
                2, 3, 4, 5,
            ])
    }

    /// A rebuild between batches: what it did not read is failed, what it read is confirmed, and nothing is in between.
    @Test @LoopActor func rebuildIsNeverInTheMiddleOfACommit() async throws {
        let fixture = try await Fixture(committers: 2)
        let store = fixture.store
        let sale = try await fixture.sale()
        let rebuilding = EventLoop.task { () async -> SaleSnapshot? in
            while true {
                if let seen = try? await store.order(OrderID(sale: sale, sequence: 500)), seen.status == .confirmed {
                    return try? await store.beginRebuild(sale)
                }
            }
        }
        let settlements = try await concurrently(20) { batch in
            try await store.commit(AcceptedOrder.many(sale, Int64(batch * 100 + 1)...Int64(batch * 100 + 100)))
        }.flatMap { $0 }
        let snapshot = try #require(await rebuilding.value)
        let confirmed = settlements.filter { $0.status == .confirmed }.map(\.order.order.sequence).sorted()
        #expect(snapshot.orders.map(\.order.sequence) == confirmed)
        #expect(settlements.count == 2000)
    }
}
