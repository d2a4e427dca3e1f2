import EventLoop
import Glibc
import Model
import TestServices
import Testing

@testable import Gateway

@Suite(.timeLimit(.minutes(patience)))
struct WebSocketTests {
    @Test func echoWithTheClient() async throws {
        try await withServer { server in
            let texts = Inbox<String>()
            let closed = Inbox<CloseReason>()
            let client = try await WebSocketClient.connect(
                server.ws + "?a=b", headers: [("token", "secret")],
                onText: { texts.add(String(decoding: $0, as: UTF8.self)) }, onClose: { closed.add($0) })
            let big = String(repeating: "ü", count: 8192)
            let sent = ["hello", "", "{\"a\":1}", big, String(repeating: "x", count: 700)]
            for text in sent { client.send(text) }
            #expect(try await texts.wait(for: sent.count) == sent)
            let request = try await server.echo.opened.wait(for: 1)[0]
            #expect(request.query.map { "\($0.name)=\($0.value)" } == ["a=b"])
            #expect(request.pass == "secret")
            #expect(request.isLoopback)
            client.close(3000, "enough")
            let (theirs, ours) = try await (server.echo.closed.wait(for: 1), closed.wait(for: 1))
            #expect(theirs == [CloseReason(code: 3000, text: "enough", origin: .remote)])
            #expect(ours == [CloseReason(code: 3000, text: "enough", origin: .local)])
        }
    }

