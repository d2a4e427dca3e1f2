import EventLoop
import Foundation
import Gateway
import TestServices
import Testing

/// Limits of clients and addresses: what is too much is told, nobody else pays for it, and nothing is decided by halves.
@Suite struct LimitTests {
    @Test func aClientThatClaimsTooOften() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_CLIENT_ACTION_RATE": "0.01/4"]) { shop in
            let sale = try await shop.sale(50, limit: 50)
            let first = try await Buyer.connect(shop, as: "ada")
            let second = try await Buyer.connect(shop, as: "ada")
            // The limit is the client's: over all its connections, and REST.
            #expect(try await first.claim(sale, key: "1")["outcome"] == "accepted")
            #expect(try await second.claim(sale, key: "2")["outcome"] == "accepted")
            #expect(try await shop.claim(sale, "ada", key: "3").status == 201)
            #expect(try await second.claim(sale, key: "4")["outcome"] == "accepted")
            for buyer in [first, second] {
                let answer = try await buyer.claim(sale, key: "5")
                #expect(answer["type"] == "error" && answer["code"] == "rate_limited", "\(answer)")
                #expect(try await buyer.ask(["type": "join", "room": "main"])["code"] == "rate_limited")
                #expect(
                    try await buyer.ask(["type": "hold", "performance": 1, "seats": [1], "token": "x"])["code"]
                        == "rate_limited")
                #expect(try await buyer.ask(["type": "ping"])["type"] == "pong")
            }
            let refused = try await shop.claim(sale, "ada", key: "5")
            #expect(refused.status == 429 && refused.code == "rate_limited" && refused.headers["retry-after"] == "1")
            // It may still look, and others buy; so does the shop's backend for this client, by its own key.
            #expect(try await shop.truth(sale, "ada")["status"] != "none")
            #expect(try await shop.claim(sale, "bob").status == 201)
            let backend = try await shop.call(
                .post, "/api/sales/\(sale)/claims", as: .service, ["userId": "ada"],
                headers: [(name: "idempotency-key", value: "6")])
            #expect(backend.status == 201)
            try await shop.expectBooks(sale, sold: 6)
            let metrics = try await shop.call(.get, "/metrics").text
            #expect(metrics.contains(#"dibs_limited_total{limit="client_actions"} 7"#))
        }
    }

    @Test func anAddressFromWhichTooMuchIsClaimed() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_ADDRESS_ACTION_RATE": "0.01/3"]) { shop in
            let sale = try await shop.sale(50)
            for client in 0..<3 { #expect(try await shop.claim(sale, "c\(client)").status == 201) }
            #expect(try await shop.claim(sale, "c3").status == 429)
            let buyer = try await Buyer.connect(shop, as: "c4")
            #expect(try await buyer.claim(sale)["code"] == "rate_limited")
            #expect(try await shop.truth(sale, "c4")["status"] == "none")
        }
    }

    @Test func aClientThatConnectsOverAndOver() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_CLIENT_MESSAGE_RATE": "0.01/35"]) { shop in
            for _ in 0..<3 { try await Buyer.connect(shop, as: "ada").abort() }
            let late = try await Buyer.open(shop, as: "ada")
            late.send(["type": "connect", "token": .text(shop.token("ada"))])
            #expect(try await late.closed().code == 4029)
            let other = try await Buyer.connect(shop, as: "bob")
            #expect(try await other.ask(["type": "ping"])["type"] == "pong")
        }
    }

    @Test func badTokensAndTriesAtKeys() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_ADDRESS_FAILURE_RATE": "0.01/3"]) { shop in
            let path = "/api/users/ada/point"
            let forged = shop.token("ada").dropLast(4) + "AAAA"
            for _ in 0..<3 { #expect(try await shop.call(.get, path, as: .bearer(String(forged))).status == 401) }
            let tooMany = try await shop.call(.get, path, as: .bearer(String(forged)))
            #expect(tooMany.status == 429 && tooMany.headers["retry-after"] != nil)
            let socket = try await Buyer.open(shop)
            socket.send(["type": "connect", "token": .text(String(forged))])
            #expect(try await socket.closed().code == 4029)
            // Who guesses keys doesn't learn any more which one is right.
            #expect(try await shop.call(.get, path, as: .bearer("a guess at the key")).status == 429)
            #expect(try await shop.call(.get, path, as: .admin).status == 429)
            // A neighbour with a good token isn't concerned.
            #expect(try await shop.call(.get, path, as: .client("ada")).status == 200)
            let good = try await Buyer.connect(shop, as: "ada")
            #expect(try await good.ask(["type": "ping"])["type"] == "pong")
        }
    }

    @Test func passwordsOfOneAddress() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_ADDRESS_PASSWORD_RATE": "0.01/3"]) { shop in
            let body: JSON = ["name": "ada", "password": "long enough"]
            #expect(try await shop.call(.post, "/api/users", body).status == 201)
            #expect(
                try await shop.call(.post, "/api/sessions", ["name": "ada", "password": "wrong one"]).status == 401)
            #expect(try await shop.call(.post, "/api/sessions", body).status == 201)
            let refused = try await shop.call(.post, "/api/sessions", body)
            #expect(refused.status == 429 && refused.headers["retry-after"] == "10")
            #expect(try await shop.call(.get, "/api/sales").status == 200)
        }
    }

    /// One account's password, tried from ever new addresses: here the address has no limit to speak of.
    @Test func passwordsOfOneAccount() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_ADDRESS_PASSWORD_RATE": "1000/1000"]) { shop in
            for name in ["ada", "bob"] {
                #expect(
                    try await shop.call(.post, "/api/users", ["name": .text(name), "password": "long enough"]).status
                        == 201)
            }
            var statuses: [Int] = []
            for _ in 0..<40 {
                let answer = try await shop.call(.post, "/api/sessions", ["name": "ada", "password": "wrong one"])
                statuses.append(answer.status)
            }
            #expect(statuses.prefix(30).allSatisfy { $0 == 401 })
            // Two or three more may be due by now; the tries don't get through at their own rate.
            #expect(statuses.suffix(10).filter { $0 == 429 }.count >= 5, "\(statuses)")
            #expect(
                try await shop.call(.post, "/api/sessions", ["name": "bob", "password": "long enough"]).status == 201)
        }
    }

    /// A flood of log-ins is bounded by what is hashed and waits, not by the machine's memory; others don't wait for it.
    @Test func aFloodOfLogInsLeavesSalesAlone() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(100)
            let flood = EventLoop.task { () -> [Int] in
                (try? await concurrently(200) { index in
                    try await shop.call(
                        .post, "/api/sessions", ["name": .text("n\(index)"), "password": "does not matter"]
                    ).status
                }) ?? []
            }
            for client in 0..<20 { #expect(try await shop.claim(sale, "c\(client)").status == 201) }
            let statuses = await flood.value
            #expect(statuses.count == 200 && Set(statuses) == [401, 503])
            try await shop.expectBooks(sale, sold: 20)
        }
    }
}
