import EventLoop
import Model

/// How to reach PostgreSQL, and how patient to be.
public struct StoreConfiguration: Sendable {
    /// A libpq connection string or URI. A secret.
    public var connectionString: String
    /// Connections for everything but committing.
    public var poolSize: Int
    /// Connections that only the committer uses, so that nobody waits behind its batches.
    public var committerConnections: Int
    /// How long a request waits for a connection and its answer.
    public var requestTimeoutMilliseconds: Int64
    /// How often an order that the database refuses is tried before it goes to the dead-letter list.
    public var commitAttempts: Int

    /// A configuration with the defaults for all but the connection.
    public init(
        connectionString: String, poolSize: Int = 4, committerConnections: Int = 2,
        requestTimeoutMilliseconds: Int64 = 5000, commitAttempts: Int = 5
    ) {
        self.connectionString = connectionString
        self.poolSize = poolSize
        self.committerConnections = committerConnections
        self.requestTimeoutMilliseconds = requestTimeoutMilliseconds
        self.commitAttempts = commitAttempts
    }
}

/// The truth that lasts: everything that Dibs keeps in PostgreSQL.
///
/// Everything throws ``Outage`` when PostgreSQL can't be asked or doesn't answer in time, in which case it is not known
/// whether a change happened; each change can be asked for again. It throws ``DatabaseError`` when PostgreSQL says no,
/// in which case nothing happened.
@LoopActor
public final class Store {
    let pool: PostgresPool
    let committer: PostgresPool
    let configuration: StoreConfiguration
    let log: Log
    /// Told when a session is with another database than the one that was accepted, or with one that has gone back: it
    /// may have lost commits. Until ``accept(_:)`` nothing is committed to it. When this is nil, any database will do.
    /// Set before ``start()``.
    public var onOtherDatabase: (@LoopActor (DatabaseState) -> Void)?
    /// The database that commits may go to, as far as it was seen.
    public private(set) var database: DatabaseState?

    /// How long what reads or changes much may take: rebuilding, auditing.
    static let patience: Int64 = 60_000
    /// How long a migration may take, with the wait for another process that migrates.
    static let migrationPatience: Int64 = 3_600_000

    /// A store that does not connect yet.
    /// - Throws: ``ConnectionStringError``.
    public init(_ configuration: StoreConfiguration, log: Log) throws {
        let parameters = try ConnectionParameters(configuration.connectionString)
        self.configuration = configuration
        self.log = log
        let timeout = configuration.requestTimeoutMilliseconds
        pool = PostgresPool(parameters, size: configuration.poolSize, timeout: timeout, log: log)
        committer = PostgresPool(parameters, size: configuration.committerConnections, timeout: timeout, log: log)
    }

    /// Looks at a connection string without connecting.
    /// - Throws: ``ConnectionStringError``, which repeats no part of it.
    public nonisolated static func validate(connectionString: String) throws {
        _ = try ConnectionParameters(connectionString)
    }

    /// Begins to connect, and reconnects whenever that is needed.
    public func start() {
        pool.admits = { [weak self] in
            self?.look(at: $0, reached: $1)
            return true
        }
        committer.admits = { [weak self] in self?.look(at: $0, reached: $1) ?? false }
        for pool in [pool, committer] { pool.reached = { [weak self] in self?.database?.position } }
        pool.start()
        committer.start()
    }

    /// Whether a database is the accepted one, and has come as far as it had.
    @discardableResult
    private func look(at state: DatabaseState, reached: Int64?) -> Bool {
        guard let onOtherDatabase else { return true }
        guard let database, state.isSame(as: database), state.position >= reached ?? 0 else {
            onOtherDatabase(state)
            return false
        }
        self.reached(state.position)
        return true
    }

    /// Commits may go to this database from now on.
    public func accept(_ state: DatabaseState) {
        database = state
        committer.admit()
    }

    /// The database has come so far, which it may not go back behind.
    func reached(_ position: Int64) {
        guard let known = database?.position, known < position else { return }
        database?.position = position
    }

    /// Lets what is in flight finish, and disconnects for good.
    public func stop() async {
        await committer.stop()
        await pool.stop()
    }

    /// Whether a request would be sent at once. Whether it would be answered, ``ping()`` tells.
    public var isConnected: Bool { pool.isConnected }

    /// Asks PostgreSQL for nothing but an answer.
    public func ping() async throws { _ = try await pool.perform(Statement("select")) }

    /// Brings the database to the schema of this program. Any number of processes may do so at once.
    /// - Returns: the names of the migrations that this call applied.
    /// - Throws: ``MigrationError`` when the database has another history, or a newer schema.
    public func migrate() async throws -> [String] {
        let applied = try await Migrator(pool: pool, migrations: Migration.all).run()
        for name in applied { log(.info, "migration_applied", ["name": .text(name)]) }
        return applied
    }

    /// A time to add to a moment or to take from it, no longer than PostgreSQL's calendar can bear: 5,000 years, which
    /// is more than between any two moments that are kept and now (``PostgresType``).
    static func span(milliseconds: Int64) -> Parameter {
        let longest: Int64 = 5000 * 366 * 86_400_000
        return .integer(min(max(milliseconds, -longest), longest))
    }

    /// Within its transaction, lets each later statement take longer than usual.
    static let withPatience = Statement(
        "select set_config('statement_timeout', $1, true)", .text(String(patience)))
}
