import EventLoop
import Glibc
import Model
import Testing

@testable import Persistence

/// How fast orders are committed, against what PostgreSQL can do at best. Runs when `DIBS_MEASURE` is set, as its result
/// is a figure to read (`swift test -c release -Xswiftc -enable-testing --filter CommitSpeed`).
@Suite(.onLoop, .serialized, .enabled(if: getenv("DIBS_MEASURE") != nil)) struct CommitSpeed {
    private static let count: Int64 = 50_000

    @Test(arguments: [512, 1000, 2000]) @LoopActor func free(batch: Int) async throws {
        let fixture = try await Fixture()
        _ = try await fixture.sale()
        let copy = try await copy(fixture)
        let rate = try await commit(fixture, batch: batch, concurrency: 1, price: 0)
        let both = try await commit(fixture, batch: batch, concurrency: 2, price: 0)
        print("batches of \(batch): copy \(copy), commit \(rate) (\(rate * 100 / copy) %), two at once \(both)")
    }

    @Test @LoopActor func priced() async throws {
        let fixture = try await Fixture()
        try await fixture.sql(
            "insert into accounts (client_id, balance) select 'c' || n, 30 from generate_series(1, 50000) n")
        print("priced, batches of 1000: \(try await commit(fixture, batch: 1000, concurrency: 1, price: 30))")
    }

    /// Holds of one and of two seats in turn; then their ends. Rows a second are reservations, not seats.
    @Test(arguments: [1, 2]) @LoopActor func holds(concurrency: Int) async throws {
        let fixture = try await Fixture()
        let performance = try await fixture.performance(seats: 75_000)
        let holds = (0..<Self.count).map { index in
            Hold.test(
                performance, index + 1,
                seats: index % 2 == 0 ? [index / 2 * 3 + 1] : [index / 2 * 3 + 2, index / 2 * 3 + 3])
        }
        for status in [ReservationStatus.held, .held, .expired, .expired] {
            let batches = holds.map { $0.event(status) }.chunks(of: 1000).map(Array.init)
            let before = EventLoop.nanoseconds
            let refused = try await concurrently(concurrency) { committer in
                var refused = 0
                for index in stride(from: committer, to: batches.count, by: concurrency) {
                    refused += try await fixture.store.commit(batches[index]).count
                }
                return refused
            }
            print("\(status), batches of 1000, \(concurrency) at once: \(Self.rate(since: before))")
            #expect(refused.allSatisfy { $0 == 0 })
        }
        #expect(try await fixture.store.reservationCounts(of: performance) == [.expired: Self.count])
        try await fixture.expectInOrder(performance)
    }

    /// Rows a second from a file into the same table with the same indexes and constraints.
    @LoopActor
    private func copy(_ fixture: Fixture) async throws -> Int64 {
        _ = try await fixture.store.pool.perform(
            Statement(
                """
                copy (
                    select 1::bigint, n::bigint, 'c' || n, n::bigint, 1::bigint, 1000000::bigint, 1::bigint,
                        'confirmed', 0::bigint, null::text, now(), now(), null::timestamptz, true
                    from generate_series(1, 50000) n
                ) to '/tmp/dibs-copy' with (format binary)
                """))
        let before = EventLoop.nanoseconds
        _ = try await fixture.store.pool.perform(
            Statement(
                """
                copy orders (sale_id, sequence, client_id, ticket, slot, quantity, per_client_limit, status, price,
                    idempotency_key, accepted_at, confirmed_at, cancelled_at, released)
                from '/tmp/dibs-copy' with (format binary)
                """), timeout: Store.patience)
        return Self.rate(since: before)
    }

    @LoopActor
    private func commit(_ fixture: Fixture, batch: Int, concurrency: Int, price: Int64) async throws -> Int64 {
        let sale = try await fixture.sale(price: price)
        let store = fixture.store
        let orders = AcceptedOrder.many(sale, 1...Self.count)
        let batches = stride(from: 0, to: orders.count, by: batch).map {
            Array(orders[$0..<min($0 + batch, orders.count)])
        }
        let before = EventLoop.nanoseconds
        let confirmed = try await concurrently(concurrency) { committer in
            var confirmed = 0
            for index in stride(from: committer, to: batches.count, by: concurrency) {
                confirmed += try await store.commit(batches[index]).count(.confirmed)
            }
            return confirmed
        }
        let rate = Self.rate(since: before)
        #expect(confirmed.reduce(0, +) == Int(Self.count))
        return rate
    }

    private static func rate(since before: UInt64) -> Int64 {
        count * 1_000_000_000 / Int64(EventLoop.nanoseconds - before)
    }
}
