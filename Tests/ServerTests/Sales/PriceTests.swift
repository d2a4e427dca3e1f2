import EventLoop
import TestServices
import Testing

/// Sales that cost points: charged when the order is written down, returned once when it is given back.
@Suite struct PriceTests {
    @LoopActor
    private func charge(_ shop: Shop, _ client: String, _ points: Int64) async throws {
        let answer = try await shop.call(
            .patch, "/api/users/point", as: .service, ["userId": .text(client), "point": .integer(points)])
        #expect(answer.status == 200)
    }

    @LoopActor
    private func balance(_ shop: Shop, _ client: String) async throws -> Int64 {
        try await shop.call(.get, "/api/users/\(client)/point", as: .client(client)).result["point"].integer ?? -1
    }

    @Test func whoCannotPayFailsAndIsTold() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(10, limit: 3, price: 100)
            try await self.charge(shop, "ada", 250)
            let buyers = try await concurrently(2) { try await Buyer.connect(shop, as: ["ada", "poor"][$0], on: $0) }
            let results = try await concurrently(3) { _ in try await buyers[0].claim(sale) }
            #expect(results.allSatisfy { $0["outcome"] == "accepted" })
            for _ in 0..<2 { try await buyers[0].order("confirmed", in: sale) }
            let failed = try await buyers[0].order("failed", in: sale)
            #expect(failed["reason"] == "insufficient_points")
            #expect(try await self.balance(shop, "ada") == 50)

            #expect(try await buyers[1].claim(sale)["outcome"] == "accepted")
            #expect(try await buyers[1].order("failed", in: sale)["reason"] == "insufficient_points")
            // It is told first, and given back then.
            try await shop.settled(sale)
            let truth = try await shop.truth(sale, "poor")
            #expect(truth["status"] == "failed" && truth["reason"] == "insufficient_points")
            #expect(try await self.balance(shop, "poor") == 0)
            #expect(try await shop.show(sale)["remaining"] == 8)
            try await shop.expectBooks(sale, sold: 2)

            // With enough points the same order can be replayed.
            try await self.charge(shop, "poor", 100)
            let order = truth["order"].text ?? ""
            #expect(try await shop.call(.post, "/api/failed-orders/\(order)/retry", as: .admin).status == 200)
            try await buyers[1].order("confirmed", in: sale)
            #expect(try await self.balance(shop, "poor") == 0)
            let shown = try await shop.call(.get, "/api/orders/\(order)", as: .client("poor")).result
            #expect(shown["status"] == "confirmed" && shown["price"] == 100)
            try await shop.expectBooks(sale, sold: 3)
        }
    }

    @Test func cancellingRefundsOnceHoweverOftenItIsAsked() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(5, price: 70)
            let other = try await shop.sale(5, price: 30)
            try await self.charge(shop, "ada", 100)
            let buyer = try await Buyer.connect(shop, as: "ada", on: 1)
            let order = try #require(try await buyer.claim(sale)["order"].text)
            _ = try await buyer.claim(other)
            try await buyer.order("confirmed", in: sale)
            try await buyer.order("confirmed", in: other)
            #expect(try await self.balance(shop, "ada") == 0)

            let answers = try await concurrently(20) {
                try await shop.call(.delete, "/api/orders/\(order)", as: .client("ada"), on: $0 % 2)
            }
            #expect(answers.allSatisfy { $0.status == 200 && $0.result == answers[0].result })
            #expect(answers[0].result["status"] == "cancelled" && answers[0].result["price"] == 70)
            #expect(try await self.balance(shop, "ada") == 70)
            try await buyer.order("cancelled", in: sale)
            try await shop.expectBooks(sale, sold: 0)
            try await shop.expectBooks(other, sold: 1)
            #expect(buyer.offsets == [1, 2, 3, 4, 5] || buyer.offsets.sorted() == [1, 2, 3, 4, 5])
            let ledger = try await shop.sql(
                "select kind, amount from ledger_entries where client_id = 'ada' order by kind, amount")
            #expect(ledger == "charge|100\norder|-70\norder|-30\nrefund|70")
            #expect(try await shop.statistics(sale)["cancelled"] == 1)
        }
    }

    /// What is given back before it is written down is never charged.
    @Test func cancellingBeforeTheCommitCostsNothing() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,scheduler"]) { shop in
            let sale = try await shop.sale(5, price: 70)
            try await self.charge(shop, "ada", 100)
            let buyer = try await Buyer.connect(shop, as: "ada")
            let order = try #require(try await buyer.claim(sale)["order"].text)
            let answers = try await concurrently(5) { _ in
                try await shop.call(.delete, "/api/orders/\(order)", as: .client("ada"))
            }
            #expect(answers.allSatisfy { $0.status == 200 && $0.result["status"] == "cancelled" })
            try await buyer.order("cancelled", in: sale)
            #expect(try await buyer.claim(sale)["outcome"] == "accepted")
            try await shop.start(["DIBS_ROLES": "committer"])
            try await buyer.order("confirmed", in: sale)
            #expect(try await self.balance(shop, "ada") == 30)
            try await shop.expectBooks(sale, sold: 1)
            #expect(buyer.heard.filter { $0["status"] == "cancelled" }.count == 1)
        }
    }

    /// A hundred buyers with money for one, on sales that compete for it.
    @Test func pointsAreNeverSpentTwice() async throws {
        try await withShop(2) { shop in
            let sales = [try await shop.sale(50, price: 10), try await shop.sale(50, price: 10)]
            _ = try await concurrently(30) { try await self.charge(shop, "c\($0)", 10) }
            let answers = try await concurrently(60) { index in
                try await shop.claim(sales[index % 2], "c\(index / 2)", on: index / 2 % 2)
            }
            #expect(answers.allSatisfy { $0.status == 201 })
            for sale in sales { try await shop.settled(sale) }
            let confirmed = try await shop.sql("select count(*), count(distinct client_id) from orders")
            #expect(confirmed == "30|30")
            #expect(try await shop.sql("select sum(balance) from accounts") == "0")
            let sold = try await shop.sql("select count(*) from orders where sale_id = \(sales[0])")
            try await shop.expectBooks(sales[0], sold: Int64(sold) ?? -1)
            try await shop.expectBooks(sales[1], sold: 30 - (Int64(sold) ?? -1))
        }
    }
}
