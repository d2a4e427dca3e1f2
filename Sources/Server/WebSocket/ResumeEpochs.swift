import Engine
import EventLoop
import Model

/// Makes and checks the `epoch` that clients hand back to resume.
///
/// An epoch is the name of the data set in Redis and the second of the `connect`. A client's log lives for
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
        return "\(name).\(String(now.milliseconds / 1000, radix: 36))"
    }

    /// An epoch that nothing can be resumed from.
    /// - Throws: ``Outage`` while Redis was never reached.
    func unusable() throws -> String {
        guard let name = engine.dataEpoch else { throw Outage(.redis, "not connected yet") }
        return "\(name).0"
    }

    /// Whether offsets of that epoch still mean what they did.
    func isValid(_ epoch: String, at now: Timestamp) -> Bool {
        let parts = epoch.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, let name = engine.dataEpoch, parts[0] == name, parts[1].utf8.count <= 12,
            let second = Int64(parts[1], radix: 36)
        else { return false }
        // A little ahead of our clock is another instance's clock.
        return (-300...validSeconds).contains(now.milliseconds / 1000 - second)
    }
}
