import Glibc
import Model

/// Where a certificate and its key are, both in PEM.
public struct TLSFiles: Hashable, Sendable {
    /// The certificate, followed by those that lead to a known authority.
    public let certificate: String
    /// Its private key.
    public let key: String

    /// Files at these paths.
    public init(certificate: String, key: String) { (self.certificate, self.key) = (certificate, key) }
}

/// How a ``GatewayServer`` listens, and what it lets a client use up.
public struct GatewayConfiguration: Sendable {
    /// The numeric address to listen on, IPv4 or IPv6; `::` listens on both.
    public var address: String
    /// The port; 0 takes a free one.
    public var port: UInt16
    /// The folder of the static files; nil serves none.
    public var webRoot: String?
    /// Paths, and beginnings of paths where they end in `/`, that are never static files: they go to the delegate
    /// without a look at the disk.
    public var dynamicPaths: [String] = ["/api/", "/healthz", "/readyz", "/metrics"]
    /// The path of the WebSocket.
    public var webSocketPath = "/ws"
    /// Headers to hand over beside the usual ones (``HTTPHeaders``), in lower case.
    public var extraHeaders: [String] = []
    /// The largest body of a request; more is answered by 413.
    public var maxBodyBytes = 65536
    /// The largest text message; more closes the connection with 1009.
    public var maxMessageBytes = 16384
    /// What is read of one WebSocket, in bytes; more waits at the client. Nil: as much as comes.
    public var receiveRate: TokenBucket.Limit?
    /// Open connections of all kinds; one more is answered by 503.
    public var maxConnections = GatewayConfiguration.defaultMaxConnections
    /// Open connections of one address; one more is cut. Nil: as many as it likes.
    public var maxConnectionsPerAddress: Int?
    /// New connections of one address; those beyond are cut. Nil: as many as it likes.
    public var connectionRate: TokenBucket.Limit?
    /// New connections of one address that are let in as they come; those beyond take turns. Nil: all are let in as they
    /// come.
    public var arrivalRate: TokenBucket.Limit?
    /// Proxies whose `X-Forwarded-For` is believed, and has to be there. Their connections carry one request each.
    public var trustedProxies: [AddressRange] = []
    /// What a proxy asks for itself, and so without that header.
    public var proxyPaths: Set<String> = ["/healthz", "/readyz"]
    /// Whose pages may use the WebSocket and REST.
    public var origins = OriginRule.same
    /// The certificate and key of TLS; nil for none.
    public var tls: TLSFiles?
    /// For how long browsers are told to come by TLS only, in seconds (RFC 6797); 0: not at all.
    public var hstsSeconds = 0
    /// From a connection's or a request's first byte to the end of its headers. Whole seconds.
    public var headerTimeoutSeconds = 10
    /// For the whole of a body.
    public var bodyTimeoutSeconds = 20
    /// Between two requests on one connection.
    public var idleHTTPSeconds = 60
    /// For a client to take a part of an answer.
    public var writeTimeoutSeconds = 30
    /// Silence after which a WebSocket is pinged.
    public var pingAfterSeconds = 45
    /// Silence after the ping that ends it, with 4012.
    public var pongTimeoutSeconds = 15
    /// For a client to take and to answer a close frame; then the connection is cut.
    public var closeTimeoutSeconds = 5
    /// Outgoing bytes that may wait for a slow reader; more closes the connection with 4008.
    public var outgoingLimitBytes = 262_144
    /// The kernel's part of the outgoing bytes, for each connection (`SO_SNDBUF`); it grows to megabytes without.
    public var socketSendBufferBytes: Int32 = 65536
    /// Whether other processes may listen on the same port (`SO_REUSEPORT`).
    public var shareListener = false
    /// How often each connection's deadlines are looked at.
    public var sweepMilliseconds: Int64 = 1000

    /// A configuration with the defaults.
    public init(address: String = "127.0.0.1", port: UInt16 = 0, webRoot: String? = nil) {
        self.address = address
        self.port = port
        self.webRoot = webRoot
    }

    /// As many descriptors as the process may have, less some for everything else.
    public static var defaultMaxConnections: Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1000 }
        let descriptors = Int(min(limit.rlim_cur, 1_000_000))
        return max(16, descriptors - max(64, descriptors / 50))
    }
}
