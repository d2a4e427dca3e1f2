import EventLoop
import Gateway
import Model
import TestServices
import Testing

/// Who asks.
enum Who: Sendable {
    case nobody
    case admin
    case service
    /// A client, by a token of its own.
    case client(String)
    /// Whoever this token or key is of.
    case bearer(String)
}

/// What came back over REST.
struct Answer: Sendable {
    let status: Int
    let headers: HTTPHeaders
    let text: String
    let json: JSON

    var result: JSON { json["result"] }
    /// The error's code; nil when there is none.
    var code: String? { json["error"]["code"].text }
    var message: String { json["error"]["message"].text ?? "" }
    var order: String? { result["order"].text }
    var ticket: Int64? { result["ticket"].integer }
}

extension Shop {
    /// Makes a call, and checks that its answer has the form that every answer has.
    func call(
        _ method: HTTPMethod, _ path: String, as who: Who = .nobody, _ body: JSON? = nil,
        headers: [(name: String, value: String)] = [], on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        try await call(method, path, as: who, bytes: body?.bytes, headers: headers, on: instance, at: place)
    }

    /// Makes a call with any body.
    func call(
        _ method: HTTPMethod, _ path: String, as who: Who, bytes: [UInt8]?,
        headers: [(name: String, value: String)] = [], on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        var headers = headers
        if let bearer = bearer(who) { headers.append((name: "authorization", value: "Bearer " + bearer)) }
        if bytes != nil && !headers.contains(where: { $0.name == "content-type" }) {
            headers.append((name: "content-type", value: "application/json"))
        }
        let raw = try await HTTPClient.request(
            method, instances[instance].url + path, headers: headers, body: bytes, timeout: patienceMilliseconds / 2)
        let answer = Answer(
            status: raw.status, headers: raw.headers, text: raw.text, json: JSON(parsing: raw.body) ?? .null)
        check(answer, isBodyless: method == .head || answer.status == 204, path, place)
        if path == "/api/users" || path == "/api/sessions", let token = answer.result["token"].text {
            keepSecret(token)
        }
        return answer
    }

    private func bearer(_ who: Who) -> String? {
        switch who {
        case .nobody: nil
        case .admin: adminKey
        case .service: serviceKey
        case .client(let client): token(client)
        case .bearer(let bearer): bearer
        }
    }

    /// The contract's form of answers: one of result and error, the code that goes with the status, when to come back.
    private func check(_ answer: Answer, isBodyless: Bool, _ path: String, _ place: SourceLocation) {
        if answer.status == 429 || answer.status == 503 {
            #expect(Int(answer.headers["retry-after"] ?? "") ?? 0 > 0, "\(path)", sourceLocation: place)
        }
        if isBodyless {
            #expect(answer.text.isEmpty, "\(path)", sourceLocation: place)
            return
        }
        if path == "/metrics" && answer.status == 200 { return }
        #expect(answer.headers["content-type"]?.hasPrefix("application/json") == true, "\(path)", sourceLocation: place)
        #expect(answer.json.names == ["result", "error"], "\(path): \(answer.text)", sourceLocation: place)
        if answer.status < 400 {
            #expect(answer.json["error"].isNull, "\(path): \(answer.text)", sourceLocation: place)
        } else {
            #expect(answer.result.isNull, "\(path): \(answer.text)", sourceLocation: place)
            let code = answer.code.flatMap { WireError.Code(rawValue: $0) }
            #expect(code?.status == answer.status, "\(path): \(answer.text)", sourceLocation: place)
            #expect(!answer.message.isEmpty, "\(path): \(answer.text)", sourceLocation: place)
        }
    }

    // MARK: What most tests do

    /// Registers a sale that is open.
    func sale(
        _ quantity: Int64, limit: Int64 = 1, price: Int64 = 0, reject: Int64 = 0, opensIn: Int64 = -60_000,
        closesIn: Int64 = 3_600_000
    ) async throws -> Int64 {
        let answer = try await call(
            .post, "/api/sales", as: .admin,
            [
                "name": "A sale", "quantity": .integer(quantity), "perClientLimit": .integer(limit),
                "price": .integer(price), "rejectPercent": .integer(reject), "opensAt": .text(Shop.moment(in: opensIn)),
                "closesAt": .text(Shop.moment(in: closesIn)),
            ])
        try #require(answer.status == 201, "\(answer.text)")
        return try #require(answer.result["id"].integer)
    }

