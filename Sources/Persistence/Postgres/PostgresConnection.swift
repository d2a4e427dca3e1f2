import CPostgres
import EventLoop
import Model

/// The life of one session: connecting, then any number of requests in flight at once, then gone for good.
///
/// libpq is in pipeline mode: requests are sent without waiting for the answers of those before. Each ends with a
/// synchronization point, at which libpq 15 writes to the socket by itself, so there is nothing to put off to the end of
/// a turn; what the socket does not take then is written as it becomes writable.
@LoopActor
final class PostgresConnection {
    private enum State {
        case connecting
        case ready
        case closed
    }

    private var state = State.connecting
    private var connection: OpaquePointer?
    private var watcher: DescriptorWatcher?
    private var inFlight: [Request] = []
    private let deadlines = LoopTimer()
    private var nextDeadline = Int64.max
    private let onReady: @LoopActor (PostgresConnection) -> Void
    private let onClosed: @LoopActor (PostgresConnection, Outage) -> Void

    /// Begins to connect. `onReady` is called when requests can be sent, `onClosed` once in the end, whatever happened
    /// and never from within this call.
    init(
        _ parameters: ConnectionParameters, timeout: Int64,
        onReady: @escaping @LoopActor (PostgresConnection) -> Void,
        onClosed: @escaping @LoopActor (PostgresConnection, Outage) -> Void
    ) {
        self.onReady = onReady
        self.onClosed = onClosed
        connection = parameters.start()
        deadlines.start(after: timeout) { [weak self] in self?.close("no connection within \(timeout) ms") }
        guard let connection, PQstatus(connection) != CONNECTION_BAD else {
            Turn.atEnd(.merge) { self.closeForError() }
            return
        }
        // What the server says besides its answers would go to the standard error otherwise.
        PQsetNoticeReceiver(connection, { _, _ in }, nil)
        watchWhileConnecting(PGRES_POLLING_WRITING)
    }

    isolated deinit {
        watcher?.close()
        if let connection { PQfinish(connection) }
    }

    /// Whether requests can be sent.
    var isReady: Bool { if case .ready = state { true } else { false } }

    /// Requests that wait for their answer.
    var load: Int { inFlight.count }

    /// Sends a request; its answer, or its failure, comes by itself.
    func send(_ request: Request) {
        precondition(isReady, "sending on a connection that is not ready")
        inFlight.append(request)
        for statement in request.statements where !statement.send(on: connection!) { return closeForError() }
        guard PQpipelineSync(connection) == 1 else { return closeForError() }
        watchDeadline(request.deadline)
        flush()
    }

    /// Ends the session. What was in flight fails, and whether it happened is not known.
    func close(_ cause: String) {
        guard state != .closed else { return }
        let wasReady = isReady
        state = .closed
        deadlines.stop()
        watcher?.close()
        watcher = nil
        if let connection { PQfinish(connection) }
        connection = nil
        let lost = inFlight
        inFlight = []
        let outage = Outage(.postgres, cause)
        for request in lost {
            request.fail(Outage(.postgres, "\(cause); whether the request in flight happened is not known"))
        }
        onClosed(self, wasReady ? Outage(.postgres, "connection lost: \(cause)") : outage)
    }

    private func closeForError() {
        let message = connection.map { singleLine(String(cString: PQerrorMessage($0))) } ?? "out of memory"
        close(message.isEmpty ? "the connection ended" : message)
    }

    // MARK: Connecting

    /// libpq may try several addresses, each with a socket of its own that often gets the number of the one before: so
    /// each step has a new watcher, closed before libpq gets the chance to close the descriptor.
    private func watchWhileConnecting(_ wanted: PostgresPollingStatusType) {
        let watcher = DescriptorWatcher(descriptor: PQsocket(connection)) { [weak self] _ in self?.goOnConnecting() }
        watcher.watch(wanted == PGRES_POLLING_READING ? .readable : .writable)
        self.watcher = watcher
    }

    private func goOnConnecting() {
        watcher?.close()
        let status = PQconnectPoll(connection)
        switch status {
        case PGRES_POLLING_READING, PGRES_POLLING_WRITING: watchWhileConnecting(status)
        case PGRES_POLLING_OK: connected()
        default: closeForError()
        }
    }

    private func connected() {
        guard PQsetnonblocking(connection, 1) == 0, PQenterPipelineMode(connection) == 1 else {
            return closeForError()
        }
        deadlines.stop()
        state = .ready
        watcher = DescriptorWatcher(descriptor: PQsocket(connection)) { [weak self] readiness in
            self?.ready(readiness)
        }
        watcher?.watch(.readable)
        onReady(self)
    }

    // MARK: Sending and receiving

    private func flush() {
        switch PQflush(connection) {
        case 0: watcher?.watch(.readable)
        case 1: watcher?.watch([.readable, .writable])
        default: closeForError()
        }
    }

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.readable) {
            guard PQconsumeInput(connection) == 1 else { return closeForError() }
            receive()
        }
        // Closed, or what was received let more be sent.
        guard isReady else { return }
        flush()
    }

    /// Takes the results that are complete. Between the results of two statements libpq answers nil once; twice means
    /// that there is nothing more.
    private func receive() {
        var gaps = 0
        while isReady, gaps < 2, PQisBusy(connection) == 0 {
            guard let result = PQgetResult(connection) else {
                gaps += 1
                continue
            }
            gaps = 0
            take(result)
        }
    }

    private func take(_ result: OpaquePointer) {
        guard let request = inFlight.first else {
            // An error that nobody asked for: the server is ending the session.
            let error = DatabaseError(of: result)
            PQclear(result)
            return close(error.description)
        }
        switch PQresultStatus(result) {
        case PGRES_PIPELINE_SYNC:
            PQclear(result)
            inFlight.removeFirst()
            request.finish()
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
            request.add(QueryResult(adopting: result))
        case PGRES_PIPELINE_ABORTED:
            PQclear(result)
        default:
            let error = DatabaseError(of: result)
            PQclear(result)
            request.refuse(error)
            if error.endsSession { close(error.description) }
        }
    }

    // MARK: Deadlines

    /// A server that answers nothing is left, so that nobody waits for it longer than they wanted to.
    private func watchDeadline(_ deadline: Int64) {
        guard deadline < nextDeadline else { return }
        nextDeadline = deadline
        deadlines.start(after: deadline - EventLoop.monotonicMilliseconds) { [weak self] in self?.checkDeadlines() }
    }

    private func checkDeadlines() {
        nextDeadline = .max
        // The loop looks at timers before it looks at sockets: after a long turn, answers may be there that nobody read.
        guard PQconsumeInput(connection) == 1 else { return closeForError() }
        receive()
        guard isReady else { return }
        guard let earliest = inFlight.map(\.deadline).min() else { return }
        if earliest <= EventLoop.monotonicMilliseconds { return close("no answer in time") }
        watchDeadline(earliest)
    }
}
