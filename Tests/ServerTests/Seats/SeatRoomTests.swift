import EventLoop
import TestServices
import Testing

/// What a room and its performances know of each other.
@Suite struct SeatRoomTests {
    @Test func theLineKnowsWhetherSeatsAreLeft() async throws {
        try await withShop(2) { shop in
            try await shop.room("hall", maxActive: 1)
            let date = try await shop.performance(2, price: 10)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 20)
            let line = try await concurrently(3) { index in
                try await Buyer.connect(shop, as: "c\(index)", on: index % 2)
            }
            for (index, buyer) in line.enumerated() {
                #expect(try await buyer.join("hall")["rank"] == .integer(Int64(index + 1)))
            }
            // Two seats: the third can't be reached, which it hears with its place, or as soon as that is known.
            try await eventually("no seat for the third") { line[2].heard.last?["reachable"] == false }
            #expect(line[0].heard.last?["reachable"] == true)
            let id = try await shop.held(date, [1, 2], ada)
            try await line[0].next("no seat for the first either") { $0["reachable"] == false }
            #expect(try await shop.giveBack(id, "ada").status == 200)
            try await line[0].next("seats for the first again") { $0["reachable"] == true }
            // Paying gives the place on.
            let paid = try await shop.held(date, [1], ada)
            #expect(try await shop.pay(paid, 10, ada, on: 1).status == 201)
            let admitted = try await line[0].next(type: "admitted")
            let visitor = Visitor(client: "c0", pass: try #require(admitted["token"].text))
            #expect(try await shop.freeSeats(date, visitor, on: 1) == [2])
        }
    }

    /// A performance keeps its room open: a sale that opens later holds nobody back, and one that ends sends nobody home.
    @Test func aPerformanceKeepsItsRoomOpen() async throws {
        try await withShop(2) { shop in
            try await shop.room("hall", maxActive: 1)
            let sale = try await shop.sale(5, in: "hall", opensIn: 3_600_000, closesIn: 7_200_000)
            #expect(try await shop.join("first", "hall").result["token"].isNull)
            let date = try await shop.performance(2)
            try await eventually("the first is let in") {
                try await shop.standing("first", "hall", on: 1).result["status"] == "IN_PROGRESS"
            }
            let second = try await Buyer.connect(shop, as: "second", on: 1)
            #expect(try await second.join("hall")["rank"] == 1)
            try await shop.end(sale, "close")
            _ = try await shop.leave("first", "hall")
            try await second.next(type: "admitted")
            #expect(!second.heard.contains { $0["type"] == "left" })
            _ = date
        }
    }

    /// A pass of another room, a pass that is spent, and a pass that was given back are none.
    @Test func onlyThisRoomsPassCounts() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(20, price: 0)
            try await shop.room("other", maxActive: 10)
            let concert = try await shop.call(.get, "/api/concerts").result.list[0]["concertId"].integer
            let elsewhere = try await shop.enter("ada", "other")
            #expect(try await shop.hold(date, [1], elsewhere).code == "not_admitted")
            let header = [(name: "token", value: elsewhere.pass)]
            let path = "/api/concert/\(try #require(concert))/date"
            #expect(try await shop.call(.get, path, as: .client("ada"), headers: header).code == "not_admitted")
            #expect(try await shop.call(.get, path, as: .service, headers: header).code == "not_admitted")
            // One of the concert's rooms is enough to see its dates.
            let second = try await shop.date(of: try #require(concert), 5, room: "other")
            for who in [Who.client("ada"), .service] {
                let dates = try await shop.call(.get, path, as: who, headers: header)
                #expect(dates.result["concertInfos"].list.count == 2, "\(dates.text)")
            }
            _ = try await shop.held(second, [1], elsewhere)
            let ada = try await shop.enter("ada")
            #expect(try await shop.leave("ada", "hall").status == 204)
            #expect(try await shop.hold(date, [1], ada).code == "not_admitted")
            let again = try await shop.enter("ada")
            let id = try await shop.held(date, [1], again)
            #expect(try await shop.pay(id, 0, again).status == 201)
            #expect(try await shop.hold(date, [2], again, on: 1).code == "not_admitted")
            let seats = "/api/concert/\(date)/seat"
            for who in [Who.client("ada"), .service] {
                let answer = try await shop.call(
                    .get, seats, as: who, headers: [(name: "token", value: again.pass)], on: 1)
                #expect(answer.code == "not_admitted", "\(answer.text)")
            }
        }
    }
}
