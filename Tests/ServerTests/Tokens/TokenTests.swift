import EventLoop
import Foundation
import Identity
import Model
import TestServices
import Testing

/// Who may come in, over REST and WebSocket alike, and for how long.
@Suite struct TokenTests {
    @Test func aTokenThatWasLoggedOutIsRefusedEverywhere() async throws {
        try await withShop(2) { shop in
            let body: JSON = ["name": "ada", "password": "long enough"]
            let made = try await shop.call(.post, "/api/users", body)
            let client = try #require(made.result["userId"].text)
            let token = try #require(made.result["token"].text)
            let other = try #require(try await shop.call(.post, "/api/sessions", body).result["token"].text)
            let path = "/api/users/\(client)/point"
            let buyers = try await concurrently(4) { index in
                try await Buyer.connect(shop, as: client, on: index % 2, token: index < 2 ? token : other)
            }
            let out = try await shop.call(.delete, "/api/sessions", as: .bearer(token))
            #expect(out.status == 204)

            // Its connections end, within a second and for good; those of the same client's other token stay.
            for buyer in buyers[..<2] { #expect(try await buyer.closed(within: 1000).code == 4501) }
            for buyer in buyers[2...] { #expect(try await buyer.ask(["type": "ping"])["type"] == "pong") }
            for instance in 0..<2 {
                #expect(try await shop.call(.get, path, as: .bearer(token), on: instance).status == 401)
                #expect(try await shop.call(.get, path, as: .bearer(other), on: instance).status == 200)
                let late = try await Buyer.open(shop, on: instance, as: client)
                late.send(["type": "connect", "token": .text(token)])
                #expect(try await late.closed().code == 4501)
            }
            #expect(try await shop.call(.delete, "/api/sessions", as: .bearer(token)).status == 401)
            #expect(try await shop.call(.delete, "/api/sessions").status == 401)
            #expect(try await shop.call(.delete, "/api/sessions", as: .admin).status == 403)

            // Also after Redis lost what it knew, and on an instance that was not there at the time.
            await shop.redis.kill()
            try await shop.redis.restart(keepingData: false)
            let fresh = try await shop.start()
            #expect(try await shop.call(.get, path, as: .bearer(token), on: fresh).status == 401)
            #expect(try await shop.call(.get, path, as: .bearer(other), on: fresh).status == 200)
        }
    }

    @Test func aTokenEndsWithItsTime() async throws {
        try await withShop(2) { shop in
            let token = shop.token("ada", seconds: 3)
            let buyer = try await Buyer.connect(shop, as: "ada", token: token)
            #expect(try await shop.call(.get, "/api/users/ada/point", as: .bearer(token)).status == 200)
            try await eventually("the token has expired", within: 5000) {
                try await shop.call(.get, "/api/users/ada/point", as: .bearer(token), on: 1).status == 401
            }
            // The connection that it opened ends as well.
            #expect(try await buyer.closed(within: 8000).code == 4501)
            let late = try await Buyer.open(shop, on: 1, as: "ada")
            late.send(["type": "connect", "token": .text(token)])
            #expect(try await late.closed().code == 4501)
        }
    }

    @Test func tokensThatProveNothingAreRefused() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(5)
            let now = EventLoop.wallMilliseconds / 1000
            func part(_ json: JSON) -> String {
                Data(json.bytes).base64EncodedString().replacingOccurrences(of: "+", with: "-")
                    .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
            }
            let claims = part(["sub": "ada", "exp": .integer(now + 3600)])
            let good = shop.token("ada")
            let pieces = good.split(separator: ".").map(String.init)
            let foreign = TokenIssuer(secret: "another secret than that of the shop").issue(
                ClientID(trusted: "ada"), lifetimeSeconds: 3600, at: Timestamp(milliseconds: now * 1000))
            let bad: [(String, String)] = [
                ("another secret", foreign.token), ("no signature", part(["alg": "none"]) + ".\(claims)."),
                ("none, typed", part(["alg": "none", "typ": "JWT"]) + ".\(claims).\(pieces[2])"),
                ("another algorithm", part(["alg": "HS512", "typ": "JWT"]) + ".\(claims).\(pieces[2])"),
                ("other claims", "\(pieces[0]).\(claims).\(pieces[2])"),
                ("two parts", "\(pieces[0]).\(pieces[1])"), ("four parts", good + ".x"), ("nothing", ""),
                ("dots", ".."), ("no text", "\u{1}\u{2}"), ("much", String(repeating: "a", count: 5000)),
                ("the secret", shop.jwtSecret), ("nearly the key", String(shop.serviceKey.dropLast())),
                ("expired", shop.token("ada", seconds: -1)),
            ]
            for (what, token) in bad {
                let answer = try await shop.call(.get, "/api/sales/\(sale)/claims/ada", as: .bearer(token))
                #expect(answer.status == 401 && answer.code == "unauthenticated", "\(what)")
                let buyer = try await Buyer.open(shop, as: what)
                buyer.send(["type": "connect", "token": .text(token)])
                #expect(try await buyer.closed().code == 4501, "\(what)")
                #expect(buyer.heard.isEmpty, "\(what)")
            }
            // A token is its client's only, also where a client is named; a key has to name one.
            for (token, client) in [
                (good, JSON.text("bob")), (shop.serviceKey, nil), (shop.adminKey, ""), (shop.serviceKey, "a b"),
            ] {
                let buyer = try await Buyer.open(shop)
                buyer.send(["type": "connect", "token": .text(token), "client": client])
                #expect(try await buyer.closed().code == 4501, "\(client)")
            }
            #expect(try await shop.call(.get, "/api/sales/\(sale)/claims/ada", as: .bearer(good)).status == 200)
        }
    }

    /// A shop signs its own: `iss` doesn't matter, and a number as `sub` is its decimal string.
    @Test func tokensOfAShopOfItsOwnAreTaken() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(5)
            let claims: JSON = [
                "sub": 42, "exp": .integer(EventLoop.wallMilliseconds / 1000 + 60), "iss": "the shop", "aud": ["x"],
            ]
            let token = try await Self.sign(claims, shop.jwtSecret)
            shop.keepSecret(token)
            let answer = try await shop.call(
                .post, "/api/sales/\(sale)/claims", as: .bearer(token), ["userId": 42])
            #expect(answer.status == 201 && answer.result["userId"] == "42")
            let buyer = try await Buyer.connect(shop, as: "42", token: token)
            #expect(buyer.connected["client"] == "42")
            #expect(try await buyer.claim(sale)["outcome"] == "duplicate")
        }
    }

    /// HS256 by another program than ours.
    private static func sign(_ claims: JSON, _ secret: String) async throws -> String {
        let script = #"""
            url() { base64 -w 0 | tr '+/' '-_' | tr -d '='; }
            head=$(printf '{"alg":"HS256","typ":"JWT"}' | url)
            body=$(printf '%s' "$1" | url)
            printf '%s.%s.' "$head" "$body"
            printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -hmac "$2" -binary | url
            """#
        return try await Program.run("/bin/sh", ["-c", script, "sh", claims.description, secret])
    }
}
