import EventLoop
import Gateway
import TestServices
import Testing

/// The contract's table *Waiting rooms*: what admins do, and waiting by polling.
@Suite struct RoomRouteTests {
    // MARK: Admins

    @Test func makesShowsAndChangesRooms() async throws {
        try await withShop(2) { shop in
            let made = try await shop.call(.post, "/api/rooms", as: .admin, ["id": "noon"])
            #expect(made.status == 201)
            let defaults: JSON = [
                "id": "noon", "maxActive": 100, "passSeconds": 300, "admitPerMinute": nil, "graceSeconds": 30,
                "ordering": "fifo", "waiting": 0, "active": 0,
            ]
            #expect(made.result.includes(defaults), "\(made.text)")
            let taken = try await shop.call(.post, "/api/rooms", as: .admin, ["id": "noon", "maxActive": 1], on: 1)
            #expect(taken.status == 409 && taken.code == "in_use")
            // A number is a name as well; nothing but what the contract names counts.
            let full: JSON = [
                "id": 17, "maxActive": 5.0, "passSeconds": 60, "admitPerMinute": 600, "graceSeconds": 1,
                "ordering": "passthrough", "waiting": 9, "more": [1, ["a": nil]],
            ]
            let second = try await shop.call(.post, "/api/rooms", as: .admin, full)
            let expected: JSON = [
                "id": "17", "maxActive": 5, "passSeconds": 60, "admitPerMinute": 600, "graceSeconds": 1,
                "ordering": "passthrough", "waiting": 0, "active": 0,
            ]
            #expect(second.status == 201 && second.result.includes(expected), "\(second.text)")

            // Known to the other instance at once; the room `main` always exists.
            #expect(try await shop.inspect("noon", on: 1).includes(defaults))
            #expect(try await shop.inspect("17", on: 1).includes(expected))
            var main = defaults
            if case .object(var members) = defaults {
                members["id"] = "main"
                main = .object(members)
            }
            #expect(try await shop.inspect("main").includes(main))
            let list = try await shop.call(.get, "/api/rooms", as: .admin, on: 1)
            #expect(Set(list.result.list.compactMap { $0["id"].text }) == ["main", "noon", "17"])

            // Limits change one by one.
            let path = "/api/rooms/17"
            let changes: [String: JSON] = [
                "admitPerMinute": nil, "maxActive": 0, "graceSeconds": 9, "ordering": "fifo",
            ]
            for change in changes {
                let answer = try await shop.call(.patch, path, as: .admin, .object([change.key: change.value]))
                #expect(answer.status == 200 && answer.result[change.key] == change.value, "\(answer.text)")
            }
            let changed: JSON = [
                "maxActive": 0, "passSeconds": 60, "admitPerMinute": nil, "graceSeconds": 9, "ordering": "fifo",
            ]
            #expect(try await shop.inspect("17", on: 1).includes(changed))
            for method in [HTTPMethod.get, .patch] {
                for name in ["nope", "no%20pe", String(repeating: "x", count: 65)] {
                    let answer = try await shop.call(
                        method, "/api/rooms/\(name)", as: .admin, method == .get ? nil : ["maxActive": 1])
                    #expect(answer.status == 404 && answer.code == "not_found", "\(name)")
                }
            }
        }
    }

    private static let bad: [(field: String, value: JSON, status: Int)] = [
        ("id", nil, 400), ("id", true, 400), ("id", ["x"], 400), ("id", 1.5, 400), ("id", -1, 400),
        ("id", "", 422), ("id", "a room", 422), ("id", "ö", 422), ("id", .text(String(repeating: "x", count: 65)), 422),
        ("maxActive", "5", 400), ("maxActive", 1.5, 400), ("maxActive", -1, 422), ("maxActive", 10_000_001, 422),
        ("passSeconds", true, 400), ("passSeconds", 0, 422), ("passSeconds", 604_801, 422),
        ("graceSeconds", [1], 400), ("graceSeconds", 0, 422), ("graceSeconds", 86_401, 422),
        ("admitPerMinute", "many", 400), ("admitPerMinute", 0, 422), ("admitPerMinute", 10_000_001, 422),
        ("ordering", 1, 400), ("ordering", "lifo", 422), ("ordering", "FIFO", 422),
    ]