    @Test func refusedClient() async throws {
        try await withServer { server in
            await #expect(throws: GatewayError.self) {
                _ = try await WebSocketClient.connect(server.ws + "/elsewhere", onText: { _ in })
            }
            await #expect(throws: GatewayError.self) {
                _ = try await WebSocketClient.connect("ws://127.0.0.1:1/ws", onText: { _ in })
            }
            await #expect(throws: GatewayError.self) {
                _ = try await WebSocketClient.connect("http://127.0.0.1/", onText: { _ in })
            }
        }
    }

    @Test func fragments() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            socket.send(RawFrame.encode(1, Array("one ".utf8), isFinal: false))
            socket.send(RawFrame.encode(9, Array("are you there".utf8)))
            let pong = await socket.frame()
            #expect(pong?.opcode == 10)
            #expect(pong?.text == "are you there")
            socket.send(RawFrame.encode(0, Array("two ".utf8), isFinal: false))
            socket.send(RawFrame.encode(0, [], isFinal: false))
            socket.send(RawFrame.encode(0, Array("three".utf8)))
            #expect(await socket.frame()?.text == "one two three")
            // A byte at a time.
            for byte in RawFrame.text("slowly") { socket.send([byte]) }
            #expect(await socket.frame()?.text == "slowly")
            // A character cut in two.
            let text = Array("é".utf8)
            socket.send(RawFrame.encode(1, [text[0]], isFinal: false) + RawFrame.encode(0, [text[1]]))
            #expect(await socket.frame()?.text == "é")
            // Many in one segment.
            socket.send((0..<100).flatMap { RawFrame.text("m\($0)") })
            for number in 0..<100 { #expect(await socket.frame()?.text == "m\(number)") }
        }
    }

    @Test(arguments: [16384, 16383, 126, 125, 65, 0])
    func sizesThatAreTaken(size: Int) async throws {
        try await withServer { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            let payload = [UInt8](repeating: 120, count: size)
            socket.send(RawFrame.encode(1, payload))
            #expect(await socket.frame()?.payload == payload)
            // And in two pieces.
            socket.send(RawFrame.encode(1, Array(payload.prefix(size / 2)), isFinal: false))
            socket.send(RawFrame.encode(0, Array(payload.dropFirst(size / 2))))
            #expect(await socket.frame()?.payload == payload)
        }
    }

    struct Wrong: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        let code: Int
    }

    static let wrong: [Wrong] = [
        Wrong(testDescription: "too big", bytes: RawFrame.encode(1, [UInt8](repeating: 120, count: 16385)), code: 1009),
        Wrong(testDescription: "announced too big", bytes: RawFrame.encode(1, [120], announced: 1 << 40), code: 1009),
        Wrong(
            testDescription: "too big in pieces",
            bytes: RawFrame.encode(1, [UInt8](repeating: 120, count: 16384), isFinal: false)
                + RawFrame.encode(0, [120]),
            code: 1009),
        Wrong(testDescription: "binary", bytes: RawFrame.encode(2, [1, 2, 3]), code: 4503),
        Wrong(testDescription: "empty binary", bytes: RawFrame.encode(2, []), code: 4503),
        Wrong(testDescription: "not UTF-8", bytes: RawFrame.encode(1, [0x61, 0xFF, 0x62]), code: 1007),
        Wrong(testDescription: "surrogate", bytes: RawFrame.encode(1, [0xED, 0xA0, 0x80]), code: 1007),
        Wrong(testDescription: "overlong", bytes: RawFrame.encode(1, [0xC0, 0xAF]), code: 1007),
        Wrong(testDescription: "cut character", bytes: RawFrame.encode(1, [0x61, 0xC3]), code: 1007),
        Wrong(
            testDescription: "cut over fragments",
            bytes: RawFrame.encode(1, [0xC3], isFinal: false) + RawFrame.encode(0, [0x61]), code: 1007),
        Wrong(testDescription: "unknown opcode", bytes: RawFrame.encode(5, [1]), code: 1002),
        Wrong(testDescription: "reserved bit", bytes: RawFrame.encode(0x41, [1]), code: 1002),
        Wrong(testDescription: "continuation of nothing", bytes: RawFrame.encode(0, [97]), code: 1002),
        Wrong(
            testDescription: "new message within one",
            bytes: RawFrame.encode(1, [97], isFinal: false) + RawFrame.encode(1, [98]), code: 1002),
        Wrong(testDescription: "fragmented ping", bytes: RawFrame.encode(9, [97], isFinal: false), code: 1002),
    ]

    @Test(arguments: wrong)
    func closedForIt(wrong: Wrong) async throws {
        try await withServer { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            socket.send(wrong.bytes)
            let frame = await socket.frame()
            #expect(frame?.code == wrong.code)
            socket.close()
            #expect(try await server.echo.closed.wait(for: 1).map { Int($0.code) } == [wrong.code])
        }
    }

    /// Before the frame's end: the connection ends without a word.
    @Test(arguments: [RawFrame.encode(9, [UInt8](repeating: 1, count: 126)), [0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1]])
    func cut(bytes: [UInt8]) async throws {
        try await withServer { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            socket.send(bytes)
            #expect(await socket.all() == "")
            #expect(try await server.echo.closed.wait(for: 1).map(\.origin) == [.lost])
        }
    }

    @Test func closedByTheServer() async throws {
        try await withServer { server in
            server.echo.onText = { connection, text in
                connection.send(text)
                connection.close(CloseCode(rawValue: UInt16(String(decoding: text, as: UTF8.self))!)!, "because")
                #expect(!connection.send(text))
                #expect(!connection.isOpen)
            }
            for code in CloseCode.allCases {
                let socket = try await server.raw()
                #expect(await socket.upgrade())
                socket.send(RawFrame.text("\(code.rawValue)"))
                #expect(await socket.frame()?.text == "\(code.rawValue)")
                let frame = await socket.frame()
                #expect(frame?.code == Int(code.rawValue))
                #expect(frame.map { String(decoding: $0.payload.dropFirst(2), as: UTF8.self) } == "because")
                socket.send(RawFrame.close(Int(code.rawValue)))
                #expect(await socket.all() == "")
            }
            let reasons = try await server.echo.closed.wait(for: CloseCode.allCases.count)
            #expect(reasons.map(\.code) == CloseCode.allCases.map(\.rawValue))
            #expect(reasons.allSatisfy { $0.origin == .local })
        }
    }

    @Test func closeWithoutAnswerIsCut() async throws {
        try await withServer({
            $0.closeTimeoutSeconds = 1
            $0.sweepMilliseconds = 50
        }) { server in
            server.echo.onText = { connection, _ in connection.close(.badToken) }
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            socket.send(RawFrame.text("x"))
            #expect(await socket.frame()?.code == 4501)
            #expect(await socket.all() == "")
            #expect(try await server.echo.closed.wait(for: 1).map(\.code) == [4501])
        }
    }

    @Test func abortedConnection() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            socket.send(Array(RawFrame.text("half").dropLast()))
            socket.close()
            #expect(try await server.echo.closed.wait(for: 1) == [CloseReason(code: 1006, text: "", origin: .lost)])
            #expect(server.echo.connections.isEmpty)
        }
    }

    @Test func pingsAndPongs() async throws {
        try await withServer({
            $0.pingAfterSeconds = 1
            $0.pongTimeoutSeconds = 2
            $0.sweepMilliseconds = 20
        }) { server in
            let alive = try await WebSocketClient.connect(server.ws, onText: { _ in })
            let deaf = try await server.raw()
            #expect(await deaf.upgrade())
            let ping = await deaf.frame()
            #expect(ping?.opcode == 9)
            let second = await deaf.frame()
            #expect(second?.code == Int(CloseCode.noPong.rawValue))
            #expect(server.echo.closed.items == [])
            deaf.send(RawFrame.close(4012))
            #expect(try await server.echo.closed.wait(for: 1).map(\.code) == [4012])
            #expect(alive.isOpen)
        }
    }

    /// Nothing is read of a client, so its pongs aren't either: it is no less there for that.
    @Test func whoIsNotReadIsNotCut() async throws {
        try await withServer({
            $0.pingAfterSeconds = 1
            $0.pongTimeoutSeconds = 1
            $0.sweepMilliseconds = 20
        }) { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            server.echo.onText = { connection, text in
                guard text == Array("pause".utf8) else { return _ = connection.send(text) }
                connection.pauseReceiving(milliseconds: 3500)
            }
            socket.send(RawFrame.text("pause"))
            #expect(await socket.frame()?.opcode == 9)
            socket.send(RawFrame.encode(10, Array("dibs".utf8)) + RawFrame.text("later"))
            var frame = await socket.frame()
            while frame?.opcode == 9 { frame = await socket.frame() }
            #expect(frame?.text == "later")
            #expect(server.echo.closed.items == [])
        }
    }

    @Test func firstFramesBehindTheHandshake() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send(Array(RawFrame.handshake("/ws").utf8) + RawFrame.text("early") + RawFrame.text("bird"))
            await socket.wait { socket.received.count > 140 }
            let text = String(decoding: socket.received, as: UTF8.self)
            #expect(text.contains("early"))
            #expect(text.contains("bird"))
        }
    }

    @Test func upgradeAfterARequest() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer()?.status == 200)
            #expect(await socket.upgrade())
            socket.send(RawFrame.text("hi"))
            #expect(await socket.frame()?.text == "hi")
        }
    }
}
