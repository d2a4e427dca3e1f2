/// Something that goes wrong.
public struct Fault: Sendable, Hashable, CustomStringConvertible {
    /// What.
    public enum Kind: String, CaseIterable, Sendable {
        /// SIGKILL of an instance; it is started again.
        case kill
        /// SIGSTOP of an instance; SIGCONT when its leases are over, or before.
        case stop
        /// SIGTERM of one instance after the other; each is started again.
        case rolling
        /// Client connections are cut without a word.
        case cut
        /// Redis is killed and comes back with its append-only file.
        case redisKill = "redis-kill"
        /// Redis stands still, its connections open.
        case redisPause = "redis-pause"
        /// Redis comes back with the data of some moments before.
        case redisOlder = "redis-older"
        /// Redis comes back empty.
        case redisEmpty = "redis-empty"
        /// FLUSHALL, over connections that stand.
        case redisFlush = "redis-flush"
        /// A replica takes over that has missed the last writes.
        case redisFailover = "redis-failover"
        /// The network between an instance and Redis lets nothing through, and closes nothing.
        case redisHang = "redis-hang"
        /// What an instance asks of Redis happens; the answers are lost, and then the connections.
        case redisLost = "redis-lost"
        /// The network between an instance and Redis is slow.
        case redisDelay = "redis-delay"
        /// Every process of PostgreSQL is killed; it is started again.
        case postgresKill = "postgres-kill"
        /// PostgreSQL is shut down in order, and started again.
        case postgresRestart = "postgres-restart"
        /// PostgreSQL stands still, its connections open.
        case postgresPause = "postgres-pause"
        /// Somebody holds a lock on the orders.
        case postgresLock = "postgres-lock"
        /// PostgreSQL ends every connection, several times.
        case postgresTerminate = "postgres-terminate"
        /// All connections that PostgreSQL takes are in use by others, and ours are ended.
        case postgresExhaust = "postgres-exhaust"
        /// The network between an instance and PostgreSQL lets nothing through, and closes nothing.
        case postgresHang = "postgres-hang"
        /// What an instance asks of PostgreSQL happens; the answers are lost, and then the connections.
        case postgresLost = "postgres-lost"
        /// The network between an instance and PostgreSQL is slow.
        case postgresDelay = "postgres-delay"

        /// Whether Redis forgets what it decided.
        public var losesRedisData: Bool {
            switch self {
            case .redisOlder, .redisEmpty, .redisFlush, .redisFailover: true
            default: false
            }
        }

        /// Whether an instance goes, or is taken for gone.
        public var harmsInstance: Bool {
            switch self {
            case .kill, .stop, .rolling: true
            default: false
            }
        }

        /// Whether it is one of the network.
        public var isOfNetwork: Bool {
            switch self {
            case .cut, .redisHang, .redisLost, .redisDelay, .postgresHang, .postgresLost, .postgresDelay: true
            default: false
            }
        }

        /// Whether another fault may happen at the same time.
        public var mayOverlap: Bool { self != .rolling && !losesRedisData }

        /// What a fault of this kind does something to: two at once are of two of these.
        var subject: Int {
            switch self {
            case .kill, .stop, .rolling: 0
            case .cut: 1
            case .redisKill, .redisPause, .redisOlder, .redisEmpty, .redisFlush, .redisFailover, .redisHang, .redisLost,
                .redisDelay:
                2
            case .postgresKill, .postgresRestart, .postgresPause, .postgresLock, .postgresTerminate, .postgresExhaust,
                .postgresHang, .postgresLost, .postgresDelay:
                3
            }
        }

        /// How long it may last, in milliseconds: up to longer than what waits for it, where that is the point.
        var durations: ClosedRange<Int64> {
            switch self {
            case .kill: 0...2500
            // The committers' take-over begins after 5 s.
            case .stop: 500...8500
            case .rolling: 0...300
            case .cut: 0...0
            case .redisKill, .redisEmpty: 0...1500
            // Calls give up after 2 s.
            case .redisPause: 300...4000
            // How old the data is.
            case .redisOlder, .redisFailover: 100...1500
            case .redisHang, .postgresHang: 500...7000
            case .redisLost, .postgresLost: 100...1500
            case .redisDelay, .postgresDelay: 500...4000
            case .redisFlush: 0...0
            case .postgresKill, .postgresRestart: 0...2500
            // Statements give up after 5 s.
            case .postgresPause: 500...7000
            case .postgresLock: 500...7000
            case .postgresTerminate: 0...800
            case .postgresExhaust: 500...4000
            }
        }
    }

    /// What goes wrong.
    public let kind: Kind
    /// Which instance, where it is one.
    public let target: Int
    /// How long.
    public let milliseconds: Int64

    /// Such a fault.
    public init(_ kind: Kind, target: Int = 0, milliseconds: Int64 = 0) {
        self.kind = kind
        self.target = target
        self.milliseconds = milliseconds
    }

    /// In words.
    public var description: String {
        let isOfOne = kind == .kill || kind == .stop || (kind.isOfNetwork && kind != .cut)
        let target = isOfOne ? "(\(target))" : ""
        return "\(kind.rawValue)\(target) \(milliseconds) ms"
    }
}
