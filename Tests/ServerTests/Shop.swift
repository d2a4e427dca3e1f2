import EventLoop
import Foundation
import Gateway
import Identity
import Model
import TestServices
import Testing

/// Everything that a sale takes, of a test's own: a Redis, a database, and one or more `dibs serve` on free ports.
@LoopActor
final class Shop {
    /// What a test wants to be different.
    struct Options: Sendable {
        /// How many processes serve.
        var instances = 1
        /// Variables of all of them.
        var environment: [String: String] = [:]
        var redis = RedisServer.Options()
        /// Whether PostgreSQL is one that the test may stop.
        var hasOwnPostgres = false
        /// How that one is set up; with a small file system its database is there.
        var postgres = PostgresServer.Options()
        /// Whether the processes reach Redis, or PostgreSQL, through a proxy that a test may do something to.
        var redisByProxy = false
        var postgresByProxy = false
    }

    let redis: RedisServer
    let postgres: PostgresServer
    /// The database by which a test looks: it goes by no proxy.
    var database: String
    private let redisProxied: FaultProxy?
    private let postgresProxied: FaultProxy?
    private(set) var instances: [DibsProcess] = []
    /// Every one that was ever started.
    private var processes: [DibsProcess] = []
    let environment: [String: String]
    /// What must never be in a log: keys, passwords, and every token that was made or given out.
    private var secrets: Set<String> = []
    private var issuer: TokenIssuer

    let adminKey = "admin-" + UUID().uuidString
    let serviceKey = "service-" + UUID().uuidString
    let jwtSecret = "secret-" + UUID().uuidString

    init(_ options: Options) async throws {
        issuer = TokenIssuer(secret: jwtSecret)
        redis = try await RedisServer.start(options.redis)
        postgres =
            try await options.hasOwnPostgres ? PostgresServer.launch(options.postgres) : PostgresServer.shared()
        if options.postgres.smallSpaceMegabytes > 0 {
            try await postgres.makeSmallSpace()
            database = try await postgres.makeDatabase(tablespace: "small")
        } else {
            database = try await postgres.makeDatabase()
        }
        redisProxied = options.redisByProxy ? try FaultProxy.redis(redis.socketPath) : nil
        postgresProxied = options.postgresByProxy ? try FaultProxy.postgres(postgres.socketPath) : nil
        let name = String(database[database.range(of: "dbname=")!.upperBound...])
        let password = options.redis.password
        environment = [
            "DIBS_LISTEN": "127.0.0.1:0", "DIBS_REDIS_URL": redisProxied?.redisURL ?? redis.url,
            "DIBS_DATABASE_URL": postgresProxied?.connectionString(database: name) ?? database,
            "DIBS_ADMIN_KEY": adminKey, "DIBS_SERVICE_KEY": serviceKey, "DIBS_JWT_SECRET": jwtSecret,
            "DIBS_RATE_LIMIT": "off", "DIBS_LOG_LEVEL": "debug",
        ].merging(options.environment) { $1 }
        secrets = [adminKey, serviceKey, jwtSecret]
        if let password { secrets.insert(password) }
        for _ in 0..<options.instances { try await start() }
    }

    /// What is between the processes and Redis.
    var redisProxy: FaultProxy { redisProxied! }
    /// What is between the processes and PostgreSQL.
    var postgresProxy: FaultProxy { postgresProxied! }

    /// Starts one more process; returns its place among ``instances``.
    @discardableResult
    func start(_ changes: [String: String] = [:], workers: Int = 1, wrapper: [String] = []) async throws -> Int {
        let process = try await DibsProcess.serve(
            workers: workers, environment: environment.merging(changes) { $1 }, wrapper: wrapper)
        instances.append(process)
        processes.append(process)
        return instances.count - 1
    }

    /// Starts a process in the place of one that has ended.
    func restart(_ instance: Int, _ changes: [String: String] = [:]) async throws {
        try await start(changes)
        instances[instance] = instances.removeLast()
    }

    /// Runs `dibs` with this shop's environment, and does not wait.
    func run(_ arguments: [String], _ changes: [String: String] = [:]) throws -> DibsProcess {
        let process = try DibsProcess(arguments, environment: environment.merging(changes) { $1 })
        processes.append(process)
        return process
    }

