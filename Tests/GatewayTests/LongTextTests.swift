import EventLoop
import Model
import TestServices
import Testing

@testable import Gateway

/// Texts of megabytes: sent in fragments, whole to each who reads, and without a copy for who doesn't.
@Suite(.timeLimit(.minutes(patience)))
struct LongTextTests {
    private static func text(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(97 + $0 % 26) } }

    /// Reads one message, whatever its fragments.
    @LoopActor
    private static func message(_ socket: RawSocket) async -> (payload: [UInt8], fragments: Int) {
        var payload: [UInt8] = []
        var fragments = 0
        while let frame = await socket.frame() {
            guard frame.opcode < 8 else { continue }
            #expect((frame.opcode == 0) == (fragments > 0))
            payload += frame.payload
            fragments += 1
            if frame.isFinal { break }
        }
        return (payload, fragments)
    }

    @Test func arriveWholeAndBetweenTheOthers() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            try await server.echo.opened.wait(for: 1)
            let connection = server.echo.connections[0]
            let body = Self.text(3_000_000)
            connection.send(Array("before".utf8))
            connection.markChanged(StateKey(kind: 4, subject: 1), long: { LongText([Array("{".utf8), body]) })
            connection.send(Array("after".utf8))
            connection.markChanged(StateKey(kind: 4, subject: 2), long: { LongText([Array("short".utf8)]) })
            connection.markChanged(StateKey(kind: 4, subject: 3), long: { nil })
            connection.markChanged(StateKey(kind: 4, subject: 4), long: { LongText([[], []]) })
            connection.markChanged(StateKey(kind: 1, subject: 1)) { Array("state".utf8) }
            #expect(await Self.message(socket).payload == Array("before".utf8))
            let long = await Self.message(socket)
            #expect(long.payload == Array("{".utf8) + body && long.fragments > 50)
            for expected in ["after", "short", "state"] {
                #expect(await Self.message(socket).payload == Array(expected.utf8))
            }
            socket.close()
        }
    }

    /// Whoever doesn't read makes nothing wait that counts, and others are served meanwhile.
    @Test func costASlowReaderNothing() async throws {
        try await withServer({ $0.outgoingLimitBytes = 100_000 }) { server in
            let slow = try await server.raw(receiveBuffer: 4096)
            #expect(await slow.upgrade())
            slow.read(false)
            try await server.echo.opened.wait(for: 1)
            let body = Self.text(8_000_000)
            let connection = server.echo.connections[0]
            connection.markChanged(StateKey(kind: 4, subject: 1), long: { LongText([body]) })
            #expect(connection.isOpen && connection.bufferedBytes == 0)
            let fast = try await server.raw()
            #expect(await fast.upgrade())
            try await server.echo.opened.wait(for: 2)
            server.echo.connections[1].markChanged(StateKey(kind: 4, subject: 1), long: { LongText([body]) })
            #expect(await Self.message(fast).payload == body)
            // When it reads at last, it gets all of it.
            slow.read(true)
            #expect(await Self.message(slow).payload == body)
            slow.close()
            fast.close()
        }
    }

    /// A connection that is closed in the middle of a long text says so, and is gone.
    @Test func canBeBrokenOff() async throws {
        try await withServer { server in
            let socket = try await server.raw(receiveBuffer: 4096)
            #expect(await socket.upgrade())
            socket.read(false)
            try await server.echo.opened.wait(for: 1)
            let connection = server.echo.connections[0]
            connection.markChanged(StateKey(kind: 4, subject: 1), long: { LongText([Self.text(8_000_000)]) })
            connection.close(.goingAway, "bye")
            socket.read(true)
            var code: Int?
            while let frame = await socket.frame() { if frame.opcode == 8 { code = frame.code } }
            #expect(code == 1001)
            try await server.echo.closed.wait(for: 1)
            #expect(server.gateway.connectionCount == 0)
            socket.close()
        }
    }
}
