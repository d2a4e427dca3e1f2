import EventLoop
import Glibc
import Model
import Synchronization
import TestServices
import Testing

@testable import Engine

/// The tests kill servers that the engine writes to: a broken pipe is an error there, as in the programs, and no end of
/// the process.
private let ignoresBrokenPipes: Void = { _ = signal(SIGPIPE, SIG_IGN) }()

/// Runs a test's body on the loop, which runs on a thread of its own.
func onLoop(_ body: @escaping @Sendable @LoopActor () async throws -> Void) async throws {
    _ = ignoresBrokenPipes
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
        // A busy machine is no outage; a test that wants one says so.
        configuration.replyTimeoutMilliseconds = patienceMilliseconds
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
            EngineConfiguration(
                url: try RedisURL(server.url), replyTimeoutMilliseconds: patienceMilliseconds, clock: { clock.now }),
            log: .none)
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
    private let journal = Journal<Event>()
    var events: [Event] { journal.items }

    func hear(_ event: Event) { journal.add(event) }

    /// Returns once at least `count` events were heard.
    /// - Throws: ``NotInTime``.
    func wait(for count: Int) async throws {
        guard events.count < count else { return }
        try await journal.first("event \(count)") { [journal] _ in journal.items.count >= count }
    }

    /// Returns once what was heard is as `isEnough` wants it.
    /// - Throws: ``NotInTime``.
    func wait(until isEnough: @escaping @LoopActor ([Event]) -> Bool) async throws {
        guard !isEnough(events) else { return }
        try await journal.first("what is enough") { [journal] _ in isEnough(journal.items) }
    }
}

extension EventLoop {
    /// Returns after what was put off to the end of this turn was done.
    @LoopActor static func nextTurn() async { await sleep(milliseconds: 0) }
}

/// Each port that was tried is taken.
struct NoPort: Error {}

/// A port that nobody listens on. Not one of those that the kernel gives to connections: while the server is down, one of
/// them would take it.
func freePort() throws -> Int {
    for _ in 0..<100 {
        let port = UInt16.random(in: 20_000..<32_000)
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if status == 0 { return Int(port) }
    }
    throw NoPort()
}

extension EngineFixture {
    /// Sends a command on a connection of its own, past the engine; its reply, of several the last.
    @discardableResult
    func redis(_ name: String, _ arguments: String...) async throws -> String {
        let connection = RedisConnection(
            name: "test", url: try RedisURL(server.url), replyTimeoutMilliseconds: patienceMilliseconds, log: .none,
            greetings: { [] }, stayAlive: { _ in })
        let ready = Journal<Bool>()
        connection.onEvent = { event in if case .ready = event { ready.add(true) } }
        connection.start()
        try await ready.next("a connection to Redis")
        let command = arguments.reduce(into: RedisCommand(name)) { $0.append($1) }
        let reply = try await CommandRouter(connection: connection).ask(command, about: "")
        connection.stop()
        let value = reply.elements.last ?? reply
        return value.string ?? value.number.map { "\($0)" } ?? ""
    }
}
