import EventLoop
import TestServices
import Testing

/// The whole way of source documents 3 and 5, by the calls that they name, in their order.
@Suite struct WholeWayTests {
    @Test func fromTheTokenToThePayment() async throws {
        try await withShop(2) { shop in
            // As the document has it: the room `main`, seats 1 to 50, whole numbers as ids.
            let concert = try await shop.call(.post, "/api/concerts", as: .admin, ["name": "아이유 콘서트"])
            let id = try #require(concert.result["concertId"].integer)
            let made = try await shop.call(
                .post, "/api/concerts/\(id)/dates", as: .admin,
                ["startsAt": "2030-03-01T11:30:00Z", "price": 5000, "seats": 50])
            #expect(made.status == 201)
            let date = try #require(made.result["concertDetailId"].integer)
            let later = try await shop.call(
                .post, "/api/concerts/\(id)/dates", as: .admin, ["startsAt": "2030-03-12T14:30:00Z", "price": 5000])
            #expect(later.result["seats"] == 50 && later.result["room"] == "main" && later.result["holdSeconds"] == 300)

            // 1. The token.
            let joined = try await shop.call(.post, "/api/users/token", as: .client("1"), ["userId": 1])
            let pass = try #require(joined.result["token"].text)
            let standing = try await shop.call(.get, "/api/users/1/token", as: .client("1"), on: 1).result
            #expect(standing["status"] == "IN_PROGRESS" && standing["token"] == .text(pass) && standing["rank"].isNull)
            let token = [(name: "token", value: pass)]

            // 2. Dates and seats, for a client and for its shop, not without the token.
            for who in [Who.client("1"), .service, .admin] {
                let dates = try await shop.call(.get, "/api/concert/\(id)/date", as: who, headers: token)
                #expect(dates.result["concertName"] == "아이유 콘서트")
                #expect(
                    dates.result["concertInfos"].list.map { $0["concertDetailId"] } == [
                        .integer(date), later.result["concertDetailId"],
                    ])
                #expect(
                    dates.result["concertInfos"].list[0].includes([
                        "startsAt": "2030-03-01T11:30:00.000Z", "remaining": 50,
                    ]))
                let seats = try await shop.call(.get, "/api/concert/\(date)/seat", as: who, headers: token, on: 1)
                #expect(seats.result == .list((1...50).map { .integer($0) }))
            }
            for path in ["/api/concert/\(id)/date", "/api/concert/\(date)/seat"] {
                #expect(try await shop.call(.get, path, as: .client("1")).code == "not_admitted")
                #expect(try await shop.call(.get, path, as: .client("2"), headers: token).code == "not_admitted")
                #expect(
                    try await shop.call(.get, path, as: .service, headers: [(name: "token", value: "x")]).code
                        == "not_admitted")
                #expect(try await shop.call(.get, path, headers: token).code == "unauthenticated")
            }

            // 3. The reservation.
            let body: JSON = ["concertDetailId": .integer(date), "userId": 1, "seatId": 1]
            #expect(try await shop.call(.post, "/api/reservations", as: .client("1"), body).code == "not_admitted")
            let held = try await shop.call(.post, "/api/reservations", as: .client("1"), body, headers: token)
            #expect(held.status == 201 && held.result["status"] == "SUCCESS" && held.result["price"] == 5000)
            let reservation = held.result["reservationId"]
            let seats = try await shop.call(.get, "/api/concert/\(date)/seat", as: .client("1"), headers: token, on: 1)
            #expect(seats.result == .list((2...50).map { .integer($0) }))

            // 4. Points, without the token.
            let charge: JSON = ["userId": 1, "point": 7000]
            #expect(try await shop.call(.patch, "/api/users/point", as: .client("1"), charge).result == "SUCCESS")
            let point = try await shop.call(.get, "/api/users/1/point", as: .client("1"), on: 1).result
            #expect(point.includes(["userId": "1", "point": 7000]))

            // 5. The payment; then the token is spent.
            let payment: JSON = ["reservationId": reservation, "userId": 1, "point": 5000]
            #expect(try await shop.call(.post, "/api/payment", as: .client("1"), payment).code == "not_admitted")
            let paid = try await shop.call(.post, "/api/payment", as: .client("1"), payment, headers: token, on: 1)
            #expect(paid.status == 201 && paid.result["status"] == "SUCCESS" && paid.result["paymentId"].integer != nil)
            let finished = try await shop.call(.get, "/api/users/1/token", as: .client("1")).result
            #expect(finished["status"] == "FINISHED" && finished["token"].isNull)
            #expect(try await shop.balance("1", on: 1) == 2000)
            let mine = try await shop.reservations("1")
            #expect(
                mine.count == 1
                    && mine[0].includes(["status": "paid", "seatIds": [1], "paymentId": paid.result["paymentId"]]))
            try await shop.expectSeatBooks(date, sold: 1)
            let numbers = try await shop.call(.get, "/api/concert/\(date)/statistics", on: 1).result
            #expect(
                numbers.includes(["requests": 1, "refused": .object([:]), "remaining": 49, "held": 0, "sold": 1]),
                "\(numbers)")
            #expect(numbers["reservations"] == ["held": 0, "paid": 1, "expired": 0, "released": 0])
        }
    }

    /// Ten at a time, seven minutes; who does not ask any more is let go; nobody else's seat; accounts and cancelling.
    @Test func tenAtATime() async throws {
        try await withShop(2) { shop in
            let answer = try await shop.call(
                .post, "/api/rooms", as: .admin, ["id": "ten", "maxActive": 10, "passSeconds": 420, "graceSeconds": 1])
            #expect(answer.status == 201)
            let date = try await shop.performance(
                [
                    "sections": [
                        ["name": "A", "rows": 2, "seatsPerRow": 5], ["name": "B", "rows": 1, "seatsPerRow": 10],
                    ]
                ],
                price: 3, room: "ten", holdSeconds: 420)
            // Sign-up and login, by which a person has a token.
            let signUp = try await shop.call(.post, "/api/users", ["name": "Ada", "password": "correct horse"])
            #expect(signUp.status == 201)
            let login = try await shop.call(
                .post, "/api/sessions", ["name": "ada", "password": "correct horse"], on: 1)
            let ada = try #require(login.result["userId"].text)
            let bearer = Who.bearer(try #require(login.result["token"].text))

            let joined = try await shop.join(ada, "ten", as: bearer)
            let pass = try #require(joined.result["token"].text)
            for index in 1...9 {
                #expect(try await shop.join("c\(index)", "ten", on: index % 2).result["token"].text != nil)
            }
            for index in 10...11 {
                #expect(try await shop.join("c\(index)", "ten", on: index % 2).result["token"].isNull)
            }
            // Two stop asking, and are let go; the last one stays, and moves up.
            let last = try await Buyer.connect(shop, as: "c12", on: 1)
            #expect(try await last.join("ten")["rank"] == 3)
            try await last.next("the first place") { $0["type"] == "rank" && $0["rank"] == 1 }
            #expect(try await shop.inspect("ten").includes(["active": 10, "waiting": 1, "vanished": 2]))

            let token = [(name: "token", value: pass)]
            let seats = try await shop.call(.get, "/api/concert/\(date)/seat?detail=true", as: bearer, headers: token)
            #expect(seats.result.list.count == 20)
            #expect(
                seats.result.list[7].includes([
                    "seatId": 8, "section": "A", "row": 2, "number": 3, "status": "free", "price": 3,
                ]))
            #expect(seats.result.list[10].includes(["seatId": 11, "section": "B", "row": 1, "number": 1]))
            let held = try await shop.call(
                .post, "/api/reservations", as: bearer,
                ["concertDetailId": .integer(date), "userId": .text(ada), "seatIds": [8, 9]], headers: token)
            let reservation = try #require(held.result["reservationId"].text)
            #expect(held.result["price"] == 6)
            _ = try await shop.call(.patch, "/api/users/point", as: bearer, ["userId": .text(ada), "point": 6])
            let paid = try await shop.call(
                .post, "/api/payment", as: bearer,
                ["reservationId": .text(reservation), "userId": .text(ada), "point": 6], headers: token, on: 1)
            #expect(paid.status == 201, "\(paid.text)")
            // The place falls to who waited.
            #expect(try await last.next(type: "admitted")["room"] == "ten")
            // Cancelling gives points and seats back.
            let cancelled = try await shop.call(.delete, "/api/reservations/\(reservation)", as: bearer)
            #expect(cancelled.result.includes(["status": "released", "refunded": true]), "\(cancelled.text)")
            let point = try await shop.call(.get, "/api/users/\(ada)/point", as: bearer)
            #expect(point.result["point"] == 6)
            try await shop.expectSeatBooks(date, sold: 0)
            // Logout: the token is refused everywhere.
            #expect(try await shop.call(.delete, "/api/sessions", as: bearer).status == 204)
            try await eventually("the token is refused on the other instance") {
                try await shop.call(.get, "/api/users/\(ada)/point", as: bearer, on: 1).status == 401
            }
        }
    }
}
