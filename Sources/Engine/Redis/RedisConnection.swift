import EventLoop
import Model

/// A connection to Redis that is made anew whenever it breaks.
///
/// - While it doesn't stand, commands fail at once: the caller knows best whether its own caller can wait.
/// - A reply that takes longer than the bound ends the connection, and everything in flight on it fails. Nothing is
///   ever sent again by itself: it may have been executed.
/// - The pause before another try grows with jitter, so that many processes don't come back in step.
@LoopActor
final class RedisConnection: RedisSocketOwner {
    /// What is sent first on a fresh connection, and who takes the reply. An error in any ends the connection.
    struct Greeting {
        let command: RedisCommand
        let accept: @LoopActor (RedisReply) -> Void
    }

    /// What happens to the connection.
    enum Event {
        /// It stands, and the greeting is done.
        case ready
        /// It stood, and is gone.
        case lost
        /// Only after a SUBSCRIBE: a message.
        case message(channel: String, payload: String)
    }

    private enum State: Equatable {
        case stopped
        /// The pause before the next try.
        case pausing
        case resolving
        case connecting
        case greeting
        case ready
    }

    /// How many ticks a reply may take; the bound divided by it is the length of a tick.
    private static let ticksPerReply: Int64 = 4
    /// How many ticks a connection rests before it is asked whether it lives.
    private static let restingTicks: Int64 = 8

    private let name: String
    private let url: RedisURL
    private let log: Log
    private let tickMilliseconds: Int64
    private let greetings: @LoopActor () -> [Greeting]
    private let stayAlive: @LoopActor (RedisConnection) -> Void
    /// Told what happens. Set once, before ``start()``.
    var onEvent: (@LoopActor (Event) -> Void)?

    private var state = State.stopped
    private var socket: RedisSocket?
    private var replies = ReplyQueue()
    private var backoff = Backoff(base: 20, cap: 1000)
    private let pause = LoopTimer()
    private let ticker = LoopTimer()
    private var tick: Int64 = 0
    /// The tick at which this state began, or something was last sent.
    private var lastMoved: Int64 = 0
    private var attempts = 0
    private var lastWarned: String?

    /// A connection that is not started.
    /// - Parameter stayAlive: sends something that is answered; called when nothing was sent for a while.
    init(
        name: String, url: RedisURL, replyTimeoutMilliseconds: Int64, log: Log,
        greetings: @escaping @LoopActor () -> [Greeting], stayAlive: @escaping @LoopActor (RedisConnection) -> Void
    ) {
        self.name = name
        self.url = url
        self.log = log
        self.greetings = greetings
        self.stayAlive = stayAlive
        tickMilliseconds = max(1, replyTimeoutMilliseconds / RedisConnection.ticksPerReply)
    }

    /// Whether commands can be sent.
    var isReady: Bool { state == .ready }

    /// Begins to connect; returns at once.
    func start() {
        guard state == .stopped else { return }
        ticker.startInStep(every: tickMilliseconds) { [weak self] in self?.ticked() }
        connect()
    }

    /// Ends it for good; what is in flight fails.
    func stop() {
        guard state != .stopped else { return }
        ticker.stop()
        pause.stop()
        let wasReady = isReady
        state = .stopped
        drop(Outage(.redis, "the connection was closed by us"), wasReady: wasReady)
    }

