import EventLoop
import Foundation
import Gateway
import TestServices
import Testing

/// Rates are limited unless that is turned off.
@Suite struct RateLimitTests {
    @Test func aConnectionThatTalksTooMuchIsToldAndThenEnded() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_CONNECTION_MESSAGE_RATE": "5/300"]) { shop in
            let sale = try await shop.sale(5)
            let buyer = try await Buyer.connect(shop, as: "ada")
            for _ in 0..<400 { buyer.send(["type": "ping"]) }
            let error = try await buyer.next(type: "error")
            #expect(error["code"] == "rate_limited" && (error["retryAfter"].integer ?? 0) > 0)
            // A claim that is over the rate is not decided, and not refused.
            let claim = try await buyer.next("the answers") { _ in true }
            #expect(claim["type"] != "result")
            try await eventually("it may speak again") {
                buyer.send(["type": "claim", "sale": .integer(sale), "key": "k"])
                return (try? await buyer.next("a result", within: 300) { $0["type"] == "result" }) != nil
            }
            #expect(try await shop.truth(sale, "ada")["ticket"] == 1)
            for _ in 0..<3000 { buyer.send(["type": "ping"]) }
            let reason = try await buyer.closed()
            #expect(reason.code == 4029)
            // Others are not made to pay for it.
            let other = try await Buyer.connect(shop, as: "ada")
            #expect(try await other.ask(["type": "ping"])["type"] == "pong")
        }
    }

    @Test func anAddressThatAsksTooMuchIsToldWhenToComeBack() async throws {
        try await withShop(1, ["DIBS_RATE_LIMIT": "on", "DIBS_ADDRESS_REQUEST_RATE": "0.01/500"]) { shop in
            let socket = try HostileSocket.plain(shop)
            let request = [UInt8]("GET /api/sales HTTP/1.1\r\nHost: x\r\n\r\n".utf8)
            socket.send([UInt8](Array(repeating: request, count: 5000).joined()))
            // A refusal is no end, but a hundred of them are.
            try await eventually("it is too much") { socket.hasEnded }
            let answers = socket.received.lowercased().components(separatedBy: "http/1.1 ")
            let refused = answers.filter { $0.hasPrefix("429 ") }
            // The last may be lost: the end of a connection on which more has come resets it.
            #expect((1...100).contains(refused.count) && refused.first?.contains("\r\nretry-after: 1\r\n") == true)
            #expect(answers.filter { $0.hasPrefix("200 ") }.count == 500)
            #expect(try await shop.call(.get, "/api/sales").status == 429)
            // The page, those who look after the server, and the shop's backend don't suffer for it.
            for path in ["/healthz", "/readyz", "/metrics"] {
                #expect(try await shop.call(.get, path).status == 200, "\(path)")
            }
            #expect(try await HTTPClient.request(.get, shop.instances[0].url + "/index.html").status == 200)
            #expect(try await shop.call(.get, "/api/sales", as: .service).status == 200)
        }
    }
}
