import EventLoop
import Gateway
import TestServices
import Testing

extension Shop {
    // MARK: Rooms

    /// Makes a room. Unless a test says otherwise nothing ends by the clock.
    @discardableResult
    func room(
        _ id: String, maxActive: Int64 = 1, passSeconds: Int64 = 600, graceSeconds: Int64 = 600,
        ordering: String = "fifo", at place: SourceLocation = #_sourceLocation
    ) async throws -> JSON {
        let answer = try await call(
            .post, "/api/rooms", as: .admin,
            [
                "id": .text(id), "maxActive": .integer(maxActive), "passSeconds": .integer(passSeconds),
                "graceSeconds": .integer(graceSeconds), "ordering": .text(ordering),
            ], at: place)
        try #require(answer.status == 201, "\(answer.text)", sourceLocation: place)
        return answer.result
    }

    /// A room as an admin sees it.
    func inspect(_ room: String, on instance: Int = 0) async throws -> JSON {
        try await call(.get, "/api/rooms/\(room)", as: .admin, on: instance).result
    }

    /// Changes a room's limits.
    func change(_ room: String, _ limits: JSON, on instance: Int = 0) async throws {
        let answer = try await call(.patch, "/api/rooms/\(room)", as: .admin, limits, on: instance)
        try #require(answer.status == 200, "\(answer.text)")
    }

    /// Registers a sale that only those buy at whom its room has admitted.
    func sale(
        _ quantity: Int64, in room: String, limit: Int64 = 1, opensIn: Int64 = -60_000, closesIn: Int64 = 3_600_000,
        on instance: Int = 0
    ) async throws -> Int64 {
        let answer = try await call(
            .post, "/api/sales", as: .admin,
            [
                "name": "A sale with a room", "quantity": .integer(quantity), "perClientLimit": .integer(limit),
                "room": .text(room), "opensAt": .text(Shop.moment(in: opensIn)),
                "closesAt": .text(Shop.moment(in: closesIn)),
            ], on: instance)
        try #require(answer.status == 201 && answer.result["room"] == .text(room), "\(answer.text)")
        return try #require(answer.result["id"].integer)
    }

    /// Opens, closes or cancels a sale.
    func end(_ sale: Int64, _ step: String, on instance: Int = 0) async throws {
        let answer = try await call(.post, "/api/sales/\(sale)/\(step)", as: .admin, on: instance)
        try #require(answer.status == 200, "\(answer.text)")
    }

    // MARK: Waiting by polling

    /// Joins, or asks again.
    func join(
        _ client: String, _ room: String? = nil, as who: Who? = nil, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        var body: [String: JSON] = ["userId": .text(client)]
        if let room { body["room"] = .text(room) }
        return try await call(
            .post, "/api/users/token", as: who ?? .client(client), .object(body), on: instance, at: place)
    }

    /// Where a client stands, which is a sign of life.
    func standing(
        _ client: String, _ room: String? = nil, as who: Who? = nil, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        try await call(
            .get, "/api/users/\(client)/token" + (room.map { "?room=\($0)" } ?? ""), as: who ?? .client(client),
            on: instance, at: place)
    }

    /// Leaves the line, or gives the pass back.
    func leave(
        _ client: String, _ room: String? = nil, as who: Who? = nil, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        try await call(
            .delete, "/api/users/\(client)/token" + (room.map { "?room=\($0)" } ?? ""), as: who ?? .client(client),
            on: instance, at: place)
    }

    /// Claims over REST with a pass.
    func claim(
        _ sale: Int64, _ client: String, pass: String, key: String? = nil, on instance: Int = 0,
        at place: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        var headers = [(name: "token", value: pass)]
        if let key { headers.append((name: "idempotency-key", value: key)) }
        return try await call(
            .post, "/api/sales/\(sale)/claims", as: .client(client), ["userId": .text(client)], headers: headers,
            on: instance, at: place)
    }

    // MARK: Redis

    /// Asks Redis behind the servers' backs.
    @discardableResult
    func redis(_ words: String...) async throws -> String {
        try await Program.run("/usr/bin/redis-cli", ["-s", redis.socketPath] + words)
    }

