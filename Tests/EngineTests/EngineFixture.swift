import Engine
import EventLoop
import Model
import Synchronization
import TestServices
import Testing

/// Runs a test's body on the loop, which runs on a thread of its own.
func onLoop(_ body: @escaping @Sendable @LoopActor () async throws -> Void) async throws {
    EventLoop.startInBackground()
    try await EventLoop.task { () async -> Result<Void, any Error> in
        do { return .success(try await body()) } catch { return .failure(error) }
    }.value.get()
}

/// A clock that a test sets. Sendable by its atomic.
final class TestClock: Sendable {
    private let milliseconds: Atomic<Int64>
    init(_ milliseconds: Int64) { self.milliseconds = Atomic(milliseconds) }
    var now: Timestamp {
        get { Timestamp(milliseconds: milliseconds.load(ordering: .relaxed)) }
        set { milliseconds.store(newValue.milliseconds, ordering: .relaxed) }
    }
}

/// A Redis and an engine of a test's own.
@LoopActor
final class EngineFixture {
    static let opening: Int64 = 1_700_000_000_000
    static let closing: Int64 = opening + 3_600_000

    let server: RedisServer
    let engine: Engine
    let clock = TestClock(EngineFixture.opening)

    init(
        _ options: RedisServer.Options = RedisServer.Options(), suffix: String = "",
        change: (inout EngineConfiguration) -> Void = { _ in }
    ) async throws {
        server = try await RedisServer.start(options)
        var configuration = EngineConfiguration(url: try RedisURL(server.url + suffix))
        let clock = clock
        configuration.clock = { clock.now }
        change(&configuration)
        engine = Engine(configuration, log: .none)
        engine.start()
        await engine.waitUntilConnected()
    }

    /// Another process's engine on the same Redis.
    func another() async throws -> Engine {
        let clock = clock
        let engine = Engine(
            EngineConfiguration(url: try RedisURL(server.url), clock: { clock.now }), log: .none)
        engine.start()
        await engine.waitUntilConnected()
        return engine
    }

    static func state(_ id: Int64, quantity: Int64, limit: Int64 = 1, reject: Int64 = 0) -> SaleState {
        SaleState(
            sale: Sale(
                id: SaleID(id), name: "Sale \(id) – größer", quantity: quantity, price: 5, perClientLimit: limit,
                room: nil, rejectPercent: reject),
            window: SaleWindow(
                opensAt: Timestamp(milliseconds: opening), closesAt: Timestamp(milliseconds: closing)),
            remaining: quantity)
    }

    /// Registers a sale that is open.
    func sale(_ id: Int64 = 1, quantity: Int64, limit: Int64 = 1, reject: Int64 = 0) async throws -> SaleID {
        try await engine.register(
            EngineFixture.state(id, quantity: quantity, limit: limit, reject: reject), epoch: 1)
        return SaleID(id)
    }

    func claim(
        _ client: String, on sale: SaleID, key: String? = nil, roll: Int64 = 99
    ) async throws -> ClaimDecision {
        try await engine.claim(
            Claim(client: ClientID(trusted: client), key: key.flatMap { IdempotencyKey($0) }, roll: roll), on: sale)
    }

    /// Claims, all in one turn; the decisions in the order of the clients.
    func claims(_ clients: [String], on sale: SaleID) async throws -> [ClaimDecision] {
        let tasks = clients.map { client in
            EventLoop.task { () async -> Result<ClaimDecision, Outage> in
                do throws(Outage) {
                    return .success(
                        try await self.engine.claim(Claim(client: ClientID(trusted: client), roll: 99), on: sale))
                } catch { return .failure(error) }
            }
        }
        var decisions: [ClaimDecision] = []
        for task in tasks { decisions.append(try await task.value.get()) }
        return decisions
    }

    /// Fails the test when the sale's books don't balance.
    func balance(_ sale: SaleID) async throws -> SaleInspection {
        let inspection = try #require(try await engine.inspect(sale))
        let quantity = inspection.state.sale.quantity
        #expect(inspection.ownedTickets + inspection.state.remaining == quantity)
        #expect(inspection.highestTicket - inspection.ownedTickets == inspection.returnedTickets)
        #expect(
            inspection.counts[.requests]
                == inspection.counts[.accepted] + inspection.counts.refused.values.reduce(0, +))
        return inspection
    }
}

extension ClaimDecision {
    var acceptance: Acceptance? {
        if case .accepted(let acceptance) = self { acceptance } else { nil }
    }
}

/// Collects what a handler hears; a test waits for what it expects.
@LoopActor
final class Heard<Event: Sendable> {
    private(set) var events: [Event] = []
    private var waiting: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []

    func hear(_ event: Event) {
        events.append(event)
        let ready = waiting.filter { $0.count <= events.count }
        waiting.removeAll { $0.count <= events.count }
        for waiter in ready { waiter.continuation.resume() }
    }

    /// Returns once at least `count` events were heard.
    func wait(for count: Int) async {
        guard events.count < count else { return }
        await withCheckedContinuation { waiting.append((count, $0)) }
    }
}
