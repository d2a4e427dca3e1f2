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
    private var reading = Reading.no

    private enum Reading {
        case no
        /// A read of the log was asked for and has not come back.
        case yes
        /// The same, and what it brings may be too old already.
        case yesAndAgain
    }

    /// What to do now: send outcomes in this order, and then, perhaps, read the log.
    public struct Action: Equatable, Sendable {
        /// Outcomes to send.
        public var send: [LoggedOutcome] = []
        /// When not nil: read the log after this offset, and hand the result to ``OutcomeCursor/read(_:last:)``.
        public var readAfter: Int64?

        /// Nothing to do, unless told.
        public init(send: [LoggedOutcome] = [], readAfter: Int64? = nil) {
            self.send = send
            self.readAfter = readAfter
        }
    }

    /// A connection that has been sent everything up to `offset`. While `isReading`, nothing is sent: a first read of the
    /// log is under way.
    public init(sent offset: Int64, isReading: Bool = false) {
        sent = offset
        reading = isReading ? .yes : .no
    }

    /// An outcome came, by whatever way.
    public mutating func received(_ outcome: LoggedOutcome) -> Action {
        if outcome.offset > sent { early[outcome.offset] = outcome }
        return advance(Action())
    }

    /// A read of the log came back; `last` is the newest offset that it holds.
    ///
    /// `skipped` tells that outcomes up to `last` are no longer in the log and never came: the client has to be told the
    /// present truth instead.
    public mutating func read(_ outcomes: [LoggedOutcome], last: Int64) -> (action: Action, skipped: Bool) {
        let again = reading == .yesAndAgain
        reading = .no
        for outcome in outcomes where outcome.offset > sent { early[outcome.offset] = outcome }
        var action = Action()
        var skipped = false
        while sent < last {
            if let next = early.removeValue(forKey: sent + 1) {
                action.send.append(next)
            } else {
                skipped = true
            }
            sent += 1
        }
        action = advance(action)
        if again && action.readAfter == nil {
            reading = .yes
            action.readAfter = sent
        }
        return (action, skipped)
    }

    /// The first read of the log is done: everything up to `offset` counts as sent, and `outcomes` are what it read after
    /// that.
    public mutating func start(after offset: Int64, _ outcomes: [LoggedOutcome] = []) -> Action {
        sent = offset
        early = early.filter { $0.key > offset }
        for outcome in outcomes where outcome.offset > offset { early[outcome.offset] = outcome }
        let again = reading == .yesAndAgain
        reading = .no
        return again ? mayHaveMissed() : advance(Action())
    }

    /// Something may have been missed, as when the connection to Redis was renewed: the log has to be read.
    public mutating func mayHaveMissed() -> Action {
        guard reading == .no else {
            reading = .yesAndAgain
            return Action()
        }
        reading = .yes
        return Action(readAfter: sent)
    }

    private mutating func advance(_ already: Action) -> Action {
        var action = already
        guard reading == .no else { return action }
        while let next = early.removeValue(forKey: sent + 1) {
            action.send.append(next)
            sent += 1
        }
        if !early.isEmpty {
            reading = .yes
            action.readAfter = sent
        }
        return action
    }
}
