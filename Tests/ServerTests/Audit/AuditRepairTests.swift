import EventLoop
import Foundation
import TestServices
import Testing

/// `dibs audit --repair` beside servers that sell.
@Suite struct AuditRepairTests {
    /// The committer has stopped: what is in the stream comes to PostgreSQL all the same before the sale is built anew.
    @Test func mendingWaitsForNoCommitterAndLosesNothing() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway"]) { shop in
            let committer = try await shop.start(["DIBS_ROLES": "gateway,committer"])
            let sale = try await shop.sale(3000)
            for client in ["early", "bird"] { #expect(try await shop.claim(sale, client).status == 201) }
            try await shop.settled(sale)
            shop.instances[committer].signal(SIGSTOP)
            let backlog = 1200
            let told = try await concurrently(backlog) { index in
                try await shop.claim(sale, "c\(index)", on: 0).ticket
            }
            #expect(told.compactMap { $0 }.count == backlog)
            let clients = "dibs:{sale:\(sale)}:clients"
            let (early, bird) = (
                try await shop.redis("hget", clients, "early"), try await shop.redis("hget", clients, "bird")
            )
            try await shop.redis("hset", clients, "early", bird, "bird", early)
            let repair = try await shop.auditProgram(["--repair", "--sale", "\(sale)"])
            #expect(repair.status == 0 && repair.output.contains("built anew from PostgreSQL"), "\(repair)")
            let stored = try await shop.sql(
                "select client_id, ticket from orders where sale_id = \(sale) and status = 'confirmed'")
            let tickets = Dictionary(
                stored.split(separator: "\n").map { $0.split(separator: "|") }.map { (String($0[0]), Int64($0[1])) }
            ) { first, _ in first }
            for (index, ticket) in told.enumerated() { #expect(tickets["c\(index)"] == ticket, "c\(index)") }
            #expect(try await shop.sql("select count(*) from failed_orders") == "0")

            shop.instances[committer].signal(SIGCONT)
            try await shop.settled(sale)
            try await shop.expectBooks(sale, sold: Int64(backlog) + 2)
            #expect(try await shop.truth(sale, "c7")["status"] == "confirmed")
        }
    }

    /// Holds, the same.
    @Test func mendingAPerformanceLosesNoHold() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway"]) { shop in
            try await shop.room("hall", maxActive: 100)
            let performance = try await shop.performance(50, room: "hall")
            let held = try await shop.held(performance, [1, 2], try await shop.enter("ann", "hall"))
            let state = "dibs:{performance:\(performance)}"
            try await shop.redis("hincrby", state, "free", "-1")
            // Nobody commits at all.
            let repair = try await shop.auditProgram(["--repair", "--performance", "\(performance)"])
            #expect(repair.status == 0 && repair.output.contains("built anew from PostgreSQL"), "\(repair)")
            #expect(try await shop.sql("select client_id, status from reservations") == "ann|held")
            #expect(try await shop.redis("hkeys", state + ":holds") == held.split(separator: "-").last.map(String.init))
            #expect(try await shop.redis("getrange", state + ":seats", "0", "2") == "hhf")
        }
    }

    /// A sale is built anew in the middle of a rush: whoever was told "accepted" ends confirmed, with the ticket that it was
    /// told.
    @Test func mendingLosesNobodysOrder() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(2000)
            for client in ["early", "bird"] { #expect(try await shop.claim(sale, client).status == 201) }
            try await shop.settled(sale)
            let clients = "dibs:{sale:\(sale)}:clients"
            let (early, bird) = (
                try await shop.redis("hget", clients, "early"), try await shop.redis("hget", clients, "bird")
            )

            let over = Journal<Bool>()
            let rush = (0..<8).map { runner in
                EventLoop.task { () -> Result<[String: Int64], any Error> in
                    var told: [String: Int64] = [:]
                    do {
                        var number = 0
                        while over.items.isEmpty || number < 20 {
                            let client = "c\(runner)-\(number)"
                            number += 1
                            // Whoever gets no answer asks again, with the same key.
                            while told[client] == nil {
                                let answer = try await shop.claim(sale, client, key: "k", on: runner % 2)
                                if answer.status == 503 {
                                    await EventLoop.sleep(milliseconds: 20)
                                    continue
                                }
                                guard let ticket = answer.ticket else { return .success(told) }
                                told[client] = ticket
                            }
                        }
                        return .success(told)
                    } catch {
                        return .failure(error)
                    }
                }
            }
            try await eventually("it sells") { try await shop.show(sale)["remaining"].integer ?? 2000 < 1900 }
            try await shop.redis("hset", clients, "early", bird, "bird", early)
            let repair = try await shop.auditProgram(["--repair", "--sale", "\(sale)"])
            #expect(repair.status == 0 && repair.output.contains("built anew from PostgreSQL"), "\(repair)")
            over.add(true)
            var told: [String: Int64] = [:]
            for runner in rush { told.merge(try await runner.value.get()) { $1 } }

            try await shop.expectBooks(sale, sold: Int64(told.count) + 2)
            let stored = try await shop.sql(
                "select client_id, ticket from orders where sale_id = \(sale) and status = 'confirmed'")
            let tickets = Dictionary(
                stored.split(separator: "\n").map { $0.split(separator: "|") }.map { (String($0[0]), Int64($0[1])) }
            ) { first, _ in first }
            for (client, ticket) in told { #expect(tickets[client] == ticket, "\(client)") }
            #expect(try await shop.sql("select count(*) from failed_orders") == "0")
            #expect(try await shop.sql("select epoch from sales where id = \(sale)") == "1")
        }
    }
}