    /// Calls a function of rooms as a server does that dies before it has told what came of it.
    /// - Parameter channel: where the change of the line is announced; the room's own when nil.
    @discardableResult
    func callRedis(
        _ function: String, _ room: String, channel: String? = nil, passes: [String] = [], _ arguments: [String] = []
    ) async throws -> String {
        let state = "dibs:{room:\(room)}"
        let parts = [
            "members", "line", "gone", "sums", "presence", "blocks", "active", "passes", "finished", "outbox", "drawn",
            "cleared",
        ]
        let keys = [state] + parts.map { state + ":" + $0 }
        let words =
            ["-s", redis.socketPath, "FCALL", function, String(keys.count)] + keys
            + ["", state + ":" + (channel ?? "events"), String(passes.count)] + passes + arguments
        return try await Program.run("/usr/bin/redis-cli", words)
    }
}

extension Shop {
    /// Cuts connections to Redis: those by which the instances hear, or all of them.
    func cutConnections(_ all: Bool) async throws {
        let clients = try await redis("client", "list").split(separator: "\n")
        let victims = clients.filter { line in
            let isListener = line.contains(" cmd=subscribe ")
            return all ? !line.contains(" cmd=monitor ") && !line.contains(" cmd=client") : isListener
        }
        for line in victims {
            let id = line.split(separator: " ")[0].dropFirst(3)
            _ = try await redis("client", "kill", "id", String(id))
        }
    }
}

extension Buyer {
    /// Connects, as soon as that is possible.
    static func connectAtLast(
        _ shop: Shop, as client: String, on instance: Int = 0, resume: JSON? = nil
    ) async throws -> Buyer {
        let buyer = try await open(shop, on: instance, as: client)
        try await eventually("\(client) is connected") {
            try await buyer.tryToConnect(token: shop.token(client), resume: resume)["type"] == "connected"
        }
        return buyer
    }

    /// Joins a room, and waits for the answer.
    @discardableResult
    func join(_ room: String) async throws -> JSON { try await ask(["type": "join", "room": .text(room)]) }

    /// Leaves a room, and waits for the answer.
    @discardableResult
    func leave(_ room: String) async throws -> JSON { try await ask(["type": "leave", "room": .text(room)]) }

    /// Takes the frame with the pass of a room.
    @discardableResult
    func admitted(_ room: String) async throws -> JSON { try await frame("admitted", room) }

    /// Takes the frame that says that the pass of a room ran out.
    @discardableResult
    func expired(_ room: String) async throws -> JSON { try await frame("expired", room) }

    /// Takes the frame that ends the wait in a room.
    @discardableResult
    func left(_ room: String) async throws -> JSON { try await frame("left", room) }

    private func frame(_ type: String, _ room: String) async throws -> JSON {
        try await next("\(type) of \(room)") { $0["type"] == .text(type) && $0["room"] == .text(room) }
    }

    /// Takes the frame that pushes a rank.
    @discardableResult
    func ranked(_ rank: Int64, _ room: String, reachable: Bool? = nil) async throws -> JSON {
        try await next("rank \(rank) in \(room), reachable \(reachable.map { "\($0)" } ?? "or not")") {
            $0["type"] == "rank" && $0["room"] == .text(room) && $0["rank"] == .integer(rank)
                && (reachable == nil || $0["reachable"] == .flag(reachable == true))
        }
    }

    /// What it was told last of its place; nil when it no longer waits.
    func place(_ room: String) -> JSON? {
        var last: JSON?
        for frame in heard where frame["room"] == .text(room) {
            switch frame["type"].text {
            case "joined", "rank": last = frame
            case "admitted", "left": last = nil
            default: break
            }
        }
        return last
    }

    /// Claims with a pass, and waits for the answer.
    func claim(_ sale: Int64, pass: String, key: String? = nil) async throws -> JSON {
        var message: [String: JSON] = ["type": "claim", "sale": .integer(sale), "token": .text(pass)]
        if let key { message["key"] = .text(key) }
        return try await ask(.object(message))
    }
}

extension JSON {
    /// The pass in a frame or an answer.
    func pass(at place: SourceLocation = #_sourceLocation) throws -> String {
        try #require(self["token"].text, "\(self)", sourceLocation: place)
    }
}
