import EventLoop
import TestServices
import Testing

/// Seats over the WebSocket.
@Suite struct SeatSocketTests {
    @Test func watchesHoldsAndHears() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(5, price: 10)
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 1)
            let first = try await watcher.watchSeats(date)
            #expect(first["type"] == "seats" && first.includes(["remaining": 5, "held": 0, "sold": 0]))
            #expect(first["changes"] == .list((1...5).map { ["seatId": .integer($0), "status": "free"] }))
            let compact = try await Buyer.connect(shop, as: "compact")
            #expect(try await compact.watchSeats(date, isCompact: true)["letters"] == "fffff")

            let pass = try await shop.enter("ada")
            try await shop.charge("ada", 100)
            let ada = try await Buyer.connect(shop, as: "ada")
            let other = try await Buyer.connect(shop, as: "ada", on: 1)
            let held = try await ada.hold(date, [4, 2], pass: pass.pass)
            #expect(
                held.includes(["type": "held", "price": 20, "performance": .integer(date), "seats": [2, 4]]), "\(held)")
            let id = try #require(held["reservationId"].text)
            let change = try await watcher.next("the seats are held") { $0["type"] == "seats" }
            #expect(change.includes(["remaining": 3, "held": 2, "sold": 0]))
            #expect(change["changes"] == [["seatId": 2, "status": "held"], ["seatId": 4, "status": "held"]])

            // The same again is the same; part of it, and another's, is taken.
            let again = try await ada.hold(date, [2, 4], pass: pass.pass)
            #expect(again["reservationId"] == .text(id) && again["expiresAt"] == held["expiresAt"])
            let taken = try await ada.hold(date, [1, 2], pass: pass.pass)
            #expect(taken.includes(["type": "error", "code": "seat_taken", "seats": [2]]), "\(taken)")

            #expect(try await shop.pay(id, 20, pass, on: 1).status == 201)
            for buyer in [ada, other] {
                let paid = try await buyer.reservation(id, "paid")
                #expect(paid["offset"].integer != nil && paid["performance"] == .integer(date))
            }
            try await watcher.next("the seats are sold") {
                $0["changes"] == [["seatId": 2, "status": "sold"], ["seatId": 4, "status": "sold"]] && $0["sold"] == 2
            }
            #expect(try await shop.giveBack(id, "ada").status == 200)
            for buyer in [ada, other] { try await buyer.reservation(id, "released") }
            try await watcher.next("the seats are free") { $0["remaining"] == 5 }
            #expect(watcher.seats(date).values.allSatisfy { $0 == "free" })
            // Nobody is told twice, and each in the same order.
            #expect(ada.offsets.suffix(2) == other.offsets.suffix(2))

            // Nothing after an unwatch.
            let end = try await watcher.ask(["type": "unwatch", "performance": .integer(date)])
            #expect(end.includes(["type": "seats", "remaining": 5]))
            let count = watcher.heard.count
            let next = try await shop.enter("ada")
            _ = try await shop.held(date, [1], next)
            try await compact.next("others are told") { $0["held"] == 1 }
            _ = try await watcher.ask(["type": "ping"])
            #expect(watcher.heard.count == count + 1)
        }
    }

    @Test func badInputIsAnError() async throws {
        try await withShop { shop in
            let date = try await shop.hall(5, limit: 2)
            let pass = try await shop.enter("ada").pass
            let ada = try await Buyer.connect(shop, as: "ada")
            func fails(_ message: JSON, _ code: String, _ field: String = "") async throws {
                let answer = try await ada.ask(message)
                #expect(answer["type"] == "error" && answer["code"] == .text(code), "\(message): \(answer)")
                #expect(answer["message"].text?.hasPrefix(field) == true, "\(message): \(answer)")
            }
            let performance = JSON.integer(date)
            try await fails(["type": "watch"], "bad_request", "sale")
            try await fails(["type": "watch", "performance": 999_999], "not_found")
            try await fails(["type": "watch", "performance": "x"], "not_found", "performance")
            try await fails(["type": "watch", "performance": performance, "compact": 1], "bad_request", "compact")
            try await fails(["type": "unwatch", "performance": 999_999], "not_found")
            try await fails(["type": "hold", "seats": [1], "token": .text(pass)], "bad_request", "performance")
            try await fails(["type": "hold", "performance": performance, "token": .text(pass)], "bad_request", "seats")
            for seats: JSON in [[], [0], [6], [1, 1], [-1], .list((1...1001).map { .integer($0) })] {
                try await fails(
                    ["type": "hold", "performance": performance, "seats": seats, "token": .text(pass)], "invalid",
                    "seats")
            }
            for seats: JSON in [[1.5], ["a"], "1", [.null], [[1]]] {
                try await fails(
                    ["type": "hold", "performance": performance, "seats": seats, "token": .text(pass)], "bad_request",
                    "seats")
            }
            try await fails(["type": "hold", "performance": performance, "seats": [1]], "not_admitted", "token")
            try await fails(
                ["type": "hold", "performance": performance, "seats": [1], "token": "x"], "not_admitted", "token")
            try await fails(
                ["type": "hold", "performance": 999_999, "seats": [1], "token": .text(pass)], "not_found")
            #expect(try await ada.hold(date, [1, 2], pass: pass)["type"] == "held")
            try await fails(
                ["type": "hold", "performance": performance, "seats": [3], "token": .text(pass)], "duplicate")
            // Ids come back in either form.
            let eve = try await Buyer.connect(shop, as: "eve")
            let hers = try await shop.enter("eve").pass
            let held = try await eve.ask([
                "type": "hold", "performance": .text(String(date)), "seats": ["3"], "token": .text(hers),
            ])
            #expect(held["type"] == "held", "\(held)")
        }
    }

    /// A hall of 100,000: everything at first, then only what changes; also to one who comes while much changes.
    @Test func aLargeHall() async throws {
        try await withShop(2) { shop in
            try await shop.room("hall", maxActive: 5000)
            let sections: JSON = [
                "sections": [
                    ["name": "Field", "rows": 300, "seatsPerRow": 300],
                    ["name": "Tier", "rows": 100, "seatsPerRow": 100],
                ]
            ]
            let date = try await shop.performance(sections)
            let visitors = try await concurrently(20) { try await shop.enter("c\($0)") }
            let early = try await Buyer.connect(shop, as: "early", on: 1)
            #expect(try await early.watchSeats(date)["changes"].list.count == 100_000)
            let holding = EventLoop.task {
                try? await concurrently(20) { lane in
                    for step in 0..<10 {
                        let seat = Int64(lane * 4999 + step * 7 + 1)
                        _ = try await shop.held(date, [seat, seat + 1], visitors[lane], on: lane % 2)
                    }
                }
            }
            var late: [Buyer] = []
            for index in 0..<4 {
                let buyer = try await Buyer.connect(shop, as: "late\(index)", on: index % 2)
                #expect(try await buyer.watchSeats(date)["changes"].list.count == 100_000)
                late.append(buyer)
            }
            _ = await holding.value
            let free = Set(try await shop.freeSeats(date, visitors[0], on: 1))
            #expect(free.count == 100_000 - 400)
            for buyer in [early] + late {
                try await eventually("\(buyer.client) knows") {
                    let seats = buyer.seats(date)
                    return seats.filter { $0.value == "held" }.count == 400
                }
                #expect(buyer.seats(date).allSatisfy { ($0.value == "free") == free.contains($0.key) })
            }
            // After the first, only what changed.
            #expect(early.heard.dropFirst(2).allSatisfy { $0["changes"].list.count <= 400 })
            try await shop.expectSeatBooks(date, sold: 0, held: 400)
        }
    }

    /// Pub/Sub forgets: whoever watches is brought up to date when the connection to Redis was lost.
    @Test func whatWasMissedIsReadAnew() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(10)
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 1)
            _ = try await watcher.watchSeats(date)
            let ada = try await shop.enter("ada")
            shop.instances[1].signal(19)
            try await shop.redis("client", "kill", "type", "pubsub")
            for seat: Int64 in 1...3 { _ = try await shop.held(date, [seat], ada) }
            shop.instances[1].signal(18)
            try await eventually("the watcher knows") {
                watcher.seats(date).filter { $0.value == "held" }.keys.sorted() == [1, 2, 3]
            }
        }
    }

    /// Whoever was away for too long is told the present truth.
    @Test func thePresentTruthHasReservations() async throws {
        try await withShop { shop in
            let date = try await shop.hall(10, price: 10)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 20)
            let id = try await shop.held(date, [1], ada)
            #expect(try await shop.pay(id, 10, ada).status == 201)
            let other = try await shop.held(date, [2], try await shop.enter("ada"))
            #expect(try await shop.giveBack(other, "ada").status == 200)
            let buyer = try await Buyer.connect(shop, as: "ada", resume: ["epoch": "x.y", "offset": 1])
            #expect(buyer.connected["recovered"] == false)
            try await buyer.reservation(id, "paid")
            try await buyer.reservation(other, "released")
        }
    }
}
