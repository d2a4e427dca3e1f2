import EventLoop
import Foundation
import TestServices
import Testing

/// Clients that don't behave: each gets the contract's answer, nothing crashes, and nothing grows.
@Suite struct HostileTests {
    @Test func endsWhatIsNoTextOfUpTo16KiB() async throws {
        try await withShop { shop in
            @LoopActor func codeAfter(_ send: @LoopActor (HostileSocket) -> Void) async throws -> Int? {
                let socket = try await HostileSocket.open(shop)
                send(socket)
                return try await socket.closeCode()
            }
            #expect(try await codeAfter { $0.send(2, [1, 2, 3]) } == 4503)
            #expect(try await codeAfter { $0.send(2, []) } == 4503)
            let large = [UInt8](repeating: UInt8(ascii: " "), count: 16385)
            #expect(try await codeAfter { $0.send(1, large) } == 1009)
            // In pieces, and only announced.
            #expect(
                try await codeAfter {
                    $0.send(1, Array(large[..<10_000]), isFinal: false)
                    $0.send(0, Array(large[..<10_000]))
                } == 1009)
            #expect(try await codeAfter { $0.send(1, [123], announced: 1 << 40) } == 1009)
            #expect(try await codeAfter { $0.send(1, [0xC3, 0x28]) } == 1007)
            // What is large, but not too large, is read.
            let socket = try await HostileSocket.open(shop)
            let text = #"{"type":"ping","id":7,"x":""#
            socket.send(text: text + String(repeating: "x", count: 16384 - text.utf8.count - 2) + "\"}")
            #expect(try await socket.frames.next("pong") { $0.json["id"] == 7 }.json["type"] == "pong")
            socket.send(1, [UInt8](#"{"type":"#.utf8), isFinal: false)
            socket.send(9, [1])
            socket.send(0, [UInt8](#""ping","id":8}"#.utf8))
            #expect(try await socket.frames.next("pong") { $0.json["id"] == 8 }.json["type"] == "pong")
            try await socket.frames.next("the answer to the ping") { $0.opcode == 10 && $0.payload == [1] }
        }
    }

    @Test func answersWhatItCannotReadAndStays() async throws {
        // Most of it comes before `connect`, and on a busy machine that takes its time.
        try await withShop(1, ["DIBS_CONNECT_SECONDS": "120"]) { shop in
            let sale = try await shop.sale(5)
            let buyer = try await Buyer.open(shop, as: "ada")
            let unreadable = [
                "", "x", "null", "[]", "7", "\"ping\"", "{", "{}", #"{"type":1}"#, #"{"type":null}"#, #"{"type":""}"#,
                #"{"type":"sell"}"#, #"{"type":"ping"}{"#, #"{"type":"ping",}"#, #"{"type":"ping","id":[1]}"#,
                #"{"type":"connect"}"#, #"{"type":"connect","token":7}"#, String(repeating: "[", count: 16_000),
                #"{"type":"claim","sale":1e999}"#, "{\"type\":\"ping\u{0}\"}", #"{"type":"ping","id":"\ud800"}"#,
            ]
            for text in unreadable {
                buyer.send(text: text)
                let answer = try await buyer.next(type: "error")
                #expect(answer["code"] == "bad_request", "\(text.prefix(40)): \(answer)")
                #expect(answer["message"].text?.isEmpty == false)
            }
            // Before `connect` only `ping` is answered.
            for type in ["claim", "watch", "unwatch"] {
                let answer = try await buyer.ask(["type": .text(type), "sale": .integer(sale)])
                #expect(answer["type"] == "error" && answer["code"] == "unauthenticated", "\(type)")
            }
            #expect(try await buyer.ask(["type": "ping"])["type"] == "pong")
            try await buyer.connect(token: shop.token("ada"))
            for message: JSON in [
                ["type": "connect", "token": .text(shop.token("ada"))], ["type": "claim"], ["type": "watch"],
                ["type": "claim", "sale": 1.5], ["type": "claim", "sale": -1], ["type": "claim", "sale": [1]],
                ["type": "claim", "sale": .integer(sale), "key": ""],
                ["type": "claim", "sale": .integer(sale), "key": "a b"],
                ["type": "claim", "sale": .integer(sale), "key": .text(String(repeating: "k", count: 129))],
            ] {
                let answer = try await buyer.ask(message)
                #expect(answer["type"] == "error" && answer["code"] == "bad_request", "\(message)")
            }
            let claim = try await buyer.claim(sale)
            #expect(claim["ticket"] == 1, "\(claim)")
            try await shop.expectBooks(sale, sold: 1)
        }
    }

    @Test func whoDoesNotConnectInTimeIsSentAway() async throws {
        try await withShop(1, ["DIBS_CONNECT_SECONDS": "2"]) { shop in
            let silent = try await Buyer.open(shop, as: "silent")
            let talking = try await Buyer.open(shop, as: "talking")
            for _ in 0..<3 { talking.send(["type": "ping"]) }
            let good = try await Buyer.connect(shop, as: "good")
            #expect(try await silent.closed(within: 10_000).code == 4001)
            #expect(try await talking.closed(within: 10_000).code == 4001)
            #expect(talking.heard.filter { $0["type"] == "pong" }.count == 3)
            #expect(try await good.ask(["type": "ping"])["type"] == "pong")
        }
    }

    /// A client that asks and never reads the answers: what waits for it is bounded.
    @Test func whoDoesNotReadIsSentAway() async throws {
        try await withShop { shop in
            let slow = try await HostileSocket.open(shop)
            slow.read(false)
            let id = String(repeating: "x", count: 120)
            let ping = HostileSocket.frame(1, [UInt8](#"{"type":"ping","id":"\#(id)"}"#.utf8))
            slow.send([UInt8]((0..<20_000).map { _ in ping }.joined()))
            try await eventually("it is sent away") {
                try await shop.call(.get, "/metrics").text.contains(#"dibs_ws_closed_total{code="4008"} 1"#)
            }
            let other = try await Buyer.connect(shop, as: "other")
            #expect(try await other.ask(["type": "ping"])["type"] == "pong")
        }
    }

    /// A thousand bad connections of all kinds, twice: the second thousand finds its memory where the first left it.
    @Test func aThousandHostileConnectionsLeaveNothingBehind() async throws {
        try await withShop { shop in
            try await self.torture(shop, 1000)
            let before = try await self.gauge("process_resident_memory_bytes", shop)
            try await self.torture(shop, 1000)
            let after = try await self.gauge("process_resident_memory_bytes", shop)
            #expect(after - before < 8 << 20, "\(before) bytes, then \(after)")
            let sale = try await shop.sale(1)
            #expect(try await shop.claim(sale, "ada").status == 201)
            try await shop.expectBooks(sale, sold: 1)
        }
    }

    @LoopActor
    private func gauge(_ name: String, _ shop: Shop) async throws -> Int64 {
        let line = try await shop.call(.get, "/metrics").text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return try #require(line.flatMap { Int64($0.dropFirst(name.count + 1)) })
    }

    @LoopActor
    private func torture(_ shop: Shop, _ count: Int) async throws {
        var random = SystemRandomNumberGenerator()
        for batch in 0..<count / 100 {
            let sockets = try await concurrently(100) { _ in try await HostileSocket.open(shop) }
            for (index, socket) in sockets.enumerated() {
                switch index % 10 {
                case 0: break
                case 1: socket.send(2, [UInt8](repeating: 7, count: 5000))
                case 2: socket.send(1, [UInt8](repeating: 32, count: 15_000), announced: 16_000)
                case 3: socket.send(1, [123], announced: 1 << 50)
                case 4: for _ in 0..<30 { socket.send(text: String(repeating: "{\"a\":", count: 500)) }
                case 5: socket.send((0..<2000).map { _ in UInt8.random(in: 0...255, using: &random) })
                case 6: socket.send(text: #"{"type":"connect","token":"\#(UUID())"}"#)
                case 7: socket.send(HostileSocket.frame(1, [123, 125], isMasked: false))
                case 8:
                    let token = shop.token("c\(batch)")
                    socket.send(text: #"{"type":"connect","token":"\#(token)","resume":{"epoch":"x.y","offset":9}}"#)
                    for sale in 1...50 { socket.send(text: #"{"type":"watch","sale":\#(sale)}"#) }
                default: for _ in 0..<200 { socket.send(1, [UInt8](#"{"type":"#.utf8), isFinal: false) }
                }
            }
            // Those that are answered have been; the others are cut in the middle of whatever they are at.
            for (index, socket) in sockets.enumerated() {
                if [1, 3, 6].contains(index % 10) { _ = try await socket.closeCode() }
                if index % 10 == 4 { _ = try await socket.frames.next("an error") { $0.json["type"] == "error" } }
                socket.cut()
            }
        }
        try await eventually("all are gone") { try await self.gauge("dibs_connections", shop) <= 1 }
    }
}
