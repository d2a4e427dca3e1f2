import Engine
import Foundation
import Gateway
import Model
import Persistence

/// What an operator decides, from the environment. Checked as a whole at start.
public struct Configuration: Sendable {
    /// What a process does.
    public enum Role: String, Sendable, CaseIterable {
        /// Serves clients.
        case gateway
        /// Sweeps, flushes statistics, finishes what a dead process left.
        case scheduler
        /// Writes orders to PostgreSQL.
        case committer
    }

    /// Whether a supervisor started this process: it shares the port with others, and ends when the supervisor has.
    public let isWorker: Bool
    /// Where to listen.
    public var address: String
    /// The port; 0 takes a free one.
    public var port: Int
    /// Redis.
    public var redis: RedisURL
    /// PostgreSQL, as libpq takes it.
    public var database: String
    /// The admin's key.
    public var adminKey: String
    /// The shop's key.
    public var serviceKey: String
    /// Signs client tokens.
    public var jwtSecret: String
    /// The page's folder; nil when there is none.
    public var webRoot: String?
    /// Processes on the port.
    public var workers: Int
    /// What this process does.
    public var roles: Set<Role>
    /// The least level that is logged.
    public var logLevel: LogLevel
    /// Whether clients and addresses are limited.
    public var limitsRates: Bool
    /// By how much.
    public var rates: RateConfiguration
    /// Connections of one address on one process; nil: any number.
    public var maxConnectionsPerAddress: Int?
    /// Proxies whose `X-Forwarded-For` is believed.
    public var trustedProxies: [AddressRange]
    /// Whose pages may use the WebSocket and REST.
    public var origins: OriginRule
    /// The certificate and its key; nil: no TLS.
    public var tls: TLSFiles?
    /// For how long browsers are told to come by TLS only, in seconds; 0: not at all.
    public var hstsSeconds: Int
    /// Connections of one process; nil: by open files.
    public var maxConnections: Int?
    /// WebSockets of one client on one process.
    public var maxConnectionsPerClient: Int
    /// Seconds in which a WebSocket has to send `connect`.
    public var connectSeconds: Int64
    /// Seconds of silence after which a WebSocket is pinged.
    public var pingSeconds: Int64
    /// Seconds that SIGTERM gives.
    public var drainSeconds: Int64
    /// Life of a client token that Dibs issues, in seconds.
    public var tokenSeconds: Int64
    /// Outcomes kept for each client.
    public var outcomeLimit: Int
    /// Seconds for which they are kept.
    public var outcomeSeconds: Int64
    /// Milliseconds to wait for Redis.
    public var redisTimeout: Int64
    /// Milliseconds to wait for PostgreSQL.
    public var databaseTimeout: Int64
    /// Connections to PostgreSQL for requests.
    public var databasePool: Int
    /// Most orders in one transaction.
    public var commitBatch: Int
    /// Tries of an order that the database refuses.
    public var commitAttempts: Int

    /// Variables that look like ours and aren't: a misspelt one would be ignored silently, so they are logged.
    public var unknownVariables: [String]

    /// Everything that is wrong with the environment, each with the variable's name.
    public struct Problems: Error, CustomStringConvertible {
        /// One sentence each.
        public let messages: [String]
        /// One a line.
        public var description: String { messages.joined(separator: "\n") }
    }

    /// Reads and checks the environment.
    /// - Throws: ``Problems`` with all that is wrong, not just the first.
    public init(environment: [String: String]) throws(Problems) {
        var reader = EnvironmentReader(environment: environment)
        isWorker = environment["DIBS_WORKER"] != nil
        (address, port) = reader.listen("DIBS_LISTEN")
        redis = reader.redis("DIBS_REDIS_URL")
        database = reader.database("DIBS_DATABASE_URL")
        adminKey = reader.secret("DIBS_ADMIN_KEY")
        serviceKey = reader.secret("DIBS_SERVICE_KEY")
        jwtSecret = reader.secret("DIBS_JWT_SECRET")
        webRoot = reader.folder("DIBS_WEB_ROOT")
        workers = Int(reader.number("DIBS_WORKERS", 1...64))
        roles = reader.roles("DIBS_ROLES")
        logLevel = reader.choice("DIBS_LOG_LEVEL", LogLevel.allCases, or: .info)
        limitsRates = reader.choice("DIBS_RATE_LIMIT", Switch.allCases, or: .on) == .on
        rates = reader.rates(areOn: limitsRates)
        let perAddress = Int(reader.number("DIBS_ADDRESS_CONNECTIONS", 0...1_000_000))
        maxConnectionsPerAddress = limitsRates && perAddress > 0 ? perAddress : nil
        trustedProxies = reader.networks("DIBS_TRUSTED_PROXIES")
        origins = reader.origins("DIBS_ALLOWED_ORIGINS")
        tls = reader.tls("DIBS_TLS_CERTIFICATE", "DIBS_TLS_KEY")
        hstsSeconds = Int(reader.number("DIBS_HSTS_SECONDS", 0...63_072_000))
        let connections = reader.number("DIBS_MAX_CONNECTIONS", 0...1_000_000)
        maxConnections = connections == 0 ? nil : Int(connections)
        let perClient = Int(reader.number("DIBS_MAX_CONNECTIONS_PER_CLIENT", 1...10_000))
        let isSaid = environment["DIBS_MAX_CONNECTIONS_PER_CLIENT"]?.isEmpty == false
        maxConnectionsPerClient = limitsRates || isSaid ? perClient : .max
        connectSeconds = reader.number("DIBS_CONNECT_SECONDS", 1...3600)
        pingSeconds = reader.number("DIBS_PING_SECONDS", 1...3600)
        drainSeconds = reader.number("DIBS_DRAIN_SECONDS", 0...3600)
        tokenSeconds = reader.number("DIBS_TOKEN_SECONDS", 60...31_536_000)
        outcomeLimit = Int(reader.number("DIBS_OUTCOME_LIMIT", 8...10_000))
        outcomeSeconds = reader.number("DIBS_OUTCOME_SECONDS", 60...31_536_000)
        redisTimeout = reader.number("DIBS_REDIS_TIMEOUT_MS", 50...60_000)
        databaseTimeout = reader.number("DIBS_DATABASE_TIMEOUT_MS", 50...600_000)
        databasePool = Int(reader.number("DIBS_DATABASE_POOL", 1...64))
        commitBatch = Int(reader.number("DIBS_COMMIT_BATCH", 1...10_000))
        commitAttempts = Int(reader.number("DIBS_COMMIT_ATTEMPTS", 1...100))
        if !reader.secretsDiffer {
            reader.problems.append("DIBS_ADMIN_KEY, DIBS_SERVICE_KEY and DIBS_JWT_SECRET must differ from each other")
        }
        unknownVariables = reader.unknownVariables
        guard reader.problems.isEmpty else { throw Problems(messages: reader.problems) }
    }
}

