import EventLoop
import TestServices
import Testing

/// What the auditor finds of performances, rooms and accounts that were broken by hand, and what becomes of it.
@Suite struct SeatAuditTests {
    private static let roles = ["DIBS_ROLES": "gateway,committer"]

    /// Seats 1 and 2 are held by ann, 3 is paid for by bob; the sequences are 1 and 2.
    @LoopActor
    private func hall(_ shop: Shop, in room: String) async throws -> Int64 {
        try await shop.room(room, maxActive: 100)
        let performance = try await shop.performance(50, room: room)
        let (ann, bob) = (try await shop.enter("ann", room), try await shop.enter("bob", room))
        try await shop.charge("bob", 10)
        _ = try await shop.held(performance, [1, 2], ann)
        let paid = try await shop.held(performance, [3], bob)
        #expect(try await shop.pay(paid, 10, bob).status == 201)
        try await eventually("nothing is in flight") {
            let audit = try await shop.audited("?performance=\(performance)")
            return audit["drift"] == 0 && audit["performances"][0]["inFlight"] == 0
        }
        return performance
    }

    @LoopActor
    private func check(
        _ shop: Shop, _ room: String, _ kinds: Set<String>, isMended: Bool = true,
        _ names: [String: JSON], _ breakIt: @escaping @Sendable @LoopActor (Shop, String, Int64) async throws -> Void
    ) async throws {
        let performance = try await hall(shop, in: room)
        let breakage = Breakage(name: room, kinds: kinds, names: names, isMended: isMended) {
            try await breakIt($0, "dibs:{performance:\(performance)}", performance)
        }
        try await breakage.check(in: shop, "?performance=\(performance)", ["--performance", "\(performance)"])
    }

    /// A word of a reservation's record is another.
    @LoopActor
    private static func edit(_ shop: Shop, _ state: String, _ sequence: Int, _ word: Int, _ text: String) async throws {
        var words = try await shop.redis("hget", state + ":holds", "\(sequence)").split(separator: " ").map(String.init)
        words[word] = text
        try await shop.redis("hset", state + ":holds", "\(sequence)", words.joined(separator: " "))
    }

    @Test func whatOneSideLostIsFoundAndMended() async throws {
        try await withShop(1, Self.roles) { shop in
            try await check(
                shop, "hold-lost-by-postgres", ["reservation_missing_in_database", "seat_sum"],
                ["kind": "reservation_missing_in_database", "client": "ann"]
            ) { shop, _, performance in
                try await shop.sql(
                    """
                    delete from reservation_seats where performance_id = \(performance) and sequence = 1;
                    delete from reservations where performance_id = \(performance) and sequence = 1
                    """)
            }
            // The hold is in PostgreSQL again.
            #expect(try await shop.sql("select client_id, status from reservations where sequence = 1") == "ann|held")

            try await check(
                shop, "hold-lost-by-redis", ["reservation_missing_in_redis", "seat_state"],
                ["kind": "reservation_missing_in_redis", "client": "ann"]
            ) { shop, state, _ in try await shop.redis("hdel", state + ":holds", "1") }

            try await check(
                shop, "payment-lost-by-redis", ["paid_state", "seat_sum"], ["kind": "paid_state", "client": "bob"]
            ) { shop, state, _ in
                try await Self.edit(shop, state, 2, 0, "h")
                try await shop.redis("setrange", state + ":seats", "2", "h")
                try await shop.redis("hincrby", state, "held", "1")
                try await shop.redis("hincrby", state, "sold", "-1")
            }

            try await check(
                shop, "end-lost-by-redis", ["hold_not_ended", "seat_sum"], ["kind": "hold_not_ended", "client": "ann"]
            ) { shop, _, performance in
                try await shop.sql(
                    """
                    update reservations set status = 'expired', ended_at = now()
                    where performance_id = \(performance) and sequence = 1
                    """)
            }
        }
    }

    /// Redis says sold, PostgreSQL says that it ended and was never paid for: the seats are not given away.
    @Test func aPaymentThatPostgresLostKeepsItsSeats() async throws {
        try await withShop(1, Self.roles) { shop in
            let performance = try await hall(shop, in: "lost")
            try await shop.sql(
                """
                delete from payments where performance_id = \(performance);
                delete from ledger_entries where reference = '\(performance)-2';
                update reservations set status = 'expired', paid_at = null, ended_at = now()
                where performance_id = \(performance) and sequence = 2
                """)
            let audit = try await shop.audited("?performance=\(performance)")
            let lost = audit["drifts"].list.first { $0["kind"] == "paid_missing_in_database" }
            let drift = try #require(lost, "\(audit)")
            #expect(drift["client"] == "bob" && drift["mends"] == .flag(false))
            #expect(audit["counts"]["hold_not_ended"].integer == nil, "\(audit)")
            let repair = try await shop.auditProgram(["--repair", "--performance", "\(performance)"])
            #expect(repair.status == 1 && repair.output.contains("paid_missing_in_database: 1 left alone"), "\(repair)")
            #expect(try await shop.redis("getrange", "dibs:{performance:\(performance)}:seats", "2", "2") == "s")
        }
    }

