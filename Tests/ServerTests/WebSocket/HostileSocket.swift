import EventLoop
import Glibc
import TestServices

/// A WebSocket without manners, on a bare TCP connection.
@LoopActor
final class HostileSocket {
    /// What came: text frames as they are, a close frame's code as a number.
    let frames = Journal<Frame>()
    private let descriptor: Int32
    private var watcher: DescriptorWatcher?
    private var incoming: [UInt8] = []
    private var outgoing: [UInt8] = []
    private var isUpgraded = false

    /// One frame from the server.
    struct Frame: Sendable {
        let opcode: UInt8
        let payload: [UInt8]
        var json: JSON { JSON(parsing: payload) ?? .null }
        /// A close frame's code.
        var code: Int? { opcode == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil }
    }

    /// Connects and asks for the upgrade; returns when it is granted.
    static func open(_ shop: Shop, on instance: Int = 0) async throws -> HostileSocket {
        let socket = try HostileSocket(port: UInt16(shop.instances[instance].url.split(separator: ":").last ?? "") ?? 0)
        socket.send(
            [UInt8](
                ("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").utf8))
        try await socket.frames.next("the upgrade") { $0.opcode == 16 }
        return socket
    }

    /// Connects and says nothing; ``received`` is all that comes.
    static func plain(_ shop: Shop) throws -> HostileSocket {
        try HostileSocket(port: UInt16(shop.instances[0].url.split(separator: ":").last ?? "") ?? 0)
    }

    /// Whether the connection is over, from whichever side.
    var hasEnded: Bool { watcher == nil }

    /// What came and was not taken as a frame.
    var received: String { String(decoding: incoming, as: UTF8.self) }

    private init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        // Blocking: on loopback it is done when the kernel has queued it.
        let status = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else {
            close(descriptor)
            throw LoopError(code: -errno, operation: "connect")
        }
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        let watcher = DescriptorWatcher(descriptor: descriptor) { [weak self] in self?.ready($0) }
        watcher.watch(.readable)
        self.watcher = watcher
    }

    isolated deinit { cut() }

    /// Sends bytes as they are.
    func send(_ bytes: [UInt8]) {
        outgoing += bytes
        flush()
    }

    /// Sends a frame, masked as a client's has to be.
    func send(_ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, announced: Int? = nil) {
        send(HostileSocket.frame(opcode, payload, isFinal: isFinal, announced: announced))
    }

    /// Sends a text frame.
    func send(text: String) { send(1, [UInt8](text.utf8)) }

    /// Reads no more, or goes on.
    func read(_ reading: Bool) { watcher?.watch(reading ? .readable : []) }

    /// Cuts the connection.
    func cut() {
        guard let watcher else { return }
        self.watcher = nil
        watcher.close()
        close(descriptor)
        frames.finish("before the connection ended")
    }

    /// The code of the close frame; waits for it.
    func closeCode() async throws -> Int? {
        try await frames.next("a close frame") { $0.opcode == 8 }.code
    }

    /// A frame as it goes over the wire.
    static func frame(
        _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, isMasked: Bool = true, announced: Int? = nil
    ) -> [UInt8] {
        let count = announced ?? payload.count
        let mask: UInt8 = isMasked ? 0x80 : 0
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | opcode]
        if count < 126 {
            bytes.append(mask | UInt8(count))
        } else if count < 65536 {
            bytes += [mask | 126, UInt8(count >> 8), UInt8(count & 255)]
        } else {
            bytes.append(mask | 127)
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(count >> shift & 255)) }
        }
        guard isMasked else { return bytes + payload }
        let key: [UInt8] = [0x12, 0x34, 0x56, 0x78]
        return bytes + key + payload.enumerated().map { $1 ^ key[$0 & 3] }
    }

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) { flush() }
        guard readiness.contains(.readable), watcher != nil else { return }
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EAGAIN { break }
            guard count > 0 else { return cut() }
            incoming += buffer[..<count]
            takeFrames()
        }
    }

    private func takeFrames() {
        if !isUpgraded {
            guard incoming.starts(with: "HTTP/1.1 101 ".utf8) else { return }
            guard let end = incoming.indices.first(where: { incoming[$0...].starts(with: [13, 10, 13, 10]) }) else {
                return
            }
            isUpgraded = true
            incoming.removeFirst(end + 4)
            // Of no protocol: our own mark for the end of the handshake.
            frames.add(Frame(opcode: 16, payload: []))
        }
        while incoming.count >= 2 {
            var count = Int(incoming[1] & 0x7F)
            let start = count == 126 ? 4 : 2
            guard incoming.count >= start else { return }
            if count == 126 { count = Int(incoming[2]) << 8 | Int(incoming[3]) }
            guard incoming.count >= start + count else { return }
            frames.add(Frame(opcode: incoming[0] & 15, payload: Array(incoming[start..<start + count])))
            incoming.removeFirst(start + count)
        }
    }

    private func flush() {
        guard let watcher, !outgoing.isEmpty else { return }
        let count = Glibc.send(descriptor, outgoing, outgoing.count, Int32(MSG_NOSIGNAL))
        if count > 0 { outgoing.removeFirst(count) }
        if count < 0 && errno != EAGAIN { outgoing = [] }
        if !outgoing.isEmpty { watcher.watch([.readable, .writable]) }
    }
}
