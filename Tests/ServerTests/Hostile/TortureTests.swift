import EventLoop
import Foundation
import Gateway
import TestServices
import Testing

/// Values, paths and texts that are made to break things. Each gets a clear answer, and the process goes on.
@Suite struct TortureTests {
    /// What may stand where a number should.
    private static let numbers = [
        "0", "-0", "-1", "1", "2147483647", "2147483648", "4294967296", "9007199254740991", "9007199254740992",
        "9007199254740993", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615", "18446744073709551616", "1e18", "1e19", "1e308", "-1e308", "1e309", "1e999999999",
        "1e-400",
        "0.1", "1.5", "1.0", "0.1e1", "123456789012345678901234567890", "\"1\"", "\"9223372036854775808\"", "\"-1\"",
        "\"1e3\"", "\"0x10\"", "\"１\"", "\"\"", "true", "null", "[]", "[1]", "{}", "{\"a\":1}",
    ]

    /// Bodies, with `@` where each number goes in.
    private static let bodies: [(method: HTTPMethod, path: String, who: Who, body: String)] = [
        (
            .post, "/api/sales", .admin,
            #"{"name":"x","opensAt":"2030-01-01T00:00:00Z","closesAt":"2031-01-01T00:00:00Z","quantity":@}"#
        ),
        (
            .post, "/api/sales", .admin,
            #"{"name":"x","opensAt":"2030-01-01T00:00:00Z","closesAt":"2031-01-01T00:00:00Z","quantity":1,"price":@}"#
        ),
        (
            .post, "/api/sales", .admin,
            #"{"name":"x","opensAt":"2030-01-01T00:00:00Z","closesAt":"2031-01-01T00:00:00Z","quantity":1,"perClientLimit":@}"#
        ),
        (
            .post, "/api/sales", .admin,
            #"{"name":"x","opensAt":"2030-01-01T00:00:00Z","closesAt":"2031-01-01T00:00:00Z","quantity":1,"rejectPercent":@}"#
        ),
        (.post, "/api/sales", .admin, #"{"name":"x","opensAt":@,"closesAt":"2031-01-01T00:00:00Z","quantity":1}"#),
        (.post, "/api/rooms", .admin, #"{"id":@}"#),
        (.patch, "/api/rooms/torture", .admin, #"{"maxActive":@}"#),
        (.patch, "/api/rooms/torture", .admin, #"{"passSeconds":@}"#),
        (.patch, "/api/rooms/torture", .admin, #"{"admitPerMinute":@}"#),
        (.patch, "/api/rooms/torture", .admin, #"{"graceSeconds":@}"#),
        (.post, "/api/concerts/1/dates", .admin, #"{"startsAt":"2030-01-01T00:00:00Z","price":@,"seats":5}"#),
        (
            .post, "/api/concerts/1/dates", .admin,
            #"{"startsAt":"2030-01-01T00:00:00Z","price":1,"seats":5,"holdSeconds":@}"#
        ),
        (
            .post, "/api/concerts/1/dates", .admin,
            #"{"startsAt":"2030-01-01T00:00:00Z","price":1,"seats":5,"perClientLimit":@}"#
        ),
        (.post, "/api/concerts/@/dates", .admin, #"{"startsAt":"2030-01-01T00:00:00Z","price":1,"seats":5}"#),
        (
            .post, "/api/concerts/1/dates", .admin,
            #"{"startsAt":"2030-01-01T00:00:00Z","price":1,"seats":{"sections":[{"name":"A","rows":@,"seatsPerRow":9223372036854775807}]}}"#
        ),
        (
            .post, "/api/concerts/1/dates", .admin,
            #"{"startsAt":"2030-01-01T00:00:00Z","price":1,"seats":{"sections":[{"name":"A","rows":3,"seatsPerRow":@}]}}"#
        ),
        (.patch, "/api/users/point", .client("1"), #"{"userId":"1","point":@}"#),
        (.patch, "/api/users/point", .service, #"{"userId":@,"point":1}"#),
        (.post, "/api/tokens", .service, #"{"userId":"x","expiresIn":@}"#),
        (.post, "/api/users/token", .client("1"), #"{"userId":"1","room":@}"#),
        (.post, "/api/sales/1/claims", .service, #"{"userId":@}"#),
        (.post, "/api/sales/@/claims", .client("1"), #"{"userId":"1"}"#),
        (.post, "/api/reservations", .client("1"), #"{"concertDetailId":@,"userId":"1","seatId":1}"#),
        (.post, "/api/reservations", .client("1"), #"{"concertDetailId":1,"userId":"1","seatId":@}"#),
        (.post, "/api/reservations", .client("1"), #"{"concertDetailId":1,"userId":"1","seatIds":[1,@]}"#),
        (.post, "/api/payment", .client("1"), #"{"reservationId":@,"userId":"1","point":10}"#),
        (.post, "/api/payment", .client("1"), #"{"reservationId":1,"userId":"1","point":@}"#),
    ]

    @Test func numbersInEveryField() async throws {
        try await withShop { shop in
            try await shop.room("torture", maxActive: 10)
            let date = try await shop.hall(5)
            let visitor = try await shop.enter("1")
            #expect(date == 1)
            let sale = try await shop.sale(1000, limit: 1000)
            for (method, path, who, body) in Self.bodies {
                for number in Self.numbers {
                    let plain = number.filter {
                        $0 != "\"" && $0 != "{" && $0 != "}" && $0 != "[" && $0 != "]" && $0 != "１"
                    }
                    let answer = try await shop.call(
                        method, path.replacing("@", with: plain.isEmpty ? "x" : plain), as: who,
                        bytes: [UInt8](body.replacing("@", with: number).utf8),
                        headers: [(name: "token", value: visitor.pass)])
                    // Understood, or refused with words: nothing that only a fault would say.
                    #expect(
                        answer.status < 500 && answer.status != 429,
                        "\(method) \(path) \(body) \(number): \(answer.status) \(answer.text)")
                }
            }
            // Ids in paths and queries, over the whole of the interface.
            for number in Self.numbers.filter({ $0.allSatisfy { $0.isASCII && ($0.isNumber || "-+.e".contains($0)) } })
            {
                for path in [
                    "/api/sales/@", "/api/orders/@", "/api/reservations/@", "/api/concerts/@", "/api/concert/@/date",
                    "/api/concert/@/seat", "/api/concert/@/statistics", "/api/sales/@/statistics", "/api/rooms/@",
                    "/api/sales/\(sale)/claims/@", "/api/users/@/point", "/api/failed-orders?limit=@",
                    "/api/sales?limit=@", "/api/sales?before=@", "/api/failed-orders?before=@",
                ] {
                    let answer = try await shop.call(
                        .get, path.replacing("@", with: number), as: .admin,
                        headers: [(name: "token", value: visitor.pass)])
                    #expect(answer.status < 500, "\(path) \(number): \(answer.text)")
                }
            }
            #expect(try await shop.call(.get, "/readyz").status == 200)
            #expect(try await shop.claim(sale, "2").status == 201)
        }
    }

    @Test func numbersInEveryMessage() async throws {
        try await withShop { shop in
            #expect(try await shop.sale(1000, limit: 1000) == 1)
            let buyer = try await Buyer.connect(shop, as: "ada")
            var pings: Int64 = 1_000_000
            for number in Self.numbers {
                for text in [
                    #"{"type":"claim","sale":@}"#, #"{"type":"watch","sale":@}"#, #"{"type":"unwatch","sale":@}"#,
                    #"{"type":"watch","performance":@}"#, #"{"type":"claim","sale":1,"key":@}"#,
                    #"{"type":"hold","performance":@,"seats":[1],"token":"x"}"#,
                    #"{"type":"hold","performance":1,"seats":[@],"token":"x"}"#,
                    #"{"type":"hold","performance":1,"seats":@,"token":"x"}"#, #"{"type":"join","room":@}"#,
                    #"{"type":"leave","room":@}"#, #"{"type":"ping","id":@}"#,
                    #"{"type":"watch","sale":1,"compact":@}"#,
                    #"{"type":"connect","token":"x","resume":{"epoch":"x","offset":@}}"#, #"{"type":@}"#,
                ] {
                    let before = buyer.heard.count
                    buyer.send(text: text.replacing("@", with: number))
                    // One connection answers in no particular order; an answer there is.
                    try await eventually("an answer to \(text) \(number)") { buyer.heard.count > before }
                    pings += 1
                    let ping = JSON.integer(pings)
                    buyer.send(["type": "ping", "id": ping])
                    try await buyer.next("pong") { $0["id"] == ping }
                }
            }
            let unavailable = buyer.heard.filter { $0["code"] == "unavailable" }
            #expect(unavailable.isEmpty, "\(unavailable)")
        }
    }

    @Test func offsetsToResumeFrom() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(5)
            let first = try await Buyer.connect(shop, as: "ada")
            #expect(try await first.claim(sale)["outcome"] == "accepted")
            let epoch = first.connected["epoch"]
            for offset in Self.numbers {
                let buyer = try await Buyer.open(shop, as: "ada")
                buyer.send(
                    text:
                        #"{"type":"connect","token":"\#(shop.token("ada"))","resume":{"epoch":\#(epoch),"offset":\#(offset)}}"#
                )
                let answer = try await buyer.next("an answer") { $0["type"] == "connected" || $0["type"] == "error" }
                // Whatever it says, what is true is told, or the message is refused.
                if answer["type"] == "connected" {
                    if answer["recovered"] != true || (answer["offset"].integer ?? 0) < 1 {
                        try await buyer.next("the truth") { $0["type"] == "result" || $0["type"] == "order" }
                    }
                } else {
                    #expect(answer["code"] == "bad_request", "\(offset): \(answer)")
                }
                buyer.abort()
            }
            try await shop.expectBooks(sale, sold: 1)
        }
    }

    @Test func bodiesThatAreNoJSON() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(5)
            func nested(_ depth: Int) -> String {
                #"{"userId":"ada","x":"# + String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
                    + "}"
            }
            let texts: [String] =
                [
                    "", " ", "{", "}", "null", "[]", "\"x\"", "1", "{\"userId\"}", "{\"userId\":}",
                    "{\"userId\":\"ada\",}",
                    "{\"userId\":\"ada\"}x", "{\"userId\":\"ada\"}{}", "{'userId':'ada'}", "{userId:\"ada\"}",
                    "{\"userId\":\"a\u{0}da\"}", "{\"userId\":\"ada\"/**/}", "{\"userId\":NaN}",
                    "{\"userId\":Infinity}",
                    "{\"userId\":01}", "{\"userId\":+1}", "{\"userId\":.5}", "{\"userId\":1.}",
                    "{\"userId\":\"\\x41\"}",
                    "{\"userId\":\"\\u12\"}", nested(100), nested(30_000), String(repeating: "{\"a\":", count: 10_000),
                    String(repeating: "[", count: 65_000), "\u{FEFF}{\"userId\":\"ada\"}",
                ]
            func quoted(_ bytes: [UInt8]) -> [UInt8] { Array(#"{"userId":""#.utf8) + bytes + Array(#""}"#.utf8) }
            var bodies = texts.map { Array($0.utf8) }
            // UTF-16; overlong; half a surrogate pair; beyond Unicode.
            bodies.append([0xFF, 0xFE, 0x7B, 0, 0x7D, 0])
            bodies.append(quoted([0xC0, 0xAF]))
            bodies.append(quoted([0xED, 0xA0, 0x80]))
            bodies.append(quoted([0xF4, 0x90, 0x80, 0x80]))
            bodies.append([UInt8](repeating: 0, count: 1000))
            bodies.append([UInt8](repeating: 0x80, count: 60_000))
            for body in bodies {
                let answer = try await shop.call(.post, "/api/sales/\(sale)/claims", as: .client("ada"), bytes: body)
                #expect(
                    answer.status == 400 && answer.code == "bad_request",
                    "\(String(decoding: body.prefix(60), as: UTF8.self)): \(answer.text)")
            }
            // Deep, wide and odd, but JSON all the same.
            for body in [
                nested(20), #"{"userId":"ada","userId":"ada"}"#, #"{"\u0075serId":"\u0061da"}"#,
                #"{"userId":"ada","x":"\ud83d\ude00"}"#,
                "{\"userId\":\"ada\"," + (0..<4000).map { "\"k\($0)\":\($0)" }.joined(separator: ",") + "}",
            ] {
                let answer = try await shop.call(
                    .post, "/api/sales/\(sale)/claims", as: .client("ada"), bytes: [UInt8](body.utf8))
                #expect([201, 409].contains(answer.status), "\(body.prefix(60)): \(answer.text)")
            }
            try await shop.expectBooks(sale, sold: 1)
        }
    }

    @Test func pathsThatLeadOutOfTheFolder() async throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("dibs-root-\(UUID())")
        let web = root.appendingPathComponent("web")
        try FileManager.default.createDirectory(at: web, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: root) }
        try Data("public".utf8).write(to: web.appendingPathComponent("index.html"))
        try Data("the secret".utf8).write(to: root.appendingPathComponent("secret.txt"))
        try FileManager.default.createSymbolicLink(
            at: web.appendingPathComponent("link.txt"), withDestinationURL: root.appendingPathComponent("secret.txt"))
        try await withShop(1, ["DIBS_WEB_ROOT": web.path]) { shop in
            #expect(try await Self.get(shop, "/").contains("public"))
            for path in [
                "/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt",
                "/a/../../secret.txt",
                "/..%5csecret.txt", "/..\\secret.txt", "//secret.txt", "/./../secret.txt", "/%252e%252e/secret.txt",
                "/..%00/secret.txt", "/..;/secret.txt", "/link.txt", "/%c0%ae%c0%ae/secret.txt",
                "/\(root.path)/secret.txt",
                "/index.html/../../secret.txt", "/..//..//..//..//..//..//etc/passwd", "/....//secret.txt",
                "/.%2e/secret.txt",
                "/api/../../secret.txt", "/index.html%00.txt", "/~root/secret.txt", "/proc/self/environ",
                "/../../../../../../../../proc/self/environ",
            ] {
                let answer = try await Self.get(shop, path)
                #expect(answer.hasPrefix("HTTP/1.1 404 ") || answer.hasPrefix("HTTP/1.1 400 "), "\(path): \(answer)")
                #expect(!answer.contains("secret\"") && !answer.contains("the secret"), "\(path)")
                #expect(!answer.contains("root:") && !answer.contains("DIBS_"), "\(path)")
            }
        }
    }

    /// Sends a path as it is, and reads the answer to its end.
    @LoopActor
    private static func get(_ shop: Shop, _ path: String) async throws -> String {
        let socket = try HostileSocket.plain(shop)
        socket.send([UInt8]("GET \(path) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8))
        try await eventually("an answer to \(path)") { socket.hasEnded }
        return socket.received
    }
}
