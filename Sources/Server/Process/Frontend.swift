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
    private let limiter: AddressLimiter
    private var server: GatewayServer?

    /// Requests and connections of one address.
    private static let addressLimit = TokenBucket.Limit(perSecond: 1000, burst: 5000)

    init(configuration: Configuration, services: Services, hub: SessionHub) {
        var gateway = GatewayConfiguration(
            address: configuration.address, port: UInt16(configuration.port), webRoot: configuration.webRoot)
        if let connections = configuration.maxConnections { gateway.maxConnections = connections }
        gateway.pingAfterSeconds = Int(configuration.pingSeconds)
        gateway.shareListener = configuration.isWorker
        self.configuration = gateway
        self.services = services
        self.hub = hub
        limiter = AddressLimiter(isOn: configuration.limitsRates, limit: Self.addressLimit)
        api = API(services: services, limiter: limiter)
    }

    /// Listens from now on.
    /// - Returns: The port.
    /// - Throws: ``GatewayError`` when the address is taken.
    func listen() throws -> Int {
        let server = try GatewayServer(configuration, delegate: self, log: services.log)
        self.server = server
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
        return Int(server.port)
    }

    /// Stops accepting, closes WebSockets with 1001, and lets requests in flight finish.
    func shutdown(deadlineMilliseconds: Int64) async {
        await server?.shutdown(deadline: deadlineMilliseconds)
        server = nil
    }

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        await api.respond(to: request)
    }

    func opened(_ connection: WebSocketConnection, _ request: HTTPRequest) {
        guard limiter.allows(connection.remoteAddress) else {
            connection.close(.rateLimited, "too many connections from this address")
            return
        }
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
}
