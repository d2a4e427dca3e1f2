import EventLoop
import Glibc
import TestServices
import Testing

@testable import Server

/// Redis that comes back without its last writes, PostgreSQL that hangs, clients that ask in odd orders.
@Suite struct LostSeatWritesTests {
    /// Saves Redis, lets something happen, and has Redis come back with what it had before.
    @LoopActor
    private func losing(_ shop: Shop, _ body: @LoopActor () async throws -> Void) async throws {
        try await Program.run("/usr/bin/redis-cli", ["-s", shop.redis.socketPath, "save"])
        try await body()
        try await shop.redis.restart(keepingData: true)
        for instance in shop.instances.indices {
            try await eventually("it is ready again") {
                try await shop.call(.get, "/readyz", on: instance).status == 200
            }
        }
    }

    /// Of payments, refunds and ends nothing is left in Redis: the paid stay paid, also beyond the hold's deadline, and what
    /// is free is for sale.
    @Test func whatRedisForgotIsNotUndone() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(10, price: 10, holdSeconds: 6)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 100)
            let paid = try await shop.held(date, [1], ada)
            let refunded = try await shop.held(date, [2], ada)
            let other = try await shop.enter("bob")
            let released = try await shop.held(date, [3], other)
            #expect(try await shop.pay(refunded, 10, ada).status == 201)
            try await shop.expectSeatBooks(date, sold: 1, held: 2)
            let again = try await shop.enter("ada")
            try await self.losing(shop) {
                #expect(try await shop.pay(paid, 10, again, on: 1).status == 201)
                #expect(try await shop.giveBack(refunded, "ada").status == 200)
                #expect(try await shop.giveBack(released, "bob", on: 1).status == 200)
                _ = try await shop.held(date, [4], other)
                try await shop.expectSeatBooks(date, sold: 1, held: 1)
            }
            // The hold that Redis forgot runs out, and nothing else does.
            try await eventually("what was held has run out") {
                try await shop.reservations("bob").map { $0["status"] } == ["expired", "released"]
            }
            try await shop.expectSeatBooks(date, sold: 1)
            #expect(try await shop.reservations("ada").map { $0["status"] } == ["released", "paid"])
            #expect(try await shop.balance("ada") == 90)
            let eve = try await shop.enter("eve")
            #expect(try await shop.hold(date, [1], eve).code == "seat_taken")
            for seat: Int64 in 2...4 { _ = try await shop.held(date, [seat], eve, on: 1) }
            // Whoever comes back is told so, and nothing that is not true.
            let buyer = try await Buyer.connect(shop, as: "ada", resume: ["epoch": "x.y", "offset": 1])
            try await buyer.reservation(paid, "paid")
            try await buyer.reservation(refunded, "released")
            #expect(!buyer.heard.contains { $0["status"] == "expired" })
        }
    }

    /// A hold that is gone with Redis' last writes comes back from PostgreSQL, with its deadline.
    @Test func aForgottenHoldComesBack() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(10, price: 10)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 10)
            let first = try await shop.held(date, [1], ada)
            try await shop.expectSeatBooks(date, sold: 0, held: 1)
            var held = JSON.null
            try await self.losing(shop) {
                held = try await shop.hold(date, [2, 3], ada).result
                try await shop.expectSeatBooks(date, sold: 0, held: 3)
            }
            let again = try await shop.hold(date, [3, 2], ada, on: 1)
            #expect(again.status == 200 && again.result["expiresAt"] == held["expiresAt"], "\(again.text)")
            #expect(try await shop.pay(first, 10, ada).status == 201)
            try await shop.expectSeatBooks(date, sold: 1, held: 2)
        }
    }

    /// The record of a hold that PostgreSQL closed is what leads back to telling its client.
    @Test func aSchedulerDiesAfterTelling() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway"]) { shop in
            try await shop.start(["DIBS_FAULT": "payment_begun", "DIBS_ROLES": "gateway"])
            try await shop.start(["DIBS_FAULT": "expired_told", "DIBS_ROLES": "scheduler,committer"])
            let date = try await shop.hall(20, price: 10, holdSeconds: 1)
            let ada = try await shop.enter("ada")
            let buyer = try await Buyer.connect(shop, as: "ada")
            let id = try await shop.held(date, [3], ada)
            let dying = EventLoop.task { _ = try? await shop.pay(id, 10, ada, on: 1) }
            try await shop.instances[1].waitForExit()
            await dying.value
            try await shop.instances[2].waitForExit()
            try await buyer.reservation(id, "expired")
            try await shop.start(["DIBS_ROLES": "scheduler,committer"])
            try await eventually("the seat is free") { try await shop.seatBooks(date)["free"] == 20 }
            try await shop.expectSeatBooks(date, sold: 0)
            #expect(buyer.heard.filter { $0["type"] == "reservation" }.count == 1)
        }
    }

    /// PostgreSQL hangs while many pay: other holds end in their second all the same.
    @Test func hangingPaymentsKeepNoOtherWaiting() async throws {
        try await withShop(1, ["DIBS_DATABASE_TIMEOUT_MS": "4000"], options: { $0.hasOwnPostgres = true }) { shop in
            let date = try await shop.hall(40, price: 10, holdSeconds: 4)
            let visitors = try await concurrently(21) { try await shop.enter("c\($0)") }
            let ids = try await concurrently(20) { try await shop.held(date, [Int64($0 + 1)], visitors[$0]) }
            let buyer = try await Buyer.connect(shop, as: "c20")
            shop.postgres.freeze()
            let paying = EventLoop.task {
                try? await concurrently(20) { try await shop.pay(ids[$0], 10, visitors[$0]).code }
            }
            let held = try await buyer.hold(date, [30], pass: visitors[20].pass)
            let expired = try await buyer.reservation(try #require(held["reservationId"].text), "expired")
            let late = try #require(buyer.arrival(of: expired)) - (try #require(Shop.milliseconds(held["expiresAt"])))
            // One after the other the payments would take PostgreSQL's timeout each.
            #expect(late < 8000, "\(late) ms late")
            shop.postgres.thaw()
            // None had points: whatever was told, nothing was paid, and all seats are free in the end.
            let codes = await paying.value ?? []
            #expect(
                codes.allSatisfy { ["unavailable", "insufficient_points", "hold_expired"].contains($0) }, "\(codes)")
            try await eventually("all seats are free") {
                try await shop.seatBooks(date)["free"] == 40
            }
            try await shop.expectSeatBooks(date, sold: 0)
        }
    }
}

