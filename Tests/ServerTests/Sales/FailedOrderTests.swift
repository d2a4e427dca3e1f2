import EventLoop
import TestServices
import Testing

/// What PostgreSQL refuses: only that fails, it is told, its stock comes back once, and it can be tried again.
@Suite struct FailedOrderTests {
    private static let poison = "alter table orders add constraint poison check (client_id not like 'poison%')"
    private static let cure = "alter table orders drop constraint poison"

    /// One poisoned order in a batch of twenty.
    @Test func onlyThePoisonedOrderFails() async throws {
        try await withShop(2, ["DIBS_ROLES": "gateway,scheduler", "DIBS_COMMIT_ATTEMPTS": "2"]) { shop in
            let sale = try await shop.sale(20)
            try await shop.sql(Self.poison)
            let names = ["poison"] + (1..<20).map { "c\($0)" }
            let buyers = try await concurrently(20) { try await Buyer.connect(shop, as: names[$0], on: $0 % 2) }
            let results = try await concurrently(20) { try await buyers[$0].claim(sale) }
            #expect(results.allSatisfy { $0["outcome"] == "accepted" })
            #expect(try await shop.claim(sale, "late").code == "sold_out")
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 1)
            #expect(try await watcher.watch(sale)["status"] == "sold_out")
            let order = results[0]["order"].text ?? ""
            let ticket = results[0]["ticket"]

            try await shop.start(["DIBS_ROLES": "committer"])
            for buyer in buyers[1...] { try await buyer.order("confirmed", in: sale) }
            let failed = try await buyers[0].order("failed", in: sale)
            #expect(failed["order"] == .text(order) && failed["reason"] == "poison" && failed["offset"] == 2)
            try await watcher.sees(sale, status: "open", remaining: 1)
            try await shop.expectBooks(sale, sold: 19)

            // The same everywhere, and for those who may know.
            let truth = try await shop.truth(sale, "poison", on: 1)
            #expect(truth.includes(["status": "failed", "order": .text(order), "reason": "poison"]))
            let shown = try await shop.call(.get, "/api/orders/\(order)", as: .client("poison")).result
            #expect(shown["status"] == "failed" && shown["reason"] == "poison")
            let given = try await shop.call(.delete, "/api/orders/\(order)", as: .client("poison"))
            #expect(given.status == 409 && given.code == "rejected")
            let list = try await shop.call(.get, "/api/failed-orders", as: .admin)
            #expect(list.result.list.count == 1)
            #expect(
                list.result[0].includes([
                    "order": .text(order), "sale": .integer(sale), "userId": "poison", "ticket": ticket,
                    "reason": "poison", "attempts": 2, "status": "failed",
                ]), "\(list.text)")

