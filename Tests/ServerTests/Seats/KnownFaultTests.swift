import EventLoop
import TestServices
import Testing

/// The faults that the projects of the source documents are known to have.
@Suite struct KnownFaultTests {
    /// The cap of admitted clients, checked and filled in two steps, that many at once went past.
    @Test func theCapHolds() async throws {
        try await withShop(2) { shop in
            try await shop.room("ten", maxActive: 10)
            let date = try await shop.performance(50, room: "ten")
            let answers = try await concurrently(300) { try await shop.join("c\($0)", "ten", on: $0 % 2) }
            let passes = answers.compactMap { $0.result["token"].text }
            #expect(passes.count == 10 && Set(passes).count == 10)
            #expect(try await shop.inspect("ten").includes(["active": 10, "waiting": 290]))
            // A pass that nobody has is none, and another's is none either.
            let index = try #require(answers.firstIndex { $0.result["token"].isNull })
            for pass in [passes[0], "550e8400-e29b-41d4-a716-446655440000", ""] {
                let answer = try await shop.hold(date, [1], Visitor(client: "c\(index)", pass: pass))
                #expect(answer.status == 403 && answer.code == "not_admitted")
            }
        }
    }

    /// Whoever left the page stayed in the line for ever, and everybody behind waited for nobody.
    @Test func leaversArePruned() async throws {
        try await withShop { shop in
            try await shop.room("one", maxActive: 1, graceSeconds: 1)
            let first = try await shop.enter("first", "one")
            _ = try await shop.join("gone", "one")
            let stays = try await Buyer.connect(shop, as: "stays")
            #expect(try await stays.join("one")["rank"] == 2)
            try await stays.next("the first place") { $0["type"] == "rank" && $0["rank"] == 1 }
            #expect(try await shop.standing("gone", "one").result["status"] == "FINISHED")
            #expect(try await shop.leave(first.client, "one").status == 204)
            try await stays.next(type: "admitted")
        }
    }

