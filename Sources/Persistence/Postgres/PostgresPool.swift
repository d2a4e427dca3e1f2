import EventLoop
import Model

/// Some connections to one database, each of which is made anew whenever it is lost.
@LoopActor
final class PostgresPool {
    private let parameters: ConnectionParameters
    private let timeout: Int64
    private let log: Log
    private let slots: [Slot]
    private var waiting: [Request] = []
    private let expiry = LoopTimer()
    /// When `expiry` fires, at the latest when the least patient of `waiting` stops waiting.
    private var nextExpiry = Int64.max
    private var isRunning = false
    private var lastFailure: Outage?
    /// Told of each new session before anything is sent on it, with how far its database must have come at least, if
    /// that is known; whether anything may be sent. Set before ``start()``.
    var admits: (@LoopActor (DatabaseState, _ reached: Int64?) -> Bool)?
    /// How far the database has come, as far as it was seen.
    var reached: @LoopActor () -> Int64? = { nil }

    /// How many requests may wait for a connection; those beyond are told at once.
    private static let waitingLimit = 10_000
    /// How often a transaction that lost against another one is tried.
    private static let conflictAttempts = 5
    /// How long a request waits for a connection while none can be made.
    private static let outagePatience: Int64 = 1000

    /// A place for a connection.
    @LoopActor
    private final class Slot {
        var connection: PostgresConnection?
        var backoff = Backoff(base: 50, cap: 2000)
        let pause = LoopTimer()
        /// What database this session is with, once it has said so.
        var database: DatabaseState?
        /// Whether requests may be sent on it.
        var isAdmitted = false
        /// What was logged last of it, so that an outage does not fill the log.
        var logged: String?
    }

    /// A pool that does not connect yet. `timeout` bounds both the wait for a connection and the one for an answer.
    init(_ parameters: ConnectionParameters, size: Int, timeout: Int64, log: Log) {
        self.parameters = parameters
        self.timeout = max(1, timeout)
        self.log = log
        slots = (0..<max(1, size)).map { _ in Slot() }
    }

    /// Whether a request would be sent at once.
    var isConnected: Bool { leastLoaded != nil }

    /// Requests that wait for their answer.
    var load: Int { slots.reduce(0) { $0 + ($1.connection?.load ?? 0) } }

    /// Begins to connect, and keeps at it.
    func start() {
        guard !isRunning else { return }
        isRunning = true
        for slot in slots { connect(slot) }
    }

    /// Lets what is in flight finish, and disconnects.
    func stop() async {
        guard isRunning else { return }
        isRunning = false
        for slot in slots { slot.pause.stop() }
        let unsent = waiting
        waiting = []
        for request in unsent { request.fail(Outage(.postgres, "stopped")) }
        for connection in slots.compactMap(\.connection) {
            // A request without statements is answered after all those before it.
            if connection.isReady { _ = try? await perform([], timeout: timeout, by: connection) }
            connection.close("stopped")
        }
    }

