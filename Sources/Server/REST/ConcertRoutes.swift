import Engine
import EventLoop
import Gateway
import Model
import Persistence

/// Concerts, their dates, and their seats.
@LoopActor
struct ConcertRoutes {
    let services: Services
    let answers: SeatAnswers

    init(services: Services) {
        self.services = services
        answers = SeatAnswers(engine: services.engine, directory: services.performances)
    }

    var routes: [Route] {
        [
            Route(.post, "/api/concerts", .admin, register),
            Route(.get, "/api/concerts", .open, isShared: true, list),
            Route(.get, "/api/concerts/{concert}", .open, isShared: true, show),
            Route(.post, "/api/concerts/{concert}/dates", .admin, registerDate),
            Route(.get, "/api/concert/{concert}/date", .caller, dates),
            Route(.get, "/api/concert/{performance}/seat", .caller, seats),
            Route(.get, "/api/concert/{performance}/statistics", .open, isShared: true, statistics),
        ]
    }

    // MARK: admins

    private func register(_ context: RequestContext) async throws -> HTTPResponse {
        let name = try FieldCheck.name("name", try context.body(RegisterConcertBody.self).name)
        let concert = try await services.store.insertConcert(name: name)
        return .result(201) { json in
            json.object { json in
                json.member("concertId", concert.id.rawValue)
                json.member("name", concert.name)
            }
        }
    }

    private func registerDate(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.concert()
        let definition = try PerformanceDefinition(context.body(RegisterPerformanceBody.self))
        guard try await services.store.concert(id) != nil else { throw WireError(.notFound, "no such concert") }
        guard try await services.store.room(definition.room) != nil else {
            throw WireError(.invalid, "room: there is no such room")
        }
        let performance = try await services.performances.register(definition, of: id)
        return .result(201) { json in
            json.object { json in
                json.member("concertId", id.rawValue)
                json.dateMembers(performance, remaining: performance.layout.count)
            }
        }
    }

    // MARK: everybody

    private func list(_ context: RequestContext) async throws -> HTTPResponse {
        let limit = try context.query("limit", in: 1...200) ?? 50
        let before = try context.query("before", in: 1...Int64(1 << 53) - 1)
        return try await answer(
            try await services.store.concerts(before: before.map(ConcertID.init), limit: Int(limit))
        ) { json, write in json.array { json in write(&json) } }
    }

    private func show(_ context: RequestContext) async throws -> HTTPResponse {
        guard let concert = try await services.store.concert(try context.concert()) else {
            throw WireError(.notFound, "no such concert")
        }
        return try await answer([concert]) { json, write in write(&json) }
    }

    private func answer(
        _ concerts: [Concert], _ body: (inout JSONWriter, (inout JSONWriter) -> Void) -> Void
    ) async throws -> HTTPResponse {
        let dates = try await services.store.performances(of: concerts.map(\.id)).map(\.performance)
        let tallies = try await services.performances.tallies(of: dates.map(\.id))
        let byConcert = Dictionary(grouping: dates, by: \.concert)
        return .result { json in
            body(&json) { json in
                for concert in concerts {
                    json.object { json in
                        json.member("concertId", concert.id.rawValue)
                        json.member("name", concert.name)
                        json.member("dates") { json in
                            json.array { json in
                                for date in byConcert[concert.id] ?? [] {
                                    json.object { $0.dateMembers(date, remaining: tallies[date.id]?.free) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// What was asked for by Redis' counters, what became of it by PostgreSQL's reservations.
    private func statistics(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.performance()
        _ = try await services.performances.performance(id)
        guard let tally = try await services.performances.tallies(of: [id])[id] else { throw WireError.unavailable }
        let counts = try await services.engine.seatCounts(of: id)
        let reservations = try await services.store.reservationCounts(of: id)
        return .result { json in
            json.object { json in
                json.member("requests", counts["requests"] ?? 0)
                json.member("refused") { json in
                    json.object { json in
                        for (name, count) in counts.sorted(by: { $0.key < $1.key }) where name.hasPrefix("refused:") {
                            json.key(dynamic: String(name.dropFirst("refused:".count)))
                            json.number(count)
                        }
                    }
                }
                json.member("reservations") { json in
                    json.object { json in
                        for status in ReservationStatus.allCases {
                            json.key(dynamic: status.rawValue)
                            json.number(reservations[status] ?? 0)
                        }
                    }
                }
                json.member("remaining", tally.free)
                json.member("held", tally.held)
                json.member("sold", tally.sold)
            }
        }
    }

    // MARK: with a pass

    private func dates(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.concert()
        guard let concert = try await services.store.concert(id) else { throw WireError(.notFound, "no such concert") }
        let dates = try await services.store.performances(of: id).map(\.performance)
        try await requirePass(context, of: dates.isEmpty ? [.main] : Set(dates.map(\.room)))
        let tallies = try await services.performances.tallies(of: dates.map(\.id))
        return .result { json in
            json.object { json in
                json.member("concertName", concert.name)
                json.member("concertInfos") { json in
                    json.array { json in
                        for date in dates {
                            json.object { json in
                                json.member("concertDetailId", date.id.rawValue)
                                json.member("startsAt", date.startsAt)
                                json.member("remaining", tallies[date.id]?.free)
                                json.member("price", date.price)
                                json.member("room", date.room.rawValue)
                            }
                        }
                    }
                }
            }
        }
    }

    private func seats(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.performance()
        let isDetailed: Bool
        switch context.query("detail") {
        case nil, "false": isDetailed = false
        case "true": isDetailed = true
        default: throw WireError(.badRequest, "detail: true or false")
        }
        let performance = try await services.performances.performance(id)
        try await requirePass(context, of: [performance.room])
        return try await answers.answer(performance, isDetailed: isDetailed)
    }

    /// Lets pass who shows a pass of one of these rooms: a client its own, the keys whosever it is.
    private func requirePass(_ context: RequestContext, of rooms: Set<RoomID>) async throws {
        let room = rooms.sorted().map(\.rawValue).joined(separator: " or ")
        let refusal = WireError(.notAdmitted, "token: this needs a valid pass of the room \(room)")
        guard let pass = context.request.pass, pass.utf8.count <= 128 else { throw refusal }
        for room in rooms.sorted() {
            if let client = context.caller?.client {
                if try await services.rooms.hasPass(client, pass, of: room) { return }
            } else if try await services.rooms.owner(of: pass, room: room) != nil {
                return
            }
        }
        throw refusal
    }
}

extension JSONWriter {
    /// A date of a concert, as members of an object that is open.
    fileprivate mutating func dateMembers(_ date: Performance, remaining: Int64?) {
        member("concertDetailId", date.id.rawValue)
        member("startsAt", date.startsAt)
        member("price", date.price)
        member("room", date.room.rawValue)
        member("holdSeconds", date.holdSeconds)
        member("perClientLimit", date.perClientLimit)
        member("seats", date.layout.count)
        member("remaining", remaining)
        key("sections")
        guard !date.layout.sections.isEmpty else { return null() }
        array { json in
            for section in date.layout.sections {
                json.object { json in
                    json.member("name", section.name)
                    json.member("rows", section.rows)
                    json.member("seatsPerRow", section.seatsPerRow)
                }
            }
        }
    }
}
