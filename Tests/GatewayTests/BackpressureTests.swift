import EventLoop
import Model
import TestServices
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(patience)))
struct BackpressureTests {
    /// A client that doesn't read: opened, and filled until something waits.
    @LoopActor
    private static func slowReader(_ server: TestServer) async throws -> (RawSocket, WebSocketConnection) {
        let socket = try await server.raw(receiveBuffer: 4096)
        #expect(await socket.upgrade())
        socket.read(false)
        try await server.echo.opened.wait(for: 1)
        return (socket, server.echo.connections[0])
    }

    @Test func tooSlow() async throws {
        try await withServer({
            $0.outgoingLimitBytes = 100_000
            $0.closeTimeoutSeconds = 1
            $0.sweepMilliseconds = 50
        }) { server in
            let (socket, connection) = try await BackpressureTests.slowReader(server)
            let message = [UInt8](repeating: 120, count: 1000)
            var sent = 0
            while connection.send(message, as: .outcome) && sent < 100_000_000 {
                sent += message.count
                #expect(connection.bufferedBytes <= 100_000)
            }
            #expect(sent < 2_000_000)
            #expect(!connection.isOpen)
            #expect(connection.bufferedBytes == 0)
            // It never reads: the connection is cut, and told as what it was.
            let reasons = try await server.echo.closed.wait(for: 1)
            #expect(reasons.map(\.code) == [CloseCode.tooSlow.rawValue])
            #expect(server.gateway.connectionCount == 0)
            socket.close()
        }
    }

    @Test func tooSlowButReadsAtLast() async throws {
        try await withServer({ $0.outgoingLimitBytes = 100_000 }) { server in
            let (socket, connection) = try await BackpressureTests.slowReader(server)
            let message = [UInt8](repeating: 120, count: 1000)
            while connection.send(message, as: .outcome) {}
            socket.read(true)
            var last: RawFrame?
            while let frame = await socket.frame() {
                last = frame
                if frame.opcode == 8 { break }
                #expect(frame.payload.count == 1000)
            }
            #expect(last?.code == Int(CloseCode.tooSlow.rawValue))
        }
    }

    @Test func everyMessageInOrder() async throws {
        try await withServer { server in
            let (socket, connection) = try await BackpressureTests.slowReader(server)
            var count = 0
            let padding = String(repeating: "p", count: 500)
            while connection.bufferedBytes < 200_000 {
                connection.send(Array("\(count) \(padding)".utf8), as: .outcome)
                count += 1
            }
            socket.read(true)
            for number in 0..<count { #expect(await socket.frame()?.text == "\(number) \(padding)") }
            #expect(connection.bufferedBytes == 0)
            connection.send(Array("done".utf8))
            #expect(await socket.frame()?.text == "done")
        }
    }

    @Test func statesAreReplaced() async throws {
        try await withServer { server in
            let (socket, connection) = try await BackpressureTests.slowReader(server)
            let first = StateKey(kind: 1, subject: 1)
            let second = StateKey(kind: 1, subject: 2)
            // At once while the socket takes it.
            connection.markChanged(first) { Array("first".utf8) }
            let padding = [UInt8](repeating: 112, count: 4000)
            while connection.bufferedBytes == 0 { connection.send(padding) }
            var encoded = 0
            for value in 0..<10_000 {
                connection.markChanged(first) {
                    encoded += 1
                    return Array("a\(value)".utf8)
                }
                connection.markChanged(second) { value == 9_999 ? nil : Array("never".utf8) }
            }
            connection.markChanged(StateKey(kind: 2, subject: 0)) { Array("gone".utf8) }
            connection.unmark(StateKey(kind: 2, subject: 0))
            #expect(encoded == 0)
            socket.read(true)
            #expect(await socket.frame()?.text == "first")
            var frame = await socket.frame()
            while frame?.payload == padding { frame = await socket.frame() }
            #expect(frame?.text == "a9999")
            #expect(encoded == 1)
            connection.send(Array("end".utf8))
            #expect(await socket.frame()?.text == "end")
        }
    }

    @Test func aFloodOfMessagesDoesNotStarveOthers() async throws {
        try await withServer { server in
            let flood = try await server.raw()
            #expect(await flood.upgrade())
            server.echo.onText = { connection, text in if text.count < 100 { connection.send(text) } }
            let message = RawFrame.encode(1, [UInt8](repeating: 120, count: 1000))
            flood.send(Array(repeatElement(message, count: 2000).joined()))
            let answered = Inbox<Int>()
            let client = try await WebSocketClient.connect(server.ws, onText: { answered.add($0.count) })
            client.send("ping")
            #expect(try await answered.wait(for: 1) == [4])
        }
    }

    @Test func pausedReceiving() async throws {
        try await withServer { server in
            let (socket, connection) = try await BackpressureTests.slowReader(server)
            socket.read(true)
            connection.setReceiving(false)
            socket.send(RawFrame.text("later"))
            // Another connection's round trip, in which the first one's message had its time.
            let other = try await server.raw()
            other.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await other.answer()?.status == 200)
            #expect(socket.received.isEmpty)
            connection.setReceiving(true)
            #expect(await socket.frame()?.text == "later")
        }
    }
}
