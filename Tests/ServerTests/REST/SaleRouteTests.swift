import Foundation
import Gateway
import Model
import TestServices
import Testing

@testable import Server

/// The calls of the contract's table *Sales* that an admin makes, and what everybody may look at.
@Suite struct SaleRouteTests {
    private static let good: [String: JSON] = [
        "name": "Größe 한정판 🎟", "quantity": 100, "opensAt": "2020-01-01T00:00:00Z",
        "closesAt": "2099-12-31T23:59:59+09:00",
    ]

    @Test func registersAndShows() async throws {
        try await withShop(2) { shop in
            let plain = try await shop.call(.post, "/api/sales", as: .admin, .object(Self.good))
            #expect(plain.status == 201)
            let id = try #require(plain.result["id"].integer)
            let expected: JSON = [
                "id": .integer(id), "name": "Größe 한정판 🎟", "quantity": 100, "remaining": 100, "status": "open",
                "opensAt": "2020-01-01T00:00:00.000Z", "closesAt": "2099-12-31T14:59:59.000Z", "price": 0,
                "perClientLimit": 1, "room": nil, "rejectPercent": 0,
            ]
            #expect(plain.result.includes(expected), "\(plain.text)")
            let full = try await shop.call(
                .post, "/api/sales", as: .admin,
                .object(
                    Self.good.merging([
                        "price": 5.0, "perClientLimit": 3, "rejectPercent": 10, "opensAt": "2098-01-01T00:00:00.5Z",
                        "room": nil, "unknown": [1, ["a": nil]],
                    ]) { $1 }))
            #expect(full.status == 201)
            #expect(full.result["status"] == "scheduled" && full.result["opensAt"] == "2098-01-01T00:00:00.500Z")
            #expect(full.result["price"] == 5 && full.result["perClientLimit"] == 3)
            #expect(full.result["rejectPercent"] == 10)

            // Both are known to the other instance, newest first; open to all.
            for who in [Who.nobody, .client("someone"), .admin, .bearer("nonsense")] {
                #expect(try await shop.call(.get, "/api/sales/\(id)", as: who, on: 1).result == plain.result)
            }
            let second = try #require(full.result["id"].integer)
            let list = try await shop.call(.get, "/api/sales", on: 1)
            #expect(list.result == [full.result, plain.result])
            #expect(try await shop.call(.get, "/api/sales?limit=1").result == [full.result])
            #expect(try await shop.call(.get, "/api/sales?limit=5&before=\(second)").result == [plain.result])
            for query in ["limit=0", "limit=201", "limit=x", "before=0", "before=-1", "limit=1.5", "limit="] {
                let answer = try await shop.call(.get, "/api/sales?\(query)")
                #expect(answer.status == 400 && answer.code == "bad_request", "\(query)")
            }
        }
    }

    /// Each change of a good definition, the status that it gets, and the field that the message has to name.
    private static let bad: [(field: String, value: JSON?, status: Int)] = [
        ("name", nil, 400), ("name", 5, 400), ("name", .null, 400), ("name", "", 422), ("name", " \u{3000}", 422),
        ("name", "a\u{0}b", 422), ("name", .text(String(repeating: "x", count: 201)), 422),
        ("quantity", nil, 400), ("quantity", "100", 400), ("quantity", 1.5, 400), ("quantity", .null, 400),
        ("quantity", ["a": 1], 400), ("quantity", 0, 422), ("quantity", -1, 422), ("quantity", 10_000_001, 422),
        ("quantity", 1e300, 422),
        ("opensAt", nil, 400), ("opensAt", 1_700_000_000, 400), ("opensAt", "tomorrow", 422),
        ("opensAt", "2025-02-30T00:00:00Z", 422), ("opensAt", "2025-01-01 00:00", 422),
        ("opensAt", "1999-12-31T23:59:59Z", 422),
        ("closesAt", nil, 400), ("closesAt", "2020-01-01T00:00:00Z", 422), ("closesAt", "2019-01-01T00:00:00Z", 422),
        ("price", "free", 400), ("price", -1, 422), ("price", 1_000_000_000_001, 422),
        ("perClientLimit", 0, 422), ("perClientLimit", 1001, 422), ("perClientLimit", true, 400),
        ("rejectPercent", -1, 422), ("rejectPercent", 101, 422), ("room", true, 400), ("room", 5, 422),
        ("room", "nowhere", 422), ("room", "no where", 422),
    ]