    @Test func everyWrongFieldIsNamed() async throws {
        try await withShop { shop in
            for (field, value, status) in Self.bad {
                var body: [String: JSON] = ["id": "bad"]
                body[field] = value
                let made = try await shop.call(.post, "/api/rooms", as: .admin, .object(body))
                #expect(
                    made.status == status && made.message.contains(field), "\(field): \(value): \(made.text)")
                guard field != "id" else { continue }
                let changed = try await shop.call(.patch, "/api/rooms/main", as: .admin, .object([field: value]))
                #expect(
                    changed.status == status && changed.message.contains(field), "\(field): \(value): \(changed.text)")
            }
            for text in ["", "[]", "\"noon\"", "{", "{\"id\":\"x\",}"] {
                let answer = try await shop.call(.post, "/api/rooms", as: .admin, bytes: Array(text.utf8))
                #expect(answer.status == 400 && answer.code == "bad_request", "\(text)")
            }
            // Lots are drawn from the first day on, or never.
            try await shop.room("lots", ordering: "random")
            for (room, ordering) in [("main", "random"), ("lots", "fifo")] {
                let answer = try await shop.call(
                    .patch, "/api/rooms/\(room)", as: .admin, ["ordering": .text(ordering)])
                #expect(answer.status == 422 && answer.message.contains("ordering"))
            }
            // Nothing of all this was done.
            let list = try await shop.call(.get, "/api/rooms", as: .admin)
            #expect(Set(list.result.list.compactMap { $0["id"].text }) == ["main", "lots"])
            #expect(try await shop.inspect("main")["maxActive"] == 100)
            // A sale has to have a room that exists.
            for (room, status) in [("nope", 422), ("no pe", 422), ("main", 201)] {
                let answer = try await shop.call(
                    .post, "/api/sales", as: .admin,
                    [
                        "name": "x", "quantity": 1, "opensAt": "2020-01-01T00:00:00Z",
                        "closesAt": "2099-01-01T00:00:00Z", "room": .text(room),
                    ])
                #expect(answer.status == status && (status == 201 || answer.message.contains("room")), "\(answer.text)")
            }
        }
    }

    @Test func onlyAdminsMayManageRooms() async throws {
        try await withShop { shop in
            let calls: [(HTTPMethod, String, JSON?)] = [
                (.post, "/api/rooms", ["id": "mine"]), (.get, "/api/rooms", nil), (.get, "/api/rooms/main", nil),
                (.patch, "/api/rooms/main", ["maxActive": 1]), (.get, "/api/rooms/main/draw/entries", nil),
            ]
            for (method, path, body) in calls {
                for (who, status) in [
                    (Who.nobody, 401), (.bearer("nonsense"), 401), (.client("ada"), 403), (.service, 403),
                ] {
                    let answer = try await shop.call(method, path, as: who, body)
                    #expect(answer.status == status, "\(path) as \(who): \(answer.text)")
                }
            }
            #expect(try await shop.inspect("main")["maxActive"] == 100)
        }
    }

    @Test func limitsChangeLive() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            let buyers = try await concurrently(6) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("r") }
            try await shop.change("r", ["maxActive": 2])
            for buyer in buyers[..<2] { try await buyer.admitted("r") }
            try await shop.change("r", ["maxActive": 3], on: 1)
            try await buyers[2].admitted("r")
            for (index, buyer) in buyers[3...].enumerated() { try await buyer.ranked(Int64(index + 1), "r") }
            // A smaller one takes no pass away, and admits nobody until enough have gone.
            try await shop.change("r", ["maxActive": 1])
            #expect(try await shop.inspect("r").includes(["active": 3, "waiting": 3]))
            for (index, buyer) in buyers[..<2].enumerated() {
                try await buyer.leave("r")
                #expect(try await shop.inspect("r").includes(["active": .integer(Int64(2 - index)), "waiting": 3]))
            }
            try await buyers[2].leave("r")
            try await buyers[3].admitted("r")
            // Told no from now on: whoever is there already keeps the place.
            try await shop.change("r", ["ordering": "reject"])
            let late = try await shop.join("late", "r")
            #expect(late.status == 409 && late.code == "rejected")
            #expect(try await shop.join("c4", "r").result["rank"] == 1)
            #expect(try await shop.join("c3", "r").result["token"].text != nil)
        }
    }

    // MARK: Polling

    @Test func waitsByPolling() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1)
            let first = try await shop.join("ada", "r")
            #expect(first.status == 200)
            let pass = try first.result.pass()
            #expect(first.result["status"] == "IN_PROGRESS" && first.result["expiresAt"].text != nil)
            #expect(try await shop.join("ada", "r", on: 1).result["token"] == .text(pass))
            // Numbers are ids as well, in either form.
            let second = try await shop.call(
                .post, "/api/users/token", as: .client("7"), ["userId": 7, "room": "r"], on: 1)
            #expect(second.status == 200 && second.result.has("token") && second.result["token"].isNull)
            #expect(second.result.includes(["rank": 1, "status": "WAITING", "waiting": 1]), "\(second.text)")
            for index in 0..<3 {
                let joined = try await shop.join("c\(index)", "r", on: index % 2)
                #expect(joined.result["rank"] == .integer(Int64(index + 2)))
            }
            // Asking again keeps the place, on any instance, and by the shop's own server.
            for instance in 0..<2 {
                #expect(try await shop.join("7", "r", on: instance).result["rank"] == 1)
                #expect(try await shop.join("c2", "r", as: .service, on: instance).result["rank"] == 4)
                let standing = try await shop.standing("c2", "r", on: instance)
                #expect(standing.status == 200)
                let waits: JSON = ["rank": 4, "token": nil, "status": "WAITING", "waiting": 4, "expiresAt": nil]
                #expect(standing.result.includes(waits), "\(standing.text)")
                #expect(standing.result.has("estimatedSeconds") && (standing.result["refreshSeconds"].integer ?? 0) > 0)
                let admitted = try await shop.standing("ada", "r", as: .service, on: instance)
                let shown: JSON = [
                    "rank": nil, "token": .text(pass), "status": "IN_PROGRESS", "waiting": 4,
                    "expiresAt": first.result["expiresAt"],
                ]
                #expect(admitted.result.includes(shown), "\(admitted.text)")
            }
            // Who leaves, leaves no gap; who gives a pass back, gives it to the next.
            #expect(try await shop.leave("c0", "r").status == 204)
            #expect(try await shop.standing("c2", "r").result["rank"] == 3)
            #expect(try await shop.leave("ada", "r", on: 1).status == 204)
            #expect(try await shop.standing("7", "r", as: .admin).result["status"] == "IN_PROGRESS")
            for client in ["ada", "c0"] {
                for instance in 0..<2 {
                    let standing = try await shop.standing(client, "r", on: instance)
                    let finished: JSON = ["rank": nil, "token": nil, "status": "FINISHED", "expiresAt": nil]
                    #expect(standing.status == 200 && standing.result.includes(finished), "\(standing.text)")
                }
                // Once more changes nothing.
                #expect(try await shop.leave(client, "r").status == 204)
            }
            #expect(try await shop.inspect("r").includes(["waiting": 2, "active": 1, "left": 2]))
            // Back at the end of the line.
            #expect(try await shop.join("c0", "r").result["rank"] == 3)

            // Without a room it is `main`, which has nothing to do with this one.
            #expect(try await shop.join("c2").result["token"].text != nil)
            #expect(try await shop.standing("c2").result["status"] == "IN_PROGRESS")
            #expect(try await shop.leave("c2").status == 204)
            #expect(try await shop.standing("c2").result["status"] == "FINISHED")
            #expect(try await shop.standing("c2", "r").result["rank"] == 2)
        }
    }

    @Test func refusesWhoMayNotAskAndWhatThereIsNot() async throws {
        try await withShop { shop in
            try await shop.room("r", maxActive: 0)
            for (who, status) in [(Who.nobody, 401), (.bearer("nonsense"), 401), (.client("eve"), 403)] {
                #expect(try await shop.join("ada", "r", as: who).status == status)
                #expect(try await shop.standing("ada", "r", as: who).status == status)
                #expect(try await shop.leave("ada", "r", as: who).status == status)
            }
            for room in ["nope", "x:y.z_-1"] {
                #expect(try await shop.join("ada", room).code == "not_found")
                #expect(try await shop.standing("ada", room).code == "not_found")
                #expect(try await shop.leave("ada", room).code == "not_found")
            }
            // A room's name that can't be one.
            #expect(try await shop.standing("ada", "no%20pe").code == "not_found")
            // Never there.
            let standing = try await shop.standing("ada", "r")
            #expect(standing.status == 404 && standing.code == "not_found")
            #expect(try await shop.leave("ada", "r").status == 204)
            #expect(try await shop.standing("ada", "r").status == 404)
            let bodies: [(JSON, Int, String)] = [
                ([:], 400, "userId"), (["userId": nil], 400, "userId"), (["userId": true], 400, "userId"),
                (["userId": "a b"], 422, "userId"), (["userId": ""], 422, "userId"), ([], 400, "object"),
                (["userId": "ada", "room": ["r"]], 400, "room"), (["userId": "ada", "room": "no room"], 422, "room"),
            ]
            for (body, status, field) in bodies {
                let answer = try await shop.call(.post, "/api/users/token", as: .service, body)
                #expect(answer.status == status && answer.message.contains(field), "\(body): \(answer.text)")
            }
            #expect(try await shop.inspect("r")["joined"] == 0)
        }
    }

    /// Somebody is admitted who never comes for the pass: that is counted, and the place is given on.
    @Test func aPassThatNobodyComesForIsGivenOn() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1, passSeconds: 1)
            let first = try await Buyer.connect(shop, as: "first")
            try await first.join("r")
            #expect(try await shop.join("nobody", "r").result["rank"] == 1)
            let next = try await Buyer.connect(shop, as: "next", on: 1)
            #expect(try await next.join("r")["rank"] == 2)
            try await next.admitted("r")
            #expect(try await shop.inspect("r").includes(["noShow": 1, "expired": 2, "active": 1, "waiting": 0]))
            #expect(try await shop.standing("nobody", "r").result["status"] == "FINISHED")
        }
    }

    /// A poller keeps its place by polling, on whatever instance; one that stops loses it, and all behind move up.
    @Test func pollersKeepTheirPlaceByPolling() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 3)
            _ = try await shop.join("silent", "r")
            let watcher = try await Buyer.connect(shop, as: "watcher")
            for client in ["joins", "asks"] { _ = try await shop.join(client, "r") }
            #expect(try await watcher.join("r")["rank"] == 4)
            let polls = EventLoop.task { () async -> [Answer] in
                var answers: [Answer] = []
                // Far more often than it takes, for a busy machine; and for longer than the grace.
                while watcher.heard.contains(where: { $0["rank"] == 3 }) == false {
                    await EventLoop.sleep(milliseconds: 300)
                    for (client, instance) in [("joins", 1), ("asks", 0)] {
                        let answer =
                            if client == "joins" {
                                try? await shop.join(client, "r", on: instance)
                            } else {
                                try? await shop.standing(client, "r", on: instance)
                            }
                        if let answer { answers.append(answer) }
                    }
                }
                return answers
            }
            try await watcher.ranked(3, "r")
            let answers = await polls.value
            #expect(answers.count > 4 && answers.allSatisfy { $0.result["status"] == "WAITING" })
            #expect(try await shop.standing("joins", "r").result["rank"] == 1)
            #expect(try await shop.standing("asks", "r").result["rank"] == 2)
            #expect(try await shop.standing("silent", "r").result["status"] == "FINISHED")
            #expect(try await shop.inspect("r").includes(["vanished": 1, "waiting": 3, "left": 0]))
            // Now they stop as well; whoever holds a connection stays.
            try await watcher.ranked(1, "r")
            #expect(try await shop.inspect("r").includes(["vanished": 3, "waiting": 1]))
            #expect(try await shop.join("silent", "r").result["rank"] == 2)
        }
    }
}
