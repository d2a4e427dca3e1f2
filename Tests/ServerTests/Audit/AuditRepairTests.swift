import EventLoop
import TestServices
import Testing

/// `dibs audit --repair` beside servers that sell.
@Suite struct AuditRepairTests {
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
