import EventLoop
import Model
import TestServices
import Testing

/// A client that comes back, anywhere, hears each outcome that it missed, once and in order.
@Suite struct ResumeTests {
    @Test func aClaimReachesTheClientWhereverItIsConnected() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(10, limit: 4)
            let here = try await Buyer.connect(shop, as: "ada", on: 0)
            let there = try await concurrently(2) { _ in try await Buyer.connect(shop, as: "ada", on: 1) }
            let stranger = try await Buyer.connect(shop, as: "bob", on: 1)
            let result = try await here.claim(sale)
            _ = try await shop.claim(sale, "ada", on: 1)
            for buyer in [here] + there { for _ in 0..<2 { try await buyer.order("confirmed", in: sale) } }
            for buyer in there {
                let pushed = try await buyer.next("the claim") { $0["order"] == result["order"] && $0["ticket"] == 1 }
                #expect(pushed["type"] == "result" && pushed["outcome"] == "accepted" && pushed["id"].isNull)
                #expect(pushed["offset"] == result["offset"])
                #expect(outcomes(buyer) == outcomes(here))
            }
            #expect(here.offsets == [1, 2, 3, 4])
            _ = try await stranger.ask(["type": "ping"])
            #expect(stranger.offsets.isEmpty)
        }
    }

    @Test func comesBackElsewhereAndMissesNothing() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(100, limit: 20)
            let witness = try await Buyer.connect(shop, as: "ada", on: 1)
            let before = try await Buyer.connect(shop, as: "ada", on: 0)
            for _ in 0..<3 { _ = try await before.claim(sale) }
            for _ in 0..<3 { try await before.order("confirmed", in: sale) }
            #expect(before.offsets == [1, 2, 3, 4, 5, 6] || before.offsets.sorted() == Array(1...6))
            before.abort()
            _ = try await concurrently(5) { try await shop.claim(sale, "ada", on: $0 % 2) }
            for _ in 0..<8 { try await witness.order("confirmed", in: sale) }

            // From each place in the log, on each instance: what follows, and nothing else.
            for offset in Int64(0)...16 {
                let resume: JSON = ["epoch": before.connected["epoch"], "offset": .integer(offset)]
                let after = try await Buyer.connect(shop, as: "ada", on: Int(offset % 2), resume: resume)
                #expect(after.connected["recovered"] == true && after.connected["offset"] == .integer(offset))
                if offset < 16 { try await after.next("the last one") { $0["offset"] == 16 } }
                _ = try await after.ask(["type": "ping"])
                #expect(after.offsets == Array(offset + 1..<17))
                #expect(outcomes(after) == outcomes(witness).filter { ($0["offset"].integer ?? 0) > offset })
                try await after.close()
            }
            try await shop.expectBooks(sale, sold: 8)
        }
    }

    /// Outcomes come at their own pace while the client loses its connection again and again.
    @Test func hearsEverythingOnceWhileMovingToAndFro() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(1000, limit: 60)
            // Who resumes nothing begins at the present: from here on everything is heard.
            var position = try await Buyer.connect(shop, as: "ada").position
            let claims = EventLoop.task {
                for index in 0..<60 {
                    let answer = try? await shop.claim(sale, "ada", on: index % 2)
                    #expect(answer?.status == 201)
                }
            }
            var offsets: [Int64] = []
            for round in 0..<40 {
                let buyer = try await Buyer.connect(shop, as: "ada", on: round % 2, resume: position)
                #expect(buyer.connected["recovered"] == true)
                // Sometimes it is gone before it has heard anything, sometimes in the middle.
                if round % 4 > 0 && offsets.count < 100 {
                    for _ in 0..<round % 4 { try await buyer.next("an outcome") { $0["offset"].integer != nil } }
                }
                buyer.abort()
                try await buyer.closed()
                offsets += buyer.offsets
                position = ["epoch": buyer.connected["epoch"], "offset": .integer(offsets.last ?? 0)]
            }
            await claims.value
            let last = try await Buyer.connect(shop, as: "ada", on: 0, resume: position)
            if (offsets.last ?? 0) < 120 { try await last.next("the last one") { $0["offset"] == 120 } }
            _ = try await last.ask(["type": "ping"])
            #expect(offsets + last.offsets == Array(1...120))
            try await shop.expectBooks(sale, sold: 60)
        }
    }

    /// The log keeps eight outcomes here. Beyond it the client is told the present truth instead.
    @Test func beyondTheLogThePresentTruthIsTold() async throws {
        try await withShop(2, ["DIBS_OUTCOME_LIMIT": "8"]) { shop in
            let sale = try await shop.sale(100, limit: 20)
            let buyer = try await Buyer.connect(shop, as: "ada")
            var orders: [JSON] = []
            for _ in 0..<6 {
                orders.append(try await buyer.claim(sale)["order"])
                try await buyer.order("confirmed", in: sale)
            }
            _ = try await shop.call(.delete, "/api/orders/\(orders[2].text ?? "")", as: .service)
            try await buyer.order("cancelled", in: sale)
            #expect(buyer.offsets == Array(1...13))
            let epoch = buyer.connected["epoch"]

            let justEnough = try await Buyer.connect(
                shop, as: "ada", on: 1, resume: ["epoch": epoch, "offset": 5])
            #expect(justEnough.connected["recovered"] == true)
            try await justEnough.next("the last one") { $0["offset"] == 13 }
            #expect(justEnough.offsets == Array(6...13))

            let positions: [JSON] = [
                ["epoch": epoch, "offset": 4], ["epoch": epoch, "offset": 0], ["epoch": epoch, "offset": 14],
                ["epoch": "another.1", "offset": 12], ["epoch": "", "offset": 0],
                ["epoch": .text((epoch.text ?? "") + "0"), "offset": 12],
            ]
            for (index, position) in positions.enumerated() {
                let late = try await Buyer.connect(shop, as: "ada", on: index % 2, resume: position)
                #expect(late.connected["recovered"] == false && late.connected["offset"] == 13, "\(position)")
                _ = try await late.ask(["type": "ping"])
                for (place, order) in orders.enumerated() {
                    let told = late.heard.last { $0["order"] == order }
                    #expect(told?["status"] == (place == 2 ? "cancelled" : "confirmed"), "\(position): \(order)")
                }
                // It goes on from there: nothing has the number of something else.
                #expect(late.offsets.isEmpty)
                try await late.close()
            }
            // Who asks for nothing is told nothing of old.
            let fresh = try await Buyer.connect(shop, as: "ada")
            #expect(fresh.connected["recovered"] == false && fresh.connected["offset"] == 13)
            let next = try await fresh.claim(sale)
            #expect(next["offset"] == 14 && fresh.heard[1] == next)
            try await shop.settled(sale)
        }
    }

    /// More is accepted than the log keeps before anything is committed: nothing is told twice for that.
    @Test func aLogThatIsTooShortRepeatsNothing() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,scheduler", "DIBS_OUTCOME_LIMIT": "8"]) { shop in
            let sale = try await shop.sale(100, limit: 20)
            let buyer = try await Buyer.connect(shop, as: "ada")
            for index in 0..<20 { _ = try await buyer.claim(sale, key: "k\(index)") }
            let again = try await buyer.claim(sale, key: "k0")
            #expect(again["outcome"] == "accepted" && again["order"] == buyer.heard[1]["order"])
            try await shop.start(["DIBS_ROLES": "committer"])
            for _ in 0..<20 { try await buyer.order("confirmed", in: sale) }
            _ = try await buyer.ask(["type": "ping"])
            let told = buyer.heard.filter { $0["type"] == "result" && $0 != again }
            #expect(told.count == 20 && Set(told.map { $0["order"] }).count == 20)
            #expect(buyer.heard.filter { $0 != again }.compactMap { $0["offset"].integer } == Array(0...40))
        }
    }

    @Test func refusesAPositionThatIsNone() async throws {
        try await withShop { shop in
            let buyer = try await Buyer.open(shop, as: "ada")
            let token = JSON.text(shop.token("ada"))
            for resume: JSON in [
                ["epoch": "e", "offset": -1], ["epoch": "e"], ["offset": 1], ["epoch": 1, "offset": 1], "e", [],
                ["epoch": "e", "offset": 1.5], ["epoch": "e", "offset": "1"],
            ] {
                let answer = try await buyer.ask(["type": "connect", "token": token, "resume": resume])
                #expect(answer["type"] == "error" && answer["code"] == "bad_request", "\(resume)")
            }
            let answer = try await buyer.ask(["type": "connect", "token": token, "resume": nil])
            #expect(answer["type"] == "connected")
        }
    }

    /// What a connection was told by offset: all connections of a client are told the same. (`remaining` may be left
    /// out where an outcome is told again.)
    @LoopActor
    private func outcomes(_ buyer: Buyer) -> [JSON] {
        buyer.heard.compactMap { frame in
            guard case .object(var members) = frame, members["offset"] != nil, members["type"] != "connected" else {
                return nil
            }
            members["id"] = nil
            members["remaining"] = nil
            return .object(members)
        }.sorted { ($0["offset"].integer ?? 0) < ($1["offset"].integer ?? 0) }
    }
}
