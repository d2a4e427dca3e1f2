import EventLoop
import Foundation
import Gateway
import Model
import TestServices
import Testing

/// Statistics, the audit, the dead-letter list, and what a machine asks.
@Suite struct OperatorRouteTests {
    @Test func countsWhatHappened() async throws {
        try await withShop(2) { shop in
            let empty = try await shop.sale(3)
            let expected: JSON = [
                "requests": 0, "accepted": 0, "confirmed": 0, "failed": 0, "cancelled": 0, "refused": [:],
                "remaining": 3, "waiting": 0, "admitted": 0, "firstClaimAt": nil, "soldOutAt": nil,
            ]
            let told = try await shop.statistics(empty)
            #expect(told.includes(expected), "\(told)")

            let sale = try await shop.sale(3)
            let answers = try await concurrently(10) { try await shop.claim(sale, "c\($0)", on: $0 % 2) }
            #expect(answers.filter { $0.status == 201 }.count == 3)
            let owner = try #require(answers.firstIndex { $0.status == 201 })
            #expect(try await shop.claim(sale, "c\(owner)").code == "duplicate")
            let order = try #require(answers[owner].order)
            try await eventually("the order is confirmed") {
                try await shop.call(.get, "/api/orders/\(order)", as: .service).result["status"] == "confirmed"
            }
            _ = try await shop.call(.delete, "/api/orders/\(order)", as: .service)
            try await shop.expectBooks(sale, sold: 2)

            for instance in 0..<2 {
                let told = try await shop.statistics(sale, on: instance)
                #expect(told["requests"] == 11 && told["accepted"] == 3 && told["confirmed"] == 3)
                #expect(told["cancelled"] == 1 && told["failed"] == 0 && told["remaining"] == 1)
                #expect(told["refused"] == ["sold_out": 7, "duplicate": 1])
                let first = try #require(Timestamp(rfc3339: told["firstClaimAt"].text ?? ""))
                let out = try #require(Timestamp(rfc3339: told["soldOutAt"].text ?? ""))
                #expect(first <= out)
                #expect(told["series"].isNull)
            }
            for (interval, milliseconds) in [("second", Int64(1000)), ("minute", 60_000)] {
                let told = try await shop.call(.get, "/api/sales/\(sale)/statistics?interval=\(interval)").result
                let moments = told["series"].list.compactMap { Timestamp(rfc3339: $0["at"].text ?? "") }
                #expect(!moments.isEmpty && moments.count == told["series"].list.count)
                #expect(moments == moments.sorted() && Set(moments).count == moments.count)
                #expect(moments.allSatisfy { $0.milliseconds % milliseconds == 0 })
                // All sales together, of which one had no claims.
                let all = try await shop.call(.get, "/api/statistics?interval=\(interval)", on: 1).result
                #expect(all["requests"] == 11 && all["refused"] == told["refused"])
                #expect(all["remaining"] == 4)
                #expect(all["series"] == told["series"])
            }
            for path in ["/api/statistics", "/api/sales/\(sale)/statistics"] {
                for interval in ["hour", "", "SECOND", "1"] {
                    #expect(try await shop.call(.get, "\(path)?interval=\(interval)").status == 400, "\(interval)")
                }
            }
            #expect(try await shop.call(.get, "/api/sales/9999/statistics").status == 404)
        }
    }

    @Test func auditsAndListsFailures() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(3)
            _ = try await shop.claim(sale, "a")
            try await shop.settled(sale)
            let audit = try await shop.call(.get, "/api/audit", as: .admin)
            #expect(audit.status == 200 && audit.result["drift"] == 0)
            let books = audit.result["sales"][0]
            #expect(books["sale"] == .integer(sale) && books["quantity"] == 3 && books["drift"] == 0)
            #expect(books["sold"] == 1 && books["held"] == 0 && books["free"] == 2 && books["inFlight"] == 0)

