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
    private var answer: (@LoopActor (Result<[QueryResult], any Error>) -> Void)?

    /// A request whose results, or whose error, `answer` gets once.
    init(
        _ statements: [Statement], deadline: Int64,
        answer: @escaping @LoopActor (Result<[QueryResult], any Error>) -> Void
    ) {
        self.statements = statements
        self.deadline = deadline
        connectDeadline = deadline
        self.answer = answer
    }

    /// One statement's rows.
    func add(_ result: QueryResult) { results.append(result) }

    /// The first error is the cause; those after it only say that the transaction is over.
    func refuse(_ error: DatabaseError) {
        if failure == nil { failure = error }
    }

    /// The synchronization point was reached.
    func finish() {
        guard let failure else { return complete(.success(results)) }
        fail(failure.endsSession ? Outage(.postgres, failure.description) : failure)
    }

    func fail(_ error: any Error) { complete(.failure(error)) }

    private func complete(_ result: Result<[QueryResult], any Error>) {
        let answer = answer
        self.answer = nil
        answer?(result)
    }
}
