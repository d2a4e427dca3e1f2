import Engine
import EventLoop
import Identity
import Model
import Persistence

/// Everything that a request may need, made once.
@LoopActor
final class Services {
    let configuration: Configuration
    let log: Log
    let engine: Engine
    let store: Store
    let metrics: Metrics
    let rates: RateLimits
    let verification: Verification
    let databaseVerifier: DatabaseVerifier
    let performanceVerifier: PerformanceVerifier
    let directory: SaleDirectory
    let performances: PerformanceDirectory
    let roomDirectory: RoomDirectory
    let rooms: RoomService
    let claims: ClaimService
    let unconfirmed: Unconfirmed
    let recall: Recall
    let orders: OrderService
    let seats: SeatService
    let payments: PaymentService
    let statistics: StatisticsService
    let auditor: Auditor
    let auditWatch: AuditWatch
    let accounts: AccountService
    let credentials: CredentialsChecker
    /// What `readyz` says, besides whether Redis and PostgreSQL answer.
    enum Phase {
        /// The schema may be older than the program.
        case starting
        case serving
        /// After SIGTERM: a load balancer should look elsewhere.
        case draining
    }

    /// Where the process is in its life.
    var phase = Phase.starting

    init(_ configuration: Configuration, log: Log) throws {
        self.configuration = configuration
        self.log = log
        engine = Engine(
            EngineConfiguration(
                url: configuration.redis, outcomeLimit: configuration.outcomeLimit,
                outcomeSeconds: configuration.outcomeSeconds, replyTimeoutMilliseconds: configuration.redisTimeout),
            log: log)
        store = try Store(
            StoreConfiguration(
                connectionString: configuration.database, poolSize: configuration.databasePool,
                requestTimeoutMilliseconds: configuration.databaseTimeout,
                commitAttempts: configuration.commitAttempts),
            log: log)
        metrics = Metrics()
        databaseVerifier = DatabaseVerifier(engine: engine, store: store, log: log)
        metrics.gauges += databaseVerifier.gauges
        rates = RateLimits(configuration.rates, trusted: configuration.trustedProxies, metrics: metrics)
        verification = Verification(engine: engine, log: log)
        engine.mayAdmit = { [verification] in verification.isDone }
        unconfirmed = Unconfirmed(engine: engine, log: log) { [verification] in verification.isDone }
        directory = SaleDirectory(engine: engine, store: store, verification: verification, log: log)
        performances = PerformanceDirectory(engine: engine, store: store, verification: verification, log: log)
        performanceVerifier = PerformanceVerifier(engine: engine, store: store, directory: performances, log: log)
        roomDirectory = RoomDirectory(engine: engine, store: store, sales: directory, log: log)
        rooms = RoomService(
            engine: engine, store: store, directory: roomDirectory, verification: verification, log: log)
        recall = Recall(engine: engine, store: store, unconfirmed: unconfirmed, rooms: rooms, log: log)
        verification.steps = [
            { [databaseVerifier] _ in try await databaseVerifier.wait() },
            recall.bringIn, directory.verify, performanceVerifier.verify,
            { [recall] _ in try await recall.resumeLines() },
        ]
        claims = ClaimService(
            engine: engine, directory: directory, verification: verification, rooms: rooms,
            unconfirmed: unconfirmed, metrics: metrics)
        directory.onRoomSaleChanged = { [weak roomDirectory] in try await roomDirectory?.salesChanged(of: $0) }
        performances.onRegistered = { [weak roomDirectory] in try await roomDirectory?.salesChanged(of: $0.room) }
        orders = OrderService(
            engine: engine, store: store, directory: directory, verification: verification, log: log)
        seats = SeatService(
            engine: engine, store: store, directory: performances, rooms: rooms, verification: verification,
            unconfirmed: unconfirmed, metrics: metrics, log: log)
        payments = PaymentService(seats: seats)
        statistics = StatisticsService(engine: engine, store: store, directory: directory, log: log)
        directory.flushCounts = { [weak statistics] in await statistics?.flush() }
        auditor = Auditor(engine: engine, store: store, directory: directory, performances: performances)
        auditWatch = AuditWatch(auditor: auditor, verification: verification, metrics: metrics, log: log)
        credentials = CredentialsChecker(
            Credentials(
                adminKey: configuration.adminKey, serviceKey: configuration.serviceKey,
                verifier: TokenVerifier(secret: configuration.jwtSecret)),
            engine: engine, store: store, log: log)
        accounts = AccountService(
            store: store, engine: engine, credentials: credentials,
            issuer: TokenIssuer(secret: configuration.jwtSecret),
            hasher: PasswordHasher(), tokenSeconds: configuration.tokenSeconds, log: log)
    }

    /// The moment, by this machine's clock.
    var now: Timestamp { Timestamp(milliseconds: EventLoop.wallMilliseconds) }
}
