import EventLoop
import Model

/// The part of Dibs that decides, in Redis.
///
/// Whatever it is asked, it asks Redis: nothing is cached here. Every call throws ``Outage`` when Redis could not be
/// asked; then it may have happened or not, and nothing may be told as a "no". While the connection is down calls throw
/// at once; the connection comes back by itself. Calls of one turn of the loop leave in one write, claims of one sale
/// in one call, and so do holds of one performance.
@LoopActor
public final class Engine {
    let configuration: EngineConfiguration
    let log: Log
    let router: CommandRouter
    let subscriber: RedisSubscriber
    let claims: ClaimBatcher
    let tells: TellBatcher
    let rooms: RoomCalls
    let passBatcher: PassBatcher
    let seatCalls: SeatCalls
    let holdBatcher: HoldBatcher
    private let commands: RedisConnection
    private let found: Greeted
    /// Told each time the command connection becomes ready, within that moment: before whoever waits for the connection
    /// goes on, and before any command but the greeting is sent on it. `isOtherRun` says that this Redis is another
    /// than the one that was connected before, or was restarted since, and may have lost its latest writes; so is the
    /// first. Set before ``start()``.
    public var onConnected: (@LoopActor (_ isOtherRun: Bool) -> Void)?
    /// The name that Redis gave itself at its start (`run_id`); nil before the first connection.
    public private(set) var serverRun: String?
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// An engine that is not connected.
    public init(_ configuration: EngineConfiguration, log: Log) {
        self.configuration = configuration
        self.log = log
        let found = Greeted()
        self.found = found
        commands = RedisConnection(
            name: "commands", url: configuration.url,
            replyTimeoutMilliseconds: configuration.replyTimeoutMilliseconds, log: log,
            greetings: { Engine.greetings(found) }, stayAlive: { $0.send(RedisCommand("PING"), nil) })
        router = CommandRouter(connection: commands)
        subscriber = RedisSubscriber(
            url: configuration.url, replyTimeoutMilliseconds: configuration.replyTimeoutMilliseconds, log: log)
        claims = ClaimBatcher(router: router, configuration: configuration)
        tells = TellBatcher(router: router, configuration: configuration)
        rooms = RoomCalls(router: router, configuration: configuration, tells: tells, log: log)
        passBatcher = PassBatcher(router: router, calls: rooms)
        seatCalls = SeatCalls(router: router, configuration: configuration, tells: tells, log: log)
        holdBatcher = HoldBatcher(router: router, configuration: configuration, calls: seatCalls)
    }

    /// Starts to connect, and returns at once.
    public func start() {
        commands.onEvent = { [weak self] event in
            guard case .ready = event, let self else { return }
            self.commandsConnected()
            self.connected()
        }
        subscriber.start { [weak self] in self?.connected() }
        commands.start()
    }

    /// Waits for what is in flight, as long as a reply may take, and closes the connections. Later calls throw.
    public func stop() async {
        // Redis answers in order: after this nothing is in flight.
        if commands.isReady { try? await ping() }
        commands.stop()
        subscriber.stop()
        resumeWaiting()
    }

    /// Whether Redis can be asked and heard.
    public var isConnected: Bool { commands.isReady && subscriber.isReady }

    /// Returns once the engine is connected, or was stopped.
    public func waitUntilConnected() async {
        guard !isConnected else { return }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Asks Redis whether it answers.
    /// - Throws: ``Outage`` when it doesn't.
    public func ping() async throws(Outage) {
        let reply = try await router.ask(RedisCommand("PING"), about: Keys.dataEpoch)
        if case .error(let error) = reply { throw error.outage }
    }

    /// The random name of Redis' data set, as it was read when the connection was made; nil before the first. Another
    /// name than before means that Redis' data was lost.
    public var dataEpoch: String? { found.dataEpoch }

    /// Milliseconds by the configured clock, or empty for Redis' own.
    var now: String { configuration.now }

    private func commandsConnected() {
        // One that doesn't say which run it is may be another.
        let isOtherRun = found.run == nil || found.run != serverRun
        serverRun = found.run
        onConnected?(isOtherRun)
    }

    private func connected() {
        if isConnected { resumeWaiting() }
    }

    private func resumeWaiting() {
        let resumed = waiting
        waiting = []
        for continuation in resumed { continuation.resume() }
    }

    private static func greetings(_ found: Greeted) -> [RedisConnection.Greeting] {
        let fresh = String(UInt64.random(in: .min ... .max), radix: 36)
        return [
            RedisConnection.Greeting(command: FunctionLibrary.load) { _ in },
            // Answers with what was there before, and with nothing when that is now ours.
            RedisConnection.Greeting(command: RedisCommand("SET", Keys.dataEpoch, fresh, "NX", "GET")) { reply in
                found.dataEpoch = reply.string ?? fresh
            },
            RedisConnection.Greeting(command: RedisCommand("INFO", "server")) { reply in
                found.run = Engine.run(in: reply.string ?? "")
            },
        ]
    }

    /// The `run_id` in the answer to `INFO server`; nil when there is none.
    nonisolated static func run(in info: String) -> String? {
        let prefix = "run_id:"
        // A line ends in CR LF, which is one Character.
        let line = info.split(whereSeparator: \.isNewline).first { $0.hasPrefix(prefix) }
        return line.map { String($0.dropFirst(prefix.count)) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}

extension EngineConfiguration {
    /// Milliseconds by the configured clock, or empty for Redis' own: the first argument of the functions.
    var now: String { clock.map { String($0().milliseconds) } ?? "" }
}

/// Where the greeting of a connection leaves what it found.
@LoopActor
private final class Greeted {
    var dataEpoch: String?
    var run: String?
}
