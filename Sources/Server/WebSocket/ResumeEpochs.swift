import Engine
import EventLoop
import Model

/// Makes and checks the `epoch` that clients hand back to resume.
///
/// An epoch is the name of the data set in Redis, the second of the `connect`, and the run of Redis then. A client's log lives for
/// `DIBS_OUTCOME_SECONDS` after its last outcome and its last `connect`; an epoch is good for half of that. So a log that
/// expired, and began again at offset 1, is never taken for the one that the client knew.
@LoopActor
final class ResumeEpochs {
    private let engine: Engine
    private let validSeconds: Int64

    init(engine: Engine, outcomeSeconds: Int64) {
        self.engine = engine
        validSeconds = outcomeSeconds / 2
    }

    /// The epoch for a client that connects now.
    /// - Throws: ``Outage`` while Redis was never reached.
    func current(at now: Timestamp) throws -> String {
        guard let name = engine.dataEpoch else { throw Outage(.redis, "not connected yet") }
        return "\(name).\(String(now.milliseconds / 1000, radix: 36)).\(engine.runTag)"
    }

    /// An epoch that nothing can be resumed from.
    /// - Throws: ``Outage`` while Redis was never reached.
    func unusable() throws -> String {
        guard let name = engine.dataEpoch else { throw Outage(.redis, "not connected yet") }
        return "\(name).0.\(engine.runTag)"
    }

    /// What offsets of an epoch mean now.
    enum Meaning {
        /// Nothing.
        case none
        /// What they meant.
        case same
        /// What they meant, as far as the log was kept since that run of Redis (``Engine/Engine/runTag``).
        case sameIfKept(since: Substring)
    }

    /// What offsets of that epoch mean now.
    func meaning(of epoch: String, at now: Timestamp) -> Meaning {
        let parts = epoch.split(separator: ".", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), let name = engine.dataEpoch, parts[0] == name, parts[1].utf8.count <= 12,
            let second = Int64(parts[1], radix: 36),
            // A little ahead of our clock is another instance's clock.
            (-300...validSeconds).contains(now.milliseconds / 1000 - second)
        else { return .none }
        guard parts.count == 3 else { return .sameIfKept(since: "") }
        return parts[2] == engine.runTag ? .same : .sameIfKept(since: parts[2])
    }
}
