import Dispatch
import EventLoop
import Gateway
import Glibc
import Model
import Synchronization

/// What comes by a socket, through libwebsockets: a real server in this process, a connection for each input.
enum SocketParsers {
    static func http(_ bytes: [UInt8]) -> String? {
        guard let answer = answer(to: bytes) else { return "no end of it: \(String(cString: strerror(errno)))" }
        guard !answer.isEmpty else { return nil }
        // 1.0 to whoever speaks that.
        return answer.starts(with: "HTTP/1.".utf8) ? nil : "no answer: \(answer.prefix(40))"
    }

    static func frames(_ bytes: [UInt8]) -> String? {
        guard let answer = answer(to: Array(handshake.utf8) + bytes) else {
            return "no end of it: \(String(cString: strerror(errno)))"
        }
        guard answer.starts(with: "HTTP/1.1 101 ".utf8), let end = headEnd(answer) else { return "no WebSocket" }
        return wrong(withFrames: answer[end...])
    }

    private static let handshake = """
        GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n
        """

    private static func headEnd(_ bytes: [UInt8]) -> Int? {
        let end: [UInt8] = [13, 10, 13, 10]
        return bytes.indices.first { bytes[$0...].starts(with: end) }.map { $0 + end.count }
    }

    /// What a server sends: whole frames without a mask and reserved bits, texts in UTF-8, a known reason at the end.
    private static func wrong(withFrames bytes: ArraySlice<UInt8>) -> String? {
        var rest = bytes
        var isOver = false
        while let first = rest.popFirst() {
            guard !isOver else { return "something after the close frame" }
            guard first & 0xF0 == 0x80, let second = rest.popFirst(), second & 0x80 == 0 else { return "no frame" }
            var length = Int(second)
            if length >= 126 {
                let count = length == 126 ? 2 : 8
                guard rest.count >= count else { return "half a frame" }
                length = rest.prefix(count).reduce(0) { $0 << 8 | Int($1) }
                rest = rest.dropFirst(count)
            }
            guard rest.count >= length else { return "half a frame" }
            let payload = rest.prefix(length)
            rest = rest.dropFirst(length)
            switch first & 0x0F {
            case 1: guard String(validating: payload, as: UTF8.self) != nil else { return "a text that is none" }
            case 8: isOver = true
            case 10: guard length <= 125 else { return "a pong of \(length) bytes" }
            default: return "a frame of the kind \(first & 0x0F)"
            }
        }
        return nil
    }

    // MARK: The server

    private final class Echo: GatewayDelegate {
        func respond(to request: HTTPRequest) async -> HTTPResponse {
            HTTPResponse(status: 200, body: Array(request.path.utf8))
        }
        func opened(_ connection: WebSocketConnection, _ request: HTTPRequest) {}
        func received(_ text: [UInt8], on connection: WebSocketConnection) { connection.send(text) }
        func closed(_ connection: WebSocketConnection, _ reason: CloseReason) {}
    }

    /// Kept for as long as the process.
    @LoopActor private static var server: GatewayServer?

    @LoopActor
    private static func start() -> UInt16 {
        var configuration = GatewayConfiguration()
        configuration.closeTimeoutSeconds = 1
        configuration.sweepMilliseconds = 20
        let server = try! GatewayServer(configuration, delegate: Echo())
        self.server = server
        return server.port
    }

    /// Where it listens; asking starts it. Inputs come on a thread that may wait.
    private static let port: UInt16 = {
        EventLoop.startInBackground()
        let started = DispatchSemaphore(value: 0)
        let found = Box(port: 0)
        EventLoop.task {
            found.port.store(start(), ordering: .releasing)
            started.signal()
        }
        started.wait()
        return found.port.load(ordering: .acquiring)
    }()

    private final class Box: Sendable {
        let port: Atomic<UInt16>
        init(port: UInt16) { self.port = Atomic(port) }
    }

    /// All that is answered until the server has hung up; nil when it doesn't.
    private static func answer(to bytes: [UInt8]) -> [UInt8]? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        // Longer than any deadline of the server for whoever has hung up.
        var patience = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { return nil }
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { break }
            sent += count
        }
        shutdown(descriptor, Int32(SHUT_WR))
        var answer: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &part, part.count, 0)
            if count > 0 { answer += part[..<count] }
            // A reset is an end, too.
            if count == 0 || count < 0 && errno == ECONNRESET { return answer }
            if count < 0 && errno != EINTR { return nil }
        }
    }
}
