import EventLoop
import Glibc
import Model
import TestServices
import Testing

/// An instance dies between any two steps, and nobody's order is lost, doubled, or told twice.
@Suite struct KilledInstanceTests {
    /// Many clients claim at A, which is killed at once, or after it has told some; they come back at B.
    @Test func whoeverWasThereResumesElsewhere() async throws {
        try await withShop(2) { shop in
            let rounds = 10
            let clients = 20
            let sale = try await shop.sale(Int64(rounds * clients))
            var finishing: [Task<Result<Void, any Error>, Never>] = []
            for round in 0..<rounds {
                let heard = Journal<Int>()
                let buyers = try await concurrently(clients) { index in
                    try await Buyer.connect(shop, as: "c\(round).\(index)", on: 1)
                }
                for (index, buyer) in buyers.enumerated() {
                    buyer.send(["type": "claim", "sale": .integer(sale), "key": "k"])
                    EventLoop.task {
                        if (try? await buyer.next(type: "result")) != nil { heard.add(index) }
                    }
                }
                // In the first rounds before it told anybody, then later and later.
                if round > 1 { for _ in 0..<(round - 1) { try await heard.next("a result") } }
                shop.instances[1].signal(SIGKILL)
                for buyer in buyers { try await buyer.closed() }
                finishing += buyers.map { before in
                    EventLoop.task { await self.finish(shop, sale, before) }
                }
                _ = try await shop.instances[1].waitForExit()
                try await shop.restart(1)
            }
            for task in finishing { try await task.value.get() }
            try await shop.expectBooks(sale, sold: Int64(rounds * clients))
        }
    }

    @LoopActor
    private func finish(_ shop: Shop, _ sale: Int64, _ before: Buyer) async -> Result<Void, any Error> {
        do {
            let after = try await Buyer.connect(shop, as: before.client, on: 0, resume: before.position)
            #expect(after.connected["recovered"] == true)
            // It may not know whether its claim was decided: the same key gets the same answer.
            let answer = try await after.claim(sale, key: "k")
            #expect(answer["outcome"] == "accepted" && answer["offset"] == 1, "\(answer)")
            if !before.offsets.contains(2) {
                #expect(try await after.order("confirmed", in: sale)["order"] == answer["order"])
            }
            if let told = before.heard.first(where: { $0["type"] == "result" }) {
                #expect(told["order"] == answer["order"] && told["ticket"] == answer["ticket"])
            }
            // Each once and in order: but for the answer to the repeated question, which carries its id.
            let pushed = after.heard.filter { $0["id"].isNull }.compactMap { $0["offset"].integer }
            let all = before.offsets + pushed
            #expect(all == [1, 2] || (all == [2] && before.offsets.isEmpty), "\(before.offsets), then \(after.heard)")
            try await after.close()
            return .success(())
        } catch {
            return .failure(error)
        }
    }

    /// Committers die with orders in their hands; others finish them.
    @Test func committersThatDieLeaveNothingBehind() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,scheduler"]) { shop in
            for _ in 0..<2 { try await shop.start(["DIBS_ROLES": "committer", "DIBS_COMMIT_BATCH": "20"]) }
            let sale = try await shop.sale(1500)
            let watcher = try await Buyer.connect(shop, as: "c7")
            let claims = EventLoop.task {
                try? await concurrently(30) { lane in
                    for index in 0..<50 {
                        let answer = try await shop.claim(sale, "c\(lane * 50 + index)")
                        #expect(answer.status == 201)
                    }
                }
            }
            for round in 0..<6 {
                // In the middle of its work: it has confirmed more than before.
                let confirmed = try await self.confirmed(shop, sale)
                try await eventually("some more are confirmed") {
                    let now = try await self.confirmed(shop, sale)
                    return now > confirmed || now == 1500
                }
                let victim = 1 + round % 2
                shop.instances[victim].signal(SIGKILL)
                _ = try await shop.instances[victim].waitForExit()
                try await shop.restart(victim, ["DIBS_ROLES": "committer", "DIBS_COMMIT_BATCH": "20"])
            }
            _ = await claims.value
            try await watcher.order("confirmed", in: sale)
            try await shop.expectBooks(sale, sold: 1500)
            #expect(watcher.offsets == [1, 2])
            #expect(try await shop.sql("select count(*) from failed_orders") == "0")
        }
    }

    @LoopActor
    private func confirmed(_ shop: Shop, _ sale: Int64) async throws -> Int64 {
        try await shop.statistics(sale)["confirmed"].integer ?? 0
    }
}
