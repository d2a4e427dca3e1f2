import EventLoop
import TestServices
import Testing

/// What the calls about concerts answer to good and to bad input.
@Suite struct ConcertRouteTests {
    @Test func registering() async throws {
        try await withShop(2) { shop in
            for (body, code, field): (JSON, String, String) in [
                (["name": ""], "invalid", "name"), (["name": "  "], "invalid", "name"),
                (["name": 5], "bad_request", "name"),
                ([:], "bad_request", "name"), ([1], "bad_request", ""),
                (["name": .text(String(repeating: "x", count: 201))], "invalid", "name"),
            ] {
                let answer = try await shop.call(.post, "/api/concerts", as: .admin, body)
                #expect(answer.code == code && answer.message.hasPrefix(field), "\(body): \(answer.text)")
            }
            #expect(try await shop.call(.post, "/api/concerts", as: .service, ["name": "x"]).code == "forbidden")
            let made = try await shop.call(.post, "/api/concerts", as: .admin, ["name": "Ein Konzert"])
            let id = try #require(made.result["concertId"].integer)
            let path = "/api/concerts/\(id)/dates"
            func fails(_ changes: [String: JSON], _ code: String, _ field: String) async throws {
                let good: [String: JSON] = ["startsAt": "2030-01-01T00:00:00Z", "price": 1]
                let answer = try await shop.call(.post, path, as: .admin, .object(good.merging(changes) { $1 }))
                #expect(answer.code == code && answer.message.hasPrefix(field), "\(changes): \(answer.text)")
            }
            try await fails(["startsAt": "tomorrow"], "invalid", "startsAt")
            try await fails(["startsAt": .null], "bad_request", "startsAt")
            try await fails(["price": -1], "invalid", "price")
            try await fails(["price": 1.5], "bad_request", "price")
            try await fails(["price": 1_000_000_000_001], "invalid", "price")
            try await fails(["room": "nowhere"], "invalid", "room")
            try await fails(["holdSeconds": 0], "invalid", "holdSeconds")
            try await fails(["holdSeconds": 86_401], "invalid", "holdSeconds")
            try await fails(["perClientLimit": 0], "invalid", "perClientLimit")
            for seats: JSON in [0, -1, 100_001, 9_007_199_254_740_993] {
                try await fails(["seats": seats], "invalid", "seats")
            }
            for seats: JSON in ["50", 1.5, [50], true, ["sections": 5], ["rows": 1], [:]] {
                try await fails(["seats": seats], "bad_request", "seats")
            }
            for sections: JSON in [
                [], [["name": "A", "rows": 0, "seatsPerRow": 1]], [["name": "A", "rows": 1, "seatsPerRow": 100_001]],
                [["name": "A", "rows": 400, "seatsPerRow": 400]], [["name": "", "rows": 1, "seatsPerRow": 1]],
                .list((0..<101).map { ["name": .text("\($0)"), "rows": 1, "seatsPerRow": 1] }),
            ] {
                try await fails(["seats": ["sections": sections]], "invalid", "seats.sections")
            }
            #expect(
                try await shop.call(
                    .post, "/api/concerts/999999/dates", as: .admin, ["startsAt": "2030-01-01T00:00:00Z", "price": 1]
                ).status == 404)
            #expect(try await shop.call(.put, "/api/concerts/\(id)", as: .admin, ["name": "x"]).status == 405)

            let date = try await shop.call(
                .post, path, as: .admin,
                [
                    "startsAt": "2030-01-01T20:00:00+09:00", "price": 0, "perClientLimit": 4, "holdSeconds": 60,
                    "seats": ["sections": [["name": "A", "rows": 2, "seatsPerRow": 3]]],
                ])
            #expect(
                date.result.includes([
                    "concertId": .integer(id), "startsAt": "2030-01-01T11:00:00.000Z", "price": 0, "perClientLimit": 4,
                    "holdSeconds": 60, "seats": 6, "remaining": 6, "room": "main",
                    "sections": [["name": "A", "rows": 2, "seatsPerRow": 3]],
                ]), "\(date.text)")
            // Everybody sees it, on any instance, without a token.
            let shown = try await shop.call(.get, "/api/concerts/\(id)", on: 1)
            #expect(shown.result["name"] == "Ein Konzert" && shown.result["dates"].list.count == 1)
            #expect(try await shop.call(.get, "/api/concerts?limit=1", on: 1).result.list == [shown.result])
            #expect(try await shop.call(.get, "/api/concerts?before=\(id)").result == [])
            #expect(try await shop.call(.get, "/api/concerts/999999").code == "not_found")
            #expect(try await shop.call(.get, "/api/concerts?limit=0").code == "bad_request")
        }
    }

    @Test func holdingAndPaying() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(20, price: 10)
            let ada = try await shop.enter("ada")
            let token = [(name: "token", value: ada.pass)]
            func fails(_ path: String, _ body: JSON, _ code: String, _ field: String = "") async throws {
                let answer = try await shop.call(.post, path, as: .client("ada"), body, headers: token)
                #expect(answer.code == code && answer.message.hasPrefix(field), "\(body): \(answer.text)")
            }
            let detail = JSON.integer(date)
            func reservation(_ more: [String: JSON]) -> JSON {
                .object(["concertDetailId": detail, "userId": "ada"].merging(more) { $1 })
            }
            let path = "/api/reservations"
            try await fails(path, reservation([:]), "bad_request", "seatId")
            try await fails(path, reservation(["seatId": 1, "seatIds": [2]]), "bad_request", "seatIds")
            for seat: JSON in [0, 21, -5, 9_007_199_254_740_993] {
                try await fails(path, reservation(["seatId": seat]), "invalid", "seatId")
            }
            for seat: JSON in ["x", 1.5, [1], true] {
                try await fails(path, reservation(["seatId": seat]), "bad_request", "seatId")
            }
            try await fails(path, reservation(["seatIds": [1, 1]]), "invalid", "seatIds")
            try await fails(path, reservation(["seatIds": []]), "invalid", "seatIds")
            try await fails(path, reservation(["concertDetailId": 999_999, "seatId": 1]), "not_found")
            try await fails(path, reservation(["concertDetailId": "x", "seatId": 1]), "not_found", "concertDetailId")
            try await fails(path, reservation(["userId": "eve", "seatId": 1]), "forbidden")
            try await fails(path, ["userId": "ada", "seatId": 1], "bad_request", "concertDetailId")

            let held = try await shop.call(
                .post, path, as: .service, reservation(["seatId": "3", "concertDetailId": JSON.text(String(date))]),
                headers: token)
            #expect(held.status == 201, "\(held.text)")
            let id = held.result["reservationId"]
            let shown = try await shop.call(.get, "/api/reservations/\(id.text ?? "")", as: .client("ada"), on: 1)
            #expect(shown.result.includes(["status": "held", "seatIds": [3], "price": 10, "concertName": "A concert"]))

            func payment(_ more: [String: JSON]) -> JSON {
                .object(["reservationId": id, "userId": "ada", "point": 10].merging(more) { $1 })
            }
            try await fails("/api/payment", payment([:]), "insufficient_points")
            try await shop.charge("ada", 100)
            try await fails("/api/payment", payment(["point": 9]), "invalid", "point: must be the price, 10")
            try await fails("/api/payment", payment(["point": -1]), "invalid", "point")
            try await fails("/api/payment", payment(["point": 1.5]), "bad_request", "point")
            try await fails("/api/payment", payment(["reservationId": .text("\(date)-999999")]), "not_found")
            try await fails("/api/payment", payment(["reservationId": "999999-1"]), "not_found", "reservationId")
            try await fails("/api/payment", payment(["reservationId": 5]), "not_found", "reservationId")
            try await fails("/api/payment", payment(["userId": "eve"]), "forbidden")
            #expect(try await shop.balance("ada") == 100)
            // A shop's backend pays for its client.
            let paid = try await shop.call(
                .post, "/api/payment", as: .service, payment([:]),
                headers: token + [(name: "idempotency-key", value: "k")], on: 1)
            #expect(paid.status == 201 && paid.result["seatIds"] == [3], "\(paid.text)")
            let again = try await shop.call(
                .post, "/api/payment", as: .service, payment([:]),
                headers: token + [(name: "idempotency-key", value: "k")])
            #expect(again.status == 200 && again.result == paid.result, "\(again.text)")
            let other = try await shop.call(.post, "/api/payment", as: .client("ada"), payment([:]), headers: token)
            #expect(other.code == "already_paid" && other.json["error"]["paymentId"] == paid.result["paymentId"])
            #expect(try await shop.balance("ada") == 90)
            #expect(
                try await shop.call(.delete, "/api/reservations/\(date)-999999", as: .client("ada")).code == "not_found"
            )
            #expect(try await shop.call(.delete, "/api/reservations/x", as: .client("ada")).code == "not_found")
            #expect(try await shop.call(.get, "/api/users/ada/reservations", as: .client("eve")).code == "forbidden")
            try await shop.expectSeatBooks(date, sold: 1)
        }
    }

    /// A performance that costs nothing is paid with nothing.
    @Test func freeOfCharge() async throws {
        try await withShop { shop in
            let date = try await shop.hall(20, price: 0)
            let ada = try await shop.enter("ada")
            let id = try await shop.held(date, [1], ada)
            #expect(try await shop.pay(id, 0, ada).status == 201)
            #expect(try await shop.giveBack(id, "ada").result["refunded"] == true)
            try await shop.expectSeatBooks(date, sold: 0)
            #expect(try await shop.sql("select count(*) from ledger_entries") == "0")
        }
    }
}
