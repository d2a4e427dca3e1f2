import CWebSockets
import EventLoop
import Glibc
import Model

/// A listening socket of our own.
///
/// libwebsockets' own is not used: version 4.1.6 built for one thread, as Debian's is, never sets `SO_REUSEPORT`
/// (lib/roles/http/server/server.c:245), spins when `accept` fails for lack of descriptors
/// (lib/roles/listen/ops-listen.c:92), and can't be closed alone for a drain.
@LoopActor
final class Listener {
    /// The port it listens on.
    let port: UInt16
    private let descriptor: Int32
    private var watcher: DescriptorWatcher?
    private let accepted: @LoopActor (Int32, PeerAddress) -> Bool
    private let log: Log
    /// Given up for a moment when descriptors have run out, to accept and turn away whoever waits.
    private var reserve: Int32
    private let pause = LoopTimer()

    /// Nanoseconds in which connections are accepted in one turn, so that a rush doesn't starve those that are connected.
    private static let acceptNanoseconds: UInt64 = 300_000
    /// Milliseconds until it accepts more when others are to have the time.
    private static let yieldMilliseconds: Int64 = 1

    /// Listens. `accepted` gets each new socket, non-blocking, and owns it; it says whether to leave time to others before
    /// the next.
    init(
        _ configuration: GatewayConfiguration, log: Log, accepted: @escaping @LoopActor (Int32, PeerAddress) -> Bool
    ) throws {
        self.accepted = accepted
        self.log = log
        let family = configuration.address.contains(":") ? AF_INET6 : AF_INET
        descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw GatewayError.system("socket") }
        do {
            // Accepted sockets inherit these.
            try Listener.set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
            if configuration.shareListener { try Listener.set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            try Listener.set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
            try Listener.set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1)
            try Listener.set(descriptor, SOL_SOCKET, SO_SNDBUF, configuration.socketSendBufferBytes)
            if family == AF_INET6 { try Listener.set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
            try Listener.bind(descriptor, family, configuration.address, configuration.port)
            guard listen(descriptor, 4096) == 0 else { throw GatewayError.system("listen") }
            port = try Listener.boundPort(descriptor)
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        reserve = open("/dev/null", O_RDONLY | O_CLOEXEC)
        let watcher = DescriptorWatcher(descriptor: descriptor) { [weak self] _ in self?.accept() }
        watcher.watch(.readable)
        self.watcher = watcher
    }

    isolated deinit { close() }

    /// Stops listening.
    func close() {
        guard let watcher else { return }
        self.watcher = nil
        pause.stop()
        watcher.close()
        Glibc.close(descriptor)
        if reserve >= 0 { Glibc.close(reserve) }
        reserve = -1
    }

    private func accept() {
        let end = EventLoop.nanoseconds + Listener.acceptNanoseconds
        var (letIn, heldBack) = (0, 0)
        // What waits meanwhile is in the kernel, which has room for as many as come in a tenth of a second.
        defer { if heldBack > letIn { rest(milliseconds: Listener.yieldMilliseconds) } }
        repeat {
            guard watcher != nil else { return }
            var address = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let socket = withUnsafeMutablePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    accept4(descriptor, address, &length, Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
                }
            }
            guard socket >= 0 else {
                switch errno {
                case EINTR, ECONNABORTED: continue
                case EAGAIN: return
                default:
                    heldBack = 0
                    return outOfDescriptors(errno)
                }
            }
            if accepted(socket, PeerAddress(&address)) { heldBack += 1 } else { letIn += 1 }
        } while EventLoop.nanoseconds < end
    }

    /// Turns away one that waits, and stops looking for a moment: the socket stays readable meanwhile.
    private func outOfDescriptors(_ code: Int32) {
        log(.warning, "accept_failed", ["error": .text(String(cString: strerror(code)))])
        if reserve >= 0 {
            Glibc.close(reserve)
            let socket = accept4(descriptor, nil, nil, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
            if socket >= 0 { Turnaway.turnAway(socket) }
            reserve = open("/dev/null", O_RDONLY | O_CLOEXEC)
        }
        rest(milliseconds: 100)
    }

    private func rest(milliseconds: Int64) {
        watcher?.watch([])
        pause.start(after: milliseconds) { [weak self] in self?.watcher?.watch(.readable) }
    }

    private static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) throws {
        var value = value
        guard setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size)) == 0 else {
            throw GatewayError.system("setsockopt \(option)")
        }
    }

    private static func bind(_ descriptor: Int32, _ family: Int32, _ text: String, _ port: UInt16) throws {
        var storage = sockaddr_storage()
        let (parsed, length) = withUnsafeMutablePointer(to: &storage) { storage in
            if family == AF_INET6 {
                storage.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                    address.pointee.sin6_family = sa_family_t(AF_INET6)
                    address.pointee.sin6_port = port.bigEndian
                    return (inet_pton(AF_INET6, text, &address.pointee.sin6_addr), MemoryLayout<sockaddr_in6>.size)
                }
            } else {
                storage.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                    address.pointee.sin_family = sa_family_t(AF_INET)
                    address.pointee.sin_port = port.bigEndian
                    return (inet_pton(AF_INET, text, &address.pointee.sin_addr), MemoryLayout<sockaddr_in>.size)
                }
            }
        }
        guard parsed == 1 else { throw GatewayError(description: "not a numeric address: \(text)", code: EINVAL) }
        let status = withUnsafePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(descriptor, $0, socklen_t(length)) }
        }
        guard status == 0 else { throw GatewayError.system("bind to \(text) port \(port)") }
    }

    private static func boundPort(_ descriptor: Int32) throws -> UInt16 {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard status == 0 else { throw GatewayError.system("getsockname") }
        // The port is at the same place in both families.
        return withUnsafePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
        }
    }
}

/// The polite word to a connection that there is no room for.
@LoopActor
enum Turnaway {
    private static let answer: [UInt8] = {
        let error = WireError(.unavailable, "too many connections")
        return HTTPResponse.error(error).encode(
            version: .http11, keepAlive: false, omitBody: false, date: HTTPDate.now)
    }()

    /// Hangs up without a word, and without anything that stays behind: the cheapest there is, for whoever makes too many.
    static func cut(_ socket: Int32) {
        var reset = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
        Glibc.close(socket)
    }

    /// Says 503 and hangs up. Nothing waits: what the kernel doesn't take at once is lost.
    static func turnAway(_ socket: Int32) {
        // What has come of the request is read, because closing over unread bytes resets the connection, and the
        // client might then not see the answer.
        var sink = [UInt8](repeating: 0, count: 4096)
        _ = recv(socket, &sink, sink.count, Int32(MSG_DONTWAIT))
        _ = Glibc.send(socket, answer, answer.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        shutdown(socket, Int32(SHUT_WR))
        Glibc.close(socket)
    }
}
