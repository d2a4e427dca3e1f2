import EventLoop
import TestServices
import Testing

/// Redis comes back with what it had a while ago: an older file, or another that took over.
@Suite struct LostWritesTests {
    @Test func clientsKeepWhatTheyHadAndAreToldTheTruth() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(30, limit: 2)
            let buyer = try await Buyer.connect(shop, as: "a0", on: 1)
            let early = try await concurrently(10) { try await shop.claim(sale, "a\($0)", key: "k", on: $0 % 2) }
            try await shop.settled(sale)
            // Without an append-only file this is what it has again after the restart.
            try await Program.run("/usr/bin/redis-cli", ["-s", shop.redis.socketPath, "save"])
            let late = try await concurrently(10) { try await shop.claim(sale, "b\($0)", key: "k", on: $0 % 2) }
            let second = try await shop.claim(sale, "a0", key: "k2")
            try await shop.settled(sale)
            try await buyer.next("the last one") { $0["offset"] == 4 }

            try await shop.redis.restart(keepingData: true)
            for instance in 0..<2 {
                try await eventually("it is ready again") {
                    try await shop.call(.get, "/readyz", on: instance).status == 200
                }
            }
            let before = early + late
            for (index, answer) in before.enumerated() {
                let client = index < 10 ? "a\(index)" : "b\(index - 10)"
                let again = try await shop.claim(sale, client, key: "k", on: index % 2)
                #expect(again.status == 200 && again.result == answer.result, "\(client): \(again.text)")
            }
            #expect(try await shop.show(sale)["remaining"] == 9)
            let rest = try await concurrently(25) { try await shop.claim(sale, "c\($0)", on: $0 % 2) }
            let live = (before + [second] + rest).filter { $0.status == 201 }
            #expect(live.count == 30 && Set(live.compactMap(\.ticket)) == Set(1...30))
            #expect(Set(live.compactMap(\.order)).count == 30)
            try await shop.expectBooks(sale, sold: 30)

            // Some of what the client was told is no longer in the log.
            #expect(try await buyer.closed().code == 1001)
            let back = try await Buyer.connect(shop, as: "a0", resume: buyer.position)
            #expect(back.connected["recovered"] == false)
            _ = try await back.ask(["type": "ping"])
            for order in [early[0], second].compactMap(\.order) {
                #expect(back.heard.last { $0["order"] == .text(order) }?["status"] == "confirmed")
            }
            _ = try await shop.call(.delete, "/api/orders/\(second.order ?? "")", as: .service)
            try await back.order("cancelled", in: sale)
        }
    }
}