    @Test func nobodyCompletesAnothersHold() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(50, price: 10)
            let (ada, eve) = (try await shop.enter("ada"), try await shop.enter("eve", on: 1))
            try await shop.charge("eve", 100)
            let id = try await shop.held(date, [1], ada)
            // As herself; in ada's name; with ada's pass.
            #expect(try await shop.pay(id, 10, eve, on: 1).code == "forbidden")
            let forged = try await shop.call(
                .post, "/api/payment", as: .client("eve"),
                ["reservationId": .text(id), "userId": "ada", "point": 10], headers: [(name: "token", value: eve.pass)])
            #expect(forged.code == "forbidden")
            #expect(try await shop.pay(id, 10, Visitor(client: "eve", pass: ada.pass)).code == "not_admitted")
            #expect(try await shop.giveBack(id, "eve").code == "forbidden")
            #expect(try await shop.call(.get, "/api/reservations/\(id)", as: .client("eve")).code == "forbidden")
            #expect(try await shop.balance("eve") == 100)
            try await shop.expectSeatBooks(date, sold: 0, held: 1)
        }
    }

    /// The balance was read, compared, and written back: two at once spent the same points.
    @Test func theBalanceIsCheckedInsideTheLock() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(50, price: 10)
            let second = try await shop.performance(50, price: 10)
            try await shop.charge("ada", 10)
            for round in 0..<10 {
                let visitor = try await shop.enter("ada", on: round % 2)
                let ids = [
                    try await shop.held(date, [Int64(round + 1)], visitor),
                    try await shop.held(second, [Int64(round + 1)], visitor, on: 1),
                ]
                let answers = try await concurrently(2) { try await shop.pay(ids[$0], 10, visitor, on: $0) }
                let paid = answers.filter { $0.status == 201 }.count
                #expect(paid <= 1, "\(answers.map(\.text))")
                for answer in answers where answer.status != 201 {
                    #expect(["insufficient_points", "not_admitted"].contains(answer.code), "\(answer.text)")
                }
                for id in ids { #expect(try await shop.giveBack(id, "ada").status == 200) }
                #expect(try await shop.balance("ada") == 10)
            }
            try await shop.expectSeatBooks(date, sold: 0)
            try await shop.expectSeatBooks(second, sold: 0)
        }
    }

    @Test func whatRanOutIsNotPaid() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(50, price: 10, holdSeconds: 1)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 10)
            let buyer = try await Buyer.connect(shop, as: "ada", on: 1)
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 1)
            _ = try await watcher.watchSeats(date)
            let held = try await shop.hold(date, [7], ada)
            let id = try #require(held.result["reservationId"].text)
            try await watcher.next("the seat is held") {
                $0["changes"].list.contains(["seatId": 7, "status": "held"])
            }
            let expired = try await buyer.reservation(id, "expired")
            #expect(expired["offset"].integer != nil)
            let free = try await watcher.next("the seat is free") {
                $0["changes"].list.contains(["seatId": 7, "status": "free"])
            }
            // Within the second in which its time was over.
            let expiresAt = try #require(Shop.milliseconds(held.result["expiresAt"]))
            let at = try #require(watcher.arrival(of: free))
            #expect(at >= expiresAt && at < expiresAt + 1000, "\(at - expiresAt) ms late")
            #expect(try await shop.pay(id, 10, ada).code == "hold_expired")
            #expect(try await shop.giveBack(id, "ada").code == "hold_expired")
            #expect(try await shop.balance("ada") == 10)
            #expect(try await shop.reservations("ada").map { $0["status"] } == ["expired"])
            // The next one gets the seat.
            let eve = try await shop.enter("eve")
            _ = try await shop.held(date, [7], eve)
            try await shop.expectSeatBooks(date, sold: 0, held: 1)
        }
    }

    /// Trying again, to hold or to pay, made the hold live longer each time.
    @Test func retryingStretchesNothing() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(50, price: 10, holdSeconds: 2)
            let ada = try await shop.enter("ada")
            let buyer = try await Buyer.connect(shop, as: "ada")
            let held = try await shop.hold(date, [1, 2], ada)
            let id = try #require(held.result["reservationId"].text)
            var rounds = 0
            while !buyer.heard.contains(where: { $0["type"] == "reservation" }) {
                let again = try await shop.hold(date, [2, 1], ada, on: rounds % 2)
                if again.status == 200 {
                    #expect(again.result["reservationId"] == .text(id))
                    #expect(again.result["expiresAt"] == held.result["expiresAt"])
                } else {
                    // It ran out in this moment, and was taken anew.
                    #expect(again.status == 201 && again.result["reservationId"] != .text(id), "\(again.text)")
                }
                // She has no points.
                let payment = try await shop.pay(id, 20, ada, on: rounds % 2)
                #expect(["insufficient_points", "hold_expired"].contains(payment.code), "\(payment.text)")
                rounds += 1
            }
            let expired = try await buyer.reservation(id, "expired")
            let at = try #require(buyer.arrival(of: expired))
            let expiresAt = try #require(Shop.milliseconds(held.result["expiresAt"]))
            #expect(rounds > 3)
            // At the deadline, or some seconds later while a payment was under way.
            #expect(at >= expiresAt && at < expiresAt + 6000, "\(at - expiresAt) ms late")
        }
    }

    /// Cancelling twice returned the stock, or the points, twice.
    @Test func aDoubleCancelReturnsOnce() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(50, price: 10)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 20)
            let id = try await shop.held(date, [1, 2], ada)
            #expect(try await shop.pay(id, 20, ada).status == 201)
            let answers = try await concurrently(20) { try await shop.giveBack(id, "ada", on: $0 % 2) }
            for answer in answers {
                #expect(
                    answer.status == 200 && answer.result.includes(["status": "released", "refunded": true]),
                    "\(answer.text)")
            }
            #expect(try await shop.balance("ada") == 20)
            #expect(try await shop.sql("select count(*) from ledger_entries where kind = 'payment_refund'") == "1")
            // The seats may be another's by now: giving back again takes nothing from it.
            let eve = try await shop.enter("eve")
            try await shop.charge("eve", 20)
            let hers = try await shop.held(date, [1, 2], eve)
            #expect(try await shop.pay(hers, 20, eve).status == 201)
            #expect(try await shop.giveBack(id, "ada", on: 1).status == 200)
            try await shop.expectSeatBooks(date, sold: 2)
            // The same with a hold that nobody paid.
            let bob = try await shop.enter("bob")
            let his = try await shop.held(date, [3], bob)
            let again = try await concurrently(20) { try await shop.giveBack(his, "bob", on: $0 % 2) }
            for answer in again {
                #expect(
                    answer.status == 200 && answer.result.includes(["status": "released", "refunded": false]),
                    "\(answer.text)")
            }
            try await shop.expectSeatBooks(date, sold: 2)
        }
    }

    /// A payment that timed out was told as failed, although it had gone through.
    @Test func whatIsNotKnownIsNotToldAsNo() async throws {
        try await withShop(1, ["DIBS_DATABASE_TIMEOUT_MS": "1000"], options: { $0.hasOwnPostgres = true }) { shop in
            let date = try await shop.hall(50, price: 10)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 10)
            let id = try await shop.held(date, [1], ada)
            // PostgreSQL stands still while it is asked to commit.
            shop.postgres.freeze()
            let answer = try await shop.pay(id, 10, ada, key: "k")
            #expect(answer.status == 503 && answer.code == "unavailable", "\(answer.text)")
            shop.postgres.thaw()
            try await eventually("the same key tells what became of it") {
                let again = try await shop.pay(id, 10, ada, key: "k")
                if again.status == 503 { return false }
                #expect(again.status == 200 || again.status == 201, "\(again.text)")
                return true
            }
            #expect(try await shop.balance("ada") == 0)
            try await shop.expectSeatBooks(date, sold: 1)
        }
    }
}
