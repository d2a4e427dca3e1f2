import EventLoop
import TestServices
import Testing

/// PostgreSQL is there, and does not do what it should: claims go on, and all of it is made up for.
@Suite struct DatabaseFaultTests {
    /// Other sessions have taken all connections.
    @Test func outOfConnections() async throws {
        try await withShop(
            2,
            options: {
                $0.hasOwnPostgres = true
                $0.postgres.settings = ["max_connections = 30"]
                $0.postgresByProxy = true
            }
        ) { shop in
            let sale = try await self.begin(shop)
            shop.postgresProxy.refuse()
            shop.postgresProxy.cut()
            let hog = try await ConnectionHog.takeAll(of: shop.postgres)
            try shop.postgresProxy.resume()
            try await self.goOn(shop, sale, "too many", within: "53300|too many clients")
            let recovery = Recovery(from: "out of connections")
            hog.release()
            try await self.recover(shop, sale, recovery)
        }
    }

    /// The file system of its tables has no room left.
    @Test(.enabled(if: PostgresServer.canHaveSmallSpace, "needs the right to mount a file system in a namespace"))
    func outOfDisk() async throws {
        try await withShop(
            2,
            options: {
                $0.hasOwnPostgres = true
                $0.postgres.smallSpaceMegabytes = 48
            }
        ) { shop in
            let sale = try await self.begin(shop)
            try await shop.postgres.fillDisk(of: shop.database)
            try await self.goOn(shop, sale, "no room", within: "53100")
            let recovery = Recovery(from: "out of disk")
            try await shop.postgres.emptyDisk(of: shop.database)
            try await self.recover(shop, sale, recovery)
        }
    }

    /// Somebody holds a lock on the orders for longer than a statement may take.
    @Test func slowByALock() async throws {
        try await withShop(2, ["DIBS_DATABASE_TIMEOUT_MS": "1000"]) { shop in
            let sale = try await self.begin(shop)
            let holder = try Program(
                "/usr/bin/psql",
                [
                    "-X", "-d", shop.database, "-c", "begin", "-c", "lock table orders in exclusive mode", "-c",
                    "select pg_sleep(60)",
                ])
            try await eventually("the lock is held") {
                try await shop.sql(
                    "select count(*) from pg_locks where mode = 'ExclusiveLock' and granted and relation = 'orders'::regclass"
                )
                    == "1"
            }
            try await self.goOn(shop, sale, "locked", within: "57014|no answer")
            let recovery = Recovery(from: "a lock on the orders")
            try await shop.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(60)'")
            try await self.recover(shop, sale, recovery)
            _ = try await holder.waitForExit()
        }
    }

    /// It takes no writes, as after a fail-over to one that follows another.
    @Test func readOnly() async throws {
        try await withShop(2) { shop in
            let sale = try await self.begin(shop)
            let name = shop.databaseName
            // By another database, whose sessions may write.
            try await shop.postgres.ask("alter database \(name) set default_transaction_read_only = on")
            try await shop.postgres.ask(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = '\(name)'")
            try await self.goOn(shop, sale, "read only", within: "25006")
            let recovery = Recovery(from: "read only")
            try await shop.postgres.ask("alter database \(name) reset all")
            try await self.recover(shop, sale, recovery)
        }
    }

    // MARK: What all have in common

    private static let quantity: Int64 = 300

    /// A sale of which something is sold.
    @LoopActor
    private func begin(_ shop: Shop) async throws -> Int64 {
        let sale = try await shop.sale(Self.quantity)
        let first = try await concurrently(20) { try await shop.claim(sale, "early\($0)", on: $0 % 2) }
        #expect(first.allSatisfy { $0.status == 201 })
        try await shop.settled(sale)
        return sale
    }

    /// Claims are decided as if nothing were wrong, up to the last ticket; the committer says why it waits.
    @LoopActor
    private func goOn(_ shop: Shop, _ sale: Int64, _ fault: String, within reason: String) async throws {
        let reasons = reason.split(separator: "|")
        let answers = try await concurrently(400) { try await shop.claim(sale, "c\($0)", key: "k", on: $0 % 2) }
        #expect(answers.filter { $0.status == 201 }.count == 280, "\(fault)")
        #expect(answers.filter { $0.code == "sold_out" }.count == 120, "\(fault)")
        // One of the two has the orders.
        try await eventually("a committer waits because of it: \(fault)") {
            shop.instances.contains { instance in
                instance.log.items.contains { line in
                    line.event == "committer_waits" && reasons.contains { line.text.contains($0) }
                }
            }
        }
        // What waits in the stream is what was accepted, and no more. (Where only space is short, some may have found it.)
        let waiting = Int64(try await shop.redis.ask("xlen", "dibs:{sale:\(sale)}:orders")) ?? 0
        #expect(fault == "no room" ? (1...280).contains(waiting) : waiting == 280, "\(fault): \(waiting)")
        #expect(try await shop.redis.ask("hget", "dibs:{sale:\(sale)}", "left") == "0", "\(fault)")
    }

    /// Everything accepted is confirmed, and told once.
    @LoopActor
    private func recover(_ shop: Shop, _ sale: Int64, _ recovery: Recovery) async throws {
        let buyer = try await Buyer.connect(shop, as: "late", on: 1)
        #expect(try await buyer.claim(sale)["outcome"] == "sold_out")
        recovery.note("a claim is decided")
        try await eventually("all are committed") {
            try await shop.redis.ask("xlen", "dibs:{sale:\(sale)}:orders") == "0"
        }
        recovery.note("the last outcome is told")
        try await shop.expectBooks(sale, sold: Self.quantity)
        #expect(try await shop.sql("select count(*) from failed_orders") == "0")
        // The logs of the clients have each outcome once.
        for index in [0, 1, 2, 3] {
            guard try await shop.truth(sale, "c\(index)")["status"] == "confirmed" else { continue }
            #expect(try await shop.redis.ask("hget", "dibs:{client:c\(index)}", "n") == "2")
        }
    }
}
