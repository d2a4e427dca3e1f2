import EventLoop
import Gateway
import Model
import Persistence

/// Holding seats, paying for them, giving them back.
@LoopActor
struct ReservationRoutes {
    let services: Services

    var routes: [Route] {
        [
            Route(.post, "/api/reservations", .caller, hold),
            Route(.get, "/api/reservations/{reservation}", .caller, show),
            Route(.delete, "/api/reservations/{reservation}", .caller, giveBack),
            Route(.get, "/api/users/{userId}/reservations", .caller, list),
            Route(.post, "/api/payment", .caller, pay),
        ]
    }

    private static let listLimit = 200

    private func hold(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(ReservationBody.self)
        let client = try body.userId.client("userId")
        try context.requireActing(for: client)
        guard let performance = PerformanceID(parsing: body.concertDetailId.text) else {
            throw WireError(.notFound, "concertDetailId: no such performance")
        }
        let (field, seats) = try Self.seats(body)
        let held = try await services.seats.hold(
            seats, named: field, for: client, of: performance, pass: context.request.pass)
        let hold = held.hold
        return .result(held.isRepeated ? 200 : 201) { json in
            json.object { json in
                json.member("status", "SUCCESS")
                json.member("reservationId", hold.id.description)
                json.member("concertDetailId", hold.id.performance.rawValue)
                json.member("userId", hold.client.rawValue)
                json.member("seatIds") { $0.numbers(hold.seats) }
                json.member("expiresAt", hold.expiresAt)
                json.member("price", hold.price)
            }
        }
    }

    private static func seats(_ body: ReservationBody) throws(WireError) -> (field: String, seats: [Int64]) {
        switch (body.seatId, body.seatIds) {
        case (let seat?, nil): return ("seatId", [seat.value])
        case (nil, let seats?): return ("seatIds", seats.map(\.value))
        case (nil, nil): throw WireError(.badRequest, "seatId: missing, or seatIds")
        case (.some, .some): throw WireError(.badRequest, "seatIds: not together with seatId")
        }
    }

    private func show(_ context: RequestContext) async throws -> HTTPResponse {
        let reservation = try await services.seats.reservation(try context.reservation())
        try context.requireActing(for: reservation.client)
        return try await answer(reservation)
    }

    private func giveBack(_ context: RequestContext) async throws -> HTTPResponse {
        let reservation = try await services.seats.reservation(try context.reservation())
        try context.requireActing(for: reservation.client)
        return try await answer(try await services.payments.giveBack(reservation))
    }

    private func answer(_ reservation: Reservation) async throws -> HTTPResponse {
        let dates = try await dates(of: [reservation])
        return .result { $0.reservation(reservation, dates[reservation.id.performance]) }
    }

    private func list(_ context: RequestContext) async throws -> HTTPResponse {
        let client = try context.client()
        let reservations = try await services.seats.reservations(of: client, limit: Self.listLimit)
        let dates = try await dates(of: reservations)
        return .result { json in
            json.array { json in
                for reservation in reservations { json.reservation(reservation, dates[reservation.id.performance]) }
            }
        }
    }

    /// The performances of reservations, and the names of their concerts.
    private func dates(of reservations: [Reservation]) async throws -> [PerformanceID: (Performance, name: String)] {
        var dates: [PerformanceID: (Performance, name: String)] = [:]
        for id in Set(reservations.map(\.id.performance)) {
            let performance = try await services.performances.performance(id)
            dates[id] = (performance, try await services.performances.name(of: performance.concert))
        }
        return dates
    }

    private func pay(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(PaymentBody.self)
        let client = try body.userId.client("userId")
        try context.requireActing(for: client)
        guard let reservation = ReservationID(parsing: body.reservationId.text) else {
            throw WireError(.notFound, "reservationId: no such reservation")
        }
        let point = try FieldCheck.number("point", body.point.value, 0...PerformanceDefinition.maxPrice)
        let paid = try await services.payments.pay(
            reservation, by: client, point: point, key: try context.idempotencyKey(),
            pass: context.request.pass)
        return .result(paid.isRepeated ? 200 : 201) { json in
            json.object { json in
                json.member("status", "SUCCESS")
                json.member("paymentId", paid.payment)
                json.member("reservationId", reservation.description)
                json.member("seatIds") { $0.numbers(paid.seats) }
            }
        }
    }
}

extension JSONWriter {
    /// A reservation as its client sees it.
    fileprivate mutating func reservation(_ reservation: Reservation, _ date: (Performance, name: String)?) {
        object { json in
            json.member("reservationId", reservation.id.description)
            json.member("concertDetailId", reservation.id.performance.rawValue)
            json.member("concertId", date?.0.concert.rawValue)
            json.member("concertName", date?.name)
            json.member("startsAt", date?.0.startsAt)
            json.member("userId", reservation.client.rawValue)
            json.member("seatIds") { $0.numbers(reservation.seats) }
            json.member("price", reservation.price)
            json.member("status", reservation.status.rawValue)
            json.member("heldAt", reservation.heldAt)
            json.member("expiresAt", reservation.expiresAt)
            json.member("paidAt", reservation.paidAt)
            json.member("endedAt", reservation.endedAt)
            json.member("paymentId", reservation.payment)
            json.member("refunded", reservation.status == .released && reservation.paidAt != nil)
        }
    }
}
