import EventLoop
import Glibc
import Model
import Synchronization
import TestServices
import Testing

@testable import Engine

/// Runs a test's body on the loop, which runs on a thread of its own.
func onLoop(_ body: @escaping @Sendable @LoopActor () async throws -> Void) async throws {
    EventLoop.startInBackground()
    // As the programs do: a test may end while something is on its way to its Redis.
    signal(SIGPIPE, SIG_IGN)
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
        _ client: String, on sale: SaleID, key: String? = nil, roll: Int64 = 99, mayClaim: Bool = true
    ) async throws -> ClaimDecision {
        try await engine.claim(
            Claim(
                client: ClientID(trusted: client), key: key.flatMap { IdempotencyKey($0) }, roll: roll,
                mayClaim: mayClaim), on: sale)
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
    private var waiting: [(id: Int, count: Int, continuation: CheckedContinuation<Bool, Never>)] = []
    private var lastID = 0

    func hear(_ event: Event) {
        events.append(event)
        let ready = waiting.filter { $0.count <= events.count }
        waiting.removeAll { $0.count <= events.count }
        for waiter in ready { waiter.continuation.resume(returning: true) }
    }

    /// Returns once at least `count` events were heard. Fails the test when they aren't in time.
    func wait(for count: Int, _ location: SourceLocation = #_sourceLocation) async {
        guard events.count < count else { return }
        lastID += 1
        let id = lastID
        let timer = LoopTimer()
        timer.start(after: 60_000) { self.giveUp(id) }
        let isHeard = await withCheckedContinuation { waiting.append((id, count, $0)) }
        timer.stop()
        if !isHeard { Issue.record("heard \(events.count) of \(count)", sourceLocation: location) }
    }

    private func giveUp(_ id: Int) {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return }
        waiting.remove(at: index).continuation.resume(returning: false)
    }
}

extension EventLoop {
    /// Returns after what was put off to the end of this turn was done.
    @LoopActor static func nextTurn() async { await sleep(milliseconds: 0) }
}

/// A port that nobody listens on.
func freePort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
        }
    }
    try #require(status)
    return Int(UInt16(bigEndian: address.sin_port))
}

extension EngineFixture {
    /// Sends a command on a connection of its own, past the engine; its reply, of several the last.
    @discardableResult
    func redis(_ name: String, _ arguments: String...) async throws -> String {
        let connection = RedisConnection(
            name: "test", url: try RedisURL(server.url), replyTimeoutMilliseconds: 5000, log: .none, greetings: { [] },
            stayAlive: { _ in })
        await withCheckedContinuation { continuation in
            connection.onEvent = { event in if case .ready = event { continuation.resume() } }
            connection.start()
        }
        connection.onEvent = nil
        let command = arguments.reduce(into: RedisCommand(name)) { $0.append($1) }
        let reply = try await CommandRouter(connection: connection).ask(command, about: "")
        connection.stop()
        let value = reply.elements.last ?? reply
        return value.string ?? value.number.map { "\($0)" } ?? ""
    }
}
