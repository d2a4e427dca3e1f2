import EventLoop
import Glibc
import TestServices
import Testing

/// Processes stop for so long that others do their work, and go on; or have too little of something.
@Suite struct ProcessFaultTests {
    /// A committer stops with orders and reservations in its hands, on their way to PostgreSQL. Another takes its work over
    /// and finishes it. Then what the first had sent arrives, and it goes on where it stopped: nothing happens twice.
    @Test func aCommitterWakesUpAfterItsWorkWasDone() async throws {
        try await withShop(0, options: { $0.postgresByProxy = true }) { shop in
            let committers = ["DIBS_ROLES": "committer", "DIBS_DATABASE_TIMEOUT_MS": "60000"]
            try await shop.start(["DIBS_ROLES": "gateway,scheduler", "DIBS_DATABASE_URL": shop.database])
            try await shop.start(committers)
            let sale = try await shop.sale(100, price: 10)
            let date = try await shop.hall(20, price: 10)
            let buyers = try await concurrently(20) { try await Buyer.connect(shop, as: "c\($0)") }
            for buyer in buyers { try await shop.charge(buyer.client, 10) }
            let holder = try await Buyer.connect(shop, as: "ada")
            let ada = try await shop.enter("ada")

            // What this committer reads from now on, it sends on its way, and no further. The others go by no proxy.
            shop.postgresProxy.hang(.requests)
            let answers = try await concurrently(20) { try await buyers[$0].claim(sale) }
            #expect(answers.allSatisfy { $0["outcome"] == "accepted" }, "\(answers)")
            let seats = try await shop.held(date, [1, 2], ada)
            #expect(try await shop.giveBack(seats, "ada").status == 200)
            for stream in ["dibs:{sale:\(sale)}:orders", "dibs:{performance:\(date)}:log"] {
                try await eventually("the committer has read \(stream)") {
                    try await shop.redis.ask("xpending", stream, "committers").split(separator: "\n").first != "0"
                }
            }
            shop.instances[1].signal(SIGSTOP)
            let recovery = Recovery(from: "a committer stops, from then on")

            try await shop.start(committers.merging(["DIBS_DATABASE_URL": shop.database]) { $1 })
            for buyer in buyers { try await buyer.order("confirmed", in: sale) }
            recovery.note("the last outcome is told")
            try await shop.instances[2].log.first("that it takes over") { $0.event == "entries_taken_over" }
            for stream in ["dibs:{sale:\(sale)}:orders", "dibs:{performance:\(date)}:log"] {
                try await eventually("all is done in \(stream)") { try await shop.redis.ask("xlen", stream) == "0" }
            }
            // Only now does PostgreSQL hear what the first one had asked for.
            try shop.postgresProxy.resume()
            shop.instances[1].signal(SIGCONT)
            // It is at work again.
            let more = try await shop.claim(sale, "late")
            #expect(more.status == 201)
            shop.instances[2].signal(SIGTERM)
            _ = try await shop.instances[2].waitForExit()
            try await shop.charge("later", 10)
            let later = try await Buyer.connect(shop, as: "later")
            #expect(try await later.claim(sale)["outcome"] == "accepted")
            try await later.order("confirmed", in: sale)

            for buyer in buyers {
                #expect(buyer.offsets == [1, 2], "\(buyer.heard)")
                #expect(try await shop.balance(buyer.client) == 0)
            }
            #expect(holder.heard.filter { $0["type"] == "reservation" }.count == 1, "\(holder.heard)")
            // Who had no points is told that it failed, by whichever of the two.
            try await eventually("it failed") { try await shop.truth(sale, "late")["status"] == "failed" }
            try await shop.expectBooks(sale, sold: 21)
            try await shop.expectSeatBooks(date, sold: 0)
        }
    }

