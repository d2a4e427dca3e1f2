import EventLoop
import Model

/// Listens to channels over a connection of its own: one SUBSCRIBE for a channel however many listen to it, all that
/// were wanted in a turn in one command, and all again after the connection was lost.
@LoopActor
final class RedisSubscriber {
    /// What a listener hears.
    enum Signal: Sendable {
        /// A message.
        case message(String)
        /// The connection was lost and stands again: messages may have been missed.
        case renewed
    }

    typealias Handler = @LoopActor (Signal) -> Void

    /// One that listens. There is one for each client that is connected, so it is all that there is of a subscription.
    @LoopActor
    fileprivate final class Listener {
        let channel: String
        private weak var subscriber: RedisSubscriber?
        /// Nil once it was cancelled, also in the middle of a message's round.
        var handler: Handler?
        /// Who waits for Redis to confirm; nil once it has.
        var waiting: CheckedContinuation<Result<Void, Outage>, Never>?

        init(_ channel: String, _ subscriber: RedisSubscriber, _ handler: @escaping Handler) {
            self.channel = channel
            self.subscriber = subscriber
            self.handler = handler
        }

        func cancel() { subscriber?.cancel(self) }
    }

    private struct Channel {
        var listeners = Few<Listener>()
        /// Whether Redis was asked last to send its messages.
        var isRequested = false
        /// Whether Redis has confirmed that.
        var isConfirmed = false
        /// The number of the last SUBSCRIBE: an older one's confirmation says nothing, an UNSUBSCRIBE may lie between.
        var request: UInt64 = 0
    }

    /// How many channels one command names.
    private static let channelsPerCommand = 1000

    private let connection: RedisConnection
    private var channels: [String: Channel] = [:]
    private var changed: Set<String> = []
    private var lastRequest: UInt64 = 0
    private var onReady: @LoopActor () -> Void = {}

    init(url: RedisURL, replyTimeoutMilliseconds: Int64, log: Log) {
        connection = RedisConnection(
            name: "events", url: url, replyTimeoutMilliseconds: replyTimeoutMilliseconds, log: log,
            greetings: { [] },
            // In this mode Redis takes no other questions; a second subscription changes nothing, and is confirmed.
            stayAlive: { RedisSubscriber.subscribeToAliveChannel($0) })
        connection.onEvent = { [weak self] in self?.happened($0) }
    }

    var isReady: Bool { connection.isReady }

    /// Begins to connect.
    /// - Parameter onReady: called whenever the connection stands.
    func start(onReady: @escaping @LoopActor () -> Void) {
        self.onReady = onReady
        connection.start()
    }

    func stop() { connection.stop() }

    /// Makes the connection anew; listeners hear that it was.
    func renew(_ reason: String) { connection.renew(reason) }

    /// Listens to a channel; returns once Redis has confirmed it, after which no message is missed without a `renewed`.
    func subscribe(to name: String, _ handler: @escaping Handler) async throws(Outage) -> Subscription {
        guard connection.isReady else { throw Outage(.redis, "not connected") }
        let listener = Listener(name, self, handler)
        channels[name, default: Channel()].listeners.append(listener)
        if channels[name]?.isConfirmed == false {
            let result = await withCheckedContinuation { continuation in
                listener.waiting = continuation
                changes(name)
            }
            try result.get()
        }
        return Subscription(listener)
    }

    private func cancel(_ listener: Listener) {
        listener.handler = nil
        channels[listener.channel]?.listeners.removeAll { $0 === listener }
        changes(listener.channel)
    }

    // MARK: - Asking Redis

    private func changes(_ name: String) {
        if changed.isEmpty { Turn.atEnd(.merge) { [weak self] in self?.ask() } }
        changed.insert(name)
    }

    private func ask() {
        let names = changed
        changed.removeAll(keepingCapacity: true)
        var wanted: [String] = []
        var unwanted: [String] = []
        for name in names {
            guard let channel = channels[name] else { continue }
            if channel.listeners.isEmpty {
                if channel.isRequested { unwanted.append(name) }
                channels[name] = nil
            } else if !channel.isRequested {
                wanted.append(name)
            }
        }
        guard connection.isReady else { return }
        for names in unwanted.chunks(of: RedisSubscriber.channelsPerCommand) {
            var command = RedisCommand("UNSUBSCRIBE")
            for name in names { command.append(name) }
            connection.send(command, forEachChannel: Array(repeating: nil, count: names.count))
        }
        subscribe(wanted)
    }

    private func subscribe(_ names: [String]) {
        for names in names.chunks(of: RedisSubscriber.channelsPerCommand) {
            var command = RedisCommand("SUBSCRIBE")
            var completions: [ReplyQueue.Completion?] = []
            for name in names {
                command.append(name)
                lastRequest += 1
                let request = lastRequest
                channels[name]?.isRequested = true
                channels[name]?.request = request
                completions.append { [weak self] result in self?.answered(name, request, result) }
            }
            connection.send(command, forEachChannel: completions)
        }
    }

    /// Also keeps hiredis in the mode of a subscriber when there is nothing else to listen to.
    private static func subscribeToAliveChannel(_ connection: RedisConnection) {
        connection.send(RedisCommand("SUBSCRIBE", Keys.aliveChannel), forEachChannel: [nil])
    }

    // MARK: - Hearing from Redis

    private func answered(_ name: String, _ request: UInt64, _ result: Result<RedisReply, Outage>) {
        // A failure ends the connection: `lost` deals with all.
        guard case .success(let reply) = result, let channel = channels[name], channel.request == request else {
            return
        }
        if case .error(let error) = reply {
            channels[name] = nil
            for listener in channel.listeners { listener.waiting?.resume(returning: .failure(error.outage)) }
            return
        }
        channels[name]?.isConfirmed = true
        for listener in channel.listeners {
            if let waiting = listener.waiting {
                listener.waiting = nil
                waiting.resume(returning: .success(()))
            } else {
                listener.handler?(.renewed)
            }
        }
    }

    private func happened(_ event: RedisConnection.Event) {
        switch event {
        case .ready:
            RedisSubscriber.subscribeToAliveChannel(connection)
            subscribe(channels.filter { !$0.value.listeners.isEmpty }.map(\.key))
            onReady()
        case .lost: lost()
        case .message(let name, let payload):
            guard let channel = channels[name] else { return }
            for listener in channel.listeners { listener.handler?(.message(payload)) }
        }
    }

    private func lost() {
        let outage = Outage(.redis, "the connection for events was lost")
        var failed: [CheckedContinuation<Result<Void, Outage>, Never>] = []
        for (name, var channel) in channels {
            failed += channel.listeners.compactMap(\.waiting)
            channel.listeners.removeAll { $0.waiting != nil }
            channel.isRequested = false
            channel.isConfirmed = false
            channels[name] = channel.listeners.isEmpty ? nil : channel
        }
        for waiting in failed { waiting.resume(returning: .failure(outage)) }
    }
}

/// Listening to something, until it is cancelled or let go.
@LoopActor
public final class Subscription {
    private var listener: RedisSubscriber.Listener?

    fileprivate init(_ listener: RedisSubscriber.Listener) { self.listener = listener }

    isolated deinit { cancel() }

    /// Stops listening; again does nothing. The handler is not called any more.
    public func cancel() {
        listener?.cancel()
        listener = nil
    }
}
