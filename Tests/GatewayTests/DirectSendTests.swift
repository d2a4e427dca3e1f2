import EventLoop
import Model
import TestServices
import Testing

@testable import Gateway

/// What goes to the socket without the library, and what the library finishes.
@Suite(.timeLimit(.minutes(patience)))
struct DirectSendTests {
    @LoopActor
    private static func opened(
        _ server: TestServer, receiveBuffer: Int32? = nil
    ) async throws -> (RawSocket, WebSocketConnection) {
        let socket = try await server.raw(receiveBuffer: receiveBuffer)
        #expect(await socket.upgrade())
        try await server.echo.opened.wait(for: 1)
        return (socket, server.echo.connections[0])
    }

    private static func text(_ number: Int, _ count: Int) -> [UInt8] {
        Array("\(number) ".utf8) + [UInt8](repeating: UInt8(97 + number % 26), count: count)
    }

    /// Each way to write a length, by a message and by a text that is composed.
    @Test func allLengths() async throws {
        try await withServer { server in
            let (socket, connection) = try await Self.opened(server)
            let frame = TextFrame(capacity: 1)
            for count in [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 100_000] {
                let text = [UInt8](repeating: UInt8(ascii: "x"), count: count)
                connection.send(text)
                let sent = await socket.frame()
                #expect(sent?.payload == text && sent?.opcode == 1 && sent?.isFinal == true)
                frame.clear()
                frame.append(text)
                #expect(connection.sendAtOnce(frame))
                let composed = await socket.frame()
                #expect(composed?.payload == text && composed?.opcode == 1 && composed?.isFinal == true)
            }
        }
    }

    @Test func numbersInDigits() async throws {
        try await onLoop {
            let frame = TextFrame(capacity: 1)
            for number in [0, 9, 10, 99, 100, -1, -10, 999_999_999_999_999_999, .max, .min] as [Int64] {
                frame.clear()
                frame.append("<")
                frame.append(number)
                frame.append(Array(">".utf8))
                #expect(frame.bytes == Array("<\(number)>".utf8))
            }
        }
    }

    /// A client that doesn't read, and pings: frames of which the socket took a part are whole in the end, with the pongs
    /// between them, and nothing goes past what waits.
    @Test func wholeAndInOrderBetweenPongs() async throws {
        try await withServer { server in
            let (socket, connection) = try await Self.opened(server, receiveBuffer: 65_536)
            let frame = TextFrame()
            socket.read(false)
            var expected: [[UInt8]] = []
            var pings = 0
            // Until something waits, again and again: between two times the client reads.
            for _ in 0..<8 {
                var isTaken = true
                while isTaken, connection.isOpen {
                    frame.clear()
                    frame.append(Self.text(expected.count, expected.count * 37 % 3000))
                    isTaken = connection.sendAtOnce(frame)
                    if isTaken { expected.append(frame.bytes) }
                }
                // Not lost either: it waits in its turn.
                expected.append(frame.bytes)
                #expect(connection.send(frame.bytes))
                #expect(!connection.sendAtOnce(frame))
                // Read by the library when what waits is out: its pong comes anywhere between the texts.
                socket.send(RawFrame.encode(9, Array("ping \(pings)".utf8)))
                pings += 1
                socket.read(true)
                await socket.wait { connection.bufferedBytes == 0 }
                socket.read(false)
            }
            socket.read(true)
            var pongs = 0
            for (number, text) in expected.enumerated() {
                var next = await socket.frame()
                while let pong = next, pong.opcode == 10 {
                    #expect(pong.text.hasPrefix("ping "))
                    pongs += 1
                    next = await socket.frame()
                }
                #expect(next?.payload == text, "frame \(number)")
                guard next?.payload == text else { return }
            }
            if pongs == 0 {
                #expect(await socket.frame()?.opcode == 10)
                pongs = 1
            }
            // The library forgets a ping that comes while it owes a pong.
            #expect(pongs <= pings)
        }
    }

    /// A close frame comes after the rest of what the socket has taken a part of.
    @Test func closesAfterTheRest() async throws {
        try await withServer { server in
            let (socket, connection) = try await Self.opened(server, receiveBuffer: 4096)
            let frame = TextFrame()
            frame.append(Self.text(1, 3001))
            socket.read(false)
            var count = 0
            while connection.sendAtOnce(frame) { count += 1 }
            connection.close(.tooSlow, "enough")
            // Nothing follows: there is nothing to do.
            #expect(connection.sendAtOnce(frame))
            #expect(!connection.send(frame.bytes))
            socket.read(true)
            for _ in 0..<count { #expect(await socket.frame()?.payload == frame.bytes) }
            #expect(await socket.frame()?.code == Int(CloseCode.tooSlow.rawValue))
        }
    }

    /// A client that is gone: the connection ends as a lost one, once.
    @Test func aDeadSocket() async throws {
        try await withServer { server in
            let (socket, connection) = try await Self.opened(server)
            let frame = TextFrame()
            frame.append("late")
            socket.reset()
            #expect(connection.sendAtOnce(frame))
            let reasons = try await server.echo.closed.wait(for: 1)
            #expect(reasons.map(\.code) == [1006])
            #expect(connection.sendAtOnce(frame))
            #expect(server.gateway.connectionCount == 0)
        }
    }
}
