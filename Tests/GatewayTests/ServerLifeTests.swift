import EventLoop
import Glibc
import Model
import TestServices
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(patience)))
struct ServerLifeTests {
    @Test func drain() async throws {
        try await onLoop {
            let echo = Echo()
            let server = try GatewayServer(GatewayConfiguration(), delegate: echo)
            let port = server.port
            let idle = try await RawSocket.connect(port: port)
            idle.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await idle.answer()?.status == 200)
            let silent = try await RawSocket.connect(port: port)
            let busy = try await RawSocket.connect(port: port)
            busy.send("GET /api/wait HTTP/1.1\r\nHost: a\r\n\r\n")
            try await echo.asked.wait(for: 2)
            let reasons = Inbox<CloseReason>()
            for _ in 0..<20 {
                _ = try await WebSocketClient.connect(
                    "ws://127.0.0.1:\(port)/ws", onText: { _ in }, onClose: { reasons.add($0) })
            }
            let done = Signal()
            EventLoop.task {
                await server.shutdown(deadline: 10_000)
                done.fire()
            }
            #expect(try await reasons.wait(for: 20).allSatisfy { $0.code == 1001 && $0.origin == .remote })
            #expect(await idle.all() == "")
            #expect(await silent.all() == "")
            // Refused, unless another test's server has taken the port meanwhile; ours doesn't count it, see below.
            _ = try? await RawSocket.connect(port: port)
            try await echo.closed.wait(for: 20)
            // What is in flight is finished, and told to be the last.
            #expect(server.connectionCount == 1)
            echo.gate.fire()
            let answer = await busy.answer()
            #expect(answer?.body == "waited")
            #expect(answer?.headers["connection"] == "close")
            #expect(await busy.all() == "")
            try await done.wait()
            #expect(server.connectionCount == 0)
        }
    }

    @Test func drainEndsAtItsDeadline() async throws {
        try await onLoop {
            let echo = Echo()
            let server = try GatewayServer(GatewayConfiguration(), delegate: echo)
            let stubborn = try await RawSocket.connect(port: server.port)
            #expect(await stubborn.upgrade())
            let waiting = try await RawSocket.connect(port: server.port)
            waiting.send("GET /api/wait HTTP/1.1\r\nHost: a\r\n\r\n")
            try await echo.asked.wait(for: 1)
            // Long enough for the close frames to leave, however long the other tests hold up the loop meanwhile.
            await server.shutdown(deadline: 1000)
            #expect(server.connectionCount == 0)
            #expect(await stubborn.frame()?.code == 1001)
            #expect(await waiting.all() == "")
        }
    }

    @Test func sharedPort() async throws {
        try await onLoop {
            var configuration = GatewayConfiguration()
            configuration.shareListener = true
            let first = try GatewayServer(configuration, delegate: Echo())
            configuration.port = first.port
            let second = try GatewayServer(configuration, delegate: Echo())
            #expect(first.port == second.port)
            configuration.shareListener = false
            #expect(throws: GatewayError.self) { try GatewayServer(configuration, delegate: Echo()) }
            await first.shutdown(deadline: 100)
            let socket = try await RawSocket.connect(port: second.port)
            socket.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer()?.status == 200)
            await second.shutdown(deadline: 100)
        }
    }

    @Test(arguments: ["::1", "::", "0.0.0.0"])
    func addresses(address: String) async throws {
        try await withServer({ $0.address = address }) { server in
            let host = address == "::1" ? "[::1]" : "127.0.0.1"
            let answer = try await HTTPClient.request(.get, "http://\(host):\(server.gateway.port)/api/echo")
            #expect(answer.status == 200)
            let request = server.echo.asked.items[0]
            #expect(request.isLoopback)
            #expect(request.remoteAddress.description == (address == "::1" ? "::1" : "127.0.0.1"))
        }
    }

    @Test func wrongAddress() async throws {
        try await onLoop {
            for address in ["nonsense", "1.2.3", "203.0.113.77"] {
                #expect(throws: GatewayError.self) {
                    try GatewayServer(GatewayConfiguration(address: address), delegate: Echo())
                }
            }
        }
    }

    @Test func manyConnections() async throws {
        try await withServer { server in
            let count = 1000
            let texts = Inbox<[UInt8]>()
            var clients: [WebSocketClient] = []
            for _ in 0..<count {
                clients.append(try await WebSocketClient.connect(server.ws, onText: { texts.add($0) }))
            }
            #expect(server.gateway.connectionCount == count)
            try await server.echo.opened.wait(for: count)
            for connection in server.echo.connections { connection.send(Array("news".utf8)) }
            #expect(try await texts.wait(for: count).allSatisfy { $0 == Array("news".utf8) })
            for client in clients { client.send("back") }
            #expect(try await texts.wait(for: 2 * count).count == 2 * count)
            // Half say good-bye, half just go.
            for (index, client) in clients.enumerated() { index % 2 == 0 ? client.close() : client.abort() }
            let reasons = try await server.echo.closed.wait(for: count)
            #expect(reasons.filter { $0.code == 1000 }.count == count / 2)
            #expect(reasons.filter { $0.origin == .lost }.count == count / 2)
            #expect(server.gateway.connectionCount == 0)
        }
    }
}
