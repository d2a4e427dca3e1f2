import Gateway
import Identity
import Model

/// A request on its way to its handler: what it asks, and who asks.
struct RequestContext {
    let request: HTTPRequest
    let parameters: [String: String]
    /// Nil where the route is open and no token came.
    let caller: Caller?
    var now: Timestamp

    /// The body, decoded.
    /// - Throws: `bad_request` or `unsupported_media_type`.
    func body<Body: Decodable>(_ type: Body.Type) throws(WireError) -> Body {
        if let contentType = request.contentType {
            let mediaType = contentType.split(separator: ";").first.map { $0.lowercased() } ?? ""
            guard mediaType.filter({ $0 != " " }) == "application/json" else {
                throw WireError(.unsupportedMediaType, "Content-Type: only application/json is understood")
            }
        }
        return try Body.decode(from: request.body)
    }

    /// The sale in the path.
    /// - Throws: `not_found` when it can't be one.
    func sale() throws(WireError) -> SaleID {
        guard let sale = SaleID(parsing: parameters["sale"] ?? "") else { throw WireError(.notFound, "no such sale") }
        return sale
    }

    /// The order in the path.
    /// - Throws: `not_found` when it can't be one.
    func order() throws(WireError) -> OrderID {
        guard let order = OrderID(parsing: parameters["order"] ?? "") else {
            throw WireError(.notFound, "no such order")
        }
        return order
    }

    /// The concert in the path.
    /// - Throws: `not_found` when it can't be one.
    func concert() throws(WireError) -> ConcertID {
        guard let concert = ConcertID(parsing: parameters["concert"] ?? "") else {
            throw WireError(.notFound, "no such concert")
        }
        return concert
    }

    /// The performance in the path.
    /// - Throws: `not_found` when it can't be one.
    func performance() throws(WireError) -> PerformanceID {
        guard let performance = PerformanceID(parsing: parameters["performance"] ?? "") else {
            throw WireError(.notFound, "no such performance")
        }
        return performance
    }

    /// The reservation in the path.
    /// - Throws: `not_found` when it can't be one.
    func reservation() throws(WireError) -> ReservationID {
        guard let reservation = ReservationID(parsing: parameters["reservation"] ?? "") else {
            throw WireError(.notFound, "no such reservation")
        }
        return reservation
    }

    /// The room in the path.
    /// - Throws: `not_found` when it can't be one.
    func room() throws(WireError) -> RoomID {
        guard let room = RoomID(parameters["room"] ?? "") else { throw WireError(.notFound, "no such room") }
        return room
    }

    /// The room in the query, `main` when there is none.
    /// - Throws: `not_found` when it can't be one.
    func roomOfQuery() throws(WireError) -> RoomID {
        guard let text = query("room") else { return .main }
        guard let room = RoomID(text) else { throw WireError(.notFound, "room: no such room") }
        return room
    }

    /// The client in the path, for whom the caller may act.
    func client() throws(WireError) -> ClientID {
        guard let client = ClientID(parameters["userId"] ?? "") else {
            throw WireError(.badRequest, "userId: 1 to 64 characters of A-Z a-z 0-9 . _ : -")
        }
        try requireActing(for: client)
        return client
    }

    /// - Throws: `forbidden` when the caller may not act for `client`.
    func requireActing(for client: ClientID) throws(WireError) {
        guard let caller, caller.mayAct(for: client) else {
            throw WireError(.forbidden, "this token may not act for that client")
        }
    }

    /// The first value of a query's name.
    func query(_ name: String) -> String? {
        request.parameter(name)
    }

    /// A whole number in the query.
    /// - Throws: `bad_request` naming it.
    func query(_ name: String, in range: ClosedRange<Int64>) throws(WireError) -> Int64? {
        guard let text = query(name) else { return nil }
        guard let value = Int64(text), range.contains(value), !text.hasPrefix("+") else {
            throw WireError(.badRequest, "\(name): a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// The header `Idempotency-Key`.
    func idempotencyKey() throws(WireError) -> IdempotencyKey? {
        guard let text = request.idempotencyKey else { return nil }
        guard let key = IdempotencyKey(text) else {
            throw WireError(.badRequest, "Idempotency-Key: 1 to 128 visible ASCII characters")
        }
        return key
    }
}
