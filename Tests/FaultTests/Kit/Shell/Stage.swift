import EventLoop
import Foundation
import Gateway
import Identity
import Model
import TestServices

/// Where rounds happen: a Redis with an append-only file, a PostgreSQL, and the instances of Dibs.
@LoopActor
final class Stage {
    /// One process of Dibs, which may be another one after a fault.
    @LoopActor
    final class Instance {
        let roles: String
        fileprivate(set) var process: DibsProcess
        /// Where it serves; where it did, while it is gone.
        fileprivate(set) var url: String
        var isGateway: Bool { roles.contains("gateway") }

        init(roles: String, process: DibsProcess) {
            self.roles = roles
            self.process = process
            url = process.url
        }
    }

    /// What an answer of REST was.
    struct Answer: Sendable {
        let status: Int
        let message: FlatMessage
        var isSuccess: Bool { (200..<300).contains(status) }
        var code: String { message["code"] ?? "" }
        /// Whether asking again may help.
        var isTransient: Bool { status == 503 || status == 429 || status >= 500 }
    }

    /// What stands between an instance and its servers.
    struct Links {
        let redis: FaultProxy
        let postgres: FaultProxy
    }

    private(set) var redis: RedisServer
    let postgres: PostgresServer
    let database: String
    private(set) var probe: RedisProbe
    /// One for each instance.
    private(set) var links: [Links] = []
    /// Whether it can't be used for another round: Redis is not the one that was set up.
    private(set) var isUsedUp = false
    private(set) var instances: [Instance] = []
    private let environment: [String: String]
    private let adminKey = "admin-" + UUID().uuidString
    private let serviceKey = "service-" + UUID().uuidString
    private let issuer: TokenIssuer

    /// What each instance does. The first does everything; the second only serves; the third serves nobody.
    static let roles = ["gateway,scheduler,committer", "gateway", "scheduler,committer"]
    /// Connections that PostgreSQL takes: few, so that they can be used up.
    static let databaseConnections = 60

    static func open(_ changes: [String: String] = [:]) async throws -> Stage {
        var options = RedisServer.Options()
        options.isPersistent = true
        let redis = try await RedisServer.start(options)
        let postgres = try await PostgresServer.launch()
        let database = try await postgres.makeDatabase()
        _ = try await Self.psql(database, "alter system set max_connections = \(databaseConnections)")
        try await postgres.stop()
        try await postgres.start()
        let stage = Stage(redis, postgres, database, changes)
        for (index, roles) in Self.roles.enumerated() {
            let links = try Links(redis: .redis(redis.socketPath), postgres: .postgres(postgres.socketPath))
            stage.links.append(links)
            let process = try await stage.launch(index)
            stage.instances.append(Instance(roles: roles, process: process))
        }
        return stage
    }

    private init(
        _ redis: RedisServer, _ postgres: PostgresServer, _ database: String, _ changes: [String: String]
    ) {
        self.redis = redis
        self.postgres = postgres
        self.database = database
        let secret = "secret-" + UUID().uuidString
        issuer = TokenIssuer(secret: secret)
        probe = RedisProbe { redis.socketPath }
        environment = [
            "DIBS_LISTEN": "127.0.0.1:0",
            "DIBS_ADMIN_KEY": adminKey, "DIBS_SERVICE_KEY": serviceKey, "DIBS_JWT_SECRET": secret,
            "DIBS_RATE_LIMIT": "off", "DIBS_LOG_LEVEL": "info",
        ].merging(changes) { $1 }
    }

    private func launch(_ index: Int) async throws -> DibsProcess {
        var environment = environment
        environment["DIBS_ROLES"] = Self.roles[index]
        environment["DIBS_REDIS_URL"] = links[index].redis.redisURL
        let name = database.split(separator: "=").last.map(String.init) ?? ""
        environment["DIBS_DATABASE_URL"] = links[index].postgres.connectionString(database: name)
        return try await DibsProcess.serve(environment: environment)
    }

    /// A replica that has missed the writes of so many milliseconds takes over.
    func failOver(missing milliseconds: Int64) async throws {
        let replica = try await redis.makeReplica()
        try await replica.stopFollowing()
        await EventLoop.sleep(milliseconds: milliseconds)
        await redis.kill()
        try await replica.promote()
        redis = replica
        isUsedUp = true
        probe.close()
        probe = RedisProbe { replica.socketPath }
        for link in links {
            link.redis.target = .unix(path: replica.socketPath)
            link.redis.cut()
        }
    }

    /// Starts an instance again that has ended; returns when it is ready.
    func restart(_ index: Int) async throws {
        let process = try await launch(index)
        instances[index].process = process
        instances[index].url = process.url
    }

    /// Ends everything.
    func close() async {
        for instance in instances { instance.process.signal(SIGKILL) }
        for instance in instances { _ = try? await instance.process.waitForExit() }
        probe.close()
        for link in links {
            link.redis.close()
            link.postgres.close()
        }
        await redis.kill()
        try? await postgres.kill()
    }

    /// The places of those that serve clients.
    var gateways: [Int] { instances.indices.filter { instances[$0].isGateway } }

    // MARK: asking

    /// Who asks.
    enum Who {
        case admin
        case service
        case client(String)
    }

    /// A client's token, as a shop's own backend makes it.
    func token(_ client: String) -> String {
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        return issuer.issue(ClientID(trusted: client), lifetimeSeconds: 7200, at: now).token
    }

    /// Makes a call; nil when there is no answer.
    func call(
        _ method: HTTPMethod, _ path: String, as who: Who, _ body: JSON? = nil, headers: [String: String] = [:],
        on instance: Int = 0, timeout: Int64 = 6000
    ) async -> Answer? {
        var all = headers.map { (name: $0.key, value: $0.value) }
        switch who {
        case .admin: all.append((name: "authorization", value: "Bearer " + adminKey))
        case .service: all.append((name: "authorization", value: "Bearer " + serviceKey))
        case .client(let client): all.append((name: "authorization", value: "Bearer " + token(client)))
        }
        if body != nil { all.append((name: "content-type", value: "application/json")) }
        guard
            let raw = try? await HTTPClient.request(
                method, instances[instance].url + path, headers: all, body: body?.bytes, timeout: timeout),
            let message = FlatMessage(raw.body)
        else { return nil }
        return Answer(status: raw.status, message: message)
    }

    /// Asks the database, past the server.
    /// - Returns: The rows, a line each, columns separated by `|`.
    @discardableResult
    func sql(_ query: String) async throws -> [String] { try await Self.psql(database, query) }

    private static func psql(_ database: String, _ query: String) async throws -> [String] {
        try await Program.run(
            "/usr/bin/psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", query]
        ).split(separator: "\n").map(String.init)
    }
}

/// Something that the harness itself could not do.
struct StageFailure: Error, CustomStringConvertible {
    let description: String
}
