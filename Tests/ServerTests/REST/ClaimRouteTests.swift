import EventLoop
import Gateway
import Model
import TestServices
import Testing

/// Claims and orders over REST: the contract's table *Sales*, from claiming on.
@Suite struct ClaimRouteTests {
    @Test func acceptsAndRepeats() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(10)
            let first = try await shop.claim(sale, "ada", key: "k-1")
            #expect(first.status == 201)
            let order = try #require(first.order)
            #expect(
                first.result.includes([
                    "order": .text(order), "sale": .integer(sale), "userId": "ada", "ticket": 1, "status": "accepted",
                ]))
            for instance in 0..<2 {
                let again = try await shop.claim(sale, "ada", key: "k-1", on: instance)
                #expect(again.status == 200 && again.result == first.result)
                for key in ["k-2", nil] {
                    let other = try await shop.claim(sale, "ada", key: key, on: instance)
                    #expect(other.status == 409 && other.code == "duplicate")
                    #expect(other.json["error"]["order"] == .text(order))
                }
            }
            // A key belongs to its client.
            #expect(try await shop.claim(sale, "bob", key: "k-1").ticket == 2)
            for who in [Who.service, .admin] {
                let body: JSON = ["userId": .text("by \(who)".filter(\.isLetter))]
                #expect(try await shop.call(.post, "/api/sales/\(sale)/claims", as: who, body).status == 201)
            }
            try await shop.expectBooks(sale, sold: 4)
        }
    }

    @Test func takesIdsAsNumbersAndStrings() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(10, limit: 5)
            for userId: JSON in [1234, "1234"] {
                let answer = try await shop.call(
                    .post, "/api/sales/\(sale)/claims", as: .client("1234"), ["userId": userId])
                #expect(answer.status == 201 && answer.result["userId"] == "1234")
            }
            #expect(try await shop.truth(sale, "1234")["ticket"] == 2)
            let buyer = try await Buyer.connect(shop, as: "1234")
            for id: JSON in [.integer(sale), .text(String(sale))] {
                let answer = try await buyer.ask(["type": "claim", "sale": id])
                #expect(answer["outcome"] == "accepted" && answer["sale"] == .integer(sale))
                #expect(try await buyer.ask(["type": "watch", "sale": id])["sale"] == .integer(sale))
            }
        }
    }

    @Test func refusesByPolicy() async throws {
        try await withShop { shop in
            let sold = try await shop.sale(1)
            let rejecting = try await shop.sale(1, reject: 100)
            let early = try await shop.sale(1, opensIn: 3_000_000)
            let late = try await shop.sale(1, opensIn: -3_000_000, closesIn: -1000)
            let called = try await shop.sale(1)
            _ = try await shop.call(.post, "/api/sales/\(called)/cancel", as: .admin)
            #expect(try await shop.claim(sold, "first").status == 201)
            for (sale, code) in [
                (sold, "sold_out"), (rejecting, "rejected"), (early, "not_open"), (late, "closed"),
                (called, "cancelled"),
            ] {
                let answer = try await shop.claim(sale, "second")
                #expect(answer.status == 409 && answer.code == code)
                #expect(try await shop.truth(sale, "second")["status"] == "none")
            }
            // Being at one's limit comes before being too late for the stock.
            #expect(try await shop.claim(sold, "first").code == "duplicate")
        }
    }

    @Test func refusesWhatIsNoClaim() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(10)
            let path = "/api/sales/\(sale)/claims"
            for who in [Who.nobody, .bearer("x")] {
                #expect(try await shop.call(.post, path, as: who, ["userId": "a"]).status == 401)
            }
            let other = try await shop.call(.post, path, as: .client("a"), ["userId": "b"])
            #expect(other.status == 403 && other.code == "forbidden")
            for body: JSON in [[:], ["userId": nil], ["userId": 1.5], ["userId": true], ["userId": ["a"]], [], "a"] {
                let answer = try await shop.call(.post, path, as: .service, body)
                #expect(answer.status == 400 && answer.code == "bad_request", "\(body)")
            }
            for client in ["", "a b", "a/b", "é", String(repeating: "x", count: 65), "a\u{0}"] {
                let answer = try await shop.call(.post, path, as: .service, ["userId": .text(client)])
                #expect(answer.status == 422 && answer.code == "invalid", "\(client)")
                #expect(answer.message.hasPrefix("userId"))
            }
            for key in [String(repeating: "k", count: 129), "a b", "ü"] {
                let answer = try await shop.claim(sale, "a", key: key)
                #expect(answer.status == 400 && answer.code == "bad_request", "\(key)")
            }
            for unknown in ["9999", "0", "x", "18446744073709551617"] {
                let answer = try await shop.call(
                    .post, "/api/sales/\(unknown)/claims", as: .client("a"), ["userId": "a"])
                #expect(answer.status == 404 && answer.code == "not_found", "\(unknown)")
                #expect(try await shop.call(.get, "/api/sales/\(unknown)/claims/a", as: .client("a")).status == 404)
            }
            #expect(try await shop.call(.get, "\(path)/b", as: .client("a")).status == 403)
            #expect(try await shop.call(.get, "\(path)/b").status == 401)
            #expect(try await shop.call(.get, "\(path)/a%20b", as: .service).status == 400)
            #expect(try await shop.statistics(sale)["requests"] == 0)
            let longest = String(repeating: "k", count: 128)
            #expect(try await shop.claim(sale, String(repeating: "x", count: 64), key: longest).status == 201)
        }
    }

    /// From nothing to confirmed to given back, as each call shows it. The committer comes late, so that `accepted` lasts.
    @Test func tellsTheTruthAboutAClaimAtEveryStage() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,scheduler"]) { shop in
            let sale = try await shop.sale(2)
            let none = try await shop.truth(sale, "ada")
            #expect(none.includes(["status": "none", "order": nil, "ticket": nil, "reason": nil, "orders": []]))
            let order = try #require(try await shop.claim(sale, "ada").order)
            let path = "/api/orders/\(order)"
            let accepted: JSON = ["status": "accepted", "order": .text(order), "ticket": 1, "reason": nil]
            let truth = try await shop.truth(sale, "ada")
            #expect(truth.includes(accepted) && truth["orders"] == [accepted])
            var shown = try await shop.call(.get, path, as: .client("ada")).result
            #expect(shown["status"] == "accepted" && shown["order"] == .text(order) && shown["ticket"] == 1)
            #expect(shown["sale"] == .integer(sale) && shown["userId"] == "ada" && shown["confirmedAt"].isNull)
            // Given back before anybody wrote it down.
            let hasty = try #require(try await shop.claim(sale, "bob").order)
            let given = try await shop.call(.delete, "/api/orders/\(hasty)", as: .client("bob"))
            #expect(given.status == 200 && given.result["status"] == "cancelled")
            #expect(try await shop.truth(sale, "bob")["status"] == "cancelled")
            #expect(try await shop.show(sale)["remaining"] == 1)

            try await shop.start(["DIBS_ROLES": "committer"])
            try await eventually("the order is confirmed") {
                try await shop.truth(sale, "ada")["status"] == "confirmed"
            }
            shown = try await shop.call(.get, path, as: .service).result
            #expect(shown["status"] == "confirmed" && shown["price"] == 0 && shown["cancelledAt"].isNull)
            #expect(Timestamp(rfc3339: shown["acceptedAt"].text ?? "") != nil)
            #expect(Timestamp(rfc3339: shown["confirmedAt"].text ?? "") != nil)
            #expect(try await shop.call(.get, path).status == 401)
            #expect(try await shop.call(.get, path, as: .client("bob")).status == 403)
            #expect(try await shop.call(.delete, path, as: .client("bob")).status == 403)
            #expect(try await shop.call(.delete, path).status == 401)

            let cancelled = try await shop.call(.delete, path, as: .client("ada"))
            #expect(cancelled.status == 200 && cancelled.result["status"] == "cancelled")
            #expect(Timestamp(rfc3339: cancelled.result["cancelledAt"].text ?? "") != nil)
            #expect(try await shop.call(.delete, path, as: .admin).result == cancelled.result)
            #expect(try await shop.truth(sale, "ada")["status"] == "cancelled")
            #expect(try await shop.show(sale)["remaining"] == 2)
            for unknown in ["\(sale)-99", "99-1", "1", "1-", "x-y", "1-1-1", "0-1"] {
                for method in [HTTPMethod.get, .delete] {
                    let answer = try await shop.call(method, "/api/orders/\(unknown)", as: .admin)
                    #expect(answer.status == 404 && answer.code == "not_found", "\(unknown)")
                }
            }
            // Both may buy again, and nothing is lost or doubled.
            for client in ["ada", "bob"] { #expect(try await shop.claim(sale, client).status == 201) }
            try await shop.expectBooks(sale, sold: 2)
        }
    }

    @Test func keepsToTheLimitOfEachClient() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(100, limit: 3)
            let answers = try await concurrently(20) { try await shop.claim(sale, "ada", on: $0 % 2) }
            #expect(answers.filter { $0.status == 201 }.count == 3)
            #expect(answers.filter { $0.code == "duplicate" }.count == 17)
            #expect(Set(answers.compactMap(\.ticket)) == [1, 2, 3])
            // A place that is given back can be taken again, once.
            let order = try #require(answers.compactMap(\.order).first)
            _ = try await shop.call(.delete, "/api/orders/\(order)", as: .client("ada"))
            let more = try await concurrently(10) { try await shop.claim(sale, "ada", on: $0 % 2) }
            #expect(more.filter { $0.status == 201 }.count == 1)
            try await shop.expectBooks(sale, sold: 3)
        }
    }

    @Test func rejectsTheShareThatTheSaleAsksFor() async throws {
        try await withShop { shop in
            let all = try await shop.sale(100, reject: 100)
            let none = try await shop.sale(100, reject: 0)
            let half = try await shop.sale(1000, reject: 50)
            let rejected = try await concurrently(50) { try await shop.claim(all, "c\($0)") }
            #expect(rejected.allSatisfy { $0.status == 409 && $0.code == "rejected" })
            let accepted = try await concurrently(50) { try await shop.claim(none, "c\($0)") }
            #expect(accepted.allSatisfy { $0.status == 201 })
            let mixed = try await concurrently(200) { try await shop.claim(half, "c\($0)") }
            // Less than one in 10²⁰ times outside of this by chance.
            #expect((35...165).contains(mixed.filter { $0.status == 201 }.count))
            #expect(try await shop.statistics(all)["refused"]["rejected"] == 50)
            try await shop.expectBooks(all, sold: 0)
            try await shop.expectBooks(none, sold: 50)
        }
    }
}
