import EventLoop
import Model
import TestServices
import Testing

/// Sales that only those buy at whom a room has admitted.
@Suite struct RoomSaleTests {
    // MARK: Passes and claims

    @Test func onlyTheRightPassBuys() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 2)
            try await shop.room("other", maxActive: 9)
            let sale = try await shop.sale(10, in: "r")
            let ada = try await Buyer.connect(shop, as: "ada", on: 0)
            let bob = try await Buyer.connect(shop, as: "bob", on: 1)
            let eve = try await Buyer.connect(shop, as: "eve", on: 1)
            let (adas, bobs) = (try await ada.join("r").pass(), try await bob.join("r").pass())
            let others = try await ada.join("other").pass()
            #expect(try await eve.join("r")["rank"] == 1)

            // None, another's, another room's, and what is no pass at all.
            for pass in [nil, bobs, others, "", "x", "00000000-0000-0000-0000-000000000000"] {
                for instance in 0..<2 {
                    let told =
                        if let pass {
                            try await shop.claim(sale, "ada", pass: pass, on: instance)
                        } else {
                            try await shop.claim(sale, "ada", on: instance)
                        }
                    #expect(told.status == 403 && told.code == "not_admitted", "\(pass ?? "none"): \(told.text)")
                }
                let answer = if let pass { try await ada.claim(sale, pass: pass) } else { try await ada.claim(sale) }
                #expect(answer["type"] == "result" && answer["outcome"] == "not_admitted", "\(pass ?? "none")")
                #expect(answer["sale"] == .integer(sale) && answer["offset"].isNull && answer["order"].isNull)
            }
            #expect(try await eve.claim(sale, pass: adas)["outcome"] == "not_admitted")
            let long = try await ada.claim(sale, pass: String(repeating: "x", count: 129))
            #expect(long["type"] == "error" && long["code"] == "bad_request")

            // With it, over either way; and the place goes to the next at once.
            let bought = try await ada.claim(sale, pass: adas, key: "k")
            #expect(bought["outcome"] == "accepted" && bought["ticket"] == 1, "\(bought)")
            let eves = try await eve.admitted("r").pass()
            let told = try await shop.claim(sale, "bob", pass: bobs, key: "k", on: 0)
            #expect(told.status == 201 && told.ticket == 2, "\(told.text)")

            // Spent: FINISHED, no second claim; but the key still gets its answer.
            for instance in 0..<2 {
                for client in ["ada", "bob"] {
                    let standing = try await shop.standing(client, "r", on: instance)
                    #expect(standing.result["status"] == "FINISHED" && standing.result["token"].isNull)
                }
                let again = try await shop.claim(sale, "bob", pass: bobs, key: "k", on: instance)
                #expect(again.status == 200 && again.result == told.result)
                let without = try await shop.claim(sale, "bob", key: "k", on: instance)
                #expect(without.status == 200 && without.result == told.result)
                let another = try await shop.claim(sale, "bob", pass: bobs, key: "k2", on: instance)
                #expect(another.status == 403 || another.status == 409, "\(another.text)")
            }
            let repeated = try await ada.claim(sale, pass: adas, key: "k")
            #expect(repeated["outcome"] == "accepted" && repeated["order"] == bought["order"])
            #expect(try await shop.inspect("r").includes(["spent": 2, "active": 1, "waiting": 0, "admitted": 3]))

            // One that was given back, and one that ran out, are worth nothing.
            try await eve.leave("r")
            #expect(try await eve.claim(sale, pass: eves)["outcome"] == "not_admitted")
            #expect(try await shop.statistics(sale).includes(["accepted": 2, "waiting": 0, "admitted": 3]))
            try await shop.expectBooks(sale, sold: 2)
        }
    }

    @Test func aPassLastsUntilTheLimitOrItsTime() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1)
            let sale = try await shop.sale(10, in: "r", limit: 2)
            let ada = try await Buyer.connect(shop, as: "ada", on: 0)
            let bob = try await Buyer.connect(shop, as: "bob", on: 1)
            let pass = try await ada.join("r").pass()
            #expect(try await bob.join("r")["rank"] == 1)
            #expect(try await ada.claim(sale, pass: pass, key: "1")["outcome"] == "accepted")
            // One more is allowed: the pass is still good; a repeated key spends nothing.
            for instance in 0..<2 {
                #expect(try await shop.claim(sale, "ada", pass: pass, key: "1", on: instance).status == 200)
                #expect(try await shop.standing("ada", "r", on: instance).result["token"] == .text(pass))
            }
            #expect(!bob.heard.contains { $0["type"] == "admitted" })
            #expect(try await shop.claim(sale, "ada", pass: pass, key: "2", on: 1).status == 201)
            let bobs = try await bob.admitted("r").pass()
            #expect(try await shop.standing("ada", "r").result["status"] == "FINISHED")
            let third = try await ada.claim(sale, pass: pass, key: "3")
            #expect(["not_admitted", "duplicate"].contains(third["outcome"]), "\(third)")
            for key in ["1", "2"] { #expect(try await shop.claim(sale, "ada", pass: pass, key: key).status == 200) }

            // Two sales of one room: one pass. At the limit of the first it is spent for both.
            try await shop.room("s", maxActive: 1, passSeconds: 1)
            let other = try await shop.sale(10, in: "s")
            let short = try await bob.join("s").pass()
            try await bob.expired("s")
            #expect(try await bob.claim(other, pass: short)["outcome"] == "not_admitted")
            #expect(try await shop.claim(other, "bob", pass: short).code == "not_admitted")
            // A pass of one room is none of the other's sale.
            #expect(try await shop.claim(other, "bob", pass: bobs, on: 1).code == "not_admitted")
            try await shop.expectBooks(sale, sold: 2)
            try await shop.expectBooks(other, sold: 0)
        }
    }

    /// A sale without a room takes no notice of passes.
    @Test func withoutARoomNoPassIsNeeded() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(2)
            #expect(try await shop.claim(sale, "ada", pass: "nonsense").status == 201)
            let buyer = try await Buyer.connect(shop, as: "bob")
            #expect(try await buyer.claim(sale, pass: "nonsense")["outcome"] == "accepted")
        }
    }

    /// Whoever is admitted buys at once: everybody one, in the order of joining.
    @Test func aLineBuysItsWayThrough() async throws {
        try await withShop(2) { shop in
            let count = 60
            try await shop.room("r", maxActive: 0)
            let sale = try await shop.sale(Int64(count), in: "r")
            let witness = try await LineWitness.watch("r", of: shop)
            let buyers = try await concurrently(count) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("r") }
            let done = EventLoop.task {
                try? await concurrently(count) { index in
                    let pass = try await buyers[index].admitted("r").pass()
                    let answer = try await buyers[index].claim(sale, pass: pass)
                    #expect(answer["outcome"] == "accepted", "\(answer)")
                }
            }
            try await shop.change("r", ["maxActive": 4])
            #expect(await done.value != nil)
            #expect(witness.admissions.map(\.client) == (0..<count).map { "c\($0)" })
            #expect(witness.changes.values.allSatisfy { $0.active <= 4 })
            #expect(buyers.reduce(0) { $0 + witness.check($1, "r") } > count)
            let statistics = try await shop.statistics(sale)
            let all = JSON.integer(Int64(count))
            #expect(statistics.includes(["admitted": all, "waiting": 0, "accepted": all]))
            #expect(try await shop.call(.get, "/api/statistics").result.includes(["admitted": all, "waiting": 0]))
            witness.stop()
            try await shop.expectBooks(sale, sold: Int64(count))
        }
    }

    // MARK: Opening

    @Test func nobodyIsAdmittedBeforeTheOpening() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 3)
            try await shop.room("early", maxActive: 3)
            try await shop.room("through", maxActive: 1, ordering: "passthrough")
            let sale = try await shop.sale(5, in: "r", opensIn: 3000)
            let opensAt = try #require(
                try await Timestamp(rfc3339: shop.show(sale)["opensAt"].text ?? "")?.milliseconds)
            let later = try await shop.sale(5, in: "early", opensIn: 3_000_000)
            _ = try await shop.sale(5, in: "through", opensIn: 3_000_000)
            let buyers = try await concurrently(4) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for (index, buyer) in buyers.enumerated() {
                for room in ["r", "early"] {
                    let joined = try await buyer.join(room)
                    #expect(joined["type"] == "joined" && joined["rank"] == .integer(Int64(index + 1)), "\(joined)")
                }
            }
            #expect(try await shop.join("poller", "early", on: 1).result["rank"] == 5)
            #expect(try await shop.inspect("early").includes(["waiting": 5, "active": 0, "admitted": 0]))
            // Except where the room lets everybody through.
            #expect(try await buyers[0].join("through")["type"] == "admitted")
            #expect(try await buyers[1].join("through")["rank"] == 1)

            // By its clock: all for whom there is a place, on both instances.
            for buyer in buyers[..<3] {
                let admitted = try await buyer.admitted("r")
                #expect(try #require(buyer.arrival(of: admitted)) >= opensAt - 5)
                #expect(try await buyer.claim(sale, pass: try admitted.pass())["outcome"] == "accepted")
            }
            try await buyers[3].admitted("r")
            // By the admin, whatever the clock says.
            #expect(!buyers.contains { $0.heard.contains { $0["type"] == "admitted" && $0["room"] == "early" } })
            try await shop.end(later, "open", on: 1)
            for buyer in buyers[..<3] {
                let pass = try await buyer.admitted("early").pass()
                // One instance may hear of the opening a little later than the line moves.
                try await eventually("the sale takes claims") {
                    try await buyer.claim(later, pass: pass)["outcome"] == "accepted"
                }
            }
            try await buyers[3].admitted("early")
            #expect(try await shop.standing("poller", "early").result["status"] == "IN_PROGRESS")
        }
    }

    // MARK: The end

    @Test(arguments: ["close", "cancel", "clock"])
    func theLineEndsWithTheSale(how: String) async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1)
            let sale = try await shop.sale(5, in: "r", closesIn: how == "clock" ? 3000 : 3_600_000)
            let buyers = try await concurrently(5) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("r") }
            #expect(try await shop.join("poller", "r", on: 1).result["rank"] == 5)
            // One of them watches the sale anyway, one has left.
            try await buyers[1].watch(sale)
            try await buyers[4].leave("r")
            if how != "clock" { try await shop.end(sale, how, on: 1) }
            let status = how == "cancel" ? "cancelled" : "closed"
            for buyer in buyers[1...3] {
                try await buyer.sees(sale, status: status)
                let left = try await buyer.left("r")
                #expect(left["id"].isNull && left["reason"] == "closed", "\(left)")
            }
            for client in ["c1", "c2", "c3", "c4", "poller"] {
                let standing = try await shop.standing(client, "r", on: 1)
                let finished: JSON = ["status": "FINISHED", "rank": nil, "token": nil]
                #expect(standing.result.includes(finished), "\(standing.text)")
            }
            let room = try await shop.inspect("r")
            #expect(room.includes(["waiting": 0, "active": 1, "closed": 4, "left": 1, "vanished": 0]), "\(room)")
            #expect(!buyers[4].heard.contains { $0["type"] == "sale" })
            // The status before the end of the wait, and that once.
            for buyer in buyers[1...3] {
                _ = try await buyer.ask(["type": "ping"])
                let told = buyer.heard.filter { $0["type"] == "left" || $0["status"] == .text(status) }
                #expect(told.count >= 2 && told.last?["type"] == "left", "\(told)")
                #expect(told.dropLast().allSatisfy { $0["type"] == "sale" }, "\(told)")
            }
            // The next sale finds an empty line.
            let next = try await shop.sale(5, in: "r", opensIn: 3_000_000)
            #expect(try await buyers[3].join("r")["rank"] == 1)
            #expect(next != sale)
        }
    }

    /// The line goes on while another sale of the room does.
    @Test func theLineOutlivesOneOfTwoSales() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1)
            let sale = try await shop.sale(5, in: "r")
            let other = try await shop.sale(5, in: "r", on: 1)
            let buyers = try await concurrently(3) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("r") }
            try await shop.end(sale, "close")
            for buyer in buyers[1...] { try await buyer.sees(sale, status: "closed") }
            #expect(try await shop.inspect("r")["waiting"] == 2)
            try await shop.end(other, "cancel", on: 1)
            for buyer in buyers[1...] {
                try await buyer.sees(other, status: "cancelled")
                try await buyer.left("r")
            }
            #expect(try await shop.inspect("r")["waiting"] == 0)
        }
    }

    // MARK: What can be reached

    /// A sale that goes takes its tickets out of reach at once, though nobody moves.
    @Test func saysWhatCanBeReachedWhenASaleGoes() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            let (_, going) = (try await shop.sale(1, in: "r"), try await shop.sale(1, in: "r"))
            var buyers: [Buyer] = []
            for number in 0..<3 {
                let buyer = try await Buyer.connect(shop, as: "c\(number)", on: number % 2)
                let joined = try await buyer.join("r")
                if joined.has("reachable") {
                    #expect(joined["reachable"] == .flag(number < 2), "\(joined)")
                } else {
                    try await buyer.ranked(Int64(number + 1), "r", reachable: number < 2)
                }
                buyers.append(buyer)
            }
            try await shop.end(going, "cancel")
            try await buyers[1].ranked(2, "r", reachable: false)
            #expect(buyers[0].place("r")?["reachable"] == true)
        }
    }

    @Test func saysWhatCanBeReachedAsTheStockGoesAndComesBack() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            let sale = try await shop.sale(2, in: "r")
            let buyers = try await concurrently(5) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for (index, buyer) in buyers.enumerated() {
                let joined = try await buyer.join("r")
                // The first in a line on an instance may join before that knows what is left.
                if joined.has("reachable") {
                    #expect(joined["reachable"] == .flag(index < 2), "\(joined)")
                } else {
                    try await buyer.ranked(Int64(index + 1), "r", reachable: index < 2)
                }
            }
            try await shop.change("r", ["maxActive": 1])
            let first = try await buyers[0].admitted("r").pass()
            for index in 1..<5 { try await buyers[index].ranked(Int64(index), "r", reachable: index < 3) }
            let order = try await buyers[0].claim(sale, pass: first)["order"].text ?? ""
            let second = try await buyers[1].admitted("r").pass()
            // Everybody moved up, and one ticket is gone: whoever could not reach one still can't.
            for index in 2..<5 { try await buyers[index].ranked(Int64(index - 1), "r", reachable: index < 3) }
            // It comes back: the ranks are as before, what they can reach is not.
            #expect(try await shop.call(.delete, "/api/orders/\(order)", as: .service).status == 200)
            try await buyers[3].ranked(2, "r", reachable: true)
            #expect(buyers[4].place("r")?["reachable"] == false)
            // Both go: whoever still waits is told, and goes on waiting, because tickets can come back.
            #expect(try await buyers[1].claim(sale, pass: second)["outcome"] == "accepted")
            let third = try await buyers[2].admitted("r").pass()
            let last = try await buyers[2].claim(sale, pass: third)
            #expect(last["outcome"] == "accepted")
            // (The next one may have been admitted before that was told.)
            try await buyers[4].sees(sale, status: "sold_out", remaining: 0)
            let fourth = try await buyers[3].admitted("r").pass()
            try await buyers[4].ranked(1, "r", reachable: false)
            #expect(try await buyers[3].claim(sale, pass: fourth)["outcome"] == "sold_out")
            #expect(try await shop.standing("c3", "r").result["status"] == "IN_PROGRESS")
            _ = try await shop.call(.delete, "/api/orders/\(last["order"].text ?? "")", as: .service)
            try await buyers[4].sees(sale, status: "open", remaining: 1)
            try await buyers[4].ranked(1, "r", reachable: true)
            #expect(try await buyers[3].claim(sale, pass: fourth)["outcome"] == "accepted")
            try await buyers[4].admitted("r")
            try await shop.expectBooks(sale, sold: 2)
        }
    }
}