    /// A gateway has the processor now and then only: its loop is always late.
    @Test func aLoopThatIsFull() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(80)
            let buyers = try await concurrently(40) { try await Buyer.connect(shop, as: "c\($0)", on: 0) }
            let isOver = Journal<Bool>()
            let pulses = EventLoop.task {
                while isOver.items.isEmpty {
                    shop.instances[0].signal(SIGSTOP)
                    await EventLoop.sleep(milliseconds: 120)
                    shop.instances[0].signal(SIGCONT)
                    await EventLoop.sleep(milliseconds: 15)
                }
            }
            defer { isOver.add(true) }
            let answers = try await concurrently(40) { try await buyers[$0].claim(sale) }
            #expect(answers.allSatisfy { $0["outcome"] == "accepted" }, "\(answers)")
            // Others are not held up by it.
            let rest = try await concurrently(50) { try await shop.claim(sale, "rest\($0)", on: 1) }
            #expect(rest.filter { $0.status == 201 }.count == 40)
            for buyer in buyers {
                try await buyer.order("confirmed", in: sale)
                #expect(buyer.offsets == [1, 2], "\(buyer.heard)")
            }
            isOver.add(true)
            await pulses.value
            try await shop.expectBooks(sale, sold: 80)
        }
    }

    /// There are more connections than descriptors: those that are too many are turned away, the others are served, and
    /// Redis and PostgreSQL are reached again when their connections end.
    @Test func descriptorsRunOut() async throws {
        try await withShop(
            0,
            options: {
                $0.redisByProxy = true
                $0.postgresByProxy = true
            }
        ) { shop in
            try await shop.start(wrapper: ["/usr/bin/prlimit", "--nofile=128:128"])
            let sale = try await shop.sale(100)
            var buyers: [Buyer] = []
            var refused = 0
            for index in 0..<140 {
                do {
                    buyers.append(try await Buyer.connect(shop, as: "c\(index)"))
                } catch {
                    refused += 1
                }
            }
            #expect(refused > 0 && buyers.count >= 40, "\(buyers.count) served, \(refused) refused")
            let claimed = try await concurrently(20) { try await buyers[$0].claim(sale) }
            #expect(claimed.allSatisfy { $0["outcome"] == "accepted" })

            shop.redisProxy.cut()
            shop.postgresProxy.cut()
            let next = buyers[20]
            try await eventually("claims are decided again") {
                try await next.claim(sale, key: "k")["outcome"] == "accepted"
            }
            for buyer in buyers[...20] { try await buyer.order("confirmed", in: sale) }
            // As soon as somebody leaves, there is room for another.
            for buyer in buyers[21...] { try await buyer.close() }
            try await eventually("there is room") { (try? await Buyer.connect(shop, as: "again")) != nil }
            try await shop.expectBooks(sale, sold: 21)
        }
    }

    /// A gateway stops while its clients claim; they come back elsewhere, and it goes on later with what it had begun.
    @Test func aGatewayWakesUpAfterItsClientsWentElsewhere() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(60)
            let before = try await concurrently(20) { try await Buyer.connect(shop, as: "c\($0)", on: 0) }
            shop.instances[0].signal(SIGSTOP)
            // These are in its socket.
            for buyer in before { buyer.send(["type": "claim", "sale": .integer(sale), "key": "k", "id": 77]) }
            let after = try await concurrently(20) {
                try await Buyer.connect(shop, as: "c\($0)", on: 1, resume: before[$0].position)
            }
            let again = try await concurrently(20) { try await after[$0].claim(sale, key: "k") }
            #expect(again.allSatisfy { $0["outcome"] == "accepted" }, "\(again)")
            for buyer in after { try await buyer.order("confirmed", in: sale) }
            shop.instances[0].signal(SIGCONT)
            for (old, new) in zip(before, after) {
                let answer = try await old.next("the answer") { $0["id"] == 77 }
                #expect(answer["ticket"] == again[Int(new.client.dropFirst())!]["ticket"], "\(answer)")
                #expect(new.offsets == [1, 2], "\(new.heard)")
            }
            try await shop.expectBooks(sale, sold: 20)
        }
    }
}
