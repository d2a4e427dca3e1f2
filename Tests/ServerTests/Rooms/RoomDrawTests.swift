import EventLoop
import TestServices
import Testing

/// The draw of a `random` room: by a seed that could not be changed afterwards, and that anybody can check.
@Suite struct RoomDrawTests {
    @Test func theOrderIsTheOneOfThePublishedSeed() async throws {
        try await withShop(2) { shop in
            let made = try await shop.room("lots", maxActive: 3, ordering: "random")
            let promised = try #require(made["seedSha256"].text)
            #expect(promised.count == 64 && made["seed"].isNull && made["drawnAt"].isNull)
            let sale = try await shop.sale(50, in: "lots", opensIn: 3_000_000)
            let buyers = try await concurrently(40) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            // Nobody's name and no order of joining must matter: they join all at once.
            _ = try await concurrently(40) { index in
                let joined = try await buyers[index].join("lots")
                #expect(joined["type"] == "joined" && joined["provisional"] == true, "\(joined)")
                #expect(joined["estimatedSeconds"].isNull && !joined.has("reachable"), "\(joined)")
            }
            for index in 0..<5 {
                let waits = try await shop.join("poller\(index)", "lots", on: index % 2)
                #expect(waits.result["status"] == "WAITING" && waits.result["provisional"] == true, "\(waits.text)")
            }
            // Who has left, draws no lot; who has two tabs draws one.
            try await buyers[7].leave("lots")
            let tab = try await Buyer.connect(shop, as: "c8", on: 1)
            try await tab.join("lots")

            for instance in 0..<2 {
                let hidden = try await shop.call(.get, "/api/rooms/lots/draw", on: instance).result
                #expect(
                    hidden.includes([
                        "room": "lots", "ordering": "random", "seedSha256": .text(promised), "seed": nil,
                        "drawnAt": nil,
                    ]), "\(hidden)")
                let inspected = try await shop.inspect("lots", on: instance)
                #expect(inspected["seed"].isNull && inspected["waiting"] == 44 && inspected["active"] == 0)
                let entries = try await shop.call(.get, "/api/rooms/lots/draw/entries", as: .admin, on: instance)
                #expect(entries.result == [])
            }
            try await shop.end(sale, "open", on: 1)
            try await eventually("the draw is published") {
                try await shop.call(.get, "/api/rooms/lots/draw").result["drawnAt"].text != nil
            }
            // Whoever comes now is behind everybody who was drawn.
            let late = try await Buyer.connect(shop, as: "c0late")
            let joined = try await late.join("lots")
            #expect(joined["rank"] == 42 && !joined.has("provisional"), "\(joined)")

            let names = (0..<40).filter { $0 != 7 }.map { "c\($0)" } + (0..<5).map { "poller\($0)" }
            let published = try await shop.call(.get, "/api/rooms/lots/draw", on: 1).result
            let seed = try #require(published["seed"].text)
            #expect(published["seedSha256"] == .text(promised))
            let hash = try await shop.sql("select encode(sha256('\(seed)'), 'hex')")
            #expect(hash == promised)
            // By PostgreSQL's SHA-256, but not by what the server does with it.
            let hashes = try await shop.sql(
                names.map { "select '\($0)', encode(sha256('\(seed):\($0)'), 'hex')" }.joined(separator: " union all "))
            let order = hashes.split(separator: "\n").map { $0.split(separator: "|") }
                .sorted { $0[1] < $1[1] }.map { String($0[0]) }
            try #require(order.count == 44)
            #expect(order != names)
            for instance in 0..<2 {
                let entries = try await shop.call(
                    .get, "/api/rooms/lots/draw/entries", as: .admin, on: instance
                ).result.list
                #expect(entries.map { $0["userId"].text } == order)
                #expect(entries.map { $0["position"] } == (1...44).map { JSON.integer($0) })
            }
            let page = try await shop.call(.get, "/api/rooms/lots/draw/entries?after=40&limit=3", as: .admin)
            #expect(page.result.list.map { $0["userId"].text } == Array(order[40..<43]))

            // And that is the line: the first three have their pass, the others are told their places.
            let byName = Dictionary(buyers.map { ($0.client, $0) }) { first, _ in first }
            for (index, name) in order.enumerated() {
                let rank = Int64(index - 2)
                if let buyer = byName[name] {
                    if index < 3 {
                        try await buyer.admitted("lots")
                    } else {
                        try await eventually("\(name) is told its place") {
                            buyer.place("lots")?.includes(["rank": .integer(rank)]) == true
                        }
                        #expect(buyer.place("lots")?.has("provisional") == false)
                    }
                }
                let standing = try await shop.standing(name, "lots", on: index % 2).result
                #expect(standing["rank"] == (index < 3 ? .null : .integer(rank)), "\(name): \(standing)")
                #expect(!standing.has("provisional"))
            }
            // One after another, in this order; the late one last.
            let witness = try await LineWitness.watch("lots", of: shop)
            try await shop.change("lots", ["maxActive": 0])
            try await shop.change("lots", ["maxActive": 100])
            try await late.admitted("lots")
            #expect(witness.admissions.map(\.client) == Array(order[3...]) + ["c0late"])
            witness.stop()
        }
    }

    /// Lots are drawn once: an opening that is told twice, or a second sale, changes nothing; nothing is drawn where
    /// nobody came.
    @Test func lotsAreDrawnOnce() async throws {
        try await withShop(2) { shop in
            try await shop.room("lots", maxActive: 0, ordering: "random")
            try await shop.room("empty", maxActive: 1, ordering: "random")
            let sale = try await shop.sale(5, in: "lots", opensIn: 3_000_000)
            let nobody = try await shop.sale(5, in: "empty", opensIn: 3_000_000)
            let buyers = try await concurrently(10) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("lots") }
            for sale in [sale, nobody] { try await shop.end(sale, "open") }
            for room in ["lots", "empty"] {
                try await eventually("the draw is published") {
                    try await shop.call(.get, "/api/rooms/\(room)/draw").result["drawnAt"].text != nil
                }
            }
            let drawn = try await shop.call(.get, "/api/rooms/lots/draw").result
            let entries = try await shop.call(.get, "/api/rooms/lots/draw/entries", as: .admin).result
            #expect(entries.list.count == 10)
            #expect(try await shop.call(.get, "/api/rooms/empty/draw/entries", as: .admin).result == [])
            // First come, first served, from now on.
            #expect(try await buyers[3].join("empty")["type"] == "admitted")
            for (index, buyer) in [buyers[9], buyers[1], buyers[5]].enumerated() {
                #expect(try await buyer.join("empty")["rank"] == .integer(Int64(index + 1)))
            }
            let second = try await shop.sale(5, in: "lots", opensIn: 3_000_000)
            try await shop.end(second, "open", on: 1)
            let late = try await Buyer.connect(shop, as: "late")
            #expect(try await late.join("lots")["rank"] == 11)
            #expect(try await shop.call(.get, "/api/rooms/lots/draw", on: 1).result == drawn)
            let again = try await shop.call(.get, "/api/rooms/lots/draw/entries", as: .admin, on: 1).result
            #expect(again == entries)
            for (index, entry) in entries.list.enumerated() {
                let standing = try await shop.standing(entry["userId"].text ?? "", "lots", on: 1).result
                #expect(standing["rank"] == .integer(Int64(index + 1)))
            }
        }
    }
}
