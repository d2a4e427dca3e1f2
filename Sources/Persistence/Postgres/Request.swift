import EventLoop
import Model

/// Statements that succeed or fail together, on their way through a connection.
///
/// They are followed by one synchronization point, which makes them one transaction.
@LoopActor
final class Request {
    let statements: [Statement]
    /// When whoever asked stops waiting, by the loop's clock.
    let deadline: Int64
    /// When it stops waiting for a connection; set by the pool while it does.
    var connectDeadline: Int64
    private var results: [QueryResult] = []
    private var failure: DatabaseError?
    private var continuation: CheckedContinuation<[QueryResult], any Error>?

    /// A request; without a continuation, one that nobody waits for.
    init(
        _ statements: [Statement], deadline: Int64, continuation: CheckedContinuation<[QueryResult], any Error>?
    ) {
        self.statements = statements
        self.deadline = deadline
        connectDeadline = deadline
        self.continuation = continuation
    }

    /// One statement's rows.
    func add(_ result: QueryResult) { results.append(result) }

    /// The first error is the cause; those after it only say that the transaction is over.
    func refuse(_ error: DatabaseError) {
        if failure == nil { failure = error }
    }

    /// The synchronization point was reached.
    func finish() {
        guard let failure else {
            continuation?.resume(returning: results)
            continuation = nil
            return
        }
        fail(failure.endsSession ? Outage(.postgres, failure.description) : failure)
    }

    func fail(_ error: any Error) {
        continuation?.resume(throwing: error)
        continuation = nil
    }
}
