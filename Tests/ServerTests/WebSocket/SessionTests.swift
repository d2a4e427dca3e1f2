import EventLoop
import Foundation
import Model
import TestServices
import Testing

/// The contract's WebSocket, for clients that behave.
@Suite struct SessionTests {
    @Test func connectsClaimsAndHearsOfTheOrder() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(3)
            let buyer = try await Buyer.connect(shop, as: "ada")
            #expect(buyer.connected["client"] == "ada" && buyer.connected["offset"] == 0)
            #expect(buyer.connected["recovered"] == false && buyer.connected["epoch"].text?.isEmpty == false)
            let result = try await buyer.claim(sale)
            let order = result["order"]
            #expect(
                result.includes([
                    "type": "result", "id": 2, "sale": .integer(sale), "outcome": "accepted", "ticket": 1,
                    "remaining": 2, "offset": 1,
                ]))
            let confirmed = try await buyer.order("confirmed", in: sale)
            #expect(confirmed.includes(["type": "order", "order": order, "ticket": 1, "offset": 2]))
            let shown = try await shop.call(.get, "/api/orders/\(order.text ?? "")", as: .client("ada"))
            #expect(shown.result["ticket"] == 1 && shown.result["status"] == "confirmed")

            let duplicate = try await buyer.claim(sale)
            #expect(duplicate["outcome"] == "duplicate" && duplicate["order"] == order)
            _ = try await shop.call(.delete, "/api/orders/\(order.text ?? "")", as: .client("ada"))
            #expect(try await buyer.order("cancelled", in: sale)["offset"] == 3)
            #expect(try await buyer.claim(sale)["outcome"] == "accepted")
            try await buyer.order("confirmed", in: sale)
            #expect(buyer.offsets == [1, 2, 3, 4, 5])
            // What is refused is an answer and no outcome.
            #expect(!duplicate.has("offset") && !duplicate.has("ticket"))
            try await buyer.close()
            try await shop.expectBooks(sale, sold: 1)
        }
    }

    @Test func answersCarryTheIdThatWasSent() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(50, limit: 20)
            let buyer = try await Buyer.open(shop, as: "ada")
            @LoopActor func answer(_ id: JSON, _ message: [String: JSON]) async throws -> JSON {
                buyer.send(.object(message.merging(["id": id]) { $1 }))
                return try await buyer.next("\(id)") { $0["id"] == id }
            }
            #expect(try await answer("früh", ["type": "ping"])["type"] == "pong")
            let connected = try await answer(0, ["type": "connect", "token": .text(shop.token("ada"))])
            #expect(connected["type"] == "connected")
            let ids: [JSON] = [1, -7, "a", "", 9_007_199_254_740_991, 1.5, .text(String(repeating: "x", count: 128))]
            for id in ids {
                #expect(try await answer(id, ["type": "ping"])["type"] == "pong")
                #expect(try await answer(id, ["type": "watch", "sale": .integer(sale)])["type"] == "sale")
                #expect(try await answer(id, ["type": "claim", "sale": .integer(sale)])["outcome"] == "accepted")
                #expect(try await answer(id, ["type": "claim", "sale": 99])["outcome"] == "not_found")
                #expect(try await answer(id, ["type": "nonsense"])["type"] == "error")
                #expect(try await answer(id, ["type": "claim"])["type"] == "error")
            }
            // What is pushed carries none, nor does the answer to what had none.
            for _ in ids { #expect(try await buyer.order("confirmed", in: sale)["id"].isNull) }
            buyer.send(["type": "claim", "sale": .integer(sale)])
            #expect(try await buyer.next { $0["ticket"] == .integer(Int64(ids.count + 1)) }["id"].isNull)
            let pong = try await answer(5, ["type": "ping"])
            #expect(Timestamp(rfc3339: pong["at"].text ?? "") != nil)
        }
    }

    @Test func refusesByPolicyAsAResult() async throws {
        try await withShop { shop in
            let sold = try await shop.sale(1)
            _ = try await shop.claim(sold, "first")
            let called = try await shop.sale(1)
            _ = try await shop.call(.post, "/api/sales/\(called)/cancel", as: .admin)
            let table: [(Int64, String)] = [
                (sold, "sold_out"), (called, "cancelled"), (try await shop.sale(1, reject: 100), "rejected"),
                (try await shop.sale(1, opensIn: 3_000_000), "not_open"),
                (try await shop.sale(1, opensIn: -3_000_000, closesIn: -1000), "closed"), (999_999, "not_found"),
            ]
            let buyer = try await Buyer.connect(shop, as: "ada")
            for (sale, outcome) in table {
                let answer = try await buyer.claim(sale)
                #expect(answer["type"] == "result" && answer["outcome"] == .text(outcome))
                #expect(answer["sale"] == .integer(sale) && answer["offset"].isNull && answer["ticket"].isNull)
            }
            for sale: JSON in ["x", 0, "999999999999999999999"] {
                let answer = try await buyer.ask(["type": "claim", "sale": sale])
                #expect(answer["type"] == "result" && answer["outcome"] == "not_found", "\(sale)")
            }
            #expect(buyer.offsets.isEmpty)
        }
    }

    @Test func watchesUntilItNoLongerWants() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(5, limit: 5)
            let other = try await shop.sale(1)
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 1)
            let shown = try await shop.show(sale)
            let state = try await watcher.watch(sale)
            #expect(state["type"] == "sale" && state["status"] == "open" && state["remaining"] == 5)
            for name in ["name", "quantity", "opensAt", "closesAt"] { #expect(state[name] == shown[name], "\(name)") }
            #expect(try await watcher.watch(sale)["remaining"] == 5)
            try await watcher.watch(other)
            for _ in 0..<2 { _ = try await shop.claim(sale, "ada") }
            try await watcher.sees(sale, status: "open", remaining: 3)
            let last = try await watcher.ask(["type": "unwatch", "sale": .integer(sale)])
            #expect(last["type"] == "sale" && last["remaining"] == 3)
            _ = try await shop.claim(sale, "ada")
            _ = try await shop.claim(other, "ada")
            // The other one's push came, and was sent later than the first one's would have been.
            try await watcher.sees(other, status: "sold_out", remaining: 0)
            #expect(!watcher.heard.contains { $0["sale"] == .integer(sale) && $0["remaining"] == 2 })
            for sale: JSON in [999_999, "x"] {
                let answer = try await watcher.ask(["type": "watch", "sale": sale])
                #expect(answer["type"] == "error" && answer["code"] == "not_found", "\(sale)")
            }
        }
    }

    /// The oldest of too many connections gives way; the keys may act for any client.
    @Test func limitsTheConnectionsOfOneClient() async throws {
        try await withShop(1, ["DIBS_MAX_CONNECTIONS_PER_CLIENT": "3"]) { shop in
            var buyers: [Buyer] = []
            for _ in 0..<4 { buyers.append(try await Buyer.connect(shop, as: "ada")) }
            let reason = try await buyers[0].closed()
            #expect(reason.code == 4509)
            for buyer in buyers[1...] { #expect(try await buyer.ask(["type": "ping"])["type"] == "pong") }
            let service = try await Buyer.open(shop, as: "the shop")
            let answer = try await service.ask([
                "type": "connect", "token": .text(shop.serviceKey), "client": "bob",
            ])
            #expect(answer["type"] == "connected" && answer["client"] == "bob")
            let sale = try await shop.sale(1)
            #expect(try await service.claim(sale)["outcome"] == "accepted")
            #expect(try await shop.truth(sale, "bob")["ticket"] == 1)
        }
    }
}
