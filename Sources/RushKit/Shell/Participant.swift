import EventLoop

/// A client of a part, however it talks with the server.
@LoopActor
protocol Participant: AnyObject {
    /// Which of the run's clients.
    var index: Int { get }
    /// The name by which the server knows it.
    var name: String { get }
    /// Whether a claim is out that has no answer.
    var isUnanswered: Bool { get }
    /// Whether something is on its way that was claimed.
    var isBusy: Bool { get }
    /// Whether there is nothing more to wait for.
    var isFinished: Bool { get }
    /// Whether the part knows that it is finished.
    var isCounted: Bool { get set }
    /// Its places in the line.
    var stays: [Stay] { get }
    /// The moment of the first claim, or of the join, has come.
    func begin()
    /// Time is up: nothing new is claimed.
    func stopClaiming()
}

/// A client of a part that has a connection, or may have one.
@LoopActor
protocol Connecting: Participant {
    /// False for one that asks over REST only.
    var hasConnection: Bool { get }
    /// Opens a connection; the part calls this when there is a place.
    func open(_ instances: [String], hasBegun: Bool)
}
