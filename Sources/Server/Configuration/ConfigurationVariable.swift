/// One environment variable that Dibs reads. The table of all of them is ``Configuration/variables``.
public struct ConfigurationVariable: Sendable {
    /// `DIBS_…`.
    public let name: String
    /// What is taken when it is not set; nil where it has to be.
    public let defaultValue: String?
    /// What it is for, with its unit.
    public let meaning: String
    /// Whether its value must never be shown.
    public var isSecret = false
}

extension Configuration {
    /// Every variable, in the order in which the help shows them.
    public static let variables: [ConfigurationVariable] = [
        .init(
            name: "DIBS_LISTEN", defaultValue: "127.0.0.1:8080",
            meaning: "numeric address and port to serve on; port 0 takes a free one"),
        .init(
            name: "DIBS_REDIS_URL", defaultValue: "redis://127.0.0.1:6379",
            meaning: "redis://[:password@]host:port[/db] or unix:///path[?db=n]", isSecret: true),
        .init(
            name: "DIBS_DATABASE_URL", defaultValue: "postgresql:///dibs", meaning: "libpq connection string or URI",
            isSecret: true),
        .init(
            name: "DIBS_ADMIN_KEY", defaultValue: nil, meaning: "the admin's key, 16 characters or more", isSecret: true
        ),
        .init(
            name: "DIBS_SERVICE_KEY", defaultValue: nil,
            meaning: "the key of the shop's backend, 16 characters or more",
            isSecret: true),
        .init(
            name: "DIBS_JWT_SECRET", defaultValue: nil, meaning: "signs client tokens (HS256), 16 characters or more",
            isSecret: true),
        .init(name: "DIBS_WEB_ROOT", defaultValue: "web-static", meaning: "folder of the page"),
        .init(name: "DIBS_WORKERS", defaultValue: "1", meaning: "processes on the port, 1 to 64; as --workers"),
        .init(
            name: "DIBS_ROLES", defaultValue: "gateway,scheduler,committer",
            meaning: "what this process does; any number of processes may do each"),
        .init(name: "DIBS_LOG_LEVEL", defaultValue: "info", meaning: "debug, info, warning or error"),
        .init(
            name: "DIBS_RATE_LIMIT", defaultValue: "on",
            meaning: "off: no limits per client and address but DIBS_MAX_CONNECTIONS_PER_CLIENT if set; for load tests"),
        .init(
            name: "DIBS_MAX_CONNECTIONS", defaultValue: "0",
            meaning: "connections of one process; 0: as many as open files allow"),
        .init(
            name: "DIBS_MAX_CONNECTIONS_PER_CLIENT", defaultValue: "16",
            meaning: "WebSockets of one client on one process; the oldest gives way"),
        .init(
            name: "DIBS_CONNECTION_MESSAGE_RATE", defaultValue: "100/2000",
            meaning: "messages of one WebSocket, so many a second and so many at once; off: any number"),
        .init(
            name: "DIBS_CLIENT_MESSAGE_RATE", defaultValue: "200/4000",
            meaning: "messages of one client on all its WebSockets, and its requests"),
        .init(
            name: "DIBS_CLIENT_ACTION_RATE", defaultValue: "20/2000",
            meaning: "claims, joins, holds and other changes of one client"),
        .init(
            name: "DIBS_ADDRESS_CONNECTIONS", defaultValue: "50000",
            meaning: "open connections of one address on one process; 0: any number"),
        .init(
            name: "DIBS_ADDRESS_CONNECT_RATE", defaultValue: "2000/50000", meaning: "new connections of one address"),
        .init(
            name: "DIBS_ADDRESS_ARRIVAL_RATE", defaultValue: "500/2000",
            meaning: "new connections of one address that are let in as they come; those beyond take turns"),
        .init(
            name: "DIBS_ADDRESS_REQUEST_RATE", defaultValue: "5000/50000",
            meaning: "requests of one address, but for files and probes"),
        .init(
            name: "DIBS_ADDRESS_MESSAGE_RATE", defaultValue: "10000/100000",
            meaning: "messages of one address; beyond, each of its WebSockets may send a tenth"),
        .init(
            name: "DIBS_ADDRESS_ACTION_RATE", defaultValue: "5000/50000",
            meaning: "claims, joins, holds and other changes of one address"),
        .init(
            name: "DIBS_ADDRESS_FAILURE_RATE", defaultValue: "50/5000",
            meaning: "forged tokens and wrong keys of one address that are answered as such"),
        .init(
            name: "DIBS_ADDRESS_PASSWORD_RATE", defaultValue: "50/2000",
            meaning: "accounts made and signed in to from one address"),
        .init(
            name: "DIBS_TRUSTED_PROXIES", defaultValue: "none",
            meaning: "addresses and networks whose X-Forwarded-For is believed, as 127.0.0.1,10.0.0.0/8"),
        .init(
            name: "DIBS_ALLOWED_ORIGINS", defaultValue: "none",
            meaning: "origins besides the server's own whose pages may use it, as https://shop.example; * for all"),
        .init(
            name: "DIBS_TLS_CERTIFICATE", defaultValue: "none",
            meaning: "file with the certificate and those that lead to its authority, in PEM; serves https and wss"),
        .init(
            name: "DIBS_TLS_KEY", defaultValue: "none", meaning: "file with the certificate's key, in PEM"),
        .init(
            name: "DIBS_HSTS_SECONDS", defaultValue: "0",
            meaning: "seconds for which browsers are told to come by TLS only (Strict-Transport-Security); 0: not told"),
        .init(
            name: "DIBS_CONNECT_SECONDS", defaultValue: "10",
            meaning: "seconds in which a WebSocket has to send connect"),
        .init(
            name: "DIBS_PING_SECONDS", defaultValue: "45",
            meaning: "seconds of silence after which a WebSocket is pinged"),
        .init(
            name: "DIBS_DRAIN_SECONDS", defaultValue: "10", meaning: "seconds that SIGTERM gives to what is in flight"),
        .init(
            name: "DIBS_TOKEN_SECONDS", defaultValue: "86400",
            meaning: "life of the client tokens that accounts get, in seconds"),
        .init(name: "DIBS_OUTCOME_LIMIT", defaultValue: "128", meaning: "outcomes kept for each client, for resume"),
        .init(
            name: "DIBS_OUTCOME_SECONDS", defaultValue: "172800",
            meaning: "seconds for which they are kept after the client's last one; a resume is good for half of that"),
        .init(
            name: "DIBS_REDIS_TIMEOUT_MS", defaultValue: "2000",
            meaning: "milliseconds to wait for Redis before a call is unavailable"),
        .init(
            name: "DIBS_DATABASE_TIMEOUT_MS", defaultValue: "5000",
            meaning: "milliseconds to wait for PostgreSQL before a call is unavailable"),
        .init(
            name: "DIBS_DATABASE_POOL", defaultValue: "4", meaning: "connections to PostgreSQL for requests, 1 to 64"),
        .init(name: "DIBS_COMMIT_BATCH", defaultValue: "1000", meaning: "most orders in one transaction, 1 to 10000"),
        .init(
            name: "DIBS_COMMIT_ATTEMPTS", defaultValue: "5",
            meaning: "tries of an order that the database refuses, before it is failed"),
    ]
}
