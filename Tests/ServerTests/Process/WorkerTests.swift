import EventLoop
import Foundation
import TestServices
import Testing

/// `dibs serve --workers N`: several processes on one port.
@Suite struct WorkerTests {
    @Test func bothServeOnePortAndADeadOneComesBack() async throws {
        try await withShop(0) { shop in
            try await shop.start(workers: 2)
            let dibs = shop.instances[0]
            let urls = dibs.log.items.filter { $0.event == "listening" }.compactMap { $0.json["url"].text }
            #expect(urls.count == 2 && Set(urls).count == 1)
            let sale = try await shop.sale(100)
            let buyers = try await concurrently(60) { try await Buyer.connect(shop, as: "c\($0)") }
            let results = try await concurrently(60) { try await buyers[$0].claim(sale) }
            #expect(Set(results.compactMap { $0["ticket"].integer }).count == 60)

            let started = try await dibs.log.first("a worker") { $0.event == "worker_started" }
            let victim = try #require(started.json["workerPid"].integer)
            kill(pid_t(victim), SIGKILL)
            let died = try await dibs.waitFor(event: "worker_died")
            #expect(died.json["signal"] == 9)
            // The other goes on serving, and had its share of the connections.
            for _ in 0..<20 { #expect(try await shop.call(.get, "/healthz").status == 200) }
            var alive: [Buyer] = []
            for buyer in buyers {
                buyer.send(["type": "ping"])
                let pong = try? await buyer.next(type: "pong")
                if pong != nil { alive.append(buyer) }
            }
            #expect((1..<60).contains(alive.count), "\(alive.count)")

            try await dibs.waitFor(event: "ready")
            let again = try await concurrently(60) { try await Buyer.connect(shop, as: "d\($0)") }
            let more = try await concurrently(60) { try await again[$0].claim(sale) }
            #expect(more.filter { $0["outcome"] == "accepted" }.count == 40)
            try await shop.expectBooks(sale, sold: 100)
        }
    }

    @Test func drainsAllOfThem() async throws {
        try await withShop(1) { shop in
            let group = try await shop.start(workers: 2)
            try await expectDrain(shop, group)
        }
    }

    @Test func aSingleProcessDrains() async throws {
        try await withShop(2) { shop in try await expectDrain(shop, 1) }
    }

    /// SIGTERM in the middle of a rush: connections are told to go elsewhere, what was accepted is confirmed.
    @LoopActor
    private func expectDrain(_ shop: Shop, _ instance: Int) async throws {
        let sale = try await shop.sale(1000)
        let buyers = try await concurrently(20) { try await Buyer.connect(shop, as: "ws\($0)", on: instance) }
        let heard = Journal<Int>()
        let calls = (0..<40).map { lane in
            EventLoop.task { () async -> [Answer] in
                var answers: [Answer] = []
                // Until the connection is refused.
                while let answer = try? await shop.claim(sale, "rest\(lane).\(answers.count)", on: instance) {
                    answers.append(answer)
                    heard.add(lane)
                }
                return answers
            }
        }
        for _ in 0..<60 { try await heard.next("an answer") }
        for buyer in buyers { buyer.send(["type": "claim", "sale": .integer(sale), "key": "k"]) }
        try await buyers[0].next(type: "result")
        shop.instances[instance].signal(SIGTERM)
        for buyer in buyers { #expect(try await buyer.closed().code == 1001) }
        #expect(try await shop.instances[instance].waitForExit() == ChildProcess.Exit(status: 0, signal: 0))
        #expect(shop.instances[instance].log.items.contains { $0.event == "stopped" })

        var accepted: Int64 = 0
        for call in calls {
            for answer in await call.value {
                #expect(answer.status == 201 || answer.status == 503, "\(answer.text)")
                if answer.status == 201 { accepted += 1 }
            }
        }
        #expect(accepted >= 60)
        // Those that were told over WebSocket, and those that were decided and could not be told any more.
        for buyer in buyers {
            let after = try await Buyer.connect(shop, as: buyer.client, on: 0, resume: buyer.position)
            #expect(after.connected["recovered"] == true)
            #expect(try await after.claim(sale, key: "k")["outcome"] == "accepted")
        }
        try await shop.settled(sale)
        let sold = 1000 - (try await shop.show(sale)["remaining"].integer ?? 0)
        #expect(sold >= accepted + 20)
        try await shop.expectBooks(sale, sold: sold)
    }

    /// A supervisor that is killed can't end its workers: they see it and drain.
    @Test func workersDoNotOutliveTheirSupervisor() async throws {
        try await withShop(0) { shop in
            try await shop.start(workers: 2)
            let buyer = try await Buyer.connect(shop, as: "ada")
            shop.instances[0].signal(SIGKILL)
            #expect(try await buyer.closed().code == 1001)
            // Their output ends with them: what is waited for is the end of the last.
            _ = try await shop.instances[0].waitForExit()
            #expect(shop.instances[0].log.items.filter { $0.event == "stopped" }.count == 2)
        }
    }
}
