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
    private let watchTimer = LoopTimer()
    private var isLooking = false
    private static let watchMilliseconds: Int64 = 300
    /// Told each time the command connection becomes ready, within that moment: before whoever waits for the connection
    /// goes on, and before any command but the greeting is sent on it. `isOtherRun` says that this Redis is another
    /// than the one that was connected before, or was restarted since, or has other data, and may have lost its latest
    /// writes; so is the first. Set before ``start()``.
    public var onConnected: (@LoopActor (_ isOtherRun: Bool) -> Void)?
    /// The name that Redis gave itself at its start (`run_id`); nil before the first connection.
    public private(set) var serverRun: String?
    private var connectedData: String?
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
        tells = TellBatcher(router: router, configuration: configuration) { Engine.tag(found.run) }
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
        watchTimer.startInStep(every: Self.watchMilliseconds) { [weak self] in
            guard let self, self.commands.isReady, !self.isLooking else { return }
            EventLoop.task { try? await self.requireSameData() }
        }
    }

    /// Looks whether Redis still has the data set that it had when the connection was made: data may be flushed while
    /// connections stand. If not, both connections are made anew, as if Redis had been restarted.
    /// - Throws: ``Outage`` when it has another, or can't be asked.
    public func requireSameData() async throws(Outage) {
        isLooking = true
        defer { isLooking = false }
        let known = found.dataEpoch
        let reply = try await router.ask(RedisCommand("GET", Keys.dataEpoch), about: Keys.dataEpoch)
        if case .error(let error) = reply { throw error.outage }
        guard reply.string != known else { return }
        let reason = "the data set is another, or was flushed"
        // Who asked at the same time has done it already.
        if found.dataEpoch == known, commands.isReady {
            log(.error, "redis_data_lost", ["was": .text(known ?? "")])
            subscriber.renew(reason)
            commands.renew(reason)
        }
        throw Outage(.redis, reason)
    }

    /// Waits for what is in flight, as long as a reply may take, and closes the connections. Later calls throw.
    public func stop() async {
        watchTimer.stop()
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

    /// Names the run of Redis and its data set, separated by a dot: another than before means that something may have been lost. Nil before
    /// the first connection.
    public private(set) var identity: String?

    /// The beginning of ``serverRun``, long enough to tell runs apart.
    public var runTag: String { Engine.tag(serverRun) }

    /// Whether rooms may admit now; ``resume(_:)`` does in any case. In a Redis that has lost something, places may seem free
    /// whose passes were told.
    public var mayAdmit: @LoopActor () -> Bool {
        get { rooms.mayAdmit }
        set { rooms.mayAdmit = newValue }
    }

    private static func tag(_ run: String?) -> String { String((run ?? "").prefix(8)) }

    /// Milliseconds by the configured clock, or empty for Redis' own.
    var now: String { configuration.now }

    private func commandsConnected() {
        // One that doesn't say which run it is may be another.
        let isOtherRun = found.run == nil || found.run != serverRun || found.dataEpoch != connectedData
        serverRun = found.run
        connectedData = found.dataEpoch
        if isOtherRun { identity = "\(found.run ?? "?").\(found.dataEpoch ?? "?")" }
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
