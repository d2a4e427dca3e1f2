import EventLoop
import Foundation
import Gateway
import Model
import TestServices
import Testing

@testable import Server

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

    /// Whoever shares the address of a flood is refused, but keeps its connection, its own budget, and a change a second.
    @Test func anAddressFromWhichTooMuchIsClaimed() async throws {
        let limits = ["DIBS_ADDRESS_ACTION_RATE": "0.01/3", "DIBS_CLIENT_ACTION_RATE": "0.01/10"]
        try await withShop(1, ["DIBS_RATE_LIMIT": "on"].merging(limits) { $1 }) { shop in
            let sale = try await shop.sale(50, limit: 50)
            for client in 0..<3 { #expect(try await shop.claim(sale, "c\(client)").status == 201) }
            let buyer = try await Buyer.connect(shop, as: "c4")
            var refused = 0
            var key = 0
            while refused < 120 {
                key += 1
                let answer = try await buyer.claim(sale, key: "\(key)")
                if answer["code"] == "rate_limited" { refused += 1 } else { #expect(answer["outcome"] == "accepted") }
            }
            // Two at once, and one a second: how long it took is the machine's, but it was far from ten.
            #expect(key - refused >= 2 && key - refused < 10)
            #expect(try await buyer.ask(["type": "ping"])["type"] == "pong")
            try await eventually("its part comes again") {
                key += 1
                return try await buyer.claim(sale, key: "\(key)")["outcome"] == "accepted"
            }
            let other = try await shop.claim(sale, "c5")
            #expect(other.status == 201)
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
            // Tokens that were good are no tries: they cost nothing.
            let expired = shop.token("ada", seconds: -1)
            let revoked = shop.token("ada", seconds: 100)
            #expect(try await shop.call(.delete, "/api/sessions", as: .bearer(revoked)).status == 204)
            for token in [expired, revoked, expired, revoked] {
                #expect(try await shop.call(.get, path, as: .bearer(token)).status == 401)
                let socket = try await Buyer.open(shop)
                socket.send(["type": "connect", "token": .text(token)])
                #expect(try await socket.closed().code == 4501)
            }
            // Nor does what is shown where nobody has to show anything.
            for _ in 0..<5 { #expect(try await shop.call(.get, "/api/sales", as: .bearer("nonsense")).status == 200) }

            let forged = String(shop.token("ada").dropLast(4) + "AAAA")
            for _ in 0..<3 { #expect(try await shop.call(.get, path, as: .bearer(forged)).status == 401) }
            let tooMany = try await shop.call(.get, path, as: .bearer(forged))
            #expect(tooMany.status == 429 && tooMany.headers["retry-after"] != nil)
            let socket = try await Buyer.open(shop)
            socket.send(["type": "connect", "token": .text(forged)])
            #expect(try await socket.closed().code == 4029)
            #expect(try await shop.call(.get, path, as: .bearer("a guess at the key")).status == 429)
            #expect(try await shop.call(.get, "/api/sales", as: .bearer(forged)).status == 200)
            // What is good is taken: others share the address.
            for who in [Who.admin, .service, .client("ada")] {
                #expect(try await shop.call(.get, path, as: who).status == 200)
            }
            #expect(try await shop.call(.get, path, as: .bearer(expired)).status == 401)
            let good = try await Buyer.connect(shop, as: "ada")
            #expect(try await good.ask(["type": "ping"])["type"] == "pong")
            let backend = try await Buyer.open(shop, as: "ada")
            let answer = try await backend.ask(["type": "connect", "token": .text(shop.serviceKey), "client": "ada"])
            #expect(answer["type"] == "connected")
        }
    }

    @Test func passwordsOfOneAddress() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_ADDRESS_PASSWORD_RATE": "0.01/3"]) { shop in
            let body: JSON = ["name": "ada", "password": "long enough"]
            // What is no name and password is not hashed, and costs nothing.
            for _ in 0..<5 { #expect(try await shop.call(.post, "/api/users", ["name": 1]).status == 400) }
            #expect(try await shop.call(.post, "/api/users", body).status == 201)
            #expect(
                try await shop.call(.post, "/api/sessions", ["name": "ada", "password": "wrong one"]).status == 401)
            #expect(try await shop.call(.post, "/api/sessions", body).status == 201)
            let refused = try await shop.call(.post, "/api/sessions", body)
            #expect(refused.status == 429 && refused.headers["retry-after"] == "1")
            #expect(try await shop.call(.get, "/api/sales").status == 200)
            #expect(try await shop.call(.post, "/api/sessions", as: .service, body).status == 201)
        }
    }

    /// One account's password, tried over and over.
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

    /// An account's owner is not locked out by what others try, from wherever; they are.
    @Test func wrongPasswordsBarWhoeverTriedThem() async throws {
        try await onLoop {
            let some = TokenBucket.Limit(perSecond: 1000, burst: 1_000_000)
            let rates = RateLimits(RateConfiguration(addressPasswords: some), trusted: [], metrics: Metrics())
            let addresses = try (0...400).map { try #require(PeerAddress("10.0.\($0 / 250).\($0 % 250 + 1)")) }
            let owner = try #require(PeerAddress("192.0.2.1"))
            for _ in 0..<30 {
                #expect(rates.maySignIn("ada", from: addresses[0]))
                rates.wrongPassword("ada", from: addresses[0])
            }
            #expect(!rates.maySignIn("ada", from: addresses[0]))
            #expect(rates.maySignIn("bob", from: addresses[0]))
            #expect(rates.maySignIn("ada", from: owner))
            // Many addresses, each with few tries.
            for number in 1...400 { rates.wrongPassword("ada", from: addresses[number]) }
            for number in 0...400 { #expect(!rates.maySignIn("ada", from: addresses[number]), "\(number)") }
            #expect(rates.maySignIn("ada", from: owner))
            #expect(rates.maySignIn("bob", from: addresses[1]))
        }
    }

    /// A proxy's address stands for many, and none of them is meant by it.
    @Test func proxiesThemselvesAreNotLimited() async throws {
        try await onLoop {
            let one = TokenBucket.Limit(perSecond: 0.01, burst: 1)
            let proxies = [try #require(AddressRange("10.0.0.0/8"))]
            let limits = RateConfiguration(addressRequests: one, addressFailures: one)
            let rates = RateLimits(limits, trusted: proxies, metrics: Metrics())
            let proxy = try #require(PeerAddress("10.1.1.1"))
            let client = try #require(PeerAddress("192.0.2.1"))
            for _ in 0..<10 { #expect(rates.mayAsk(proxy) && rates.failed(proxy)) }
            #expect(rates.mayAsk(client) && rates.failed(client))
            #expect(!rates.mayAsk(client) && !rates.failed(client))
        }
    }

    /// Who is refused over and over waits for it; neighbours and proxies don't.
    @Test func manyRefusalsComeLate() async throws {
        try await onLoop {
            let proxies = [try #require(AddressRange("10.0.0.0/8"))]
            let rates = RateLimits(RateConfiguration(), trusted: proxies, metrics: Metrics())
            let flood = try #require(PeerAddress("192.0.2.1"))
            for _ in 0..<200 { #expect(rates.pauseBeforeRefusal(flood) == nil) }
            var pauses: [Int64] = []
            while pauses.count < 100 { if let pause = rates.pauseBeforeRefusal(flood) { pauses.append(pause) } }
            #expect(pauses.allSatisfy { $0 == 1000 })
            #expect(rates.pauseBeforeRefusal(try #require(PeerAddress("192.0.2.2"))) == nil)
            let proxy = try #require(PeerAddress("10.1.1.1"))
            for _ in 0..<500 { #expect(rates.pauseBeforeRefusal(proxy) == nil) }
        }
    }

    /// Whether it asks or connects too often: an address with many refusals hears of each a second later.
    @Test func aFloodIsRefusedLate() async throws {
        let limits = [
            "DIBS_RATE_LIMIT": "on", "DIBS_ADDRESS_REQUEST_RATE": "0.01/1", "DIBS_CLIENT_MESSAGE_RATE": "0.01/10",
        ]
        try await withShop(1, limits) { shop in
            let buyer = try await Buyer.connect(shop, as: "ada")
            let request = "GET /api/sales HTTP/1.1\r\nHost: x\r\n\r\n"
            let sockets = try (0..<3).map { _ in try HostileSocket.plain(shop) }
            for socket in sockets { socket.send([UInt8](String(repeating: request, count: 70).utf8)) }
            try await eventually("the quick ones are refused") {
                sockets.map { $0.received.components(separatedBy: "HTTP/1.1 429").count - 1 }.reduce(0, +) >= 200
            }
            // Some may be due at once again by now.
            try await isLate {
                let answer = try await shop.call(.get, "/api/sales")
                #expect(answer.status == 429)
            }
            try await isLate {
                let again = try await Buyer.open(shop, as: "ada")
                again.send(["type": "connect", "token": .text(shop.token("ada"))])
                let end = try await again.closed()
                #expect(end.code == 4029)
            }
            // Who is there already is not made to wait.
            buyer.send(["type": "ping"])
            #expect(try await buyer.next(type: "error")["code"] == "rate_limited")
        }
    }

    /// Repeats what is refused until that takes a second.
    @LoopActor
    private func isLate(_ ask: @LoopActor () async throws -> Void) async throws {
        for _ in 0..<400 {
            let began = ContinuousClock.now
            try await ask()
            if ContinuousClock.now - began >= .milliseconds(990) { return }
        }
        Issue.record("every refusal came at once")
    }

    /// Why a page can't connect is told to the operator, and not more often than is good for the log.
    @Test func refusedOriginsAreLogged() async throws {
        try await withShop { shop in
            for _ in 0..<3 {
                let socket = try HostileSocket.plain(shop)
                socket.send(
                    [UInt8](
                        ("GET /ws HTTP/1.1\r\nHost: inner:8080\r\nOrigin: https://shop.example\r\nUpgrade: websocket\r\n"
                            + "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").utf8))
                try await eventually("it is refused") { socket.received.hasPrefix("HTTP/1.1 403") }
            }
            let line = try await shop.instances[0].waitFor(event: "origin_refused")
            #expect(line.json["origin"] == "https://shop.example" && line.json["host"] == "inner:8080")
            #expect(shop.instances[0].log.items.filter { $0.event == "origin_refused" }.count == 1)
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
