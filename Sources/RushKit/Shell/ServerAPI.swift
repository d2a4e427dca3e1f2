import EventLoop
import Foundation
import Gateway
import Model

/// Why a run cannot go on.
struct RushError: Error, CustomStringConvertible {
    let description: String
    /// The server's word for it, when it was the server that refused.
    let code: String?
    init(_ description: String, code: String? = nil) {
        self.description = description
        self.code = code
    }
}

/// The calls of REST that a run makes, as the admin.
@LoopActor
struct ServerAPI {
    /// Tried in turn: one of them may be down, that is what some runs are about.
    let instances: [String]
    let key: String
    /// How often something is asked that gets no answer.
    var attempts = 12

    struct Sale: Decodable {
        let id: WireID
        let quantity: Int64
        let remaining: Int64
        let status: String
        let price: Int64
        let perClientLimit: Int64
        let room: String?
    }

    struct Room: Decodable {
        let maxActive, passSeconds, graceSeconds: Int64
        let admitPerMinute: Int64?
        let ordering: String
        let waiting, active: Int64
    }

    private struct NewRoom: Encodable {
        let id: String
        let maxActive, passSeconds, admitPerMinute, graceSeconds: Int?
        let ordering: String?
    }

    struct Statistics: Decodable {
        let confirmed: Int64
    }

    struct Audit: Decodable {
        struct Sale: Decodable {
            let sale: WireID
            let sold: Int64
            let inFlight: Int64
            let drift: Int64
        }
        struct Performance: Decodable {
            let performance: WireID
            let sold, held, free, soldInDatabase, heldInDatabase, inFlight, drift: Int64
        }
        let sales: [Sale]
        let performances: [Performance]
        let ledgerDrift: Int64
    }

    private struct Token: Decodable {
        let token: String
    }

    private struct NewSale: Encodable {
        let name: String
        let quantity, price, perClientLimit: Int
        let opensAt, closesAt: String
        let room: String?
    }

    /// Registers a sale that is open.
    func register(name: String, _ options: Options) async throws -> Sale {
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        let pause = Int64(options.line?.openAfter ?? 0) * 1000
        let opensAt = now + (pause > 0 ? pause : -1000)
        let closesAt = opensAt + Int64(options.timeout * 2 + 3600) * 1000
        let sale = NewSale(
            name: name, quantity: options.quantity, price: options.price, perClientLimit: options.limit,
            opensAt: opensAt.description, closesAt: closesAt.description, room: options.line?.room)
        return try await call(.post, "/api/sales", body: sale)
    }

    func sale(_ id: String) async throws -> Sale { try await call(.get, "/api/sales/\(id)") }

    /// The room; nil when there is none of that name.
    func room(_ id: String) async throws -> Room? {
        do {
            return try await call(.get, "/api/rooms/\(id)")
        } catch let error as RushError where error.code == "not_found" {
            return nil
        }
    }

    func register(_ line: LineOptions) async throws {
        struct Registered: Decodable {}
        let room = NewRoom(
            id: line.room, maxActive: line.maxActive, passSeconds: line.passSeconds,
            admitPerMinute: line.admitPerMinute, graceSeconds: line.graceSeconds, ordering: line.ordering)
        do {
            let _: Registered = try await call(.post, "/api/rooms", body: room)
        } catch let error as RushError where error.code == "in_use" {
            // Somebody else was faster, or our first attempt did get through.
        }
    }

    func statistics(_ id: String) async throws -> Statistics { try await call(.get, "/api/sales/\(id)/statistics") }

    func audit() async throws -> Audit { try await call(.get, "/api/audit") }

    /// Makes a concert with one performance, which is tomorrow.
    /// - Returns: The performance's id.
    func performance(name: String, _ seats: SeatOptions, price: Int, room: String) async throws -> String {
        struct Concert: Decodable { let concertId: WireID }
        struct Date: Decodable { let concertDetailId: WireID }
        struct NewDate: Encodable {
            let startsAt, room: String
            let price, holdSeconds, seats: Int
        }
        let concert: Concert = try await call(.post, "/api/concerts", body: ["name": name])
        let startsAt = Timestamp(milliseconds: EventLoop.wallMilliseconds) + 86_400_000
        let date: Date = try await call(
            .post, "/api/concerts/\(concert.concertId.text)/dates",
            body: NewDate(
                startsAt: startsAt.description, room: room, price: price, holdSeconds: seats.holdSeconds,
                seats: seats.seats))
        return date.concertDetailId.text
    }

