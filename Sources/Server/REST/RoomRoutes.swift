import Engine
import EventLoop
import Gateway
import Model
import Persistence

/// Waiting rooms, and waiting by polling.
@LoopActor
struct RoomRoutes {
    let services: Services

    var routes: [Route] {
        [
            Route(.post, "/api/rooms", .admin, create),
            Route(.get, "/api/rooms", .admin, list),
            Route(.get, "/api/rooms/{room}", .admin, show),
            Route(.patch, "/api/rooms/{room}", .admin, change),
            Route(.get, "/api/rooms/{room}/draw", .open, isShared: true, draw),
            Route(.get, "/api/rooms/{room}/draw/entries", .admin, drawEntries),
            Route(.post, "/api/users/token", .caller, join),
            Route(.get, "/api/users/{userId}/token", .caller, standing),
            Route(.delete, "/api/users/{userId}/token", .caller, leave),
        ]
    }

    // MARK: admins

    private func create(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(RoomLimitsBody.self)
        guard let id = body.id else { throw WireError(.badRequest, "id: missing") }
        let name = try id.room("id")
        var limits = RoomLimits()
        try limits.apply(body)
        _ = try await services.rooms.create(name, limits)
        return try await room(name, status: 201)
    }

    private func list(_ context: RequestContext) async throws -> HTTPResponse {
        let rooms = try await services.store.rooms()
        var found: [(room: Room, live: RoomInspection)] = []
        for room in rooms {
            let live = try await services.rooms.directory.with(room.id) {
                try await services.engine.inspect(room: room.id)
            }
            found.append((room, live))
        }
        return .result { json in
            json.array { json in for room in found { json.room(room.room, room.live) } }
        }
    }

    private func show(_ context: RequestContext) async throws -> HTTPResponse {
        try await room(try context.room(), status: 200)
    }

    private func change(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.room()
        let body = try context.body(RoomLimitsBody.self)
        _ = try await services.rooms.update(id) { limits in
            let before = limits.ordering
            try limits.apply(body)
            guard (before == .random) == (limits.ordering == .random) else {
                throw WireError(.invalid, "ordering: a room draws lots from its first day on, or never")
            }
        }
        return try await room(id, status: 200)
    }

    private func room(_ id: RoomID, status: Int) async throws -> HTTPResponse {
        let (room, live) = try await services.rooms.inspect(id)
        return .result(status) { $0.room(room, live) }
    }

    // MARK: the draw

    private func draw(_ context: RequestContext) async throws -> HTTPResponse {
        guard let room = try await services.store.room(try context.room()) else {
            throw WireError(.notFound, "no such room")
        }
        return .result { json in
            json.object { json in
                json.member("room", room.id.rawValue)
                json.member("ordering", room.limits.ordering.rawValue)
                json.drawMembers(room)
            }
        }
    }

    private func drawEntries(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.room()
        let after = try context.query("after", in: 0...Int64(1 << 53) - 1) ?? 0
        let limit = try context.query("limit", in: 1...10_000) ?? 1000
        guard let room = try await services.store.room(id) else { throw WireError(.notFound, "no such room") }
        let entries =
            room.drawnAt == nil ? [] : try await services.store.drawEntries(id, after: after, limit: Int(limit))
        return .result { json in
            json.array { json in
                for entry in entries {
                    json.object { json in
                        json.member("position", entry.position)
                        json.member("userId", entry.client.rawValue)
                    }
                }
            }
        }
    }

    // MARK: polling

    private func join(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(JoinBody.self)
        let client = try body.userId.client("userId")
        try context.requireActing(for: client)
        let room = try body.room?.room("room") ?? .main
        return answer(try await services.rooms.join(client, room, holder: 0))
    }

    private func standing(_ context: RequestContext) async throws -> HTTPResponse {
        let client = try context.client()
        let found = try await services.rooms.standing(of: client, in: try context.roomOfQuery(), asksItself: true)
        guard found.standing != .unknown else { throw WireError(.notFound, "the client has not joined this room") }
        return answer(found)
    }

    private func leave(_ context: RequestContext) async throws -> HTTPResponse {
        let client = try context.client()
        try await services.rooms.leave(client, try context.roomOfQuery())
        return .noContent
    }

    private func answer(_ found: (standing: RoomStanding, summary: RoomSummary)) -> HTTPResponse {
        let summary = found.summary
        var rank: Int64?
        var token: String?
        var expiresAt: Timestamp?
        var status = "FINISHED"
        switch found.standing {
        case .waiting(_, let place):
            rank = place
            status = "WAITING"
        case .admitted(let pass, let end):
            token = pass
            expiresAt = end
            status = "IN_PROGRESS"
        case .finished, .unknown, .rejected: break
        }
        let seconds = rank.flatMap { summary.estimatedSeconds(rank: $0, waiting: summary.waiting, at: summary.now) }
        let refresh = rank.map {
            // Often enough to find a pass alive.
            RankPolicy.refreshSeconds(
                rank: $0, estimatedSeconds: seconds, graceSeconds: min(summary.graceSeconds, summary.passSeconds))
        }
        return .result { json in
            json.object { json in
                json.member("rank", rank)
                json.member("token", token)
                json.member("status", status)
                json.member("waiting", summary.waiting)
                json.member("estimatedSeconds", seconds)
                json.member("expiresAt", expiresAt)
                json.member("refreshSeconds", refresh)
                if summary.draw != .none, rank != nil { json.member("provisional", true) }
            }
        }
    }
}

extension JSONWriter {
    /// A room as an admin sees it.
    fileprivate mutating func room(_ room: Room, _ live: RoomInspection) {
        let summary = live.summary
        let pace = summary.admissionsPerSecond(at: summary.now).map { Int64(($0 * 60).rounded()) }
        object { json in
            json.member("id", room.id.rawValue)
            json.member("maxActive", room.limits.maxActive)
            json.member("passSeconds", room.limits.passSeconds)
            json.member("admitPerMinute", room.limits.admitPerMinute)
            json.member("graceSeconds", room.limits.graceSeconds)
            json.member("ordering", room.limits.ordering.rawValue)
            json.member("waiting", summary.waiting)
            json.member("active", summary.active)
            json.member("joined", live.joined)
            json.member("admitted", live.admitted)
            json.member("left", live.left)
            json.member("vanished", live.vanished)
            json.member("closed", live.closed)
            json.member("expired", live.expired)
            json.member("noShow", live.noShow)
            json.member("spent", live.spent)
            json.member("pacePerMinute", pace)
            json.member("opensAt", live.opensAt)
            json.drawMembers(room)
        }
    }

    /// What everybody may know of a draw: the seed's hash from the first day on, the seed afterwards.
    fileprivate mutating func drawMembers(_ room: Room) {
        member("seedSha256", room.seedSHA256)
        member("seed", room.drawnAt == nil ? nil : room.seed)
        member("drawnAt", room.drawnAt)
    }
}
