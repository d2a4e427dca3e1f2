import EventLoop
import Foundation
import TestServices
import Testing

/// `dibs audit`, and what the audit costs and says while all goes on.
@Suite struct AuditCommandTests {
    @Test func exitCodesSayWhatWasFound() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,committer"]) { shop in
            let sale = try await shop.sale(3)
            _ = try await shop.claim(sale, "a")
            try await shop.settled(sale)
            let good = try await shop.auditProgram()
            #expect(good.status == 0 && good.output.contains("Redis and PostgreSQL agree."), "\(good)")
            #expect(good.output.contains("sale \(sale): 1 of 3 sold, 2 free, 0 in flight, drift 0"))

            try await shop.redis("hdel", "dibs:{sale:\(sale)}:clients", "a")
            let bad = try await shop.auditProgram()
            #expect(bad.status == 1 && bad.output.contains("order_missing_in_redis: 1 (--repair mends it)"), "\(bad)")
            #expect(bad.output.contains("client a, order \(sale)-1, sale \(sale), ticket 1"), "\(bad)")
            // Looking changes nothing.
            #expect(try await shop.auditProgram(["--json", "--sale", "\(sale)"]).status == 1)
            let mended = try await shop.auditProgram(["--json", "--repair"])
            let json = try #require(JSON(parsing: Array(mended.output.utf8)))
            #expect(mended.status == 0 && json["drift"] == 0 && json["drifts"] == [], "\(mended)")
            #expect(json["repairs"] == [.text("sale \(sale): built anew from PostgreSQL")], "\(mended)")
            #expect(try await shop.auditProgram().status == 0)
            let known = try await shop.auditProgram(["--repair"])
            #expect(known.status == 0 && !known.output.contains("repair:"))

