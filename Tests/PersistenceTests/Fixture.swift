import EventLoop
import Model
import TestServices

@testable import Persistence

/// A store on a database of its own, migrated and connected.
@LoopActor
struct Fixture {
    let server: PostgresServer
    let connectionString: String
    let store: Store

    /// On the shared cluster, or on one of the test's own. The timeout is long: a busy machine is no outage.
    init(
        on server: PostgresServer? = nil, timeout: Int64 = 30_000, attempts: Int = 2, pool: Int = 2, committers: Int = 2
    ) async throws {
        if let server { self.server = server } else { self.server = try await PostgresServer.shared() }
        connectionString = try await self.server.makeDatabase()
        store = try Store(
            StoreConfiguration(
                connectionString: connectionString, poolSize: pool, committerConnections: committers,
                requestTimeoutMilliseconds: timeout, commitAttempts: attempts), log: .none)
        store.start()
        _ = try await store.migrate()
    }

    /// Another store on the same database, connected, that waits for nothing longer than this.
    func impatient(timeout: Int64) async throws -> Store {
        let store = try Store(
            StoreConfiguration(
                connectionString: connectionString, poolSize: 1, committerConnections: 1,
                requestTimeoutMilliseconds: timeout, commitAttempts: 2), log: .none)
        store.start()
        try await eventually("it is connected") { (try? await store.ping()) != nil }
        return store
    }

    /// SQL as somebody would type it.
    @discardableResult
    func sql(_ text: StaticString, _ parameters: Parameter...) async throws -> [QueryResult] {
        try await store.pool.perform(Statement(text, parameters: parameters))
    }

    func number(_ text: StaticString) async throws -> Int64 { try await sql(text)[0].first!.integer(0) }

    func sale(quantity: Int64 = 1_000_000, price: Int64 = 0, limit: Int64 = 1) async throws -> SaleID {
        try await store.insertSale(
            name: "shoes", quantity: quantity, price: price, perClientLimit: limit, room: nil, rejectPercent: 0,
            window: SaleWindow(
                opensAt: .at(1000), closesAt: Timestamp(milliseconds: EventLoop.wallMilliseconds) + 60_000)
        ).sale.id
    }
}

extension Timestamp {
    static func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }
}

extension AcceptedOrder {
    /// The order of client `c<number>` with the ticket of the same number, in the stream's entry of that number.
    static func test(
        _ sale: SaleID, _ sequence: Int64, client: String? = nil, ticket: Int64? = nil, slot: Int64 = 1,
        epoch: Int64 = 0, key: String? = nil, entry: Int64? = nil
    ) -> AcceptedOrder {
        AcceptedOrder(
            entry: "\(entry ?? sequence)-0", order: OrderID(sale: sale, sequence: sequence),
            client: ClientID(client ?? "c\(sequence)")!, ticket: ticket ?? sequence, slot: slot,
            acceptedAt: .at(1_700_000_000_123 + sequence), epoch: epoch, key: key.flatMap { IdempotencyKey($0) })
    }

    static func many(_ sale: SaleID, _ sequences: ClosedRange<Int64>) -> [AcceptedOrder] {
        sequences.map { test(sale, $0) }
    }
}

extension [Settlement] {
    func count(_ status: OrderStatus) -> Int { filter { $0.status == status }.count }
}

/// Does the same thing several times at once on the loop.
@LoopActor
func concurrently<Success: Sendable>(
    _ count: Int, _ work: @escaping @Sendable @LoopActor (Int) async throws -> Success
) async throws -> [Success] {
    let tasks = (0..<count).map { index in
        EventLoop.task { () async -> Result<Success, any Error> in
            do { return .success(try await work(index)) } catch { return .failure(error) }
        }
    }
    var results: [Success] = []
    for task in tasks { results.append(try await task.value.get()) }
    return results
}
