import EventLoop
import Glibc
import TestServices
import Testing

@testable import Gateway

/// A TCP connection without manners, for what a decent client wouldn't send.
@LoopActor
final class RawSocket {
    private let descriptor: Int32
    private var watcher: DescriptorWatcher?
    private(set) var received: [UInt8] = []
    private(set) var isEnded = false
    private var waiting: (ready: @LoopActor () -> Bool, continuation: CheckedContinuation<Void, Never>)?
    private var outgoing: [UInt8] = []
    private var flushed = 0
    private var isReading = true

    static func connect(port: UInt16, receiveBuffer: Int32? = nil, from source: String? = nil) async throws -> RawSocket
    {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw GatewayError.system("socket") }
        if var size = receiveBuffer {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        if let source {
            inet_pton(AF_INET, source, &address.sin_addr)
            let isBound = withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                }
            }
            guard isBound else { throw GatewayError.system("bind") }
        }
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        // Blocking: on loopback it is done when the kernel has queued it.
        let status = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else {
            let error = GatewayError.system("connect")
            Glibc.close(descriptor)
            throw error
        }
        return RawSocket(descriptor)
    }

    private init(_ descriptor: Int32) {
        self.descriptor = descriptor
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        let watcher = DescriptorWatcher(descriptor: descriptor) { [weak self] in self?.ready($0) }
        watcher.watch(.readable)
        self.watcher = watcher
    }

    isolated deinit { close() }

    func send(_ text: String) { send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) {
        outgoing.append(contentsOf: bytes)
        flush()
    }

    /// Says that nothing more comes.
    func finish() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Stops or goes on reading.
    func read(_ reading: Bool) {
        isReading = reading
        watch()
    }

    private func watch() {
        var events: Readiness = isReading ? .readable : []
        if !outgoing.isEmpty { events.insert(.writable) }
        watcher?.watch(events)
    }

    func close() {
        guard let watcher else { return }
        self.watcher = nil
        watcher.close()
        Glibc.close(descriptor)
        isEnded = true
        wake()
    }

    /// Ends it without a word, and without reading what came.
    func reset() {
        var none = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &none, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// Waits until `ready`, or the end of the connection, which is ended when neither comes.
    func wait(_ ready: @escaping @LoopActor () -> Bool) async {
        if ready() || isEnded { return }
        var isInVain = false
        let patience = LoopTimer()
        patience.start(after: patienceMilliseconds) { [weak self] in
            isInVain = true
            self?.close()
        }
        await withCheckedContinuation { waiting = (ready, $0) }
        patience.stop()
        if isInVain { Issue.record("waited in vain; received: \(String(decoding: received, as: UTF8.self))") }
    }

    /// Waits for the end, and returns all that came.
    func all() async -> String {
        await wait { false }
        return String(decoding: received, as: UTF8.self)
    }

    /// Takes one HTTP answer from what came.
    func answer(head: Bool = false) async -> RawAnswer? {
        await wait { [self] in RawAnswer.parse(received, head: head) != nil }
        guard let (answer, length) = RawAnswer.parse(received, head: head) else { return nil }
        received.removeFirst(length)
        return answer
    }

    /// Takes one WebSocket frame from what came.
    func frame() async -> RawFrame? {
        await wait { [self] in RawFrame.parse(received) != nil }
        guard let (frame, length) = RawFrame.parse(received) else { return nil }
        received.removeFirst(length)
        return frame
    }

    /// Does a WebSocket's handshake; nil when it is refused.
    func upgrade(_ path: String = "/ws") async -> Bool {
        send(RawFrame.handshake(path))
        let end = Array("\r\n\r\n".utf8)
        await wait { [self] in received.firstRange(of: end) != nil }
        guard received.starts(with: "HTTP/1.1 101 ".utf8), let range = received.firstRange(of: end) else {
            return false
        }
        received.removeFirst(range.upperBound)
        return true
    }

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) { flush() }
        guard readiness.contains(.readable) else { return }
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count > 0 {
                received.append(contentsOf: buffer[..<count])
                continue
            }
            if count < 0 && errno == EAGAIN { break }
            close()
            return
        }
        wake()
    }

    private func flush() {
        guard watcher != nil, !outgoing.isEmpty else { return }
        let count = outgoing.withUnsafeBytes { bytes in
            Glibc.send(descriptor, bytes.baseAddress! + flushed, bytes.count - flushed, Int32(MSG_NOSIGNAL))
        }
        if count > 0 { flushed += count }
        if flushed == outgoing.count || (count < 0 && errno != EAGAIN) { (outgoing, flushed) = ([], 0) }
        watch()
    }

    private func wake() {
        guard let (ready, continuation) = waiting, ready() || isEnded else { return }
        waiting = nil
        continuation.resume()
    }
}

