import EventLoop
import Model
import TestServices
import Testing

/// A client with a pass, on its way to seats.
struct Visitor: Sendable {
    let client: String
    let pass: String
}

extension Shop {
    // MARK: Concerts

    /// Makes a concert with one date; returns the date's id.
    func performance(
        _ seats: JSON = 50, price: Int64 = 10, room: String = "hall", holdSeconds: Int64 = 300, limit: Int64? = nil,
        startsIn: Int64 = 86_400_000, at place: SourceLocation = #_sourceLocation
    ) async throws -> Int64 {
        let concert = try await call(.post, "/api/concerts", as: .admin, ["name": "A concert"], at: place)
        let id = try #require(concert.result["concertId"].integer, sourceLocation: place)
        return try await date(
            of: id, seats, price: price, room: room, holdSeconds: holdSeconds, limit: limit, startsIn: startsIn,
            at: place)
    }

    /// Makes one more date of a concert.
    func date(
        of concert: Int64, _ seats: JSON = 50, price: Int64 = 10, room: String = "hall", holdSeconds: Int64 = 300,
        limit: Int64? = nil, startsIn: Int64 = 86_400_000, at place: SourceLocation = #_sourceLocation
    ) async throws -> Int64 {
        let answer = try await call(
            .post, "/api/concerts/\(concert)/dates", as: .admin,
            [
                "startsAt": .text(Shop.moment(in: startsIn)), "price": .integer(price), "room": .text(room),
                "holdSeconds": .integer(holdSeconds), "seats": seats,
                "perClientLimit": limit.map { .integer($0) } ?? .null,
            ], at: place)
        try #require(answer.status == 201, "\(answer.text)", sourceLocation: place)
        return try #require(answer.result["concertDetailId"].integer, sourceLocation: place)
    }

    /// Makes a room in which there is place for all, and a date in it.
    func hall(
        _ seats: JSON = 50, price: Int64 = 10, holdSeconds: Int64 = 300, limit: Int64? = nil, places: Int64 = 5000
    ) async throws -> Int64 {
        try await room("hall", maxActive: places)
        return try await performance(seats, price: price, holdSeconds: holdSeconds, limit: limit)
    }