            // Its ticket is somebody else's now; so there is nothing to try again with.
            let other = try await shop.claim(sale, "other")
            #expect(other.status == 201 && other.result["ticket"] == ticket)
            #expect(try await shop.claim(sale, "late", on: 1).code == "sold_out")
            let inVain = try await shop.call(.post, "/api/failed-orders/\(order)/retry", as: .admin)
            #expect(inVain.status == 409 && inVain.code == "sold_out")
            try await shop.expectBooks(sale, sold: 20)
            #expect(try await shop.truth(sale, "poison")["status"] == "failed")
        }
    }

    @Test func aReplayWorksAfterTheCauseIsGone() async throws {
        try await withShop(2, ["DIBS_COMMIT_ATTEMPTS": "1"]) { shop in
            let sale = try await shop.sale(3)
            try await shop.sql(Self.poison)
            let buyer = try await Buyer.connect(shop, as: "poison", on: 1)
            let order = try await buyer.claim(sale, key: "k")["order"]
            try await buyer.order("failed", in: sale)
            // It is told first, and given back then.
            try await shop.settled(sale)
            let path = "/api/failed-orders/\(order.text ?? "")/retry"
            // Its ticket goes to another, so that the replay takes a new one.
            #expect(try await shop.claim(sale, "other").ticket == 1)

            let tooEarly = try await shop.call(.post, path, as: .admin)
            #expect(tooEarly.status == 200 && tooEarly.result["order"] == order)
            try await eventually("it has failed again") {
                let list = try await shop.call(.get, "/api/failed-orders?sale=\(sale)", as: .admin).result
                return list[0]["attempts"] == 2 && list[0]["status"] == "failed"
            }
            try await shop.expectBooks(sale, sold: 1)

            try await shop.sql(Self.cure)
            #expect(try await shop.call(.post, path, as: .admin, on: 1).status == 200)
            let confirmed = try await buyer.order("confirmed", in: sale)
            #expect(confirmed["order"] == order)
            #expect(try await shop.call(.get, "/api/failed-orders", as: .admin).result == [])
            #expect(try await shop.call(.post, path, as: .admin).status == 404)
            let truth = try await shop.truth(sale, "poison")
            #expect(truth.includes(["status": "confirmed", "order": order, "ticket": confirmed["ticket"]]))
            // Whatever the client was told last of its ticket is what it has, and the key still means this order.
            let told = buyer.heard.last { $0["order"] == order && $0["ticket"].integer != nil }
            #expect(told?["ticket"] == truth["ticket"])
            let again = try await shop.claim(sale, "poison", key: "k")
            #expect(again.status == 200 && again.result.includes(["order": order, "ticket": truth["ticket"]]))
            #expect(buyer.offsets == Array(1...Int64(buyer.offsets.count)))
            try await shop.expectBooks(sale, sold: 2)
        }
    }

    @Test func allFailedOrdersCanBeReplayedAtOnce() async throws {
        try await withShop(2, ["DIBS_COMMIT_ATTEMPTS": "1"]) { shop in
            let sale = try await shop.sale(10)
            try await shop.sql(Self.poison)
            let answers = try await concurrently(8) { try await shop.claim(sale, "poison\($0)", on: $0 % 2) }
            #expect(answers.allSatisfy { $0.status == 201 })
            try await eventually("all have failed") {
                try await shop.call(.get, "/api/failed-orders", as: .admin).result.list.count == 8
            }
            // Page by page, newest first.
            var ids: [Int64] = []
            var before = ""
            while true {
                let page = try await shop.call(.get, "/api/failed-orders?limit=3\(before)", as: .admin).result.list
                guard let last = page.last?["id"].integer else { break }
                ids += page.compactMap { $0["id"].integer }
                before = "&before=\(last)"
            }
            #expect(ids.count == 8 && ids == ids.sorted(by: >))
            #expect(try await shop.call(.get, "/api/failed-orders?sale=99999", as: .admin).result == [])

            // Four of the places are taken by others.
            try await shop.settled(sale)
            for index in 0..<6 { #expect(try await shop.claim(sale, "c\(index)").status == 201) }
            try await shop.sql(Self.cure)
            async let one = shop.call(.post, "/api/failed-orders/retry", as: .admin, on: 0)
            async let other = shop.call(.post, "/api/failed-orders/retry", as: .admin, on: 1)
            let (first, second) = try await (one, other)
            #expect(first.status == 200 && second.status == 200)
            let retried = [first, second].reduce(0) { $0 + ($1.result["retried"].integer ?? 0) }
            #expect(retried >= 4, "\(first.text) \(second.text)")
            try await shop.expectBooks(sale, sold: 10)
            #expect(try await shop.call(.get, "/api/failed-orders", as: .admin).result.list.count == 4)
        }
    }

    /// Redis goes away as an order is replayed: it isn't lost between the two.
    @Test func aReplayThatDidNotReachRedisCanBeRepeated() async throws {
        try await withShop(1, ["DIBS_COMMIT_ATTEMPTS": "1"], options: { $0.redis.isPersistent = true }) { shop in
            let sale = try await shop.sale(3)
            try await shop.sql(Self.poison)
            let order = try await shop.claim(sale, "poison").order ?? ""
            try await eventually("it has failed") { try await shop.truth(sale, "poison")["status"] == "failed" }
            try await shop.sql(Self.cure)
            await shop.redis.kill()
            let path = "/api/failed-orders/\(order)/retry"
            #expect(try await shop.call(.post, path, as: .admin).status == 503)
            try await shop.redis.restart(keepingData: true)
            try await eventually("it is ready") { try await shop.call(.get, "/readyz").status == 200 }
            let again = try await shop.call(.post, path, as: .admin)
            #expect(again.status == 200, "\(again.text)")
            try await eventually("it is confirmed", within: 10_000) {
                try await shop.truth(sale, "poison")["status"] == "confirmed"
            }
            try await shop.expectBooks(sale, sold: 1)
        }
    }
}
