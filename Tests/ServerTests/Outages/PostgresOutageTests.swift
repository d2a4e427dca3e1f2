import EventLoop
import Glibc
import TestServices
import Testing

/// PostgreSQL goes away in the middle of a sale: claims go on, nothing is lost, all is confirmed when it is back.
@Suite struct PostgresOutageTests {
    enum Fault: String, CaseIterable, CustomTestStringConvertible {
        case stopped, killed, frozen
        var testDescription: String { rawValue }

        func begin(_ postgres: PostgresServer) async throws {
            switch self {
            case .stopped: try await postgres.stop()
            case .killed: try await postgres.kill()
            case .frozen: postgres.freeze()
            }
        }

        func end(_ postgres: PostgresServer) async throws {
            if self == .frozen { postgres.thaw() } else { try await postgres.start() }
        }
    }

    @Test func claimsGoOnAndNothingIsLost() async throws {
        try await withShop(2, ["DIBS_DATABASE_TIMEOUT_MS": "700"], options: { $0.hasOwnPostgres = true }) { shop in
            for fault in Fault.allCases { try await self.survive(fault, shop) }
        }
    }

    @LoopActor
    private func survive(_ fault: Fault, _ shop: Shop) async throws {
        let sale = try await shop.sale(200)
        let watcher = try await Buyer.connect(shop, as: "watcher\(fault)", on: 1)
        try await watcher.watch(sale)
        let buyers = try await concurrently(80) { try await Buyer.connect(shop, as: "\(fault)\($0)", on: $0 % 2) }
        let before = try await concurrently(20) { try await shop.claim(sale, "rest\($0)", on: $0 % 2) }
        #expect(before.allSatisfy { $0.status == 201 })
        // Some are on their way to PostgreSQL as it goes.
        async let first = concurrently(40) { try await buyers[$0].claim(sale) }
        try await fault.begin(shop.postgres)
        for answer in try await first { #expect(answer["outcome"] == "accepted", "\(answer)") }

        for instance in 0..<2 {
            let ready = try await shop.call(.get, "/readyz", on: instance)
            #expect(ready.status == 503 && ready.code == "unavailable")
            #expect(try await shop.call(.get, "/healthz", on: instance).status == 200)
        }
        for buyer in buyers[40...] { #expect(try await buyer.claim(sale)["outcome"] == "accepted") }
        for index in 20..<120 where index % 2 == 0 {
            let answer = try await shop.claim(sale, "rest\(index)", on: index % 4 / 2)
            #expect(answer.status == 201)
        }
        try await watcher.sees(sale, status: "open", remaining: 50)
        // What Redis holds is known; what only PostgreSQL could tell is not known, and not "none".
        #expect(try await shop.truth(sale, "rest118")["status"] == "accepted")
        let unknown = try await shop.call(.get, "/api/sales/\(sale)/claims/nobody", as: .service)
        #expect(unknown.status == 503 && unknown.code == "unavailable")
        let registered = try await shop.call(
            .post, "/api/sales", as: .admin,
            [
                "name": "Not now", "quantity": 1, "opensAt": .text(Shop.moment(in: 0)),
                "closesAt": .text(Shop.moment(in: 60_000)),
            ], on: 1)
        #expect(registered.status == 503)
        #expect(try await shop.statistics(sale)["accepted"] == 150)

        try await fault.end(shop.postgres)
        let recovery = Recovery(from: "PostgreSQL \(fault)")
        for buyer in buyers { try await buyer.order("confirmed", in: sale) }
        recovery.note("the last outcome is told")
        for buyer in buyers {
            #expect(buyer.offsets == [1, 2])
            try await buyer.close()
        }
        try await eventually("it is ready again") { try await shop.call(.get, "/readyz").status == 200 }
        try await shop.expectBooks(sale, sold: 150)
        #expect(try await shop.truth(sale, "rest118")["status"] == "confirmed")
        #expect(try await shop.truth(sale, "nobody")["status"] == "none")
        #expect(try await shop.sql("select count(*) from failed_orders") == "0")
    }

    /// A server that has to end while PostgreSQL is away ends in its time, and leaves its orders to others.
    @Test func drainsWithoutPostgres() async throws {
        try await withShop(1, ["DIBS_DRAIN_SECONDS": "1"], options: { $0.hasOwnPostgres = true }) { shop in
            let sale = try await shop.sale(50)
            try await shop.postgres.stop()
            let answers = try await concurrently(20) { try await shop.claim(sale, "c\($0)") }
            #expect(answers.allSatisfy { $0.status == 201 })
            shop.instances[0].signal(SIGTERM)
            #expect(try await shop.instances[0].waitForExit() == ChildProcess.Exit(status: 0, signal: 0))
            try await shop.postgres.start()
            try await shop.restart(0)
            try await shop.expectBooks(sale, sold: 20)
        }
    }

    /// A server that starts while PostgreSQL is away serves as soon as it is there.
    @Test func startsWithoutPostgres() async throws {
        try await withShop(1, options: { $0.hasOwnPostgres = true }) { shop in
            let sale = try await shop.sale(5)
            try await shop.postgres.stop()
            let late = try shop.run(["serve"])
            try await late.waitFor(event: "waiting_for_postgres")
            // Its clients aren't turned away where Redis can decide.
            #expect(try await shop.claim(sale, "early").status == 201)
            try await shop.postgres.start()
            try await late.waitFor(event: "ready")
            late.signal(SIGTERM)
            #expect(try await late.waitForExit() == ChildProcess.Exit(status: 0, signal: 0))
            try await shop.expectBooks(sale, sold: 1)
        }
    }
}
