import EventLoop
import Glibc
import TestServices
import Testing

/// Redis goes away in the middle of a sale: nobody is told a guess, and nothing is sold twice afterwards.
@Suite struct RedisOutageTests {
    private static let persistent: @Sendable (inout Shop.Options) -> Void = { $0.redis.isPersistent = true }

    @Test func restartedWithItsFileItGoesOn() async throws {
        try await withShop(2, options: Self.persistent) { shop in
            let sale = try await shop.sale(100)
            let watchers = try await concurrently(2) { try await Buyer.connect(shop, as: "watcher\($0)", on: $0) }
            for watcher in watchers { try await watcher.watch(sale) }
            let first = try await concurrently(40) { try await shop.claim(sale, "a\($0)", key: "k", on: $0 % 2) }
            #expect(first.allSatisfy { $0.status == 201 })

            // Claims are under way as it dies: each is decided, or it is not known.
            let during = EventLoop.task { () async -> [Answer] in
                (try? await concurrently(30) { try await shop.claim(sale, "b\($0)", key: "k", on: $0 % 2) }) ?? []
            }
            await shop.redis.kill()
            for answer in await during.value {
                #expect(answer.status == 201 || answer.code == "unavailable", "\(answer.text)")
            }
            try await self.expectUnavailable(shop, sale, watchers)
            try await shop.redis.restart(keepingData: true)

            try await self.recovers(shop, sale)
            let again = try await concurrently(40) { try await shop.claim(sale, "a\($0)", key: "k", on: $0 % 2) }
            for (index, answer) in again.enumerated() {
                #expect(answer.status == 200 && answer.result == first[index].result)
            }
            let rest = try await concurrently(120) { try await shop.claim(sale, "c\($0)", on: $0 % 2) }
            #expect(rest.contains { $0.code == "sold_out" })
            // Watchers that stayed are told how it goes on, without asking again.
            for watcher in watchers { try await watcher.sees(sale, status: "sold_out", remaining: 0) }
            try await shop.expectBooks(sale, sold: 100)
            for index in 0..<40 {
                let truth = try await shop.truth(sale, "a\(index)", on: index % 2)
                #expect(truth["status"] == "confirmed" && truth["ticket"] == first[index].result["ticket"])
            }
        }
    }

    @Test func restartedEmptyItIsRebuiltFromPostgreSQL() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(50, limit: 2)
            let untouched = try await shop.sale(7)
            let buyer = try await Buyer.connect(shop, as: "a0", on: 1)
            let first = try await concurrently(20) { try await shop.claim(sale, "a\($0)", key: "k", on: $0 % 2) }
            #expect(first.allSatisfy { $0.status == 201 })
            let returned = try await shop.claim(sale, "gone")
            try await shop.settled(sale)
            _ = try await shop.call(.delete, "/api/orders/\(returned.order ?? "")", as: .service)
            try await shop.expectBooks(sale, sold: 20)
            let position = buyer.position

            await shop.redis.kill()
            try await self.expectUnavailable(shop, sale, [])
            try await shop.redis.restart(keepingData: false)
            try await self.recovers(shop, sale)
            // Outcomes are counted anew: whoever stayed connected is sent to begin anew, too.
            #expect(try await buyer.closed().code == 1001)

            #expect(try await shop.show(sale, on: 1)["remaining"] == 30)
            #expect(try await shop.show(untouched)["remaining"] == 7)
            for (index, answer) in first.enumerated() {
                let again = try await shop.claim(sale, "a\(index)", key: "k", on: index % 2)
                #expect(again.status == 200 && again.result == answer.result)
                let truth = try await shop.truth(sale, "a\(index)", on: (index + 1) % 2)
                #expect(truth["status"] == "confirmed" && truth["ticket"] == answer.result["ticket"])
            }
            // One more each, as the limit allows, and no third one.
            let second = try await concurrently(20) { try await shop.claim(sale, "a\($0)", on: $0 % 2) }
            let third = try await concurrently(20) { try await shop.claim(sale, "a\($0)", on: $0 % 2) }
            #expect(second.allSatisfy { $0.status == 201 } && third.allSatisfy { $0.code == "duplicate" })
            let rest = try await concurrently(30) { try await shop.claim(sale, "c\($0)", on: $0 % 2) }
            #expect(rest.filter { $0.status == 201 }.count == 10)
            let live = (first + second + rest).filter { $0.status == 201 }
            #expect(Set(live.compactMap(\.ticket)) == Set(1...50))
            #expect(Set(live.compactMap(\.order)).count == 50)
            try await shop.expectBooks(sale, sold: 50)