            #expect(try await shop.call(.get, "/api/failed-orders", as: .admin).result == [])
            for query in ["limit=0", "limit=1001", "before=x", "sale=0", "sale=x"] {
                #expect(try await shop.call(.get, "/api/failed-orders?\(query)", as: .admin).status == 400, "\(query)")
            }
            for unknown in ["\(sale)-1", "99-1", "x", "1"] {
                let answer = try await shop.call(.post, "/api/failed-orders/\(unknown)/retry", as: .admin)
                #expect(answer.status == 404 && answer.code == "not_found", "\(unknown)")
            }
            let none = try await shop.call(.post, "/api/failed-orders/retry", as: .admin)
            #expect(none.status == 200 && none.result == ["retried": 0, "failed": 0])
        }
    }

    /// The auditor has to see what it is there for.
    @Test func theAuditSeesWhatIsWrong() async throws {
        try await withShop { shop in
            let sale = try await shop.sale(3)
            let order = try #require(try await shop.claim(sale, "a").order)
            try await shop.settled(sale)
            let sequence = order.split(separator: "-")[1]
            func drift() async throws -> Int64 {
                try await shop.call(.get, "/api/audit", as: .admin).result["drift"].integer ?? 0
            }
            #expect(try await drift() == 0)
            try await shop.sql("delete from orders where sale_id = \(sale) and sequence = \(sequence)")
            #expect(try await drift() > 0)
            try await shop.sql("insert into accounts values ('thief', 5)")
            let ledger = try await shop.call(.get, "/api/audit", as: .admin).result["ledgerDrift"].integer
            #expect((ledger ?? 0) > 0)
        }
    }

    @Test func tellsAMachineHowItIs() async throws {
        try await withShop { shop in
            for path in ["/healthz", "/readyz"] {
                let answer = try await shop.call(.get, path)
                #expect(answer.status == 200 && answer.result["status"].text != nil)
            }
            let sale = try await shop.sale(1)
            _ = try await concurrently(3) { try await shop.claim(sale, "c\($0)") }
            let buyer = try await Buyer.connect(shop, as: "watcher")
            _ = try await buyer.ask(["type": "ping"])
            let metrics = try await shop.call(.get, "/metrics")
            #expect(metrics.status == 200)
            #expect(metrics.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
            let lines = Set(metrics.text.split(separator: "\n").map(String.init))
            #expect(lines.contains(#"dibs_claims_total{outcome="accepted"} 1"#))
            #expect(lines.contains(#"dibs_claims_total{outcome="sold_out"} 2"#))
            #expect(lines.contains(#"dibs_ws_messages_total{type="ping"} 1"#))
            #expect(lines.contains("dibs_clients 1"))
            // The text format: a sample is a name, labels and a number, and has a HELP and a TYPE before it.
            let sample = try Regex(#"^[a-z_]+(\{[a-z]+="[^"]*"\})? -?[0-9.]+$"#)
            for line in lines where !line.hasPrefix("#") {
                #expect(line.wholeMatch(of: sample) != nil, "\(line)")
                let name = line.prefix { $0 != "{" && $0 != " " }
                #expect(lines.contains { $0.hasPrefix("# TYPE \(name) ") }, "\(line)")
                #expect(lines.contains { $0.hasPrefix("# HELP \(name) ") }, "\(line)")
            }
        }
    }

    @Test(.enabled(if: ownAddress != nil))
    func showsTheMetricsElsewhereWithTheAdminKeyOnly() async throws {
        let address = try #require(ownAddress)
        try await withShop(1, ["DIBS_LISTEN": "\(address):0"]) { shop in
            for (who, status) in [(Who.nobody, 401), (.service, 403), (.client("a"), 403), (.admin, 200)] {
                let answer = try await shop.call(.get, "/metrics", as: who)
                #expect(answer.status == status, "\(who)")
            }
        }
    }
}

/// An address of this machine that isn't loopback; nil when it has none.
private let ownAddress: String? = {
    var list: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&list) == 0, let list else { return nil }
    defer { freeifaddrs(list) }
    for entry in sequence(first: list, next: { $0.pointee.ifa_next }) {
        guard let address = entry.pointee.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET) else { continue }
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let length = socklen_t(MemoryLayout<sockaddr_in>.size)
        guard getnameinfo(address, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else { continue }
        let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if !name.hasPrefix("127.") { return name }
    }
    return nil
}()
