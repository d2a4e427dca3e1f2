import EventLoop
import TestServices
import Testing

/// What the auditor finds of sales that were broken by hand, and what becomes of it.
@Suite struct SaleAuditTests {
    /// No scheduler sweeps, or audits, meanwhile.
    private static let roles = ["DIBS_ROLES": "gateway,committer"]

    /// Names of a sale's keys, and its orders 1, 2 and 3 of a, b and c.
    private struct Books {
        let sale: Int64
        var state: String { "dibs:{sale:\(sale)}" }
        var clients: String { state + ":clients" }
        func order(_ number: Int) -> JSON { .text("\(sale)-\(number)") }
    }

    /// Three of five are sold.
    @LoopActor
    private func books(_ shop: Shop, limit: Int64 = 1, price: Int64 = 0) async throws -> Books {
        let sale = try await shop.sale(5, limit: limit, price: price)
        for client in ["a", "b", "c"] {
            if price > 0 { try await shop.charge(client, price) }
            #expect(try await shop.claim(sale, client).status == 201)
        }
        try await shop.settled(sale)
        try await eventually("all are confirmed") {
            try await shop.redis("hvals", "dibs:{sale:\(sale)}:clients").components(separatedBy: ":c").count == 4
        }
        #expect(try await shop.audited("?sale=\(sale)")["drift"] == 0)
        return Books(sale: sale)
    }

    @LoopActor
    private func check(
        _ shop: Shop, limit: Int64 = 1, _ name: String, _ kinds: Set<String>, isMended: Bool = true,
        _ names: (Books) -> [String: JSON],
        _ breakIt: @escaping @Sendable @LoopActor (Shop, String, Int64) async throws -> Void
    ) async throws {
        let books = try await books(shop, limit: limit)
        let (state, sale) = (books.state, books.sale)
        let breakage = Breakage(name: name, kinds: kinds, names: names(books), isMended: isMended) {
            try await breakIt($0, state, sale)
        }
        try await breakage.check(in: shop, "?sale=\(sale)", ["--sale", "\(sale)"])
    }

    /// Every sum is as before.
    @Test func ownersThatWereSwappedAreFound() async throws {
        try await withShop(1, Self.roles) { shop in
            let books = try await books(shop)
            let (first, second) = ("1:1:1:c", "2:2:1:c")
            #expect(try await shop.redis("hget", books.clients, "a") == first)
            try await shop.redis("hset", books.clients, "a", second, "b", first)
            let audit = try await shop.audited()
            #expect(audit["drift"] == 2 && audit["counts"] == ["owner_differs": 2], "\(audit)")
            let sale = audit["sales"][0]
            #expect(sale["sold"] == 3 && sale["owned"] == 3 && sale["free"] == 2 && sale["drift"] == 2)
            #expect(sale["compared"] == "orders")
            let drift = try #require(audit["drifts"].list.first { $0["client"] == "a" })
            #expect(drift["order"] == books.order(2) && drift["sale"] == .integer(books.sale) && drift["ticket"] == 2)
            #expect(drift["redis"].text?.contains("ticket 2 of a") == true)
            #expect(drift["database"].text?.contains("ticket 2 of b") == true)

            #expect(try await shop.auditProgram().status == 1)
            let repair = try await shop.auditProgram(["--repair"])
            #expect(repair.status == 0, "\(repair)")
            #expect(try await shop.redis("hget", books.clients, "a").hasPrefix("1:1:1"))
            #expect(try await shop.truth(books.sale, "a")["ticket"] == 1)
            try await shop.expectBooks(books.sale, sold: 3)
        }
    }