    /// Gets a pass by polling; the room must have a place.
    func enter(
        _ client: String, _ room: String = "hall", on instance: Int = 0, at place: SourceLocation = #_sourceLocation
    ) async throws -> Visitor {
        let answer = try await join(client, room, on: instance, at: place)
        return Visitor(
            client: client, pass: try #require(answer.result["token"].text, "\(answer.text)", sourceLocation: place))
    }

    /// Gives a client points.
    func charge(_ client: String, _ points: Int64, on instance: Int = 0, at place: SourceLocation = #_sourceLocation)
        async throws
    {
        let answer = try await call(
            .patch, "/api/users/point", as: .client(client), ["userId": .text(client), "point": .integer(points)],
            on: instance, at: place)
        try #require(answer.result == "SUCCESS", "\(answer.text)", sourceLocation: place)
    }

    /// A client's balance.
    func balance(_ client: String, on instance: Int = 0) async throws -> Int64? {
        try await call(.get, "/api/users/\(client)/point", as: .client(client), on: instance).result["point"].integer
    }

    /// A moment as the contract writes it, in milliseconds since 1970.
    static func milliseconds(_ moment: JSON) -> Int64? {
        moment.text.flatMap { Timestamp(rfc3339: $0) }?.milliseconds
    }

    // MARK: Seats

    /// Holds seats over REST.
    func hold(
        _ performance: Int64, _ seats: [Int64], _ visitor: Visitor, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        try await call(
            .post, "/api/reservations", as: .client(visitor.client),
            [
                "concertDetailId": .integer(performance), "userId": .text(visitor.client),
                "seatIds": .list(seats.map { .integer($0) }),
            ], headers: [(name: "token", value: visitor.pass)], on: instance, at: place)
    }

    /// Holds seats, which have to be free; the reservation's id.
    func held(
        _ performance: Int64, _ seats: [Int64], _ visitor: Visitor, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> String {
        let answer = try await hold(performance, seats, visitor, on: instance, at: place)
        try #require(answer.status == 201, "\(answer.text)", sourceLocation: place)
        return try #require(answer.result["reservationId"].text, sourceLocation: place)
    }

    /// Pays over REST.
    func pay(
        _ reservation: String, _ point: Int64, _ visitor: Visitor, key: String? = nil, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        var headers = [(name: "token", value: visitor.pass)]
        if let key { headers.append((name: "idempotency-key", value: key)) }
        return try await call(
            .post, "/api/payment", as: .client(visitor.client),
            [
                "reservationId": .text(reservation), "userId": .text(visitor.client), "point": .integer(point),
            ], headers: headers, on: instance, at: place)
    }

    /// Gives a reservation back.
    func giveBack(
        _ reservation: String, _ client: String, on instance: Int = 0, at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        try await call(.delete, "/api/reservations/\(reservation)", as: .client(client), on: instance, at: place)
    }

    /// A client's reservations.
    func reservations(_ client: String, on instance: Int = 0) async throws -> [JSON] {
        try await call(.get, "/api/users/\(client)/reservations", as: .client(client), on: instance).result.list
    }

    /// The free seats, as one with a pass sees them.
    func freeSeats(_ performance: Int64, _ visitor: Visitor, on instance: Int = 0) async throws -> [Int64] {
        let answer = try await call(
            .get, "/api/concert/\(performance)/seat", as: .client(visitor.client),
            headers: [(name: "token", value: visitor.pass)], on: instance)
        try #require(answer.status == 200, "\(answer.text)")
        return answer.result.list.compactMap(\.integer)
    }

    /// What the auditor says of a performance, once nothing is in flight.
    func seatBooks(_ performance: Int64, on instance: Int = 0) async throws -> JSON {
        var books = JSON.null
        try await eventually("performance \(performance) is settled") {
            let audit = try await call(.get, "/api/audit", as: .admin, on: instance)
            books = audit.result["performances"].list.first { $0["performance"] == .integer(performance) } ?? .null
            return books["inFlight"] == 0
        }
        return books
    }

    /// Checks what must always be true of a performance on which nothing is in flight: no seat sold twice or lost, Redis and
    /// PostgreSQL agree, no balance is off its ledger.
    func expectSeatBooks(
        _ performance: Int64, sold: Int64, held: Int64 = 0, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws {
        let books = try await seatBooks(performance, on: instance)
        let quantity = books["quantity"].integer ?? 0
        #expect(books["drift"] == 0, "\(books)", sourceLocation: place)
        #expect(
            books["sold"] == .integer(sold) && books["soldInDatabase"] == .integer(sold), "\(books)",
            sourceLocation: place)
        #expect(
            books["held"] == .integer(held) && books["heldInDatabase"] == .integer(held), "\(books)",
            sourceLocation: place)
        #expect(books["free"] == .integer(quantity - sold - held), "\(books)", sourceLocation: place)
        let audit = try await call(.get, "/api/audit", as: .admin, on: instance, at: place).result
        #expect(audit["ledgerDrift"] == 0, sourceLocation: place)
        // The ledger has two sides.
        #expect(try await sql("select coalesce(sum(amount), 0) from ledger_legs") == "0", sourceLocation: place)
        #expect(try await sql("select count(*) from accounts where balance < 0") == "0", sourceLocation: place)
    }
}

extension Buyer {
    /// Watches a performance, and waits for its seats.
    func watchSeats(_ performance: Int64, isCompact: Bool = false) async throws -> JSON {
        var message: [String: JSON] = ["type": "watch", "performance": .integer(performance)]
        if isCompact { message["compact"] = true }
        return try await ask(.object(message))
    }

    /// Holds seats.
    func hold(_ performance: Int64, _ seats: [Int64], pass: String) async throws -> JSON {
        try await ask([
            "type": "hold", "performance": .integer(performance), "seats": .list(seats.map { .integer($0) }),
            "token": .text(pass),
        ])
    }

    /// Takes the frame that tells that a reservation has that status.
    @discardableResult
    func reservation(_ id: String, _ status: String) async throws -> JSON {
        try await next("reservation \(status)") {
            $0["type"] == "reservation" && $0["reservationId"] == .text(id) && $0["status"] == .text(status)
        }
    }

    /// What every frame about a performance's seats comes to so far: status by seat.
    func seats(_ performance: Int64) -> [Int64: String] {
        var seats: [Int64: String] = [:]
        for frame in heard where frame["type"] == "seats" && frame["performance"] == .integer(performance) {
            for change in frame["changes"].list {
                if let seat = change["seatId"].integer { seats[seat] = change["status"].text }
            }
        }
        return seats
    }
}