private enum Switch: String, CaseIterable {
    case on
    case off
}

/// Reads variables and collects what is wrong with them.
struct EnvironmentReader {
    let environment: [String: String]
    var problems: [String] = []

    /// What is set, or the default; nil for none.
    func value(_ name: String) -> String? {
        if let value = environment[name], !value.isEmpty { return value }
        let fallback = Configuration.variables.first { $0.name == name }?.defaultValue
        return fallback == "none" ? nil : fallback
    }

    mutating func number(_ name: String, _ range: ClosedRange<Int64>) -> Int64 {
        if let value = Int64(value(name) ?? ""), range.contains(value) { return value }
        problems.append("\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        return range.lowerBound
    }

    mutating func choice<Choice: RawRepresentable>(
        _ name: String, _ choices: [Choice], or fallback: Choice
    ) -> Choice where Choice.RawValue == String {
        if let choice = choices.first(where: { $0.rawValue == value(name) }) { return choice }
        problems.append("\(name) must be one of \(choices.map(\.rawValue).joined(separator: ", "))")
        return fallback
    }

    mutating func roles(_ name: String) -> Set<Configuration.Role> {
        let words = (value(name) ?? "").split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        let roles = words.compactMap(Configuration.Role.init)
        if roles.count == words.count && !roles.isEmpty { return Set(roles) }
        problems.append(
            "\(name) must be a list of \(Configuration.Role.allCases.map(\.rawValue).joined(separator: ","))")
        return []
    }

    mutating func secret(_ name: String) -> String {
        guard let value = value(name) else {
            problems.append("\(name) must be set")
            return ""
        }
        if value.utf8.count < 16 { problems.append("\(name) must have 16 characters or more") }
        if value.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7F }) {
            problems.append("\(name) must consist of visible ASCII characters")
        }
        return value
    }

    var secretsDiffer: Bool {
        let secrets = ["DIBS_ADMIN_KEY", "DIBS_SERVICE_KEY", "DIBS_JWT_SECRET"].compactMap { value($0) }
        return Set(secrets).count == secrets.count
    }

    mutating func listen(_ name: String) -> (String, Int) {
        let value = value(name) ?? ""
        if let colon = value.lastIndex(of: ":"), let port = UInt16(value[value.index(after: colon)...]) {
            var address = value[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
            if address == "localhost" { address = "127.0.0.1" }
            var bytes = in6_addr()
            if inet_pton(AF_INET, address, &bytes) == 1 || inet_pton(AF_INET6, address, &bytes) == 1 {
                return (address, Int(port))
            }
        }
        problems.append("\(name) must be a numeric address and a port, as 127.0.0.1:8080 or [::]:8080")
        return ("127.0.0.1", 0)
    }

    mutating func redis(_ name: String) -> RedisURL {
        do {
            return try RedisURL(value(name) ?? "")
        } catch {
            problems.append("\(name): \(error)")
            return try! RedisURL("redis://127.0.0.1:6379")
        }
    }

    mutating func database(_ name: String) -> String {
        let value = value(name) ?? ""
        do {
            try Store.validate(connectionString: value)
        } catch {
            problems.append("\(name): \(error)")
        }
        return value
    }

    mutating func folder(_ name: String) -> String? {
        guard let value = value(name) else { return nil }
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: value, isDirectory: &isFolder), isFolder.boolValue { return value }
        if environment[name]?.isEmpty == false { problems.append("\(name) must be a folder that exists") }
        return nil
    }

    var unknownVariables: [String] {
        let known = Set(Configuration.variables.map(\.name)).union(["DIBS_WORKER"])
        return environment.keys.filter { $0.hasPrefix("DIBS_") && !known.contains($0) }.sorted()
    }
}
