import EventLoop
import TestServices
import Testing

/// The network hangs without closing anything, loses what it has, or is slow.
@Suite struct NetworkTests {
    private static let timeout: Int64 = 600

    /// The connection by which Redis is asked hangs; and, in the second case, only its answers do: then what was asked for
    /// happens, and nobody hears of it.
    @Test(arguments: [FaultProxy.Direction.both, .replies])
    func redisDoesNotAnswer(_ direction: FaultProxy.Direction) async throws {
        try await withShop(
            1, ["DIBS_REDIS_TIMEOUT_MS": "\(Self.timeout)"], options: { $0.redisByProxy = true }
        ) { shop in
            let sale = try await shop.sale(50)
            let buyers = try await concurrently(10) { try await Buyer.connect(shop, as: "c\($0)") }
            shop.redisProxy.hang(direction, .others)
            let before = EventLoop.nanoseconds
            let answers = try await concurrently(10) { try await buyers[$0].claim(sale, key: "k") }
            let waited = Int64((EventLoop.nanoseconds - before) / 1_000_000)
            #expect(answers.allSatisfy { $0["type"] == "error" && $0["code"] == "unavailable" }, "\(answers)")
            // Twice, as a busy machine has it; not for ever.
            #expect(waited < 2 * Self.timeout + 2000, "\(waited)")
            #expect(try await shop.call(.get, "/readyz").status == 503)
            #expect(try await shop.call(.get, "/healthz").status == 200)

            let recovery = Recovery(from: "Redis does not answer (\(direction))")
            shop.redisProxy.cut()
            try shop.redisProxy.resume()
            try await eventually("claims are decided") {
                try await buyers[0].claim(sale, key: "k")["type"] != "error"
            }
            recovery.note("a claim is decided")
            // Asked again by the same key: whatever had happened is what the answer is.
            let again = try await concurrently(10) { try await buyers[$0].claim(sale, key: "k") }
            #expect(again.allSatisfy { $0["outcome"] == "accepted" }, "\(again)")
            #expect(Set(again.compactMap { $0["ticket"].integer }) == Set(1...10))
            for buyer in buyers { try await buyer.order("confirmed", in: sale) }
            recovery.note("the last outcome is told")
            for buyer in buyers { #expect(buyer.offsets.filter { $0 == 2 }.count == 1, "\(buyer.heard)") }
            try await shop.expectBooks(sale, sold: 10)
        }
    }

    /// The connection by which Redis tells hangs: claims are decided all the while, and whoever missed something gets it
    /// once, in order.
    @Test func redisDoesNotTell() async throws {
        try await withShop(2, ["DIBS_REDIS_TIMEOUT_MS": "\(Self.timeout)"], options: { $0.redisByProxy = true }) {
            shop in
            let sale = try await shop.sale(40)
            let buyers = try await concurrently(20) { try await Buyer.connect(shop, as: "c\($0)", on: 0) }
            let watcher = try await Buyer.connect(shop, as: "watcher", on: 0)
            try await watcher.watch(sale)
            shop.redisProxy.hang(.both, .subscribers)
            let first = try await concurrently(10) { try await buyers[$0].claim(sale) }
            // The others claim elsewhere, so that only messages tell these connections.
            let elsewhere = try await concurrently(10) { try await shop.claim(sale, "c\($0 + 10)", on: 1) }
            #expect(first.allSatisfy { $0["outcome"] == "accepted" } && elsewhere.allSatisfy { $0.status == 201 })
            // It is noticed, without a message: by what is asked on it.
            try await shop.instances[0].log.first("that it is noticed") {
                $0.event == "redis_lost" && $0.json["connection"] == "events"
            }
            let recovery = Recovery(from: "Redis does not tell")
            try shop.redisProxy.resume()
            for buyer in buyers { try await buyer.order("confirmed", in: sale) }
            recovery.note("the last outcome is told")
            try await watcher.sees(sale, status: "open", remaining: 20)
            for buyer in buyers { #expect(buyer.offsets == [1, 2], "\(buyer.heard)") }
            try await shop.expectBooks(sale, sold: 20)
        }
    }

    /// Messages come a second late, and those on their way are lost in the end.
    @Test func messagesAreLateAndLost() async throws {
        try await withShop(2, ["DIBS_REDIS_TIMEOUT_MS": "3000"], options: { $0.redisByProxy = true }) { shop in
            let sale = try await shop.sale(40, limit: 4)
            let buyers = try await concurrently(10) { try await Buyer.connect(shop, as: "c\($0)", on: 0) }
            shop.redisProxy.delay(milliseconds: 1000, .replies, .subscribers)
            for round in 0..<3 {
                let answers = try await concurrently(10) { index in
                    // Some there, some here: the answer to a claim overtakes the messages.
                    index % 2 == round % 2
                        ? try await shop.claim(sale, "c\(index)", on: 1).status == 201
                        : try await buyers[index].claim(sale)["outcome"] == "accepted"
                }
                #expect(!answers.contains(false))
                if round == 1 { try await shop.settled(sale, on: 1) }
            }
            try await shop.settled(sale, on: 1)
            shop.redisProxy.cut(.subscribers)
            let recovery = Recovery(from: "messages late and lost")
            for buyer in buyers {
                for _ in 0..<3 { try await buyer.order("confirmed", in: sale) }
                #expect(buyer.offsets == Array(1...6), "\(buyer.heard)")
            }
            recovery.note("the last outcome is told")
            try await shop.expectBooks(sale, sold: 30)
        }
    }

    /// Redis is far away.
    @Test func everyAnswerTakesLong() async throws {
        try await withShop(2, options: { $0.redisByProxy = true }) { shop in
            let sale = try await shop.sale(60)
            let buyers = try await concurrently(40) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            shop.redisProxy.delay(milliseconds: 100)
            let answers = try await concurrently(40) { try await buyers[$0].claim(sale) }
            #expect(answers.allSatisfy { $0["outcome"] == "accepted" }, "\(answers)")
            let rest = try await concurrently(40) { try await shop.claim(sale, "rest\($0)", on: $0 % 2) }
            #expect(rest.filter { $0.status == 201 }.count == 20 && rest.filter { $0.code == "sold_out" }.count == 20)
            for buyer in buyers {
                try await buyer.order("confirmed", in: sale)
                #expect(buyer.offsets == [1, 2], "\(buyer.heard)")
            }
            try shop.redisProxy.resume()
            try await shop.expectBooks(sale, sold: 60)
        }
    }

    /// PostgreSQL hangs: claims go on, and what has to be asked there is `unavailable` in time.
    @Test func postgresDoesNotAnswer() async throws {
        try await withShop(
            1, ["DIBS_DATABASE_TIMEOUT_MS": "\(Self.timeout)"], options: { $0.postgresByProxy = true }
        ) { shop in
            let sale = try await shop.sale(50)
            let buyers = try await concurrently(10) { try await Buyer.connect(shop, as: "c\($0)") }
            shop.postgresProxy.hang()
            let answers = try await concurrently(10) { try await buyers[$0].claim(sale) }
            #expect(answers.allSatisfy { $0["outcome"] == "accepted" }, "\(answers)")
            let before = EventLoop.nanoseconds
            let unknown = try await shop.call(.get, "/api/sales/\(sale)/claims/nobody", as: .service)
            #expect(unknown.status == 503 && unknown.code == "unavailable")
            #expect(Int64((EventLoop.nanoseconds - before) / 1_000_000) < 2 * Self.timeout + 2000)
            #expect(try await shop.call(.get, "/readyz").status == 503)
            try await shop.instances[0].log.first("the committer waits") { $0.event == "committer_waits" }

            let recovery = Recovery(from: "PostgreSQL does not answer")
            try shop.postgresProxy.resume()
            for buyer in buyers {
                try await buyer.order("confirmed", in: sale)
                #expect(buyer.offsets == [1, 2], "\(buyer.heard)")
            }
            recovery.note("the last outcome is told")
            try await shop.expectBooks(sale, sold: 10)
        }
    }

    /// PostgreSQL commits, and the connection ends before it has said so.
    @Test func theAnswerToACommitIsLost() async throws {
        try await withShop(1, options: { $0.postgresByProxy = true }) { shop in
            let sale = try await shop.sale(50, price: 10)
            for index in 0..<10 { try await shop.charge("c\(index)", 25) }
            let buyers = try await concurrently(10) { try await Buyer.connect(shop, as: "c\($0)") }
            shop.postgresProxy.hang(.replies)
            let answers = try await concurrently(10) { try await buyers[$0].claim(sale) }
            #expect(answers.allSatisfy { $0["outcome"] == "accepted" }, "\(answers)")
            try await eventually("it is committed") {
                try await shop.sql("select count(*) > 0 from orders where sale_id = \(sale)") == "t"
            }
            #expect(buyers.allSatisfy { !$0.heard.contains { $0["status"] == "confirmed" } })
            let recovery = Recovery(from: "the answer to a commit is lost")
            shop.postgresProxy.cut()
            try shop.postgresProxy.resume()
            for buyer in buyers {
                try await buyer.order("confirmed", in: sale)
                #expect(buyer.offsets == [1, 2], "\(buyer.heard)")
            }
            recovery.note("the last outcome is told")
            try await shop.expectBooks(sale, sold: 10)
            // Charged once.
            for index in 0..<10 { #expect(try await shop.balance("c\(index)") == 15) }
        }
    }

    /// A client is gone without a word: nothing closes its connection. The server finds out, and lets go of all it had.
    @Test func aClientVanishes() async throws {
        try await withShop(1, ["DIBS_PING_SECONDS": "1"]) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 1)
            let port = try #require(UInt16(shop.instances[0].url.split(separator: ":").last ?? ""))
            let network = try FaultProxy.tcp(port)
            let first = try await Buyer.open(shop, as: "first", through: network)
            try await first.connect(token: shop.token("first"))
            _ = try await first.join("r")
            let second = try await Buyer.connect(shop, as: "second")
            _ = try await second.join("r")
            #expect(try await shop.inspect("r")["waiting"] == 2)
            network.hang()
            // 15 s after the ping that it did not answer.
            try await second.ranked(1, "r")
            let room = try await shop.inspect("r")
            #expect(room.includes(["waiting": 1, "vanished": 1]), "\(room)")
            let metrics = try await shop.call(.get, "/metrics", as: .admin).text
            #expect(metrics.contains("dibs_ws_closed_total{code=\"4012\"} 1"), "\(metrics)")
            #expect(metrics.contains("dibs_clients 1"), "\(metrics)")
            #expect(try await second.ask(["type": "ping"])["type"] == "pong")
        }
    }
}
