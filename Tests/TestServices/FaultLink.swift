import EventLoop
import Glibc

/// One connection through a ``FaultProxy``.
@LoopActor
final class FaultLink {
    /// From the program to the server.
    let requests = FaultFlow()
    /// From the server to the program.
    let replies = FaultFlow()
    /// Called when it is closed.
    var onClosed: (@LoopActor (ObjectIdentifier) -> Void)?
    /// Called when the program subscribes.
    var onSubscribed: (@LoopActor (FaultLink) -> Void)?

    private let client: FaultPort
    private var server: FaultPort?
    private var hasSubscribed = false
    private var isClosed = false

    init(_ client: FaultPort) { self.client = client }

    func isIn(_ scope: FaultProxy.Scope) -> Bool {
        switch scope {
        case .all: true
        case .subscribers: hasSubscribed
        case .others: !hasSubscribed
        }
    }

    /// Connects to the server and begins to forward, unless it did before.
    func serve(_ target: FaultProxy.Endpoint) {
        guard server == nil, !isClosed else { return }
        guard let descriptor = FaultPort.connect(to: target) else { return close() }
        let server = FaultPort(descriptor)
        self.server = server
        requests.onBytes = { [weak self] in self?.look(at: $0) }
        for (flow, from, to) in [(requests, client, server), (replies, server, client)] {
            flow.onEnd = { [weak self] in self?.flowEnded() }
            flow.onBroken = { [weak self] in self?.close() }
            flow.join(from, to)
        }
        client.onReady = { [weak self] in self?.ready($0, self?.requests, self?.replies) }
        server.onReady = { [weak self] in self?.ready($0, self?.replies, self?.requests) }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        requests.stop()
        replies.stop()
        client.close()
        server?.close()
        onClosed?(ObjectIdentifier(self))
    }

    private func ready(_ readiness: Readiness, _ from: FaultFlow?, _ to: FaultFlow?) {
        if readiness.contains(.writable) { to?.write() }
        if readiness.contains(.readable) { from?.read() }
    }

    /// Redis' commands come as arrays of strings, each on lines of its own.
    private func look(at bytes: ArraySlice<UInt8>) {
        guard !hasSubscribed, bytes.count < 65536, bytes.contains("\nSUBSCRIBE\r\n".utf8) else { return }
        hasSubscribed = true
        onSubscribed?(self)
    }

    private func flowEnded() {
        if requests.hasEnded && replies.hasEnded { close() }
    }
}

/// The bytes of one way.
@LoopActor
final class FaultFlow {
    var onBytes: (@LoopActor (ArraySlice<UInt8>) -> Void)?
    /// Called when the source has ended, and the sink knows.
    var onEnd: (@LoopActor () -> Void)?
    /// Called when one of the two is gone.
    var onBroken: (@LoopActor () -> Void)?
    private(set) var isHung = false
    private(set) var hasEnded = false
    /// How many bytes are held.
    private(set) var count = 0

    private var source: FaultPort?
    private var sink: FaultPort?
    private var delay: Int64 = 0
    private var chunks: [(due: Int64, bytes: ArraySlice<UInt8>)] = []
    private var isAtEnd = false
    private let timer = LoopTimer()
    /// What it holds before the source has to wait.
    private static let limit = 256 * 1024

    func join(_ source: FaultPort, _ sink: FaultPort) {
        self.source = source
        self.sink = sink
        source.wanted.insert(.readable)
    }

    func arrange(isHung: Bool, delay: Int64) {
        self.isHung = isHung
        self.delay = delay
        write()
    }

    func stop() {
        timer.stop()
        source = nil
        sink = nil
        chunks = []
        count = 0
    }

