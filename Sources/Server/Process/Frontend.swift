import EventLoop
import Gateway
import Identity
import Model

/// Joins the gateway, which carries bytes, to what they mean.
@LoopActor
final class Frontend: GatewayDelegate {
    private let configuration: GatewayConfiguration
    private let services: Services
    private let hub: SessionHub
    private let api: API
    private var server: GatewayServer?

    private let certificateTimer = LoopTimer()

    /// What is read of one WebSocket: about what the messages come to that it may send.
    private static let receiveRate = TokenBucket.Limit(perSecond: 32_768, burst: 524_288)
    /// How often the certificate's files are looked at.
    private static let certificateMilliseconds: Int64 = 2000

    init(configuration: Configuration, services: Services, hub: SessionHub) {
        var gateway = GatewayConfiguration(
            address: configuration.address, port: UInt16(configuration.port), webRoot: configuration.webRoot)
        if let connections = configuration.maxConnections { gateway.maxConnections = connections }
        gateway.pingAfterSeconds = Int(configuration.pingSeconds)
        gateway.shareListener = configuration.isWorker
        gateway.maxConnectionsPerAddress = configuration.maxConnectionsPerAddress
        if configuration.limitsRates { gateway.receiveRate = Self.receiveRate }
        gateway.connectionRate = configuration.rates.addressConnects
        gateway.arrivalRate = configuration.rates.addressArrivals
        gateway.trustedProxies = configuration.trustedProxies
        gateway.origins = configuration.origins
        gateway.tls = configuration.tls
        gateway.hstsSeconds = configuration.hstsSeconds
        self.configuration = gateway
        self.services = services
        self.hub = hub
        api = API(services: services)
    }

    /// Listens from now on.
    /// - Returns: The port.
    /// - Throws: ``GatewayError`` when the address is taken.
    func listen() throws -> Int {
        let server = try GatewayServer(configuration, delegate: self, log: services.log)
        self.server = server
        server.whenBusy { [weak hub] in hub?.isBusy ?? false }
        services.metrics.gauges.append(
            (
                name: "dibs_connections", help: "Open connections, WebSockets and others.",
                value: { [weak server] in Int64(server?.connectionCount ?? 0) }
            ))
        services.metrics.gauges.append(
            (
                name: "dibs_clients", help: "Clients with a WebSocket here.",
                value: { [weak hub] in Int64(hub?.clientCount ?? 0) }
            ))
        services.metrics.gauges.append(
            (
                name: "dibs_waiters", help: "Clients with a WebSocket here that wait in a line.",
                value: { [weak hub] in Int64(hub?.rooms.waiterCount ?? 0) }
            ))
        if server.certificateExpiry != nil { followCertificate(of: server) }
        return Int(server.port)
    }

    /// Whether TLS is spoken.
    var hasTLS: Bool { configuration.tls != nil }

    /// Reads the certificate anew.
    func reloadCertificate() { server?.reloadCertificate(always: true) }

    private func followCertificate(of server: GatewayServer) {
        services.metrics.gauges.append(
            (
                name: "dibs_certificate_expiry_seconds", help: "When the certificate ends, in seconds since 1970.",
                value: { [weak server] in server?.certificateExpiry ?? 0 }
            ))
        certificateTimer.start(after: Self.certificateMilliseconds, every: Self.certificateMilliseconds) {
            [weak server] in server?.reloadCertificate(always: false)
        }
    }

    /// Stops accepting, closes WebSockets with 1001, and lets requests in flight finish.
    func shutdown(deadlineMilliseconds: Int64) async {
        certificateTimer.stop()
        await server?.shutdown(deadline: deadlineMilliseconds)
        server = nil
    }

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        await api.respond(to: request)
    }

    func opened(_ connection: WebSocketConnection, _ request: HTTPRequest) {
        connection.context = hub.opened(connection)
    }

    func received(_ text: [UInt8], on connection: WebSocketConnection) {
        (connection.context as? Session)?.received(text)
    }

    func closed(_ connection: WebSocketConnection, _ reason: CloseReason) {
        // By a session, or by the gateway: for what is no text, too much, or too slow.
        if reason.origin == .local { services.metrics.closed[reason.code, default: 0] += 1 }
        (connection.context as? Session)?.ended()
        connection.context = nil
    }

    func turnedAway(_ address: PeerAddress) { services.metrics.limited["address_connections", default: 0] += 1 }

    func refusal(ofPreflight request: HTTPRequest) -> HTTPResponse? {
        services.rates.mayAsk(request.remoteAddress)
            ? nil : .failure(WireError(.rateLimited, "too many requests from this address"))
    }
}
