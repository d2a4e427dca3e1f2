import EventLoop
import TestServices
import Testing

/// Waiting with a WebSocket: what is answered, and what is pushed.
@Suite struct RoomSocketTests {
    @Test func joinsMovesUpIsAdmittedAndRunsOut() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1, passSeconds: 2)
            let ada = try await Buyer.connect(shop, as: "ada", on: 0)
            let bob = try await Buyer.connect(shop, as: "bob", on: 1)
            let eve = try await Buyer.connect(shop, as: "eve", on: 0)
            let tom = try await Buyer.connect(shop, as: "tom", on: 1)
            // Admitted at once: that is the direct answer, and an outcome.
            let first = try await ada.join("r")
            #expect(first["type"] == "admitted" && first["room"] == "r" && first["offset"] == 1, "\(first)")
            #expect(first["expiresAt"].text != nil)
            shop.keepSecret(try first.pass())
            // Joining again with a pass is answered with the same.
            let again = try await ada.join("r")
            #expect(again["type"] == "admitted" && again["offset"] == 1, "\(again)")
            #expect(again["token"] == first["token"] && again["expiresAt"] == first["expiresAt"])
            for (rank, buyer) in [bob, eve, tom].enumerated() {
                let joined = try await buyer.join("r")
                #expect(joined["type"] == "joined" && joined["room"] == "r", "\(joined)")
                #expect(joined["rank"] == .integer(Int64(rank + 1)) && joined["waiting"] == .integer(Int64(rank + 1)))
                #expect(joined.has("estimatedSeconds") && joined["offset"].isNull && !joined.has("reachable"))
            }
            // The same place.
            #expect(try await eve.join("r")["rank"] == 2)
            // One goes: whoever is behind moves up, nobody else hears of it.
            let left = try await eve.leave("r")
            #expect(left["type"] == "left" && left["room"] == "r")
            let pushed = try await tom.ranked(2, "r")
            #expect(pushed["waiting"] == 2 && pushed.has("estimatedSeconds") && pushed["id"].isNull)
            #expect(pushed["offset"].isNull)
            // The clock runs out, nobody asks: the pass ends, and the place is given on.
            let expired = try await ada.expired("r")
            #expect(expired["offset"] == 2 && expired["id"].isNull)
            let pass = try await bob.admitted("r")
            #expect(pass["offset"] == 1 && pass["id"].isNull && pass["token"] != first["token"])
            #expect(pass["expiresAt"].text != nil)
            try await tom.ranked(1, "r")
            // Given back before its time.
            #expect(try await bob.leave("r")["type"] == "left")
            try await tom.admitted("r")
            try await tom.expired("r")
            #expect(try await shop.standing("tom", "r").result["status"] == "FINISHED")
            #expect(!bob.heard.contains { $0["type"] == "expired" })
            #expect(eve.heard.allSatisfy { $0["rank"] != 1 && $0["type"] != "admitted" })
            #expect(ada.offsets == [1, 1, 2] && bob.offsets == [1] && tom.offsets == [1, 2] && eve.offsets == [])
            // Left, and finished: at the end of the line again, which is empty.
            #expect(try await eve.join("r")["type"] == "admitted")
            let room = try await shop.inspect("r")
            #expect(
                room.includes([
                    "joined": 5, "admitted": 4, "left": 2, "expired": 2, "noShow": 0, "vanished": 0, "waiting": 0,
                    "active": 1,
                ]), "\(room)")
        }
    }

    /// Admissions and expiries are outcomes: whoever was away is told afterwards, once and in order, wherever it comes
    /// back.
    @Test func passesAreToldToWhoeverComesBack() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1, passSeconds: 600)
            try await shop.room("short", maxActive: 1, passSeconds: 2)
            let holder = try await Buyer.connect(shop, as: "holder")
            try await holder.join("r")
            let ada = try await Buyer.connect(shop, as: "ada", on: 0)
            #expect(try await ada.join("short")["offset"] == 1)
            #expect(try await ada.join("r")["rank"] == 1)
            let position = ada.position
            ada.abort()
            try await ada.closed()
            try await holder.leave("r")
            try await eventually("the pass has run out") {
                try await shop.standing("ada", "short").result["status"] == "FINISHED"
            }
            let back = try await Buyer.connect(shop, as: "ada", on: 1, resume: position)
            #expect(back.connected["recovered"] == true && back.connected["offset"] == 1)
            let admitted = try await back.admitted("r")
            let expired = try await back.expired("short")
            #expect(admitted["offset"] == 2 && expired["offset"] == 3 && back.offsets == [2, 3])
            // Who resumes nothing that is known is told the present truth: the pass that it has, not the one it had.
            for resume: JSON in [["epoch": "x.1", "offset": 2], ["epoch": ada.connected["epoch"], "offset": 99]] {
                let fresh = try await Buyer.connect(shop, as: "ada", on: 0, resume: resume)
                #expect(fresh.connected["recovered"] == false && fresh.connected["offset"] == 3)
                let pass = try await fresh.admitted("r")
                #expect(pass["offset"].isNull && pass["token"] == admitted["token"])
                #expect(pass["expiresAt"] == admitted["expiresAt"])
                _ = try await fresh.ask(["type": "ping"])
                #expect(!fresh.heard.contains { $0["room"] == "short" })
            }
            // It knows, and joining again says so as well.
            let again = try await back.join("r")
            #expect(again["type"] == "admitted" && again["token"] == admitted["token"] && again["offset"] == 2)
        }
    }

    @Test func saysWhatIsWrong() async throws {
        try await withShop { shop in
            try await shop.room("closed", ordering: "reject")
            try await shop.room("r", maxActive: 0)
            let stranger = try await Buyer.open(shop)
            for type in ["join", "leave"] {
                let early = try await stranger.ask(["type": .text(type), "room": "r"])
                #expect(early["type"] == "error" && early["code"] == "unauthenticated", "\(early)")
            }
            let buyer = try await Buyer.connect(shop, as: "ada")
            let table: [(JSON, String)] = [
                (["type": "join", "room": "nope"], "not_found"), (["type": "join", "room": "no pe"], "not_found"),
                (["type": "join", "room": ""], "not_found"), (["type": "join"], "bad_request"),
                (["type": "join", "room": ["r"]], "bad_request"), (["type": "join", "room": true], "bad_request"),
                (["type": "join", "room": "closed"], "rejected"), (["type": "leave"], "bad_request"),
                (["type": "leave", "room": "nope"], "not_found"),
            ]
            for (message, code) in table {
                let answer = try await buyer.ask(message)
                #expect(answer["type"] == "error" && answer["code"] == .text(code), "\(message): \(answer)")
                #expect(answer["message"].text?.isEmpty == false)
            }
            // The connection stays; leaving where one never was is no error.
            #expect(try await buyer.leave("r")["type"] == "left")
            #expect(try await buyer.join("r")["rank"] == 1)
            #expect(try await shop.inspect("closed").includes(["joined": 0, "waiting": 0]))
            #expect(buyer.offsets.isEmpty)
        }
    }

    /// One client has one place, however many connections; any of them may close.
    @Test func twoTabsAreOnePlace() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 2)
            // Each has a tab on either instance, and joined with the one on the first before.
            let names = ["firstCloses", "lastCloses", "bothClose", "stays"]
            var tabs: [String: [Buyer]] = [:]
            for (index, name) in names.enumerated() {
                tabs[name] = [
                    try await Buyer.connect(shop, as: name, on: 0), try await Buyer.connect(shop, as: name, on: 1),
                ]
                for tab in tabs[name] ?? [] { #expect(try await tab.join("r")["rank"] == .integer(Int64(index + 1))) }
            }
            #expect(try await shop.inspect("r").includes(["waiting": 4, "joined": 4]))
            tabs["firstCloses"]?[0].abort()
            tabs["lastCloses"]?[1].abort()
            for (name, tab) in [("firstCloses", 0), ("lastCloses", 1)] { try await tabs[name]?[tab].closed() }
            for tab in tabs["bothClose"] ?? [] { try await tab.close() }
            // When the grace of those two is over, that of the others would be as well.
            for tab in tabs["stays"] ?? [] { try await tab.ranked(3, "r") }
            #expect(try await shop.inspect("r").includes(["waiting": 3, "vanished": 1]))
            for (index, name) in ["firstCloses", "lastCloses"].enumerated() {
                let rest = try #require(tabs[name])[1 - index]
                #expect(try await rest.join("r")["rank"] == .integer(Int64(index + 1)), "\(name)")
            }
            #expect(try await shop.standing("bothClose", "r").result["status"] == "FINISHED")

            // Admitted: all tabs are told the same pass.
            try await shop.change("r", ["maxActive": 1])
            try await tabs["firstCloses"]?[1].admitted("r")
            try await shop.change("r", ["maxActive": 3])
            var passes: Set<JSON> = []
            for tab in tabs["stays"] ?? [] { passes.insert(try await tab.admitted("r")["token"]) }
            #expect(passes.count == 1)
        }
    }

    /// What changed too little to be told at once is told to the first tab, too, when a second one has learnt it by joining.
    @Test func aSecondTabTakesNothingFromTheFirst() async throws {
        try await withShop(1) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 600)
            let ahead = try await concurrently(150) { try await shop.join("c\($0)", "r").status }
            #expect(ahead.allSatisfy { $0 == 200 || $0 == 201 })
            let first = try await Buyer.connect(shop, as: "ada")
            #expect(try await first.join("r")["rank"] == 151)
            #expect(try await shop.leave("c7", "r").status == 204)
            let second = try await Buyer.connect(shop, as: "ada")
            #expect(try await second.join("r")["rank"] == 150)
            try await first.ranked(150, "r")
        }
    }

    @Test func leavingInOneTabTellsTheOthers() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            var tabs: [Buyer] = []
            for instance in [0, 0, 1] {
                tabs.append(try await Buyer.connect(shop, as: "ada", on: instance))
                #expect(try await tabs.last?.join("r")["rank"] == 1)
            }
            let behind = try await Buyer.connect(shop, as: "bob", on: 1)
            #expect(try await behind.join("r")["rank"] == 2)
            #expect(try await tabs[0].leave("r")["id"].isNull == false)
            for tab in tabs[1...] { #expect(try await tab.left("r")["id"].isNull) }
            try await behind.ranked(1, "r")
            // By REST as well.
            #expect(try await tabs[2].join("r")["rank"] == 2)
            #expect(try await tabs[1].join("r")["rank"] == 2)
            #expect(try await shop.leave("ada", "r").status == 204)
            for tab in tabs[1...] { try await tab.left("r") }
            _ = try await tabs[0].ask(["type": "ping"])
            #expect(tabs[0].heard.filter { $0["type"] == "left" }.count == 1)
        }
    }

    /// One tab gives a pass back of which it has not heard yet, and another joins again before that is answered: the first
    /// has left and is told no rank any more, the second waits and is not told that it doesn't.
    @Test func leavingInOneTabWhileAnotherJoinsAgain() async throws {
        // Nobody tells who was admitted: no scheduler is there.
        let environment = ["DIBS_ROLES": "gateway,committer", "DIBS_REDIS_TIMEOUT_MS": "60000"]
        try await withShop(1, environment, options: { $0.redisByProxy = true }) { shop in
            try await shop.room("r", maxActive: 1)
            let tabs = try await concurrently(2) { _ in try await Buyer.connect(shop, as: "ada") }
            let others = try await concurrently(3) { try await Buyer.connect(shop, as: "c\($0)") }
            for buyer in [others[0], tabs[0], others[1], others[2]] { try await buyer.join("r") }
            try await shop.callRedis(
                "dibs_room_leave", "r", channel: "nowhere", passes: ["0b6f7a52-6c1e-4f5b-9d0a-3c7c1a9e2f10"], ["c0"])
            // Redis answers both when both have come there, in this order.
            shop.redisProxy.hang(.replies)
            async let left = tabs[0].leave("r")
            try await eventually("the pass is given back") {
                try await shop.redis("hexists", "dibs:{room:r}:passes", "ada") == "0"
            }
            async let joined = tabs[1].join("r")
            try await eventually("it stands in line again") {
                try await shop.redis("hexists", "dibs:{room:r}:members", "ada") == "1"
            }
            try shop.redisProxy.resume()
            #expect(try await joined["rank"] == 2)
            #expect(try await left["type"] == "left")
            try await others[2].leave("r")
            try await tabs[1].ranked(1, "r")
            _ = try await tabs[0].ask(["type": "ping"])
            let end = try #require(tabs[0].heard.lastIndex { $0["type"] == "left" })
            #expect(!tabs[0].heard[end...].contains { $0["type"] == "rank" }, "\(tabs[0].heard)")
            #expect(!tabs[1].heard.contains { $0["type"] == "left" }, "\(tabs[1].heard)")
        }
    }

    /// A reload of the page: the same place, also on the other instance, and without anybody behind noticing.
    @Test func aReloadKeepsThePlace() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 30)
            let front = try await Buyer.connect(shop, as: "front")
            try await front.join("r")
            var tab = try await Buyer.connect(shop, as: "ada")
            #expect(try await tab.join("r")["rank"] == 2)
            let behind = try await Buyer.connect(shop, as: "behind")
            #expect(try await behind.join("r")["rank"] == 3)
            for round in 1...4 {
                if round % 2 == 0 { tab.abort() } else { try await tab.close() }
                try await tab.closed()
                tab = try await Buyer.connect(shop, as: "ada", on: round / 2 % 2, resume: tab.position)
                let joined = try await tab.join("r")
                #expect(joined["rank"] == 2 && joined["waiting"] == 3)
            }
            // Poller and connection are one place as well.
            #expect(try await shop.join("ada", "r", on: 1).result["rank"] == 2)
            try await front.leave("r")
            try await tab.ranked(1, "r")
            try await behind.ranked(2, "r")
            #expect(!behind.heard.contains { $0["rank"] == 1 })
            #expect(try await shop.inspect("r").includes(["joined": 3, "vanished": 0, "left": 1]))
        }
    }
}
