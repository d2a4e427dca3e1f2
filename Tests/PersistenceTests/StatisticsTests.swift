import EventLoop
import Model
import Testing

@testable import Persistence

/// Counts that are written twice are counted once.
@Suite(.onLoop) struct StatisticsTests {
    @Test @LoopActor func absoluteValuesAndTotals() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let (one, two) = (try await fixture.sale(), try await fixture.sale())
        let second: Int64 = 1_700_000_040
        let entries = [
            SeriesEntry(sale: one, second: second, counter: .requests, value: 10),
            SeriesEntry(sale: one, second: second, counter: .refused(.soldOut), value: 4),
            SeriesEntry(sale: one, second: second + 1, counter: .requests, value: 5),
            SeriesEntry(sale: one, second: second + 60, counter: .requests, value: 1),
            SeriesEntry(sale: two, second: second + 1, counter: .requests, value: 100),
            // Twice in one call: the larger.
            SeriesEntry(sale: one, second: second + 1, counter: .requests, value: 6),
        ]
        _ = try await concurrently(4) { try await store.storeSeries($0 % 2 == 0 ? entries : entries.reversed()) }
        try await store.storeSeries([SeriesEntry(sale: one, second: second, counter: .requests, value: 9)])
        try await store.storeSeries([])

        let counts = try await store.statistics(of: one).counts
        #expect(counts[.requests] == 17)
        #expect(counts.refused == [.soldOut: 4])
        #expect(try await store.statistics(of: nil).counts[.requests] == 117)

        let seconds = try await store.series(of: one, interval: .second, limit: 100)
        #expect(seconds.map(\.at) == [second, second + 1, second + 60].map { .at($0 * 1000) })
        #expect(seconds.map { $0.counts[.requests] } == [10, 6, 1])
        #expect(seconds[0].counts[.refused(.soldOut)] == 4)
        let minutes = try await store.series(of: one, interval: .minute, limit: 100)
        #expect(minutes.map(\.at) == [second, second + 60].map { .at($0 * 1000) })
        #expect(minutes.map { $0.counts[.requests] } == [16, 1])
        #expect(try await store.series(of: nil, interval: .second, limit: 2).map { $0.counts[.requests] } == [106, 1])
        #expect(try await store.series(of: SaleID(99), interval: .second, limit: 2).isEmpty)
    }

    /// A long history of many sales costs nothing when only the newest intervals are asked for.
    @Test @LoopActor func seriesReadsNothingOld() async throws {
        let fixture = try await Fixture()
        try await fixture.sql(
            """
            insert into sale_counts (sale_id, at, counter, value)
            select s, to_timestamp(1700000040 + n), 'requests', 1
            from generate_series(0, 2999) as n, generate_series(1, 10) as s
            """)
        try await fixture.sql("analyze sale_counts")
        // One session, which says what it has read when it is told to.
        let store = try Store(
            StoreConfiguration(connectionString: fixture.connectionString, poolSize: 1), log: .none)
        store.start()
        func read() async throws -> Int64 {
            _ = try await store.pool.perform(Statement("select pg_stat_force_next_flush()"))
            return try await store.pool.perform(
                Statement(
                    """
                    select (
                        (select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'sale_counts')
                        + (select seq_tup_read from pg_stat_user_tables where relname = 'sale_counts'))::bigint
                    """))[0].first!.integer(0)
        }
        let before = try await read()
        let points = try await store.series(of: nil, interval: .second, limit: 10)
        let newest: Int64 = 1_700_000_040 + 2_999
        let seconds = points.map { $0.at.milliseconds / 1000 }
        #expect(seconds == Array(newest - 9...newest))
        #expect(points.allSatisfy { $0.counts[.requests] == 10 })
        let minutes = try await store.series(of: SaleID(3), interval: .minute, limit: 3)
        #expect(minutes.map { $0.counts[.requests] } == [60, 60, 60])
        #expect(try await store.series(of: nil, interval: .second, limit: 0).isEmpty)
        #expect(try await read() - before < 1000)
        await store.stop()
    }

    @Test @LoopActor func momentsKeepTheFirstAndTheLast() async throws {
        let store = try await Fixture().store
        let sale = SaleID(1)
        #expect(try await store.statistics(of: sale) == SaleStatistics())
        try await store.storeMoments(sale, firstClaimAt: .at(2000), soldOutAt: nil)
        try await store.storeMoments(sale, firstClaimAt: .at(3000), soldOutAt: .at(9000))
        try await store.storeMoments(sale, firstClaimAt: nil, soldOutAt: .at(8000))
        let statistics = try await store.statistics(of: sale)
        #expect(statistics.firstClaimAt == .at(2000))
        #expect(statistics.soldOutAt == .at(9000))
        #expect(try await store.statistics(of: nil).firstClaimAt == .at(2000))
        #expect(try await store.statistics(of: nil).soldOutAt == nil)
    }

    /// The counts say the same as the orders, whatever became of these.
    @Test @LoopActor func countsEqualOrders() async throws {
        let fixture = try await Fixture(attempts: 1)
        let store = fixture.store
        let sale = try await fixture.sale(quantity: 90)
        let orders = AcceptedOrder.many(sale, 1...100)
        for _ in 0..<2 { _ = try await store.commit(orders) }
        _ = try await concurrently(30) { try await store.cancel(orders[$0 / 2].order) }
        let counts = try await store.statistics(of: sale).counts
        #expect(counts[.confirmed] == 90)
        #expect(counts[.failed] == 10)
        #expect(counts[.cancelled] == 15)
        let points = try await store.series(of: sale, interval: .second, limit: 100)
        var sum = Counts()
        for point in points { sum.add(point.counts) }
        #expect(sum == counts)
        let audit = try await store.audit(sales: [sale, SaleID(99)]).sales
        #expect(audit.count == 1)
        #expect(audit[0].confirmed == 75)
        #expect(audit[0].cancelled == 15)
        #expect(audit[0].failed == 10)
        #expect(audit[0].quantity == 90)
        #expect(audit[0].countDrift == 0)
    }
}

/// People's accounts and tokens.
@Suite(.onLoop) struct PeopleTests {
    @Test @LoopActor func namesThatLookAlikeAreOne() async throws {
        let store = try await Fixture().store
        #expect(try await store.insertUser(name: "Zoë", client: ClientID("u1")!, passwordHash: "h1"))
        for name in ["zoë", "ZOË", "zoe\u{308}", "Zoë"] {
            #expect(try await !store.insertUser(name: name, client: ClientID("u2")!, passwordHash: "h2"))
            #expect(try await store.user(named: name)?.client == ClientID("u1")!)
        }
        #expect(try await store.insertUser(name: "zoe", client: ClientID("u2")!, passwordHash: "h2"))
        #expect(try await store.user(named: "ZOE")?.passwordHash == "h2")
        #expect(try await store.user(named: "nobody") == nil)
        let made = try await concurrently(5) {
            try await store.insertUser(name: "race", client: ClientID("r\($0)")!, passwordHash: "h")
        }
        #expect(made.filter { $0 }.count == 1)
    }

    @Test @LoopActor func revokedTokensAreForgottenWhenTheyExpire() async throws {
        let store = try await Fixture().store
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        try await store.revoke(tokenID: "old", until: now + -120_000)
        try await store.revoke(tokenID: "new", until: now + 60_000)
        try await store.revoke(tokenID: "new", until: now + 50_000)
        #expect(try await store.revokedTokens() == [RevokedToken(id: "new", until: now + 60_000)])
        #expect(try await store.pool.perform(Statement("select id from revoked_tokens"))[0].count == 1)
    }
}