    /// Every seat's status, in their order, as somebody with a pass sees it.
    func seats(of performance: String, room: String, as client: String) async throws -> [String] {
        struct Pass: Decodable { let token: String? }
        struct Seat: Decodable { let status: String }
        struct Join: Encodable { let userId, room: String }
        let pass: Pass = try await call(.post, "/api/users/token", body: Join(userId: client, room: room))
        guard let token = pass.token else { throw RushError("the room \(room) has no place") }
        let seats: [Seat] = try await call(
            .get, "/api/concert/\(performance)/seat?detail=true", content: nil, headers: [("token", token)])
        return seats.map(\.status)
    }

    /// Points that a client has.
    func balance(of client: String) async throws -> Int64 {
        struct Balance: Decodable { let point: Int64 }
        let balance: Balance = try await call(.get, "/api/users/\(client)/point")
        return balance.point
    }

    func token(for client: String) async throws -> String {
        let token: Token = try await call(.post, "/api/tokens", body: ["userId": client])
        return token.token
    }

    /// Gives points; the same `name` again gives them once.
    func charge(_ client: String, points: Int64, name: String) async throws {
        struct Charge: Encodable {
            let userId: String
            let point: Int64
        }
        let _: String = try await call(
            .patch, "/api/users/point", body: Charge(userId: client, point: points),
            headers: [("idempotency-key", name)])
    }

    /// Whether this instance is ready; else why not.
    static func isReady(_ instance: String) async -> String? {
        do {
            let answer = try await HTTPClient.request(.get, instance + "/readyz", timeout: 5000)
            return answer.status == 200 ? nil : "it says \(answer.status)"
        } catch {
            return "\(error)"
        }
    }

    private struct Envelope<Value: Decodable>: Decodable {
        struct Problem: Decodable {
            let code: String
            let message: String
        }
        let result: Value?
        let error: Problem?
    }

    private func call<Value: Decodable>(_ method: HTTPMethod, _ path: String) async throws -> Value {
        try await call(method, path, content: nil, headers: [])
    }

    private func call<Value: Decodable>(
        _ method: HTTPMethod, _ path: String, body: some Encodable, headers: [(name: String, value: String)] = []
    ) async throws -> Value {
        try await call(
            method, path, content: Array(try JSONEncoder().encode(body)),
            headers: headers + [("content-type", "application/json")])
    }

    /// Asks until there is an answer that is one: what is `unavailable` or limited is asked again after a pause.
    private func call<Value: Decodable>(
        _ method: HTTPMethod, _ path: String, content: [UInt8]?, headers: [(name: String, value: String)]
    ) async throws -> Value {
        var backoff = Backoff(base: 100, cap: 2000)
        var problem = ""
        // With one attempt only, each call tries its luck with another instance.
        let offset = attempts > 1 ? 0 : Int.random(in: 0..<instances.count)
        for attempt in 0..<attempts {
            if attempt > 0 { await EventLoop.sleep(milliseconds: backoff.next()) }
            let instance = instances[(attempt + offset) % instances.count]
            do {
                let answer = try await HTTPClient.request(
                    method, instance + path, headers: headers + [("authorization", "Bearer " + key)], body: content)
                problem = "\(method.rawValue) \(instance)\(path): \(answer.status)"
                if answer.status == 429 || answer.status == 503 { continue }
                let envelope = try JSONDecoder().decode(Envelope<Value>.self, from: Data(answer.body))
                if let result = envelope.result { return result }
                if let error = envelope.error { problem += " \(error.code): \(error.message)" }
                throw RushError(problem, code: envelope.error?.code)
            } catch let error as GatewayError {
                problem = "\(method.rawValue) \(instance)\(path): \(error)"
            } catch let error as DecodingError {
                throw RushError(problem + ", and not what the contract says: \(error)")
            }
        }
        throw RushError(problem)
    }
}

/// An id, as number or text.
struct WireID: Decodable, Hashable, Sendable {
    let text: String

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int64.self) {
            text = String(number)
        } else {
            text = try container.decode(String.self)
        }
    }
}
