import EventLoop
import Foundation
import Gateway
import Model
import TestServices
import Testing

/// Accounts, tokens and points over REST.
@Suite struct AccountRouteTests {
    @Test func makesAccountsAndSignsIn() async throws {
        try await withShop(2) { shop in
            let password = "correct horse \(UUID())"
            shop.keepSecret(password)
            let body: JSON = ["name": "Åsa", "password": .text(password)]
            let made = try await shop.call(.post, "/api/users", body)
            #expect(made.status == 201 && made.result.names == ["userId", "token", "expiresAt"])
            let client = try #require(made.result["userId"].text)
            #expect(ClientID(client) != nil)
            let expiry = try #require(Timestamp(rfc3339: made.result["expiresAt"].text ?? ""))
            #expect((86_000_000...86_400_000).contains(expiry.milliseconds - EventLoop.wallMilliseconds))
            // The same name, also where it is composed of other characters.
            for name in ["Åsa", "A\u{30A}sa"] {
                let again = try await shop.call(
                    .post, "/api/users", ["name": .text(name), "password": "another password"], on: 1)
                #expect(again.status == 409 && again.code == "in_use", "\(name)")
            }
            let session = try await shop.call(.post, "/api/sessions", body, on: 1)
            #expect(session.status == 201 && session.result["userId"] == .text(client))
            #expect(session.result["token"] != made.result["token"])
            // Both tokens are good for this client, and for no other, everywhere.
            let sale = try await shop.sale(5)
            for (instance, token) in [made.result["token"], session.result["token"]].enumerated() {
                let who = Who.bearer(try #require(token.text))
                let path = "/api/sales/\(sale)/claims"
                #expect(try await shop.call(.get, "\(path)/\(client)", as: who, on: instance).status == 200)
                let other = try await shop.call(.post, path, as: who, ["userId": "other"], on: instance)
                #expect(other.status == 403)
            }
            let wrong = [
                try await shop.call(.post, "/api/sessions", ["name": "Åsa", "password": "wrong password"]),
                try await shop.call(.post, "/api/sessions", ["name": "nobody", "password": .text(password)]),
                try await shop.call(.post, "/api/sessions", ["name": "a\u{0}b", "password": .text(password)]),
            ]
            for answer in wrong { #expect(answer.status == 401 && answer.text == wrong[0].text) }
            let stored = try await shop.sql("select * from users")
            #expect(stored.contains("Åsa") && !stored.contains(password))
        }
    }

    @Test func refusesWhatMakesNoAccount() async throws {
        try await withShop { shop in
            let long = String(repeating: "n", count: 65)
            for name in ["", " a", "a ", "a\tb", "\n", long] {
                let answer = try await shop.call(
                    .post, "/api/users", ["name": .text(name), "password": "long enough"])
                #expect(answer.status == 422 && answer.code == "invalid", "\(name)")
                #expect(answer.message.hasPrefix("name"))
            }
            for password in ["", "1234567", String(repeating: "p", count: 257)] {
                let answer = try await shop.call(.post, "/api/users", ["name": "a", "password": .text(password)])
                #expect(answer.status == 422 && answer.message.hasPrefix("password"))
            }
            for path in ["/api/users", "/api/sessions"] {
                for body: JSON in [[:], ["name": "a"], ["name": 1, "password": "p"], ["name": "a", "password": nil]] {
                    let answer = try await shop.call(.post, path, body)
                    #expect(answer.status == 400 && answer.code == "bad_request", "\(path) \(body)")
                }
            }
        }
    }

    @Test func makesTokensForAShopWithAccountsOfItsOwn() async throws {
        try await withShop { shop in
            for who in [Who.service, .admin] {
                let made = try await shop.call(.post, "/api/tokens", as: who, ["userId": 7, "expiresIn": 60])
                #expect(made.status == 201 && made.result["userId"] == "7")
                let token = try #require(made.result["token"].text)
                shop.keepSecret(token)
                #expect(try await shop.call(.get, "/api/users/7/point", as: .bearer(token)).status == 200)
            }
            #expect(try await shop.call(.post, "/api/tokens", ["userId": "a"]).status == 401)
            #expect(try await shop.call(.post, "/api/tokens", as: .client("a"), ["userId": "a"]).status == 403)
            for seconds: JSON in [0, -1, 2_592_001] {
                let answer = try await shop.call(
                    .post, "/api/tokens", as: .service, ["userId": "a", "expiresIn": seconds])
                #expect(answer.status == 422 && answer.message.hasPrefix("expiresIn"))
            }
        }
    }

    @Test func keepsPoints() async throws {
        try await withShop(2) { shop in
            func charge(
                _ client: JSON, _ point: JSON, as who: Who, key: String? = nil, on instance: Int = 0
            ) async throws -> Answer {
                try await shop.call(
                    .patch, "/api/users/point", as: who, ["userId": client, "point": point],
                    headers: key.map { [(name: "idempotency-key", value: $0)] } ?? [], on: instance)
            }
            func balance(_ client: String, on instance: Int = 0) async throws -> JSON {
                try await shop.call(.get, "/api/users/\(client)/point", as: .client(client), on: instance).result
            }
            #expect(try await balance("42") == ["userId": "42", "point": 0])
            let charged = try await charge(42, 100, as: .client("42"))
            #expect(charged.status == 200 && charged.result == "SUCCESS")
            #expect(try await charge("42", 50, as: .service, on: 1).status == 200)
            #expect(try await balance("42", on: 1)["point"] == 150)
            // With a key once, however often and wherever; a key belongs to its client.
            let repeated = try await concurrently(20) { index in
                try await charge("42", 1000, as: .admin, key: "top-up", on: index % 2)
            }
            #expect(repeated.allSatisfy { $0.status == 200 && $0.result == "SUCCESS" })
            #expect(try await balance("42")["point"] == 1150)
            #expect(try await charge("43", 5, as: .service, key: "top-up").status == 200)
            #expect(try await balance("43")["point"] == 5)
            // Without one each time.
            _ = try await concurrently(20) { try await charge("44", 1, as: .service, on: $0 % 2) }
            #expect(try await balance("44")["point"] == 20)

            for point: JSON in [0, -1, 1_000_000_000_001, 1e30] {
                let answer = try await charge("42", point, as: .service)
                #expect(answer.status == 422 && answer.message.hasPrefix("point"), "\(point)")
            }
            for point: JSON in ["5", 1.5, nil, true] {
                #expect(try await charge("42", point, as: .service).status == 400, "\(point)")
            }
            #expect(try await charge("a b", 5, as: .service).status == 422)
            #expect(try await charge("42", 5, as: .nobody).status == 401)
            #expect(try await charge("42", 5, as: .client("43")).status == 403)
            #expect(try await shop.call(.get, "/api/users/42/point", as: .client("43")).status == 403)
            #expect(try await shop.call(.get, "/api/users/42/point").status == 401)
            #expect(try await balance("42")["point"] == 1150)
            #expect(try await shop.audited()["ledgerDrift"] == 0)
        }
    }

    /// JSON carries whole numbers up to 2⁵³−1 exactly: no balance goes beyond.
    @Test func refusesABalanceThatJSONCannotCarry() async throws {
        try await withShop { shop in
            try await shop.sql(
                """
                insert into accounts values ('rich', 9007199254740990);
                insert into ledger_entries (client_id, amount, kind, reference)
                values ('rich', 9007199254740990, 'charge', 'test')
                """)
            func charge(_ point: Int64) async throws -> Answer {
                try await shop.call(
                    .patch, "/api/users/point", as: .service, ["userId": "rich", "point": .integer(point)])
            }
            let refused = try await charge(2)
            #expect(refused.status == 422 && refused.message.hasPrefix("point"), "\(refused.text)")
            #expect(try await charge(1).status == 200)
            let balance = try await shop.call(.get, "/api/users/rich/point", as: .service).result["point"]
            #expect(balance == 9_007_199_254_740_991)
        }
    }
}