    @Test func refusesWhatMakesNoSaleAndNamesTheField() async throws {
        try await withShop { shop in
            for (field, value, status) in Self.bad {
                var body = Self.good
                body[field] = value
                let answer = try await shop.call(.post, "/api/sales", as: .admin, .object(body))
                #expect(answer.status == status, "\(field) = \(value ?? "missing"): \(answer.text)")
                #expect(answer.code == (status == 400 ? "bad_request" : "invalid"))
                #expect(answer.message.hasPrefix(field), "\(answer.message)")
            }
            for text in [
                "", "null", "[]", "7", "{", #"{"name":"x","#, "{'name':1}", #"{"a":1}{"b":2}"#,
                String(repeating: "[", count: 60_000), "{\"name\":\"\u{1}\"}",
            ] {
                let answer = try await shop.call(.post, "/api/sales", as: .admin, bytes: Array(text.utf8))
                #expect(answer.status == 400 && answer.code == "bad_request", "\(text.prefix(20))")
            }
            let invalidUTF8 = [UInt8](#"{"name":""#.utf8) + [0xC3, 0x28] + [UInt8](#""}"#.utf8)
            #expect(try await shop.call(.post, "/api/sales", as: .admin, bytes: invalidUTF8).status == 400)
            #expect(try await shop.call(.get, "/api/sales").result == [])
        }
    }

    @Test func takesJSONOfUpTo64KiBOnly() async throws {
        try await withShop { shop in
            let good = JSON.object(Self.good).bytes
            let padding = [UInt8](repeating: UInt8(ascii: " "), count: 65536 - good.count)
            #expect(try await shop.call(.post, "/api/sales", as: .admin, bytes: good + padding).status == 201)
            let large = try await shop.call(.post, "/api/sales", as: .admin, bytes: good + padding + [32])
            #expect(large.status == 413 && large.code == "too_large")
            for type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"] {
                let answer = try await shop.call(
                    .post, "/api/sales", as: .admin, bytes: good, headers: [(name: "content-type", value: type)])
                #expect(answer.status == 415 && answer.code == "unsupported_media_type", "\(type)")
            }
            for type in ["application/json", "Application/JSON; charset=UTF-8"] {
                let answer = try await shop.call(
                    .post, "/api/sales", as: .admin, bytes: good, headers: [(name: "content-type", value: type)])
                #expect(answer.status == 201, "\(type)")
            }
        }
    }

