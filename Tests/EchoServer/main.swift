import EventLoop
import Gateway
import Glibc

/// Says back what it is told, over our gateway: what Autobahn's suite and Tests/Conformance/rfc6455.py ask. It is no part
/// of the product. Where it listens is its one line of output; SIGTERM ends it.
@LoopActor
final class Echo: GatewayDelegate {
    func respond(to request: HTTPRequest) async -> HTTPResponse { HTTPResponse(status: 404) }
    func opened(_ connection: WebSocketConnection, _ request: HTTPRequest) {}
    func received(_ text: [UInt8], on connection: WebSocketConnection) { connection.send(text) }
    func closed(_ connection: WebSocketConnection, _ reason: CloseReason) {}
}

@LoopActor
func serve() async -> Int32 {
    var configuration = GatewayConfiguration()
    // The suites' largest message has 16 MiB, and a thousand of them may be under way.
    configuration.maxMessageBytes = 16 << 20
    configuration.outgoingLimitBytes = 64 << 20
    configuration.closeTimeoutSeconds = 1
    // The suite gives a second for the end of a connection.
    configuration.sweepMilliseconds = 100
    do {
        let server = try GatewayServer(configuration, delegate: Echo())
        print("ws://127.0.0.1:\(server.port)/ws")
        fflush(nil)
        await askedToEnd()
        await server.shutdown(deadline: 1000)
        return 0
    } catch {
        print("echo-server: \(error)")
        return 1
    }
}

@LoopActor
func askedToEnd() async {
    var watcher: SignalWatcher?
    await withCheckedContinuation { continuation in
        var waiting: CheckedContinuation<Void, Never>? = continuation
        watcher = SignalWatcher(SIGTERM) {
            waiting?.resume()
            waiting = nil
        }
    }
    withExtendedLifetime(watcher) {}
}

signal(SIGPIPE, SIG_IGN)
exit(EventLoop.run { await serve() })
