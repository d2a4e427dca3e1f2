/// Which of its client's outcomes a connection was sent, and in which order the next ones go.
///
/// A pure state machine: outcomes come by three ways (the reply to the connection's own claim, Pub/Sub, a read of the
/// log), in any order and more than once; out go all of them, each once, by offset.
///
/// What goes wrong without: instance A decides and dies before it tells; the client reconnects to B with offset 16 while
/// the committer tells 17 and 18. B subscribes, hears 18 by Pub/Sub, then reads 17 and 18 from the log. Sent as they
/// come, the client sees 18, 17, 18.
public struct OutcomeCursor: Sendable {
    /// The offset of the last outcome that was sent.
    public private(set) var sent: Int64
    /// Outcomes that came before the ones that precede them.
    private var early: [Int64: LoggedOutcome] = [:]
    /// Ends of the ranges for which a read of the log was asked and hasn't come.
    private var isReading = false

    /// What to do now.
    public enum Action: Equatable, Sendable {
        /// Nothing.
        case none
        /// Send these, in this order.
        case send([LoggedOutcome])
        /// Something is missing: send these, then read the log after the given offset.
        case sendThenRead([LoggedOutcome], after: Int64)
    }

    /// A connection that has been sent everything up to `offset`.
    public init(sent offset: Int64) { sent = offset }

    /// An outcome came, by whatever way.
    public mutating func received(_ outcome: LoggedOutcome) -> Action {
        received(contentsOf: [outcome])
    }

    /// A read of the log that this cursor had asked for came back. `last` is the newest offset in the log then.
    ///
    /// What lies at or before `last` and is neither in `outcomes` nor came before is past the log's end and skipped; the
    /// caller tells the present truth instead when this returns a gap.
    public mutating func read(_ outcomes: [LoggedOutcome], last: Int64) -> (action: Action, skipped: Bool) {
        isReading = false
        for outcome in outcomes where outcome.offset > sent { early[outcome.offset] = outcome }
        var ready: [LoggedOutcome] = []
        var skipped = false
        while sent < last {
            if let next = early.removeValue(forKey: sent + 1) { ready.append(next) } else { skipped = true }
            sent += 1
        }
        return (finish(ready), skipped)
    }

    private mutating func received(contentsOf outcomes: [LoggedOutcome]) -> Action {
        for outcome in outcomes where outcome.offset > sent { early[outcome.offset] = outcome }
        return finish([])
    }

    private mutating func finish(_ already: [LoggedOutcome]) -> Action {
        var ready = already
        while let next = early.removeValue(forKey: sent + 1) {
            ready.append(next)
            sent += 1
        }
        if !early.isEmpty && !isReading {
            isReading = true
            return .sendThenRead(ready, after: sent)
        }
        return ready.isEmpty ? .none : .send(ready)
    }

    /// The connection to Redis was renewed, and something may have been missed: reads the log unless that is under way.
    public mutating func mayHaveMissed() -> Action {
        guard !isReading else { return .none }
        isReading = true
        return .sendThenRead([], after: sent)
    }
}