    @Test func asksWhoItIs() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(5)
            let adminCalls: [(HTTPMethod, String)] = [
                (.post, "/api/sales"), (.post, "/api/sales/\(sale)/open"), (.post, "/api/sales/\(sale)/close"),
                (.post, "/api/sales/\(sale)/cancel"), (.get, "/api/failed-orders"),
                (.post, "/api/failed-orders/1-1/retry"), (.post, "/api/failed-orders/retry"), (.get, "/api/audit"),
            ]
            for (method, path) in adminCalls {
                for who in [Who.nobody, .bearer("x"), .bearer(shop.adminKey + "x"), .bearer("")] {
                    let answer = try await shop.call(method, path, as: who)
                    #expect(answer.status == 401 && answer.code == "unauthenticated", "\(method) \(path)")
                }
                for who in [Who.client("a"), .service] {
                    let answer = try await shop.call(method, path, as: who)
                    #expect(answer.status == 403 && answer.code == "forbidden", "\(method) \(path)")
                }
            }
            let basic = try await shop.call(
                .get, "/api/audit", headers: [(name: "authorization", value: "Basic " + shop.adminKey)])
            #expect(basic.status == 401)
            #expect(try await shop.show(sale)["status"] == "open")
        }
    }

    @Test func opensClosesAndCallsOffByHand() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(5, opensIn: 600_000)
            func command(_ name: String, on instance: Int = 0) async throws -> Answer {
                try await shop.call(.post, "/api/sales/\(sale)/\(name)", as: .admin, on: instance)
            }
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 1)
            #expect(try await watcher.watch(sale)["status"] == "scheduled")

            let opened = try await command("open")
            #expect(opened.status == 200 && opened.result["status"] == "open")
            try await watcher.sees(sale, status: "open")
            #expect(try await shop.show(sale, on: 1) == opened.result)
            #expect(try await command("open", on: 1).result == opened.result)
            #expect(try await shop.claim(sale, "a", on: 1).status == 201)

            let closed = try await command("close", on: 1)
            #expect(closed.status == 200 && closed.result["status"] == "closed")
            try await watcher.sees(sale, status: "closed")
            #expect(try await command("close").result["closesAt"] == closed.result["closesAt"])
            let tooLate = try await command("open")
            #expect(tooLate.status == 409 && tooLate.code == "closed")
            #expect(try await shop.claim(sale, "b").code == "closed")

            #expect(try await command("cancel").result["status"] == "cancelled")
            try await watcher.sees(sale, status: "cancelled")
            #expect(try await command("cancel", on: 1).result["status"] == "cancelled")
            for name in ["open", "close"] {
                let answer = try await command(name)
                #expect(answer.status == 409 && answer.code == "cancelled", "\(name)")
            }
            #expect(try await shop.claim(sale, "b", on: 1).code == "cancelled")
            #expect(try await watcher.claim(sale)["outcome"] == "cancelled")
            for unknown in ["999999", "0", "-1", "x", "1x", "99999999999999999999", "%31%30%30%30", "1.0"] {
                let answer = try await shop.call(.post, "/api/sales/\(unknown)/open", as: .admin)
                #expect(answer.status == 404 && answer.code == "not_found", "\(unknown)")
            }
        }
    }

    @Test func tellsWhichMethodsThereAre() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(5)
            let table: [(path: String, allowed: Set<HTTPMethod>)] = [
                ("/api/sales", [.get, .head, .post]), ("/api/sales/\(sale)", [.get, .head]),
                ("/api/sales/\(sale)/open", [.post]), ("/api/sales/\(sale)/close", [.post]),
                ("/api/sales/\(sale)/cancel", [.post]), ("/api/sales/\(sale)/claims", [.post]),
                ("/api/sales/\(sale)/claims/a", [.get, .head]), ("/api/sales/\(sale)/statistics", [.get, .head]),
                ("/api/statistics", [.get, .head]), ("/api/orders/1-1", [.get, .head, .delete]),
                ("/api/failed-orders", [.get, .head]), ("/api/failed-orders/retry", [.post]),
                ("/api/failed-orders/1-1/retry", [.post]), ("/api/audit", [.get, .head]), ("/api/users", [.post]),
                ("/api/sessions", [.post, .delete]), ("/api/users/point", [.patch]),
                ("/api/users/a/point", [.get, .head]), ("/healthz", [.get, .head]), ("/readyz", [.get, .head]),
                ("/metrics", [.get, .head]),
            ]
            for (path, allowed) in table {
                // A HEAD that isn't allowed has no body to look at.
                for method in HTTPMethod.allCases where !allowed.contains(method) && method != .head {
                    let answer = try await shop.call(method, path, as: .admin, method == .get ? nil : [:])
                    #expect(answer.status == 405 && answer.code == "method_not_allowed", "\(method) \(path)")
                    let told = (answer.headers["allow"] ?? "").split(separator: ",")
                        .map { $0.trimmingCharacters(in: .whitespaces) }
                    #expect(Set(told) == Set(allowed.map(\.rawValue)), "\(method) \(path)")
                }
            }
            for path in ["/api", "/api/", "/api/sale", "/api/sales/", "/api/sales/1/claims/a/b", "/api/users/point/x"] {
                let answer = try await shop.call(.get, path)
                #expect(answer.status == 404 && answer.code == "not_found", "\(path)")
            }
        }
    }

    @Test func answersHEADLikeGETWithoutTheBody() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(5)
            for path in ["/api/sales", "/api/sales/\(sale)", "/api/sales/\(sale)/statistics", "/healthz", "/readyz"] {
                let get = try await shop.call(.get, path)
                let head = try await shop.call(.head, path)
                #expect(head.status == 200 && get.status == 200, "\(path)")
                #expect(head.headers["content-length"] == String(get.text.utf8.count), "\(path)")
                #expect(head.headers["content-type"] == get.headers["content-type"], "\(path)")
            }
            #expect(try await shop.call(.head, "/api/sales/9999").status == 404)
            #expect(try await shop.call(.head, "/api/audit").status == 401)
        }
    }
}