    @Test func whatIsWrongWithSeatsIsFound() async throws {
        try await withShop(1, Self.roles) { shop in
            try await check(
                shop, "holders", ["holder_differs"], ["kind": "holder_differs", "client": "eve"]
            ) { shop, state, _ in
                try await Self.edit(shop, state, 1, 1, "eve")
                try await shop.redis("hset", state + ":clients", "eve", "1")
                try await shop.redis("hdel", state + ":clients", "ann")
            }
            try await check(
                shop, "seats", ["seat_state", "seat_sum"], ["kind": "seat_state", "seat": 9]
            ) { shop, state, _ in try await shop.redis("setrange", state + ":seats", "8", "h") }
            try await check(
                shop, "unlisted", ["seat_state"], ["kind": "seat_state", "client": "ann"]
            ) { shop, state, _ in try await shop.redis("hdel", state + ":clients", "ann") }
            try await check(
                shop, "tally", ["seat_sum"], ["kind": "seat_sum"]
            ) { shop, state, _ in try await shop.redis("hincrby", state, "free", "-1") }
            try await check(
                shop, "payments", ["reservation_payment"], isMended: false, ["kind": "reservation_payment"]
            ) { shop, _, performance in
                try await shop.sql("update payments set amount = 11 where performance_id = \(performance)")
            }
            try await check(
                shop, "payment-lost-by-postgres", ["paid_missing_in_database", "seat_sum"], isMended: false,
                ["kind": "paid_missing_in_database", "client": "bob"]
            ) { shop, _, performance in
                try await shop.sql(
                    """
                    delete from payments where performance_id = \(performance);
                    delete from ledger_entries where reference = '\(performance)-2';
                    update reservations set status = 'held', paid_at = null
                    where performance_id = \(performance) and sequence = 2
                    """)
            }
        }
    }

    @Test func whatIsWrongWithARoomIsFound() async throws {
        try await withShop(1, Self.roles) { shop in
            try await shop.room("gate", maxActive: 2)
            for client in ["a", "b", "c", "d", "e"] { _ = try await shop.join(client, "gate") }
            let key = "dibs:{room:gate}"
            @LoopActor func drifts() async throws -> JSON {
                let audit = try await shop.audited("?room=gate")
                #expect(audit["rooms"][0]["drift"] == audit["drift"], "\(audit)")
                #expect(!audit.description.contains("-4"), "a pass is told: \(audit)")
                return audit
            }
            let whole = try await drifts()
            #expect(whole["drift"] == 0 && whole["rooms"][0]["active"] == 2 && whole["rooms"][0]["waiting"] == 3)

            try await shop.redis("hset", key + ":members", "d", "5")
            var audit = try await drifts()
            #expect(audit["counts"] == ["room_place": 1] && audit["drifts"][0]["client"] == "d", "\(audit)")
            try await shop.redis("hdel", key + ":members", "d")
            audit = try await drifts()
            #expect(audit["counts"] == ["room_place": 1, "room_count": 1], "\(audit)")
            try await shop.redis("hset", key + ":members", "d", "4")
            #expect(try await drifts()["drift"] == 0)

            // Admitted by nobody: more than there may be, without a pass.
            try await shop.redis("zadd", key + ":active", "9999999999999", "thief")
            audit = try await drifts()
            #expect(
                audit["counts"] == ["room_over_capacity": 1, "room_count": 1, "room_pass": 1], "\(audit)")
            #expect(audit["drifts"].list.contains { $0["kind"] == "room_pass" && $0["client"] == "thief" })
            try await shop.redis("zrem", key + ":active", "thief")

            try await shop.redis("setrange", key + ":presence", "8", "\u{0}\u{0}")
            try await shop.redis("hdel", key + ":passes", "a")
            audit = try await drifts()
            #expect(audit["drifts"].list.contains { $0["kind"] == "room_pass" && $0["client"] == "a" }, "\(audit)")
            #expect(try await shop.auditProgram(["--room", "gate"]).status == 1)

            // Those who are in when the limit is lowered stay in: that is no drift.
            try await shop.room("calm", maxActive: 3)
            for client in ["a", "b", "c"] { _ = try await shop.enter(client, "calm") }
            try await shop.change("calm", ["maxActive": 1])
            #expect(try await shop.audited("?room=calm")["drift"] == 0)
        }
    }

    @Test func aBalanceThatIsNotItsLedgerIsMended() async throws {
        try await withShop(1, Self.roles) { shop in
            try await shop.charge("ann", 30)
            try await shop.charge("bob", 5)
            try await shop.sql("update accounts set balance = 500 where client_id = 'ann'")
            let audit = try await shop.audited()
            #expect(audit["ledgerDrift"] == 1 && audit["counts"] == ["balance": 1] && audit["drift"] == 1, "\(audit)")
            #expect(audit["drifts"][0]["client"] == "ann" && audit["accountsWithDrift"] == ["ann"])
            #expect(try await shop.auditProgram(["--client", "bob"]).status == 0)
            #expect(try await shop.auditProgram(["--client", "ann"]).status == 1)
            #expect(try await shop.auditProgram(["--repair"]).status == 0)
            #expect(try await shop.balance("ann") == 30)
        }
    }
}
