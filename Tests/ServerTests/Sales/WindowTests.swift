import EventLoop
import Model
import TestServices
import Testing

/// A sale opens and closes by its own clock, on every instance.
@Suite struct WindowTests {
    /// To the second: so late may a push be, on a machine that has other things to do.
    private static let late: Range<Int64> = 0..<2000

    @Test func opensAndClosesByItselfOnEveryInstance() async throws {
        try await withShop(2) { shop in
            // A busy machine may take longer for what has to be done before it opens: then with more time.
            for seconds in [Int64(1), 4, 16, 64] where try await self.sell(shop, within: seconds * 1000) { return }
            Issue.record("this machine is too slow to claim before a sale opens")
        }
    }

    /// - Returns: false when the test was too slow for the sale.
    @LoopActor
    private func sell(_ shop: Shop, within time: Int64) async throws -> Bool {
        let watchers = try await concurrently(2) { try await Buyer.connect(shop, as: "watcher\(time).\($0)", on: $0) }
        let opensAt = EventLoop.wallMilliseconds + time
        let closesAt = opensAt + time
        let sale = try await shop.sale(10, opensIn: time, closesIn: 2 * time)
        let states = try await concurrently(2) { try await watchers[$0].watch(sale) }
        let early = try await concurrently(2) { try await shop.claim(sale, "early\($0)", on: $0) }
        let earlier = try await watchers[0].claim(sale)
        guard EventLoop.wallMilliseconds < opensAt else { return false }
        #expect(states.allSatisfy { $0["status"] == "scheduled" })
        #expect(early.allSatisfy { $0.status == 409 && $0.code == "not_open" })
        #expect(earlier["outcome"] == "not_open")

        var pushes: [(frame: JSON, at: Int64, by: Buyer)] = []
        for watcher in watchers { pushes.append((try await watcher.sees(sale, status: "open"), opensAt, watcher)) }
        let results = try await concurrently(2) { try await watchers[$0].claim(sale) }
        let answers = try await concurrently(2) { try await shop.claim(sale, "rest\($0)", on: $0) }
        guard EventLoop.wallMilliseconds < closesAt else { return false }
        #expect(results.allSatisfy { $0["outcome"] == "accepted" })
        #expect(answers.allSatisfy { $0.status == 201 })

        for (instance, watcher) in watchers.enumerated() {
            pushes.append((try await watcher.sees(sale, status: "closed", remaining: 6), closesAt, watcher))
            #expect(try await watcher.claim(sale)["outcome"] == "closed")
            let refused = try await shop.claim(sale, "late\(instance)", on: instance)
            #expect(refused.status == 409 && refused.code == "closed")
            #expect(try await shop.show(sale, on: instance)["status"] == "closed")
        }
        // The moments are those of the registration, a little after `opensAt` here.
        for push in pushes { #expect(Self.late.contains((push.by.arrival(of: push.frame) ?? 0) - push.at)) }
        try await shop.expectBooks(sale, sold: 4)
        return true
    }

    /// Claims without a pause, from before the opening to after the closing: those that got something came in time.
    @Test func nobodyGetsAnythingOutsideOfIt() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(100_000, opensIn: 1000, closesIn: 2000)
            let outcomes = try await concurrently(8) { lane in
                let buyer = try await Buyer.connect(shop, as: "c\(lane)", on: lane % 2)
                var outcomes: [String] = []
                while outcomes.last != "closed" {
                    let outcome = try await buyer.claim(sale)["outcome"].text ?? ""
                    outcomes.append(outcome == "duplicate" ? "accepted" : outcome)
                }
                return outcomes
            }
            for lane in outcomes {
                // In this order, and never back.
                let order = ["not_open": 0, "accepted": 1, "closed": 2]
                let ranks = lane.map { order[$0] ?? 9 }
                #expect(ranks == ranks.sorted() && ranks.last == 2)
            }
            try await shop.settled(sale)
            let outside = try await shop.sql(
                """
                select count(*) from orders join sales on sales.id = sale_id
                where accepted_at < opens_at or accepted_at >= closes_at
                """)
            #expect(outside == "0")
        }
    }
}
