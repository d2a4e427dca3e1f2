import EventLoop
import Model
import TestServices
import Testing

/// Never one too many, never one too few.
@Suite struct StockTests {
    @Test func aThousandWantAHundredOverTwoInstances() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(100)
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 1)
            try await watcher.watch(sale)
            let buyers = try await concurrently(600) { try await Buyer.connect(shop, as: "ws\($0)", on: $0 % 2) }
            async let pushed = concurrently(600) { try await buyers[$0].claim(sale) }
            async let called = concurrently(400) { try await shop.claim(sale, "rest\($0)", on: $0 % 2) }
            let (results, answers) = try await (pushed, called)

            let tickets =
                results.filter { $0["outcome"] == "accepted" }.compactMap { $0["ticket"].integer }
                + answers.filter { $0.status == 201 }.compactMap(\.ticket)
            #expect(tickets.count == 100 && Set(tickets) == Set(1...100))
            let soldOut =
                results.filter { $0["outcome"] == "sold_out" && $0["remaining"] == 0 }.count
                + answers.filter { $0.status == 409 && $0.code == "sold_out" }.count
            #expect(soldOut == 900)
            try await watcher.sees(sale, status: "sold_out", remaining: 0)

            for (buyer, result) in zip(buyers, results) where result["outcome"] == "accepted" {
                #expect(try await buyer.order("confirmed", in: sale)["order"] == result["order"])
                #expect(buyer.offsets == [1, 2])
            }
            try await shop.expectBooks(sale, sold: 100)
            for (index, answer) in answers.enumerated() where answer.status == 201 {
                let truth = try await shop.truth(sale, "rest\(index)", on: (index + 1) % 2)
                #expect(truth["status"] == "confirmed" && truth["ticket"] == answer.result["ticket"])
            }
            let told = try await shop.statistics(sale)
            #expect(told["requests"] == 1000 && told["accepted"] == 100 && told["confirmed"] == 100)
            #expect(told["refused"] == ["sold_out": 900])
        }
    }

    @Test func theSameBuyerAHundredTimesGetsOneTicket() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(100)
            let sockets = try await concurrently(4) { try await Buyer.connect(shop, as: "ada", on: $0 % 2) }
            async let pushed = concurrently(60) { try await sockets[$0 % 4].claim(sale) }
            async let called = concurrently(40) { try await shop.claim(sale, "ada", on: $0 % 2) }
            let (results, answers) = try await (pushed, called)
            let accepted =
                results.filter { $0["outcome"] == "accepted" }.map { $0["order"] }
                + answers.filter { $0.status == 201 }.map { $0.result["order"] }
            #expect(accepted.count == 1)
            let duplicates =
                results.filter { $0["outcome"] == "duplicate" }.map { $0["order"] }
                + answers.filter { $0.code == "duplicate" }.map { $0.json["error"]["order"] }
            #expect(duplicates.count == 99 && Set(duplicates) == Set(accepted))
            // Every connection hears of it once, in the same words.
            for socket in sockets {
                #expect(try await socket.order("confirmed", in: sale)["order"] == accepted[0])
                #expect(socket.offsets == [1, 2])
            }
            try await shop.expectBooks(sale, sold: 1)
        }
    }

    @Test func theSameKeyAHundredTimesGetsTheSameAnswer() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(100, limit: 5)
            let answers = try await concurrently(100) {
                try await shop.claim(sale, "ada", key: "wish", on: $0 % 2)
            }
            #expect(Set(answers.map(\.result)).count == 1 && answers[0].ticket == 1)
            #expect(answers.filter { $0.status == 201 }.count == 1)
            #expect(answers.filter { $0.status == 200 }.count == 99)

            // The same over one WebSocket, with an id for each: as many answers, of one wish.
            let buyer = try await Buyer.connect(shop, as: "bob", on: 1)
            let results = try await concurrently(100) { _ in try await buyer.claim(sale, key: "k") }
            #expect(Set(results.map { $0["id"] }).count == 100)
            #expect(Set(results.map { $0["order"] }).count == 1)
            #expect(results.allSatisfy { $0["outcome"] == "accepted" && $0["ticket"] == 2 && $0["offset"] == 1 })
            // And later, on another connection, elsewhere, by another way.
            try await buyer.order("confirmed", in: sale)
            let elsewhere = try await Buyer.connect(shop, as: "bob", on: 0)
            let again = try await elsewhere.claim(sale, key: "k")
            #expect(again["outcome"] == "accepted" && again["order"] == results[0]["order"] && again["ticket"] == 2)
            let called = try await shop.claim(sale, "bob", key: "k")
            #expect(called.status == 200 && called.result["order"] == results[0]["order"])
            try await shop.expectBooks(sale, sold: 2)
        }
    }

    @Test func aReturnedTicketReopensTheSaleWhileItsTimeLasts() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(2)
            let watchers = try await concurrently(2) { try await Buyer.connect(shop, as: "watcher\($0)", on: $0) }
            for watcher in watchers { try await watcher.watch(sale) }
            let first = try await shop.claim(sale, "a")
            let second = try await shop.claim(sale, "b", on: 1)
            for watcher in watchers { try await watcher.sees(sale, status: "sold_out", remaining: 0) }
            #expect(try await shop.claim(sale, "c").code == "sold_out")

            _ = try await shop.call(.delete, "/api/orders/\(first.order ?? "")", as: .client("a"), on: 1)
            for watcher in watchers { try await watcher.sees(sale, status: "open", remaining: 1) }
            let third = try await shop.claim(sale, "c", on: 1)
            #expect(third.status == 201 && third.ticket == first.ticket && third.order != first.order)
            for watcher in watchers { try await watcher.sees(sale, status: "sold_out", remaining: 0) }

            _ = try await shop.call(.post, "/api/sales/\(sale)/close", as: .admin)
            for watcher in watchers { try await watcher.sees(sale, status: "closed") }
            _ = try await shop.call(.delete, "/api/orders/\(second.order ?? "")", as: .client("b"))
            for watcher in watchers { try await watcher.sees(sale, status: "closed", remaining: 1) }
            #expect(try await shop.claim(sale, "d").code == "closed")
            try await shop.expectBooks(sale, sold: 1)
        }
    }

    /// Cancelling and claiming at the same time, over and over: in the end everything was sold exactly once.
    @Test func sellsEveryTicketAlsoThoseThatComeBack() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(10)
            _ = try await concurrently(40) { index in
                let answer = try await shop.claim(sale, "c\(index)", on: index % 2)
                guard answer.status == 201, index % 4 != 0 else { return }
                // Given back twice, on both instances at once.
                let path = "/api/orders/\(answer.order ?? "")"
                async let first = shop.call(.delete, path, as: .service, on: 0)
                async let second = shop.call(.delete, path, as: .service, on: 1)
                let (one, other) = try await (first, second)
                #expect(one.status == 200 && other.status == 200 && one.result["status"] == other.result["status"])
            }
            let left = try #require(try await shop.show(sale)["remaining"].integer)
            let rest = try await concurrently(15) { try await shop.claim(sale, "d\($0)", on: $0 % 2) }
            #expect(rest.filter { $0.status == 201 }.count == left)
            #expect(rest.filter { $0.code == "sold_out" }.count == 15 - Int(left))
            try await shop.expectBooks(sale, sold: 10)
        }
    }
}
