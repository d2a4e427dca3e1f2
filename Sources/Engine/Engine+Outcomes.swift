import EventLoop
import Model

/// Clients' outcome logs.
extension Engine {
    /// How many logs are renewed at once.
    private static let renewalsPerRound = 500

    /// Appends outcomes to their clients' logs and publishes them, unless they are there already. It is merged with
    /// what else is told in this turn of the loop.
    /// - Returns: the offset of each, in the order of `items`; for one that was there already, its old one.
    /// - Throws: ``Outage``: to be called again, which adds nothing twice.
    public func tell(_ items: [(client: ClientID, outcome: Outcome)]) async throws(Outage) -> [Int64] {
        try await tells.tell(items)
    }

    /// Appends one outcome, as ``tell(_:)``, for whoever has no task. `answer` gets its offset.
    public func tell(
        _ client: ClientID, _ outcome: Outcome, _ answer: @escaping @LoopActor (Result<Int64, Outage>) -> Void
    ) { tells.tell([(client, outcome)]) { answer($0.map { $0[0] }) } }

    /// The outcomes of a client after an offset that its log still keeps, oldest first, and the last offset in the log:
    /// 0 when it has none. Renews the log's life.
    ///
    /// An offset above `last` is one of an earlier life of the log, which has ended since. `kept` is nil where this run of
    /// Redis has not added to the log.
    /// - Throws: ``Outage``.
    public func outcomes(
        of client: ClientID, after offset: Int64
    ) async throws(Outage) -> (last: Int64, kept: KeptOffsets?, outcomes: [LoggedOutcome]) {
        let key = Keys.client(client)
        var command = RedisCommand(function: .log, keys: [key])
        command.append(max(0, offset))
        command.append(configuration.outcomeLimit)
        command.append(configuration.outcomeSeconds)
        command.append(runTag)
        let parts = try await router.ask(calling: command, about: key).elements
        var outcomes: [LoggedOutcome] = []
        for index in stride(from: 1, to: parts.count - 1, by: 2) {
            if let offset = parts[index].number, let text = parts[index + 1].string,
                let outcome = Outcome(encoded: text)
            {
                outcomes.append(LoggedOutcome(offset: offset, outcome: outcome))
            }
        }
        // Offsets and outcomes come in twos.
        let kept = parts.count % 2 == 0 ? parts.last?.string.flatMap { KeptOffsets($0) } : nil
        return (parts.first?.number ?? 0, kept, outcomes)
    }

    /// The offset at which an outcome stands in its client's log; nil when it was not told, or the log no longer keeps
    /// it. Tells nothing.
    /// - Throws: ``Outage``.
    public func offset(of outcome: Outcome, for client: ClientID) async throws(Outage) -> Int64? {
        let key = Keys.client(client)
        let reply = try await router.ask(RedisCommand("HGET", key, "i" + outcome.identity), about: key)
        if case .error(let error) = reply { throw error.outage }
        return reply.number
    }

    /// Renews the life of these clients' logs, of those that have one: for clients that stay connected longer than a
    /// log lives after its last outcome. Many clients are done in several rounds, so that Redis answers others between.
    /// - Throws: ``Outage``; then some may have been renewed.
    public func renewLogs(of clients: [ClientID]) async throws(Outage) {
        let seconds = String(configuration.outcomeSeconds)
        for chunk in clients.chunks(of: Engine.renewalsPerRound) {
            _ = try await router.ask(
                all: chunk.map { client in
                    let key = Keys.client(client)
                    return (RedisCommand("EXPIRE", key, seconds), key)
                }, areCalls: false)
        }
    }
}

/// Which offsets of a log mean what they meant in earlier runs of Redis, each of which may have lost the end of the log, and
/// given the same offsets again.
public struct KeptOffsets: Hashable, Sendable {
    /// How long the log was when this run first added to it.
    private let base: Int64
    /// The shortest that it was when any run first added to it.
    private let shortest: Int64
    /// The run that had added to it before this one; ``Engine/Engine/runTag``.
    private let previous: Substring

    /// From `b m h` as `dibs_log` has it; nil when it isn't that.
    init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 3, let base = Int64(words[0]), let shortest = Int64(words[1]) else { return nil }
        self.base = base
        self.shortest = shortest
        previous = words[2]
    }

    /// The last offset that still means what it meant in an earlier run; ``Engine/Engine/runTag``.
    public func last(ofRun run: some StringProtocol) -> Int64 {
        !run.isEmpty && previous == run ? base : shortest
    }
}