            for arguments in [
                ["--sell"], ["--sale"], ["--sale", "x"], ["--sale", "999"], ["--room=nowhere"], ["--room=a b"],
                ["--client", ""], ["x"], ["--json=yes"],
            ] {
                let wrong = try await shop.auditProgram(arguments)
                #expect(wrong.status == 64 && !wrong.errors.isEmpty && wrong.output.isEmpty, "\(arguments): \(wrong)")
            }
            #expect(try await shop.auditProgram([], ["DIBS_LISTEN": "x"]).status == 78)
            for query in ["sale=x", "performance=0", "client=a%20b"] {
                #expect(try await shop.call(.get, "/api/audit?\(query)", as: .admin).status == 400, "\(query)")
            }
            for query in ["sale=999", "performance=999", "room=nowhere"] {
                #expect(try await shop.call(.get, "/api/audit?\(query)", as: .admin).status == 404, "\(query)")
            }
        }
    }

    @Test func whatCanNotBeAskedIsNotKnown() async throws {
        try await withShop(0) { shop in
            let nowhere = try await shop.auditProgram(
                [], ["DIBS_REDIS_URL": "unix:///nonexistent/s", "DIBS_DATABASE_TIMEOUT_MS": "300"])
            #expect(nowhere.status == 69 && !nowhere.errors.isEmpty, "\(nowhere)")
        }
    }

    /// Claims, cancellations, holds and payments by hundreds: what is on its way is never taken for a drift.
    @Test func nothingDriftsWhileEverybodyBuys() async throws {
        try await withShop(2) { shop in
            let single = try await shop.sale(400)
            let double = try await shop.sale(300, limit: 2, price: 1)
            let performance = try await shop.hall(200, price: 1)
            let over = Journal<Bool>()
            let auditor = EventLoop.task { () -> Result<Int, any Error> in
                var audits = 0
                do {
                    while over.items.isEmpty {
                        let audit = try await shop.audited(on: audits % 2)
                        #expect(audit["drift"] == 0 && audit["drifts"] == [], "\(audit)")
                        audits += 1
                    }
                    return .success(audits)
                } catch {
                    return .failure(error)
                }
            }
            for wave in 0..<6 {
                _ = try await concurrently(120) { index in
                    let client = "c\(wave)-\(index)"
                    let instance = index % 2
                    try await shop.charge(client, 5, on: instance)
                    let orders = [
                        try await shop.claim(single, client, on: instance).order,
                        try await shop.claim(double, client, key: "1", on: instance).order,
                        try await shop.claim(double, client, key: "2", on: 1 - instance).order,
                    ]
                    if index % 3 == 0, let order = orders[index / 3 % 3] {
                        _ = try await shop.call(.delete, "/api/orders/\(order)", as: .service, on: instance)
                    }
                    let visitor = try await shop.enter(client, on: instance)
                    let hold = try await shop.hold(performance, [Int64.random(in: 1...200)], visitor, on: instance)
                    guard let id = hold.result["reservationId"].text else { return }
                    if index % 2 == 0 { _ = try await shop.pay(id, 1, visitor, on: instance) }
                    if index % 5 != 0 { _ = try await shop.giveBack(id, client, on: instance) }
                }
            }
            over.add(true)
            let audits = try await auditor.value.get()
            #expect(audits > 3)
            for instance in 0..<2 {
                #expect(!shop.instances[instance].log.items.contains { $0.event == "audit_drift" })
            }
            try await shop.settled(single)
            try await shop.settled(double)
            _ = try await shop.seatBooks(performance)
            #expect(try await shop.auditProgram().status == 0)
        }
    }

    /// A scheduler looks all the time: it logs each drift once, by name, and counts it for as long as it is there.
    @Test func aSchedulerAuditsAllTheTime() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(5)
            for client in ["a", "b"] { _ = try await shop.claim(sale, client) }
            try await shop.settled(sale)
            @LoopActor func drift(_ kind: String) async throws -> Int {
                var found = 0
                for instance in 0..<2 {
                    let metrics = try await shop.call(.get, "/metrics", on: instance).text
                    let lines = metrics.split(separator: "\n")
                    guard let line = lines.first(where: { $0.hasPrefix("dibs_audit_drift{kind=\"\(kind)\"} ") }) else {
                        continue
                    }
                    #expect(lines.contains { $0.hasPrefix("# TYPE dibs_audit_checked_total counter") })
                    found += Int(line.split(separator: " ")[1]) ?? 0
                }
                return found
            }
            try await eventually("all was looked at once") {
                for instance in 0..<2 {
                    let text = try await shop.call(.get, "/metrics", on: instance).text
                    if text.contains("\ndibs_audit_last_seconds ") { return true }
                }
                return false
            }
            let clients = "dibs:{sale:\(sale)}:clients"
            let (first, second) = (
                try await shop.redis("hget", clients, "a"), try await shop.redis("hget", clients, "b")
            )
            try await shop.redis("hset", clients, "a", second, "b", first)
            try await eventually("it is counted") { try await drift("owner_differs") == 2 }
            let lines = shop.instances.flatMap { $0.log.items.filter { $0.event == "audit_drift" } }
            #expect(lines.count == 2 && Set(lines.compactMap { $0.json["client"].text }) == ["a", "b"], "\(lines)")
            #expect(lines.allSatisfy { $0.json["kind"] == "owner_differs" && $0.json["order"].text != nil })
            try await shop.redis("hset", clients, "a", first, "b", second)
            try await eventually("it is counted no more") { try await drift("owner_differs") == 0 }
            #expect(shop.instances.flatMap { $0.log.items.filter { $0.event == "audit_drift" } }.count == 2)
        }
    }

    /// Of many drifts of one kind a hundred are named, and all are counted.
    @Test func manyDriftsAreCountedAndAHundredOfThemLogged() async throws {
        try await withShop(1) { shop in
            let sale = try await shop.sale(200)
            _ = try await concurrently(130) { index in try await shop.claim(sale, "c\(index)") }
            try await shop.settled(sale)
            try await shop.sql("delete from orders where sale_id = \(sale)")
            let line = "\ndibs_audit_drift{kind=\"order_missing_in_database\"} 130\n"
            try await eventually("all are counted") { try await shop.call(.get, "/metrics").text.contains(line) }
            @LoopActor func logged() -> Int {
                shop.instances[0].log.items.count {
                    $0.event == "audit_drift" && $0.json["kind"] == "order_missing_in_database"
                }
            }
            try await eventually("a hundred are logged") { logged() == 100 }
            let audit = try await shop.auditProgram(["--sale", "\(sale)"])
            #expect(audit.output.contains("order_missing_in_database: 130"), "\(audit)")
        }
    }

    /// While Redis is compared after a loss, what is apart is only what is being rebuilt: nobody is told that it drifts.
    @Test func whileRedisIsComparedThereIsNoAnswer() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(50)
            for client in ["a", "b"] { #expect(try await shop.claim(sale, client).status == 201) }
            try await shop.settled(sale)
            try await shop.room("calm", maxActive: 5)
            _ = try await shop.enter("a", "calm")
            #expect(try await shop.audited()["drift"] == 0)
            // As while gateways say who waits.
            let state = "dibs:{room:calm}"
            try await shop.redis("hset", state, "recalling", "\(EventLoop.wallMilliseconds)")
            #expect(try await shop.call(.get, "/api/audit?room=calm", as: .admin).status == 503)
            #expect(try await shop.auditProgram(["--room=calm"]).status == 69)
            try await shop.redis("hset", state, "recalling", "0")
            #expect(try await shop.audited("?room=calm")["drift"] == 0)

            // One that is frozen is waited for.
            shop.instances[1].signal(SIGSTOP)
            try await shop.redis("flushall")
            try await eventually("it is being compared") {
                try await shop.call(.get, "/api/audit", as: .admin, on: 0).status == 503
            }
            let repair = try await shop.auditProgram(["--repair"])
            #expect(repair.status == 69 && repair.errors.contains("no server has compared it"), "\(repair)")
            try await eventually("it was compared") {
                let answer = try await shop.call(.get, "/api/audit", as: .admin, on: 0)
                if answer.status == 200 { #expect(answer.result["drift"] == 0, "\(answer.text)") }
                return answer.status == 200
            }
            shop.instances[1].signal(SIGCONT)
            for instance in 0..<2 {
                #expect(!shop.instances[instance].log.items.contains { $0.event == "audit_drift" })
            }
        }
    }

    /// However large a sale is, no call keeps Redis from the others.
    @Test func aLargeSaleIsReadInShortCalls() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,committer"]) { shop in
            let orders: Int64 = 100_000
            let sale = try await shop.sale(orders * 2, limit: 2)
            try await shop.sql(
                """
                insert into orders (
                    sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, price, accepted_at, confirmed_at)
                select \(sale), n, 'c' || n, n, 1, \(orders * 2), 2, 0, now(), now() from generate_series(1, \(orders)) as n;
                insert into sale_counts values (\(sale), date_trunc('second', now()), 'confirmed', \(orders));
                analyze orders
                """)
            try await shop.redis("del", "dibs:{sale:\(sale)}")
            #expect(try await shop.show(sale)["remaining"] == .integer(orders))
            let clients = "dibs:{sale:\(sale)}:clients"
            try await shop.redis("hset", clients, "c5", "77:77:1:c", "c77", "5:5:1:c")
            try await shop.redis("config", "set", "slowlog-log-slower-than", "0")
            try await shop.redis("config", "set", "slowlog-max-len", "100000")
            try await shop.redis("slowlog", "reset")
            let began = EventLoop.monotonicMilliseconds
            let audit = try await shop.auditProgram(["--sale", "\(sale)", "--json"])
            let took = EventLoop.monotonicMilliseconds - began
            #expect(JSON(parsing: Array(audit.output.utf8))?["counts"] == ["owner_differs": 2], "\(audit)")
            let calls = try await shop.redis("--json", "slowlog", "get", "-1")
            let log = try #require(JSON(parsing: Array(calls.utf8))).list
            let audits = log.filter { $0[3][1].text?.hasPrefix("dibs_audit_") == true }.compactMap { $0[2].integer }
                .sorted()
            print("audit of \(orders) orders: \(took) ms, \(audits.count) calls,", terminator: " ")
            print(
                "median \(audits[audits.count / 2]) µs, 99 % \(audits[audits.count * 99 / 100]) µs, longest \(audits.last ?? 0) µs"
            )
            #expect(audits.count > 300)
            // The median says what a call costs; the longest also, what the machine did meanwhile.
            #expect(audits[audits.count / 2] < 2000)
        }
    }
}
