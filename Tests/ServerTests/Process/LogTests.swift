import EventLoop
import Foundation
import Gateway
import TestServices
import Testing

/// Every test of a whole server checks the form of all log lines and that they tell no secret (`Shop.checkLogs`). Here
/// secrets are put where they might slip through.
@Suite struct LogTests {
    @Test func secretsInOddPlacesAreNotLogged() async throws {
        try await withShop { shop in
            let token = shop.token("ada")
            let password = "pass-\(UUID())"
            shop.keepSecret(password)
            let url = shop.instances[0].url
            for path in ["/api/users/\(token)/point", "/healthz?token=\(token)", "/\(shop.adminKey)", "/ws?x=\(token)"]
            {
                _ = try? await HTTPClient.request(.get, url + path)
            }
            for header in ["authorization", "token", "idempotency-key", "cookie"] {
                for value in [token, "Bearer \(shop.adminKey)x", "Basic \(password)", shop.serviceKey] {
                    let headers = [(name: header, value: value)]
                    _ = try await HTTPClient.request(.get, url + "/api/audit", headers: headers)
                }
            }
            for body: JSON in [
                ["name": "ada", "password": .text(password)], ["name": .text(password), "password": "x"],
                [.text(password)], ["userId": .text(shop.jwtSecret), "point": .text(token)],
            ] {
                for path in ["/api/users", "/api/sessions", "/api/tokens"] {
                    _ = try await shop.call(.post, path, as: .service, body)
                }
                _ = try await shop.call(.patch, "/api/users/point", as: .service, body)
            }
            let buyer = try await Buyer.open(shop)
            for message: JSON in [
                ["type": .text(token)], ["type": "connect", "token": [.text(token)]], ["token": .text(token)],
                ["type": "claim", "sale": .text(token), "key": .text(shop.adminKey)],
            ] { _ = try await buyer.ask(message) }
            buyer.send(["type": "connect", "token": .text(shop.adminKey), "client": .text("a b" + token)])
            #expect(try await buyer.closed().code == 4501)
            #expect(!(try await shop.call(.get, "/metrics").text).contains(token))
        }
    }

    @Test func addressesAreLoggedWithoutTheirPasswords() async throws {
        try await withShop(0) { shop in
            let passwords = ["redis-\(UUID())", "postgres-\(UUID())"]
            for password in passwords { shop.keepSecret(password) }
            // Nobody is there.
            let dibs = try shop.run(
                ["serve"],
                [
                    "DIBS_REDIS_URL": "redis://:\(passwords[0])@127.0.0.1:1/0",
                    "DIBS_DATABASE_URL": "postgresql://ada:\(passwords[1])@127.0.0.1:1/x",
                    "DIBS_ADMIN_KEYS": shop.adminKey, "DIBS_DATABASE_TIMEOUT_MS": "200",
                ])
            let unknown = try await dibs.waitFor(event: "unknown_variable")
            #expect(unknown.json["name"] == "DIBS_ADMIN_KEYS")
            for _ in 0..<2 { try await dibs.waitFor(event: "waiting_for_postgres") }
            #expect(dibs.log.items.contains { $0.text.contains("127.0.0.1:1") })
            dibs.signal(SIGTERM)
            #expect(try await dibs.waitForExit() == ChildProcess.Exit(status: 0, signal: 0))
        }
    }
}