/// An answer as it came.
struct RawAnswer: Sendable {
    let status: Int
    let headers: [String: String]
    let body: String

    static func parse(_ bytes: [UInt8], head: Bool) -> (RawAnswer, Int)? {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        let status = Int(lines[0].split(separator: " ")[1])!
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = parts.count > 1 ? parts[1].trimmingSpaces : ""
        }
        let length = head ? 0 : Int(headers["content-length"] ?? "0")!
        guard bytes.count >= end.upperBound + length else { return nil }
        let body = String(decoding: bytes[end.upperBound..<end.upperBound + length], as: UTF8.self)
        return (RawAnswer(status: status, headers: headers, body: body), end.upperBound + length)
    }
}

/// A WebSocket frame as it came, or as it is to be sent.
struct RawFrame: Sendable {
    let opcode: UInt8
    let isFinal: Bool
    let payload: [UInt8]

    var text: String { String(decoding: payload, as: UTF8.self) }
    /// A close frame's code.
    var code: Int? { opcode == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil }

    static func handshake(_ path: String) -> String {
        "GET \(path) HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
            + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    }

    /// A client's frame, masked.
    static func encode(_ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, announced: Int? = nil) -> [UInt8] {
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | opcode]
        let count = announced ?? payload.count
        if count < 126 {
            bytes.append(0x80 | UInt8(count))
        } else if count < 65536 {
            bytes += [0x80 | 126, UInt8(count >> 8), UInt8(count & 255)]
        } else {
            bytes.append(0x80 | 127)
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(count >> shift & 255)) }
        }
        let mask: [UInt8] = [0x12, 0x34, 0x56, 0x78]
        bytes += mask
        bytes += payload.enumerated().map { $1 ^ mask[$0 & 3] }
        return bytes
    }

    static func text(_ text: String) -> [UInt8] { encode(1, Array(text.utf8)) }

    static func close(_ code: Int) -> [UInt8] { encode(8, [UInt8(code >> 8), UInt8(code & 255)]) }

    static func parse(_ bytes: [UInt8]) -> (RawFrame, Int)? {
        guard bytes.count >= 2 else { return nil }
        var count = Int(bytes[1] & 0x7F)
        var start = 2
        if count == 126 {
            guard bytes.count >= 4 else { return nil }
            count = Int(bytes[2]) << 8 | Int(bytes[3])
            start = 4
        } else if count == 127 {
            guard bytes.count >= 10 else { return nil }
            count = bytes[2..<10].reduce(0) { $0 << 8 | Int($1) }
            start = 10
        }
        guard bytes.count >= start + count else { return nil }
        let frame = RawFrame(
            opcode: bytes[0] & 15, isFinal: bytes[0] & 0x80 != 0, payload: Array(bytes[start..<start + count]))
        return (frame, start + count)
    }
}

extension Array where Element == UInt8 {
    func firstRange(of other: [UInt8]) -> Range<Int>? {
        guard count >= other.count else { return nil }
        for start in 0...(count - other.count) where self[start] == other[0] {
            if Array(self[start..<start + other.count]) == other { return start..<start + other.count }
        }
        return nil
    }
}