    @Test func whatOneSideLostIsFoundAndMended() async throws {
        try await withShop(1, Self.roles) { shop in
            try await check(
                shop, "an order that PostgreSQL lost", ["order_missing_in_database", "statistics"],
                { ["kind": "order_missing_in_database", "client": "b", "order": $0.order(2), "ticket": 2] }
            ) { shop, _, sale in try await shop.sql("delete from orders where sale_id = \(sale) and sequence = 2") }
            // It was not taken from the client: PostgreSQL has it again.
            #expect(
                try await shop.sql("select client_id, ticket, status from orders where sequence = 2") == "b|2|confirmed"
            )
            #expect(try await shop.statistics(1)["confirmed"] == 3)
            try await shop.expectBooks(1, sold: 3)

            try await check(
                shop, "an order that Redis lost", ["order_missing_in_redis", "stock_sum"],
                { ["kind": "order_missing_in_redis", "client": "a", "order": $0.order(1)] }
            ) { shop, state, _ in try await shop.redis("hdel", state + ":clients", "a") }

            try await check(
                shop, "a confirmation that Redis lost", ["confirmed_state"],
                { ["kind": "confirmed_state", "client": "c", "order": $0.order(3)] }
            ) { shop, state, _ in try await shop.redis("hset", state + ":clients", "c", "3:3:1:a") }

            try await check(
                shop, "a cancellation that Redis lost", ["cancelled_not_returned", "statistics"],
                { ["kind": "cancelled_not_returned", "client": "a", "order": $0.order(1)] }
            ) { shop, _, sale in
                try await shop.sql(
                    "update orders set status = 'cancelled', cancelled_at = now() where sale_id = \(sale) and sequence = 1"
                )
            }

            try await check(
                shop, "one that nobody goes on with", ["unreleased", "statistics"],
                { ["kind": "unreleased", "client": "b", "order": $0.order(2)] }
            ) { shop, _, sale in
                try await shop.sql(
                    """
                    update orders set status = 'cancelled', cancelled_at = now() - interval '1 hour', released = false
                    where sale_id = \(sale) and sequence = 2
                    """)
            }

            try await check(
                shop, "a failure that Redis lost", ["failed_not_returned", "statistics"],
                { ["kind": "failed_not_returned", "client": "c", "order": $0.order(3)] }
            ) { shop, _, sale in
                try await shop.sql(
                    """
                    insert into failed_orders (
                        sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, entry, reason, message, attempts)
                    select sale_id, sequence, client_id, ticket, slot, accepted_at, 0, sequence, 'x', 'x', 1
                    from orders where sale_id = \(sale) and sequence = 3;
                    delete from orders where sale_id = \(sale) and sequence = 3
                    """)
            }
        }
    }

    @Test func whatIsWrongWithTheStockIsFoundAndMended() async throws {
        try await withShop(1, Self.roles) { shop in
            try await check(
                shop, "two with one ticket", ["ticket_twice", "owner_differs"],
                { _ in ["kind": "ticket_twice", "ticket": 1] }
            ) { shop, state, _ in try await shop.redis("hset", state + ":clients", "b", "2:1:1:c") }
            try await check(
                shop, "a ticket that is owned and for sale", ["ticket_twice", "stock_sum"],
                { _ in ["kind": "ticket_twice", "ticket": 3] }
            ) { shop, state, _ in try await shop.redis("rpush", state + ":returned", "3") }
            try await check(
                shop, "a ticket that there is not", ["ticket_range", "owner_differs"],
                { ["kind": "ticket_range", "client": "c", "ticket": 99, "order": $0.order(3)] }
            ) { shop, state, _ in try await shop.redis("hset", state + ":clients", "c", "3:99:1:c") }
            try await check(
                shop, limit: 2, "more than a client may have", ["over_limit", "owner_differs"],
                { _ in ["kind": "over_limit", "client": "a"] }
            ) { shop, state, _ in
                try await shop.redis("hset", state + ":clients", "a", "1:1:1:c 2:2:1:c")
                try await shop.redis("hdel", state + ":clients", "b")
            }
            try await check(
                shop, "a stock that does not add up", ["stock_sum"],
                { ["kind": "stock_sum", "sale": .integer($0.sale)] }
            ) { shop, state, _ in try await shop.redis("hincrby", state, "left", "2") }
            try await check(
                shop, limit: 3, "one that does, but for the owners", ["stock_sum"], { _ in ["kind": "stock_sum"] }
            ) { shop, state, _ in
                try await shop.redis("hincrby", state, "left", "-1")
                try await shop.redis("hincrby", state, "fresh", "1")
            }
            try await check(
                shop, "statistics", ["statistics"], { ["kind": "statistics", "sale": .integer($0.sale)] }
            ) { shop, _, sale in
                try await shop.sql(
                    "update sale_counts set value = value + 7 where sale_id = \(sale) and counter = 'confirmed'")
            }
        }
    }

    @Test func whatHasNoRightAnswerIsLeftAlone() async throws {
        try await withShop(1, Self.roles) { shop in
            let paid = try await books(shop, price: 10)
            try await shop.sql("delete from ledger_entries where reference = '\(paid.sale)-1'")
            let audit = try await shop.audited()
            #expect(audit["counts"] == ["order_payment": 1, "balance": 1], "\(audit)")
            #expect(audit["drifts"].list.contains { $0["order"] == paid.order(1) && $0["mends"] == .flag(false) })
            #expect(audit["accountsWithDrift"] == ["a"] && audit["ledgerDrift"] == 1)
            let repair = try await shop.auditProgram(["--repair"])
            #expect(repair.status == 1 && repair.output.contains("order_payment: 1 left alone"), "\(repair)")
            // The balance is what its ledger adds up to, by definition.
            #expect(try await shop.balance("a") == 10)
            #expect(try await shop.audited("?client=a")["drift"] == 0)

            // One that was paid for is not charged again.
            try await shop.sql("delete from orders where sale_id = \(paid.sale) and sequence = 2")
            let second = try await shop.auditProgram(["--repair", "--sale=\(paid.sale)"])
            #expect(second.status == 1 && second.output.contains("order \(paid.sale)-2 of b: left alone"), "\(second)")
            #expect(try await shop.redis("hget", paid.clients, "b") == "2:2:1:c")
            #expect(try await shop.balance("b") == 0)
        }
    }

    @Test func anOrderThatIsStuckIsNamed() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway"]) { shop in
            let sale = try await shop.sale(5)
            let state = "dibs:{sale:\(sale)}"
            let order = try #require(try await shop.claim(sale, "a").order)
            #expect(try await shop.audited()["drift"] == 0)
            let old = EventLoop.wallMilliseconds - 100_000
            try await shop.redis("del", state + ":orders")
            try await shop.redis("xadd", state + ":orders", "9-0", "o", "1 a 1 1 \(old) 0")
            try await shop.redis("hset", state + ":replayed", "1", "9-0")
            let audit = try await shop.audited("?sale=\(sale)")
            #expect(audit["counts"] == ["stream_stuck": 1], "\(audit)")
            #expect(audit["drifts"][0]["order"] == .text(order) && audit["drifts"][0]["client"] == "a")
            #expect(try await shop.auditProgram(["--repair"]).status == 1)
            // Nobody commits: before the sale is built anew, what is in the stream goes to PostgreSQL by the repair itself.
            try await shop.redis("hincrby", state, "left", "1")
            let repair = try await shop.auditProgram(["--repair"])
            #expect(repair.status == 1 && repair.output.contains("built anew from PostgreSQL"), "\(repair)")
            #expect(try await shop.sql("select client_id, ticket, status from orders") == "a|1|confirmed")
            #expect(try await shop.show(sale)["remaining"] == 4)
            // It stays there for a committer, who tells its client.
            #expect(try await shop.audited()["counts"] == ["stream_stuck": 1])
        }
    }
}