    /// A moment so many milliseconds from now, as the contract writes it.
    static func moment(in milliseconds: Int64) -> String {
        Timestamp(milliseconds: EventLoop.wallMilliseconds + milliseconds).description
    }

    /// Claims over REST.
    func claim(
        _ sale: Int64, _ client: String, key: String? = nil, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        try await call(
            .post, "/api/sales/\(sale)/claims", as: .client(client), ["userId": .text(client)],
            headers: key.map { [(name: "idempotency-key", value: $0)] } ?? [], on: instance, at: place)
    }

    /// What the server says about a client's claim.
    func truth(_ sale: Int64, _ client: String, on instance: Int = 0) async throws -> JSON {
        try await call(.get, "/api/sales/\(sale)/claims/\(client)", as: .client(client), on: instance).result
    }

    /// The sale as the server shows it.
    func show(_ sale: Int64, on instance: Int = 0) async throws -> JSON {
        try await call(.get, "/api/sales/\(sale)", on: instance).result
    }

    /// Statistics of a sale.
    func statistics(_ sale: Int64, on instance: Int = 0) async throws -> JSON {
        try await call(.get, "/api/sales/\(sale)/statistics", on: instance).result
    }

    /// Waits until nothing is in flight.
    func settled(_ sale: Int64, on instance: Int = 0) async throws {
        try await eventually("sale \(sale) is settled") {
            let audit = try await call(.get, "/api/audit", as: .admin, on: instance)
            return audit.result["sales"].list.contains { $0["sale"] == .integer(sale) && $0["inFlight"] == 0 }
        }
    }

    /// Checks what must always be true, on a sale that is settled: nothing sold twice or lost, and Redis, PostgreSQL and
    /// the statistics agree.
    func expectBooks(
        _ sale: Int64, sold: Int64, on instance: Int = 0, at place: SourceLocation = #_sourceLocation
    ) async throws {
        try await settled(sale, on: instance)
        let audit = try await call(.get, "/api/audit", as: .admin, on: instance, at: place).result
        #expect(audit["drift"] == 0, "\(audit)", sourceLocation: place)
        let books = audit["sales"].list.first { $0["sale"] == .integer(sale) } ?? .null
        let quantity = books["quantity"].integer ?? 0
        #expect(books["sold"] == .integer(sold), "\(books)", sourceLocation: place)
        #expect(books["free"] == .integer(quantity - sold), "\(books)", sourceLocation: place)
        #expect(books["owned"] == .integer(sold), "\(books)", sourceLocation: place)
        let stored = try await sql(
            """
            select count(*), count(distinct ticket), coalesce(min(ticket), 1) >= 1 and coalesce(max(ticket), 1) <= \(quantity)
            from orders where sale_id = \(sale) and status = 'confirmed'
            """)
        #expect(stored == "\(sold)|\(sold)|t", sourceLocation: place)
        try await expectStatistics(sale, remaining: quantity - sold, on: instance, at: place)
    }

    /// Checks that what Redis counts in all is the sum of what PostgreSQL has for each second.
    private func expectStatistics(
        _ sale: Int64, remaining: Int64, on instance: Int, at place: SourceLocation
    ) async throws {
        let told = try await call(
            .get, "/api/sales/\(sale)/statistics?interval=second", on: instance, at: place
        ).result
        #expect(told["remaining"] == .integer(remaining), "\(told)", sourceLocation: place)
        let series = told["series"].list
        for counter in ["requests", "accepted", "confirmed", "failed", "cancelled"] {
            let sum = series.reduce(0) { $0 + ($1[counter].integer ?? 0) }
            #expect(told[counter] == .integer(sum), "\(counter): \(told)", sourceLocation: place)
        }
        for code in told["refused"].names {
            let sum = series.reduce(0) { $0 + ($1["refused"][code].integer ?? 0) }
            #expect(told["refused"][code] == .integer(sum), "\(code): \(told)", sourceLocation: place)
        }
        let refused = told["refused"].names.reduce(0) { $0 + (told["refused"][$1].integer ?? 0) }
        #expect(told["requests"].integer == (told["accepted"].integer ?? 0) + refused, "\(told)", sourceLocation: place)
    }
}