    /// Asks the database: the statements succeed or fail together. Answers one result for each.
    ///
    /// A transaction that lost against another one is tried again.
    /// - Throws: ``Outage`` when nobody answers, ``DatabaseError`` when the database refuses.
    func perform(_ statements: Statement..., timeout: Int64? = nil) async throws -> [QueryResult] {
        var backoff = Backoff(base: 5, cap: 200)
        while true {
            do {
                return try await perform(statements, timeout: timeout ?? self.timeout, by: nil)
            } catch let error as DatabaseError where error.isConflict && backoff.attempts + 1 < Self.conflictAttempts {
                await EventLoop.sleep(milliseconds: backoff.next())
            } catch let outage as Outage where outage.isReadOnly && backoff.attempts < slots.count {
                // Nothing was done, and that session is left: the next may be with the server that takes writes by now.
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
    }

    private func perform(
        _ statements: [Statement], timeout: Int64, by connection: PostgresConnection?
    ) async throws -> [QueryResult] {
        try await withCheckedThrowingContinuation { continuation in
            let deadline = EventLoop.monotonicMilliseconds + timeout
            let request = Request(statements, deadline: deadline) { continuation.resume(with: $0) }
            if let connection {
                connection.send(request)
            } else {
                dispatch(request)
            }
        }
    }

    private func dispatch(_ request: Request) {
        guard isRunning else { return request.fail(Outage(.postgres, "not started, or stopped")) }
        if let connection = leastLoaded {
            connection.send(request)
        } else if waiting.count < Self.waitingLimit {
            // While the database is known to be away, waiting long for it helps nobody.
            let patience = lastFailure == nil ? timeout : min(timeout, Self.outagePatience)
            request.connectDeadline = min(request.deadline, EventLoop.monotonicMilliseconds + patience)
            waiting.append(request)
            watchExpiry(of: request.connectDeadline)
        } else {
            request.fail(noConnection("too many requests wait for a connection"))
        }
    }

    private var leastLoaded: PostgresConnection? {
        slots.filter(\.isAdmitted).compactMap(\.connection).filter(\.isReady).min { $0.load < $1.load }
    }

    // MARK: Connections

    private func connect(_ slot: Slot) {
        EventLoop.task {
            do {
                let resolved = try await self.parameters.resolved()
                guard self.isRunning else { return }
                // The slot holds the connection: held by it in turn, neither would ever go.
                slot.connection = PostgresConnection(
                    resolved, timeout: self.timeout,
                    onReady: { [weak self, weak slot] connection in
                        if let slot { self?.connected(slot, connection) }
                    },
                    onClosed: { [weak self, weak slot] _, outage in
                        if let slot { self?.lost(slot, outage) }
                    })
            } catch {
                self.lost(slot, Outage(.postgres, "\(error)"))
            }
        }
    }

    private func connected(_ slot: Slot, _ connection: PostgresConnection) {
        // What is seen of it from now on may be later than its answer.
        let reached = reached()
        setUp(connection) { [weak self, weak slot] database in
            guard let self, let slot, slot.connection === connection else { return }
            slot.database = database
            slot.isAdmitted = self.admits?(database, reached) ?? true
            if !slot.isAdmitted && database.isStandby { return connection.close("the database only follows another") }
            slot.backoff.reset()
            slot.logged = nil
            self.log(.info, "postgres_connected")
            self.dispatchWaiting()
        }
    }

    /// Asks anew which sessions may be used.
    func admit() {
        for slot in slots {
            guard let database = slot.database, slot.connection?.isReady == true else { continue }
            slot.isAdmitted = admits?(database, nil) ?? true
        }
        dispatchWaiting()
    }

    private func dispatchWaiting() {
        guard isConnected else {
            lastFailure = Outage(.postgres, "the database is another than it was, and is being compared")
            return
        }
        lastFailure = nil
        let unsent = waiting
        waiting = []
        for request in unsent { dispatch(request) }
    }

    /// The first request of a session. It also tells which database this is: whoever fails over to another one finds that
    /// out here.
    ///
    /// The server gives up before the client does, so that a slow statement costs an error and not the connection. What
    /// the functions' locking relies on is READ COMMITTED, whatever the database's default.
    private func setUp(_ connection: PostgresConnection, _ ready: @escaping @LoopActor (DatabaseState) -> Void) {
        let setup = Statement(
            """
            select set_config('statement_timeout', $1, false),
                set_config('idle_in_transaction_session_timeout', $1, false),
                set_config('default_transaction_isolation', 'read committed', false)
            """, .text(String(max(1, timeout - timeout / 10))))
        let deadline = EventLoop.monotonicMilliseconds + timeout
        connection.send(
            Request([setup, DatabaseState.question], deadline: deadline) { [weak connection] result in
                switch result {
                case .failure(let error): connection?.close("the session can't be set up: \(error)")
                case .success(let results): ready(DatabaseState(results[1]))
                }
            })
    }

    private func lost(_ slot: Slot, _ outage: Outage) {
        slot.connection = nil
        slot.database = nil
        slot.isAdmitted = false
        guard isRunning else { return }
        lastFailure = outage
        if slot.logged != outage.detail {
            slot.logged = outage.detail
            log(.warning, "postgres_unavailable", ["detail": .text(outage.detail)])
        }
        slot.pause.start(after: slot.backoff.next()) { [weak self] in self?.connect(slot) }
    }

    // MARK: Waiting

    private func watchExpiry(of deadline: Int64) {
        guard deadline < nextExpiry else { return }
        nextExpiry = deadline
        expiry.start(after: deadline - EventLoop.monotonicMilliseconds) { [weak self] in self?.expire() }
    }

    private func expire() {
        nextExpiry = .max
        let now = EventLoop.monotonicMilliseconds
        let expired = waiting.filter { $0.connectDeadline <= now }
        waiting.removeAll { $0.connectDeadline <= now }
        if let earliest = waiting.map(\.connectDeadline).min() { watchExpiry(of: earliest) }
        for request in expired { request.fail(noConnection("no connection in time")) }
    }

    private func noConnection(_ cause: String) -> Outage {
        Outage(.postgres, lastFailure.map { "\(cause); last: \($0.detail)" } ?? cause)
    }
}