            // What the client knew belongs to data that are gone: it is told the present truth.
            let back = try await Buyer.connect(shop, as: "a0", resume: position)
            #expect(back.connected["recovered"] == false && back.connected["epoch"] != position["epoch"])
            _ = try await back.ask(["type": "ping"])
            for order in [first[0], second[0]].compactMap(\.order) {
                #expect(back.heard.last { $0["order"] == .text(order) }?["status"] == "confirmed")
            }
        }
    }

    /// Claims that were in Redis only, when it was lost together with whoever accepted them, hold no ticket.
    @Test func whatNobodyKnowsHoldsNoTicket() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,scheduler"]) { shop in
            let sale = try await shop.sale(3)
            for index in 0..<2 { #expect(try await shop.claim(sale, "lost\(index)").status == 201) }
            shop.instances[0].signal(SIGKILL)
            _ = try await shop.instances[0].waitForExit()
            try await shop.restart(0)
            try await shop.redis.restart(keepingData: false)
            try await self.recovers(shop, sale)
            try await shop.start(["DIBS_ROLES": "committer"])
            let rest = try await concurrently(4) { try await shop.claim(sale, "c\($0)") }
            #expect(rest.filter { $0.status == 201 }.count == 3)
            try await shop.expectBooks(sale, sold: 3)
        }
    }

    /// Redis comes back as it was before its latest writes, as after a crash of its machine or a fail-over: PostgreSQL
    /// knows more, and nothing that was confirmed is given to another.
    @Test func restartedWithAnOlderFileItGivesNothingTwice() async throws {
        try await withShop(2, options: Self.persistent) { shop in
            let sale = try await shop.sale(10)
            #expect(try await shop.claim(sale, "early").status == 201)
            try await shop.settled(sale)
            let before = try shop.redis.keepData()
            let lost = try await concurrently(4) { try await shop.claim(sale, "a\($0)", key: "k", on: $0 % 2) }
            #expect(lost.allSatisfy { $0.status == 201 })
            try await shop.settled(sale)

            try await shop.redis.restart(asOf: before)
            try await self.recovers(shop, sale)
            let rest = try await concurrently(10) { try await shop.claim(sale, "c\($0)", on: $0 % 2) }
            let accepted = rest.filter { $0.status == 201 }
            #expect(accepted.count == 5)
            #expect(Set((lost + accepted).compactMap(\.ticket)).count == 9)
            #expect(Set((lost + accepted).compactMap(\.order)).count == 9)
            for index in 0..<4 {
                let again = try await shop.claim(sale, "a\(index)", on: index % 2)
                #expect(again.code == "duplicate")
                #expect(try await shop.truth(sale, "a\(index)")["ticket"] == lost[index].result["ticket"])
            }
            try await shop.expectBooks(sale, sold: 10)
        }
    }

    /// Redis hangs, and does not even close its connections.
    @Test func aSilentRedisIsAnOutageToo() async throws {
        try await withShop(2, ["DIBS_REDIS_TIMEOUT_MS": "500"]) { shop in
            let sale = try await shop.sale(10)
            shop.redis.suspend()
            try await self.expectUnavailable(shop, sale, [])
            shop.redis.resume()
            try await self.recovers(shop, sale)
            #expect(try await shop.claim(sale, "a").ticket != nil)
            try await shop.settled(sale)
            let sold = 10 - (try await shop.show(sale)["remaining"].integer ?? 0)
            try await shop.expectBooks(sale, sold: sold)
        }
    }

    @LoopActor
    private func expectUnavailable(_ shop: Shop, _ sale: Int64, _ buyers: [Buyer]) async throws {
        for instance in 0..<2 {
            let claim = try await shop.claim(sale, "meanwhile", on: instance)
            #expect(claim.status == 503 && claim.code == "unavailable")
            let shown = try await shop.call(.get, "/api/sales/\(sale)", on: instance)
            #expect(shown.status == 503)
            let ready = try await shop.call(.get, "/readyz", on: instance)
            #expect(ready.status == 503)
            let truth = try await shop.call(.get, "/api/sales/\(sale)/claims/a0", as: .service, on: instance)
            #expect(truth.status == 503)
        }
        for buyer in buyers {
            let answer = try await buyer.claim(sale)
            #expect(answer["type"] == "error" && answer["code"] == "unavailable", "\(answer)")
            #expect(try await buyer.ask(["type": "ping"])["type"] == "pong")
        }
    }

    @LoopActor
    private func recovers(_ shop: Shop, _ sale: Int64) async throws {
        for instance in shop.instances.indices {
            try await eventually("it is ready again") {
                try await shop.call(.get, "/readyz", on: instance).status == 200
            }
            #expect(try await shop.call(.get, "/api/sales/\(sale)", on: instance).status == 200)
        }
    }
}