    /// Sends a command; the completion gets its reply, which may be Redis' refusal. Fails at once when not ready.
    func send(_ command: consuming RedisCommand, _ completion: ReplyQueue.Completion?) {
        guard state == .ready else {
            completion?(.failure(Outage(.redis, "not connected")))
            return
        }
        write(command, [completion])
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE, which are answered once for each channel; each completion gets one answer.
    func send(_ command: consuming RedisCommand, forEachChannel completions: [ReplyQueue.Completion?]) {
        precondition(state == .ready, "subscribing on a connection that isn't ready")
        write(command, completions)
    }

    private func write(_ command: consuming RedisCommand, _ completions: [ReplyQueue.Completion?]) {
        command.seal()
        lastMoved = tick
        for completion in completions { replies.append(at: tick, completion) }
        // False: the connection ends, and `socketClosed` will fail what waits.
        _ = socket?.send(command)
    }

    // MARK: - Connecting

    private func connect() {
        attempts += 1
        let attempt = attempts
        lastMoved = tick
        switch url.endpoint {
        case .unix(let path): open(.unix(path: path))
        case .tcp(let host, let port):
            state = .resolving
            EventLoop.task { await self.resolve(host, port, attempt) }
        }
    }

    private func resolve(_ host: String, _ port: Int32, _ attempt: Int) async {
        do {
            let addresses = try await EventLoop.resolve(host)
            guard attempt == attempts, state == .resolving else { return }
            guard !addresses.isEmpty else { return fail("\(host) has no address") }
            // One after the other, try by try.
            open(.tcp(address: addresses[attempt % addresses.count], port: port))
        } catch {
            guard attempt == attempts, state == .resolving else { return }
            fail("\(error)")
        }
    }

    private func open(_ address: RedisSocket.Address) {
        state = .connecting
        do throws(Outage) {
            socket = try RedisSocket(to: address, owner: self)
        } catch {
            fail(error.detail)
        }
    }

    func socketConnected() {
        state = .greeting
        var introductions: [Greeting] = []
        if let password = url.password {
            let command = url.user.map { RedisCommand("AUTH", $0, password) } ?? RedisCommand("AUTH", password)
            introductions.append(Greeting(command: command) { _ in })
        }
        if url.database != 0 {
            introductions.append(Greeting(command: RedisCommand("SELECT", String(url.database))) { _ in })
        }
        introductions += greetings()
        for greeting in introductions { write(greeting.command, [{ [weak self] in self?.answered(greeting, $0) }]) }
        // The last of the greeting: whoever answers this is ready.
        write(RedisCommand("PING"), [{ [weak self] in self?.answered(nil, $0) }])
    }

    private func answered(_ greeting: Greeting?, _ result: Result<RedisReply, Outage>) {
        // A failure is the end of the connection, which is dealt with where it is seen.
        guard state == .greeting, case .success(let reply) = result else { return }
        if case .error(let error) = reply { return fail(error.description) }
        guard let greeting else { return becomeReady() }
        greeting.accept(reply)
    }

    private func becomeReady() {
        state = .ready
        backoff.reset()
        lastWarned = nil
        log(.info, "redis_connected", ["connection": .text(name), "url": .text(url.description)])
        onEvent?(.ready)
    }

    // MARK: - Receiving

    func socketReceived(_ reply: RedisReply) {
        // A subscription's messages come among the replies; its confirmations are replies.
        if case .array(let parts) = reply, parts.count == 3, parts[0].string == "message",
            let channel = parts[1].string, let payload = parts[2].string
        {
            onEvent?(.message(channel: channel, payload: payload))
            return
        }
        guard let completion = replies.next() else { return fail("a reply that nobody asked for") }
        if case .error(let error) = reply, state == .ready {
            // A stream without its group is what whoever reads it first finds, and makes.
            if error.code != "NOGROUP" { warn("redis_refused", error.description) }
            completion?(.success(reply))
            if error.isUnfitServer { fail(error.description) }
        } else {
            completion?(.success(reply))
        }
    }

    // MARK: - Losing

    /// Makes the connection anew, as if it had broken; what is in flight on it fails.
    func renew(_ reason: String) { fail(reason) }

    func socketClosed(_ reason: String) { fail(reason) }

    /// Ends the connection and comes back later.
    private func fail(_ reason: String) {
        guard state != .stopped, state != .pausing else { return }
        let wasReady = isReady
        warn(wasReady ? "redis_lost" : "redis_unreachable", reason)
        state = .pausing
        let milliseconds = backoff.next()
        pause.start(after: milliseconds) { [weak self] in
            guard let self, self.state == .pausing else { return }
            self.connect()
        }
        drop(Outage(.redis, reason), wasReady: wasReady)
    }

    private func drop(_ outage: Outage, wasReady: Bool) {
        socket?.close()
        socket = nil
        for completion in replies.removeAll() { completion(.failure(outage)) }
        if wasReady { onEvent?(.lost) }
    }

    private func ticked() {
        tick += 1
        // One more than its share, because the first tick may come right after the question.
        let bound = RedisConnection.ticksPerReply + 1
        switch state {
        case .stopped, .pausing: break
        case .resolving, .connecting:
            if tick - lastMoved > bound { fail("connecting takes too long") }
        case .greeting, .ready:
            if let oldest = replies.oldest {
                if tick - oldest >= bound {
                    fail("no reply within \(tickMilliseconds * RedisConnection.ticksPerReply) ms")
                }
            } else if tick - lastMoved >= RedisConnection.restingTicks {
                stayAlive(self)
            }
        }
    }

    /// Logs a warning, once as long as it stays the same.
    private func warn(_ event: String, _ reason: String) {
        let text = event + reason
        guard text != lastWarned else { return }
        lastWarned = text
        log(.warning, event, ["connection": .text(name), "url": .text(url.description), "reason": .text(reason)])
    }
}
