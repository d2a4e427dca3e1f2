import EventLoop
import Glibc
import Model
import TestServices
import Testing

@testable import Gateway

/// Runs a test's body on the event loop.
func onLoop<Value: Sendable>(
    _ body: @escaping @Sendable @LoopActor () async throws -> Value
) async throws -> Value {
    EventLoop.startInBackground()
    let result: Result<Value, any Error> = await EventLoop.task {
        do { return .success(try await body()) } catch { return .failure(error) }
    }.value
    return try result.get()
}

/// A server with a delegate that echoes, shut down at the end of `body`.
func withServer(
    _ change: @escaping @Sendable (inout GatewayConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable @LoopActor (TestServer) async throws -> Void
) async throws {
    try await onLoop {
        var configuration = GatewayConfiguration()
        change(&configuration)
        let echo = Echo()
        let server = TestServer(
            gateway: try GatewayServer(configuration, delegate: echo, log: Log { _, _, _ in }), echo: echo)
        do {
            try await body(server)
        } catch {
            await server.gateway.shutdown(deadline: 100)
            throw error
        }
        await server.gateway.shutdown(deadline: 100)
    }
}

@LoopActor
final class TestServer {
    let gateway: GatewayServer
    let echo: Echo

    init(gateway: GatewayServer, echo: Echo) {
        self.gateway = gateway
        self.echo = echo
    }

    var http: String { "http://127.0.0.1:\(gateway.port)" }
    var ws: String { "ws://127.0.0.1:\(gateway.port)/ws" }

    func raw(receiveBuffer: Int32? = nil, from source: String? = nil) async throws -> RawSocket {
        try await RawSocket.connect(port: gateway.port, receiveBuffer: receiveBuffer, from: source)
    }
}

/// Something that happens once, and that a test waits for.
@LoopActor
final class Signal {
    private let inbox = Inbox<Bool>()

    func fire() { inbox.add(true) }

    /// - Throws: ``NotInTime``.
    func wait() async throws { _ = try await inbox.wait(for: 1) }
}

/// A list that grows, and that a test waits for to be long enough.
@LoopActor
final class Inbox<Element: Sendable> {
    private let journal = Journal<Element>()
    var items: [Element] { journal.items }

    func add(_ item: Element) { journal.add(item) }

    /// - Throws: ``NotInTime``.
    @discardableResult
    func wait(for count: Int) async throws -> [Element] {
        if items.count < count {
            try await journal.first("item \(count)") { [journal] _ in journal.items.count >= count }
        }
        return items
    }
}

/// Answers with what it was asked, and echoes messages.
@LoopActor
final class Echo: GatewayDelegate {
    let opened = Inbox<HTTPRequest>()
    let closed = Inbox<CloseReason>()
    let asked = Inbox<HTTPRequest>()
    let texts = Inbox<[UInt8]>()
    let turnedAway = Inbox<PeerAddress>()
    /// Requests to /wait are answered when this fires.
    let gate = Signal()
    var connections: [WebSocketConnection] = []
    /// What to do with a message; by default it goes back.
    var onText: @LoopActor (WebSocketConnection, [UInt8]) -> Void = { $0.send($1) }

    func respond(to request: HTTPRequest) async -> HTTPResponse {
        asked.add(request)
        switch request.path {
        case "/api/echo":
            let query = request.query.map { "\($0.name)=\($0.value)" }.joined(separator: ",")
            let text =
                "\(request.method.rawValue) \(request.path) [\(query)] token=\(request.pass ?? "-") "
                + "key=\(request.idempotencyKey ?? "-") auth=\(request.authorization ?? "-") body=\(request.body.count)"
            return HTTPResponse(status: 200, headers: ["content-type": "text/plain"], body: Array(text.utf8))
        case "/api/wait":
            try? await gate.wait()
            return HTTPResponse(status: 200, body: Array("waited".utf8))
        case "/api/big":
            return HTTPResponse(
                status: 200, body: [UInt8](repeating: UInt8(ascii: "b"), count: Int(request.parameter("n") ?? "")!))
        case "/api/nothing": return HTTPResponse(status: 204)
        case "/api/unlimited":
            var response = HTTPResponse(status: 204)
            response.isUnlimited = true
            return response
        default: return .error(WireError(.notFound, "nothing at \(request.path)"))
        }
    }

    func opened(_ connection: WebSocketConnection, _ request: HTTPRequest) {
        connections.append(connection)
        opened.add(request)
    }

    func received(_ text: [UInt8], on connection: WebSocketConnection) {
        texts.add(text)
        onText(connection, text)
    }

    func turnedAway(_ address: PeerAddress) { turnedAway.add(address) }

    var refusesPreflights = false
    func refusal(ofPreflight request: HTTPRequest) -> HTTPResponse? {
        refusesPreflights ? .error(WireError(.rateLimited, "too many")) : nil
    }

    /// Waits until so many connections are left.
    func ends(with count: Int, _ server: GatewayServer) async throws {
        let reached = Signal()
        let watch = LoopTimer()
        watch.start(after: 0, every: 5) { if server.connectionCount == count { reached.fire() } }
        try await reached.wait()
        watch.stop()
    }

    func closed(_ connection: WebSocketConnection, _ reason: CloseReason) {
        connections.removeAll { $0 === connection }
        closed.add(reason)
    }
}
