import EventLoop
import TestServices
import Testing

/// Another takes over that has missed the latest writes.
@Suite struct FailoverTests {
    /// A standby without the latest commits takes over. Redis has what was told, and gives it back: what was confirmed is
    /// confirmed, what was given back stays so, and no point is lost.
    @Test func postgresFailsOverToAStandbyThatLags() async throws {
        try await withShop(
            2, ["DIBS_DATABASE_TIMEOUT_MS": "2000"],
            options: {
                $0.hasOwnPostgres = true
                $0.postgresByProxy = true
            }
        ) { shop in
            let sale = try await shop.sale(60, limit: 2)
            let priced = try await shop.sale(20, price: 10)
            for index in 0..<6 { try await shop.charge("p\(index)", 10) }
            let early = try await concurrently(10) { try await shop.claim(sale, "a\($0)", key: "k", on: $0 % 2) }
            let paid = try await concurrently(3) { try await shop.claim(priced, "p\($0)") }
            try await shop.settled(sale)
            try await shop.settled(priced)
            let standby = try await shop.postgres.makeStandby()
            try await shop.postgres.waitUntil(hasAll: standby)
            try await standby.stopFollowing()

            // None of this reaches the standby.
            let buyers = try await concurrently(20) { try await Buyer.connect(shop, as: "b\($0)", on: $0 % 2) }
            let given = try #require(early[0].order)
            let refunded = try #require(paid[0].order)
            for order in [given, refunded] {
                #expect(try await shop.call(.delete, "/api/orders/\(order)", as: .service).status == 200)
            }
            let late = try await concurrently(20) { try await buyers[$0].claim(sale, key: "k") }
            #expect(late.contains { $0["ticket"] == early[0].result["ticket"] }, "its ticket was sold again")
            try await shop.charge("rich", 30)
            #expect(try await shop.claim(priced, "rich").status == 201)
            #expect(try await shop.claim(priced, "p3").status == 201)
            let forgotten = try await shop.sale(5)
            #expect(try await shop.claim(forgotten, "b0").status == 201)
            for buyer in buyers { try await buyer.order("confirmed", in: sale) }
            for sale in [sale, priced, forgotten] { try await shop.settled(sale) }

            try await shop.postgres.kill()
            // It is not known yet that anything is lost; claims go on.
            let during = try await concurrently(10) { try await shop.claim(sale, "d\($0)", on: $0 % 2) }
            #expect(during.allSatisfy { $0.status == 201 })
            try await standby.promote()
            shop.database = standby.connectionString(database: shop.databaseName)
            #expect(try await shop.sql("select count(*) from orders where sale_id = \(sale)") == "10")
            let recovery = Recovery(from: "a standby that lags takes over")
            shop.postgresProxy.target = .unix(path: standby.socketPath)
            shop.postgresProxy.cut()

            try await eventually("what was accepted meanwhile is confirmed") {
                try await shop.truth(sale, "d9")["status"] == "confirmed"
            }
            recovery.note("the last outcome is told")
            // Whoever comes late finds that another process has done it.
            let finders = shop.instances.filter { $0.log.items.contains { $0.event == "database_given_back" } }
            #expect(!finders.isEmpty)
            // 10 before, one given back, 20 that it had lost, 10 during.
            try await shop.expectBooks(sale, sold: 39)
            try await shop.expectBooks(priced, sold: 4)
            try await shop.expectBooks(forgotten, sold: 1)
            for (index, answer) in late.enumerated() {
                let truth = try await shop.truth(sale, "b\(index)", on: index % 2)
                #expect(truth["status"] == "confirmed" && truth["ticket"] == answer["ticket"], "\(truth)")
                // Nothing was told again, and by the same key it is still the same answer.
                #expect(buyers[index].offsets == Array(1...(index == 0 ? 4 : 2)), "\(buyers[index].heard)")
                #expect(try await buyers[index].claim(sale, key: "k")["ticket"] == answer["ticket"])
            }
            for (sale, order) in [(sale, given), (priced, refunded)] {
                #expect(
                    try await shop.sql("select status from orders where sale_id || '-' || sequence = '\(order)'")
                        == "cancelled")
                #expect(try await shop.show(sale)["id"] == .integer(sale))
            }
            // Her refund came back with the cancellation, their charges as far as the orders show them.
            for (client, points) in [("p0", 10), ("p1", 0), ("p3", 0), ("rich", 0)] as [(String, Int64)] {
                #expect(try await shop.balance(client) == points, "\(client)")
            }
            #expect(try await shop.sql("select count(*) from failed_orders") == "0")
            // The keys came back with the orders.
            let keys =
                "select count(*) from orders where sale_id = \(sale) and idempotency_key = 'k' and status = 'confirmed'"
            #expect(try await shop.sql(keys) == "29")
            // New sales get new ids.
            #expect(try await shop.sale(1) > forgotten)
            try await standby.kill()
        }
    }

    /// The same with seats: what is held and paid stays so, what was given back too.
    @Test func reservationsSurviveAStandbyThatLags() async throws {
        try await withShop(
            1, ["DIBS_DATABASE_TIMEOUT_MS": "2000"],
            options: {
                $0.hasOwnPostgres = true
                $0.postgresByProxy = true
            }
        ) { shop in
            let date = try await shop.hall(20, price: 10)
            let visitors = try await concurrently(5) { try await shop.enter("c\($0)") }
            for visitor in visitors { try await shop.charge(visitor.client, 10) }
            var ids: [String] = []
            for (index, visitor) in visitors.enumerated() where index < 3 {
                ids.append(try await shop.held(date, [Int64(index + 1)], visitor))
            }
            #expect(try await shop.pay(ids[0], 10, visitors[0]).status == 201)
            try await shop.expectSeatBooks(date, sold: 1, held: 2)
            let standby = try await shop.postgres.makeStandby()
            try await shop.postgres.waitUntil(hasAll: standby)
            try await standby.stopFollowing()

            // The first is refunded, the second paid, the third given back; the fourth holds, the fifth holds and pays.
            #expect(try await shop.giveBack(ids[0], "c0").status == 200)
            #expect(try await shop.pay(ids[1], 10, visitors[1]).status == 201)
            #expect(try await shop.giveBack(ids[2], "c2").status == 200)
            for index in 3..<5 { ids.append(try await shop.held(date, [Int64(index + 1)], visitors[index])) }
            #expect(try await shop.pay(ids[4], 10, visitors[4]).status == 201)
            try await shop.expectSeatBooks(date, sold: 2, held: 1)

            try await shop.postgres.kill()
            try await standby.promote()
            shop.database = standby.connectionString(database: shop.databaseName)
            shop.postgresProxy.target = .unix(path: standby.socketPath)
            shop.postgresProxy.cut()
            try await shop.instances[0].log.first("that it is given back") { $0.event == "database_given_back" }
            try await shop.expectSeatBooks(date, sold: 2, held: 1)
            let statuses = try await shop.sql("select string_agg(status, ' ' order by client_id) from reservations")
            #expect(statuses == "released paid released held paid")
            for (index, points) in [10, 0, 10, 10, 0].enumerated() {
                #expect(try await shop.balance("c\(index)") == Int64(points), "c\(index)")
            }
            // It goes on: the held one is paid, and what is free can be had.
            #expect(try await shop.pay(ids[3], 10, visitors[3]).status == 201)
            _ = try await shop.held(date, [1, 3], shop.enter("late"))
            try await shop.expectSeatBooks(date, sold: 3, held: 2)
            try await standby.kill()
        }
    }

    /// A copy of PostgreSQL's files from a while ago is brought back: no new timeline tells of it, but it is behind.
    @Test func postgresComesBackFromAnOlderCopy() async throws {
        try await withShop(
            1,
            options: {
                $0.hasOwnPostgres = true
                $0.postgres.settings = ["fsync = off"]
            }
        ) { shop in
            let sale = try await shop.sale(30)
            _ = try await concurrently(5) { try await shop.claim(sale, "a\($0)") }
            try await shop.settled(sale)
            let copy = try await shop.postgres.keepData()
            try await shop.postgres.start()
            let buyers = try await concurrently(10) { try await Buyer.connect(shop, as: "b\($0)") }
            let late = try await concurrently(10) { try await buyers[$0].claim(sale) }
            for buyer in buyers { try await buyer.order("confirmed", in: sale) }
            try await shop.settled(sale)

            try await shop.postgres.kill()
            try await shop.postgres.start(asOf: copy)
            try await shop.instances[0].log.first("that it was found") { $0.event == "database_given_back" }
            try await shop.expectBooks(sale, sold: 15)
            for (index, answer) in late.enumerated() {
                #expect(try await shop.truth(sale, "b\(index)")["ticket"] == answer["ticket"])
            }
        }
    }

    /// A replica of Redis without the latest writes takes over.
    @Test func redisFailsOverToAReplicaThatLags() async throws {
        try await withShop(2, options: { $0.redisByProxy = true }) { shop in
            let sale = try await shop.sale(40)
            let early = try await concurrently(10) { try await shop.claim(sale, "a\($0)", key: "k", on: $0 % 2) }
            try await shop.settled(sale)
            let replica = try await shop.redis.makeReplica()
            try await replica.stopFollowing()
            let late = try await concurrently(10) { try await shop.claim(sale, "b\($0)", key: "k", on: $0 % 2) }
            try await shop.settled(sale)

            await shop.redis.kill()
            try await replica.promote()
            let recovery = Recovery(from: "a replica of Redis that lags takes over")
            shop.redisProxy.target = .unix(path: replica.socketPath)
            shop.redisProxy.cut()
            try await eventually("claims are decided") { try await shop.claim(sale, "c0", key: "k").status != 503 }
            recovery.note("a claim is decided")
            let rest = try await concurrently(30) { try await shop.claim(sale, "c\($0)", key: "k", on: $0 % 2) }
            #expect(rest.filter { $0.status < 300 }.count == 20, "\(rest.map(\.status))")
            try await shop.expectBooks(sale, sold: 40)
            recovery.note("the last outcome is told")
            for (index, answer) in (early + late).enumerated() {
                let client = index < 10 ? "a\(index)" : "b\(index - 10)"
                let truth = try await shop.truth(sale, client, on: index % 2)
                #expect(truth["status"] == "confirmed" && truth["ticket"] == answer.result["ticket"], "\(truth)")
            }
        }
    }
}

extension Shop {
    /// The name of the database.
    var databaseName: String { String(database[database.range(of: "dbname=")!.upperBound...]) }
}