    /// Ends all in order: SIGTERM ends a process with 0, whatever it was doing.
    func close() async throws {
        let running = instances.filter { !$0.hasEnded }
        for process in running { process.signal(SIGTERM) }
        for process in running {
            #expect(try await process.waitForExit() == ChildProcess.Exit(status: 0, signal: 0))
        }
        await redis.kill()
        checkLogs()
    }

    /// Ends all that a failed test has left.
    func abandon() async {
        for process in processes { process.signal(SIGKILL) }
        for process in processes { _ = try? await process.waitForExit() }
        await redis.kill()
    }

    /// Every line of every log is a JSON object with the time, the level and the event, and tells no secret.
    func checkLogs() {
        let levels = Set(LogLevel.allCases.map(\.rawValue))
        let names = /[{,]"([A-Za-z]+)":/
        for process in processes {
            for line in process.log.items {
                let members = line.text.matches(of: names).map(\.output.1)
                #expect(members.count >= 3 && Set(members).count == members.count, "\(line)")
                #expect(Timestamp(rfc3339: line.json["time"].text ?? "") != nil, "\(line)")
                #expect(levels.contains(line.json["level"].text ?? ""), "\(line)")
                #expect(line.json["event"].text?.isEmpty == false, "\(line)")
            }
            let told = process.output + process.errors
            for secret in secrets where told.contains(where: { $0.contains(secret) }) {
                Issue.record("a log tells \(secret): \(told.first { $0.contains(secret) } ?? "")")
            }
        }
    }

    /// Notes what must not be in a log.
    func keepSecret(_ secret: String) { secrets.insert(secret) }

    /// A client's token, as a shop's own backend makes it.
    func token(_ client: String, seconds: Int64 = 3600) -> String {
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        let token = issuer.issue(ClientID(trusted: client), lifetimeSeconds: seconds, at: now).token
        keepSecret(token)
        return token
    }

    /// Asks the database.
    /// - Returns: The rows, a line each, columns separated by `|`.
    @discardableResult
    func sql(_ query: String) async throws -> String {
        try await Program.run(
            "/usr/bin/psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", query])
    }
}

/// Runs a test on the loop, with a shop of its own, which is closed in order at the end.
func withShop(
    _ instances: Int = 1, _ environment: [String: String] = [:],
    options change: @escaping @Sendable (inout Shop.Options) -> Void = { _ in },
    _ body: @escaping @Sendable @LoopActor (Shop) async throws -> Void
) async throws {
    var options = Shop.Options(instances: instances, environment: environment)
    change(&options)
    let decided = options
    try await onLoop {
        await Turnstile.shops.enter()
        defer { Turnstile.shops.leave() }
        let shop = try await Shop(decided)
        do {
            try await body(shop)
            try await shop.close()
        } catch {
            await shop.abandon()
            throw error
        }
    }
}

/// Runs a test's body on the loop, which runs on a thread of its own.
func onLoop(_ body: @escaping @Sendable @LoopActor () async throws -> Void) async throws {
    EventLoop.startInBackground()
    try await EventLoop.task { () async -> Result<Void, any Error> in
        do { return .success(try await body()) } catch { return .failure(error) }
    }.value.get()
}

/// Does something many times at once; the results in order.
@LoopActor
func concurrently<Value: Sendable>(
    _ count: Int, _ body: @escaping @Sendable @LoopActor (Int) async throws -> Value
) async throws -> [Value] {
    let tasks = (0..<count).map { index in
        EventLoop.task { () async -> Result<Value, any Error> in
            do { return .success(try await body(index)) } catch { return .failure(error) }
        }
    }
    var values: [Value] = []
    for task in tasks { values.append(try await task.value.get()) }
    return values
}

/// Lets so many in at a time: tests run all at once, and a machine has few cores.
@LoopActor
private final class Turnstile {
    static let shops = Turnstile(places: 6)

    private var places: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(places: Int) { self.places = places }

    func enter() async {
        if places > 0 {
            places -= 1
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }

    func leave() {
        if waiting.isEmpty { places += 1 } else { waiting.removeFirst().resume() }
    }
}