    func read() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while let source, !isAtEnd, count < FaultFlow.limit {
            let size = Glibc.read(source.descriptor, &buffer, buffer.count)
            if size < 0 {
                guard errno == EAGAIN || errno == EINTR else { onBroken?(); return }
                break
            }
            if size == 0 {
                isAtEnd = true
            } else {
                let bytes = buffer[..<size]
                chunks.append((due: EventLoop.monotonicMilliseconds + delay, bytes: bytes))
                count += size
                onBytes?(bytes)
            }
        }
        write()
    }

    /// Writes what is due, and arranges for the rest.
    func write() {
        defer { watch() }
        sink?.wanted.remove(.writable)
        while let sink, !isHung, let first = chunks.first {
            guard first.due <= EventLoop.monotonicMilliseconds else {
                timer.start(after: first.due - EventLoop.monotonicMilliseconds) { [weak self] in self?.write() }
                return
            }
            // A program that is gone must not end the tests by a signal.
            let size = first.bytes.withUnsafeBytes {
                send(sink.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard size > 0 else {
                if errno == EAGAIN || errno == EINTR { sink.wanted.insert(.writable) } else { onBroken?() }
                return
            }
            count -= size
            if size == first.bytes.count { chunks.removeFirst() } else { chunks[0].bytes.removeFirst(size) }
        }
        guard let sink, isAtEnd, chunks.isEmpty, !isHung, !hasEnded else { return }
        hasEnded = true
        shutdown(sink.descriptor, Int32(SHUT_WR))
        onEnd?()
    }

    private func watch() {
        guard let source else { return }
        if isAtEnd || count >= FaultFlow.limit {
            source.wanted.remove(.readable)
        } else {
            source.wanted.insert(.readable)
        }
    }
}

/// A socket of a ``FaultProxy``.
@LoopActor
final class FaultPort {
    let descriptor: Int32
    var onReady: (@LoopActor (Readiness) -> Void)?
    var wanted: Readiness = [] { didSet { watcher?.watch(wanted) } }
    private var watcher: DescriptorWatcher?

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        watcher = DescriptorWatcher(descriptor: descriptor) { [weak self] in self?.onReady?($0) }
    }

    isolated deinit { close() }

    func close() {
        guard let watcher else { return }
        watcher.close()
        self.watcher = nil
        onReady = nil
        // A program that was started in the moment in which it was accepted may have it, too.
        shutdown(descriptor, Int32(SHUT_RDWR))
        Glibc.close(descriptor)
    }

    static func listen(at place: FaultProxy.Endpoint) throws -> (Int32, FaultProxy.Endpoint) {
        let descriptor = socket(of: place)
        if case .unix(let path) = place { unlink(path) }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard withAddress(of: place, { bind(descriptor, $0, $1) }) == 0, Glibc.listen(descriptor, 4096) == 0 else {
            let error = errno
            Glibc.close(descriptor)
            throw LoopError(code: -error, operation: "listen at \(place)")
        }
        switch place {
        case .unix(let path):
            chmod(path, 0o777)
            return (descriptor, place)
        case .tcp:
            var address = sockaddr_in()
            var size = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &size) }
            }
            return (descriptor, .tcp(port: UInt16(bigEndian: address.sin_port)))
        }
    }

    /// Nil when nobody listens there, or nobody takes connections.
    static func connect(to place: FaultProxy.Endpoint, isBlocking: Bool = false) -> Int32? {
        let descriptor = socket(of: place)
        if isBlocking { _ = fcntl(descriptor, F_SETFL, 0) }
        let status = withAddress(of: place) { Glibc.connect(descriptor, $0, $1) }
        if status == 0 || errno == EINPROGRESS { return descriptor }
        Glibc.close(descriptor)
        return nil
    }

    private static func socket(of place: FaultProxy.Endpoint) -> Int32 {
        let family = if case .unix = place { AF_UNIX } else { AF_INET }
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        return Glibc.socket(family, kind, 0)
    }

    private static func withAddress(
        of place: FaultProxy.Endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        switch place {
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            return withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        case .tcp(let port):
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            return withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }
}