/// Watching in odd orders and amounts.
@Suite struct OddWatchTests {
    @Test func watchAndUnwatchInOneBreath() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway"]) { shop in
            let date = try await shop.hall(10)
            let channel = "dibs:{performance:\(date)}:events"
            for round in 0..<5 {
                let buyer = try await Buyer.connect(shop, as: "c\(round)")
                buyer.send(["type": "watch", "performance": .integer(date)])
                buyer.send(["type": "unwatch", "performance": .integer(date)])
                if round % 2 == 0 {
                    _ = try await buyer.ask(["type": "ping"])
                    try await buyer.close()
                } else {
                    buyer.send(["type": "watch", "performance": .integer(date)])
                    buyer.abort()
                }
            }
            try await eventually("nobody listens any more") {
                try await shop.redis("pubsub", "numsub", channel).hasSuffix("0")
            }
        }
    }

    /// Every question is answered by its id, also when several are asked at once; who asks without end is told to wait, and
    /// costs nothing.
    @Test func manyAnswers() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on"]) { shop in
            let date = try await shop.hall(3)
            let buyer = try await Buyer.connect(shop, as: "ada")
            for id: Int64 in 100..<103 {
                buyer.send([
                    "type": "watch", "performance": .integer(date), "id": .integer(id), "compact": .flag(id == 101),
                ])
            }
            for id: Int64 in 100..<103 {
                let answer = try await buyer.next("the answer to \(id)") { $0["id"] == .integer(id) }
                #expect(answer["type"] == "seats" && answer["remaining"] == 3)
                #expect((answer["letters"] == "fff") == (id == 101))
            }
            try await shop.room("large", maxActive: 10)
            let large = try await shop.performance(100_000, room: "large")
            // All at once: some are answered, and the others told that it is too much.
            for id: Int64 in 200..<220 {
                buyer.send(["type": "watch", "performance": .integer(large), "id": .integer(id)])
            }
            var codes: [JSON] = []
            for id: Int64 in 200..<220 {
                let answer = try await buyer.next("the answer to \(id)") { $0["id"] == .integer(id) }
                codes.append(answer["type"] == "seats" ? "seats" : answer["code"])
            }
            #expect(Set(codes) == ["seats", "rate_limited"], "\(codes)")
            // It watches on.
            let eve = try await shop.enter("eve", "large")
            _ = try await shop.held(large, [7], eve)
            try await buyer.next("the change") { $0["changes"] == [["seatId": 7, "status": "held"]] }
        }
    }
}
