import EventLoop
import Foundation
import Glibc

/// Stands between a program and Redis, PostgreSQL or a gateway, and does what bad networks and fail-overs do.
///
/// Everything goes through until a fault is asked for; ``resume()`` ends all of them. Buffers are bounded: who writes
/// more than that into a network that hangs has to wait, as with a real one.
@LoopActor
public final class FaultProxy {
    /// Where it listens, or forwards to.
    public enum Endpoint: Sendable, Equatable {
        /// A unix socket.
        case unix(path: String)
        /// A port of 127.0.0.1; as a place to listen at, 0 is any free one.
        case tcp(port: UInt16)
    }

    /// The way of the bytes that a fault is about.
    public enum Direction: Sendable {
        /// Both ways.
        case both
        /// From the program to the server.
        case requests
        /// From the server to the program: what is asked for happens, and nobody hears of it.
        case replies
    }

    /// The connections that a fault is about.
    public enum Scope: Sendable {
        /// All of them.
        case all
        /// Those to Redis that have subscribed to something.
        case subscribers
        /// All others. A connection is one of them until it subscribes.
        case others
    }

    /// Where it forwards new connections to. For a fail-over: set it, then ``cut(_:)``.
    public var target: Endpoint
    /// How many connections it took so far.
    public private(set) var accepted = 0

    private let directory: String
    private var place: Endpoint
    private var listener: FaultPort?
    private var links: [ObjectIdentifier: FaultLink] = [:]
    private var hung: (requests: Scope?, replies: Scope?) = (nil, nil)
    private var delays: (requests: Int64, replies: Int64, scope: Scope) = (0, 0, .all)

    // MARK: Making one

    /// A proxy of a Redis that listens on a unix socket.
    public static func redis(_ socketPath: String) throws -> FaultProxy {
        try FaultProxy(to: .unix(path: socketPath), socketName: "s")
    }

    /// A proxy of a PostgreSQL that listens on a unix socket.
    public static func postgres(_ socketPath: String) throws -> FaultProxy {
        try FaultProxy(to: .unix(path: socketPath), socketName: ".s.PGSQL.5432")
    }

    /// A proxy of a server that listens on a port of 127.0.0.1, on another such port.
    public static func tcp(_ port: UInt16) throws -> FaultProxy {
        try FaultProxy(to: .tcp(port: port), socketName: nil)
    }

    /// Listens on a unix socket of that name in a directory of its own, or on a free port.
    public init(to target: Endpoint, socketName: String?) throws {
        EventLoop.startInBackground()
        // Short: a socket's path has room for 107 bytes.
        var template = Array("/tmp/dibs-proxy-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw LoopError(code: -errno, operation: "mkdtemp") }
        let directory = String(cString: made)
        self.directory = directory
        self.target = target
        // Others than this user, as a PostgreSQL that does not run as root, connect through it, too.
        chmod(directory, 0o755)
        place = socketName.map { .unix(path: directory + "/" + $0) } ?? .tcp(port: 0)
        try listen()
    }

    isolated deinit {
        close()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Ends it: closes all connections and takes no more.
    public func close() {
        listener?.close()
        listener = nil
        cut()
    }

    // MARK: Where it is

    /// The unix socket that it listens on; empty when it listens on a port.
    public var socketPath: String { if case .unix(let path) = place { path } else { "" } }
    /// The port that it listens on; 0 when it listens on a unix socket.
    public var port: UInt16 { if case .tcp(let port) = place { port } else { 0 } }
    /// The URL of a Redis behind it.
    public var redisURL: String { "unix://\(socketPath)" }
    /// How to connect to a database of a PostgreSQL behind it.
    public func connectionString(database: String) -> String {
        "host=\(directory) port=5432 user=postgres dbname=\(database)"
    }

    // MARK: Faults

    /// Lets no bytes through from now on, and closes nothing: what was sent before may be lost in it. New connections
    /// are taken and, when both ways hang, not served. Hanging one way does not end hanging the other way.
    public func hang(_ direction: Direction = .both, _ scope: Scope = .all) {
        if direction != .replies { hung.requests = scope }
        if direction != .requests { hung.replies = scope }
        for link in links.values { arrange(link) }
    }

    /// Lets each byte through so many milliseconds later; 0 ends that.
    public func delay(milliseconds: Int64, _ direction: Direction = .both, _ scope: Scope = .all) {
        if direction != .replies { delays.requests = milliseconds }
        if direction != .requests { delays.replies = milliseconds }
        delays.scope = scope
        for link in links.values { arrange(link) }
    }

    /// Takes no new connections: they are refused. Those that stand go on.
    public func refuse() {
        listener?.close()
        listener = nil
    }

    /// Closes all connections at once; what is on its way in them is lost. New ones are served.
    public func cut(_ scope: Scope = .all) {
        for link in links.values where link.isIn(scope) { link.close() }
    }

    /// Ends all faults: what was held goes on its way, new connections are taken, those not served are.
    /// - Throws: when it can't listen again.
    public func resume() throws {
        hung = (nil, nil)
        delays = (0, 0, .all)
        if listener == nil { try listen() }
        for link in links.values { arrange(link) }
    }

    // MARK: Seeing

    /// How many connections go through it.
    public var connections: Int { links.count }
    /// How many of them have subscribed to something.
    public var subscribers: Int { links.values.count { $0.isIn(.subscribers) } }

    /// How many bytes it holds back. With ``hang(_:_:)`` of replies: whether the server has answered.
    public func heldBytes(_ direction: Direction = .both, _ scope: Scope = .all) -> Int {
        links.values.filter { $0.isIn(scope) }.reduce(0) { sum, link in
            sum + (direction == .replies ? 0 : link.requests.count) + (direction == .requests ? 0 : link.replies.count)
        }
    }

    // MARK: Connections

    private func listen() throws {
        let (descriptor, place) = try FaultPort.listen(at: place)
        self.place = place
        let listener = FaultPort(descriptor)
        listener.onReady = { [weak self] _ in self?.accept() }
        listener.wanted = .readable
        self.listener = listener
    }

    private func accept() {
        while let listener {
            let descriptor = Glibc.accept(listener.descriptor, nil, nil)
            guard descriptor >= 0 else { return }
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            accepted += 1
            let link = FaultLink(FaultPort(descriptor))
            links[ObjectIdentifier(link)] = link
            link.onClosed = { [weak self] in self?.links[$0] = nil }
            link.onSubscribed = { [weak self] in self?.arrange($0) }
            arrange(link)
        }
    }

    private func arrange(_ link: FaultLink) {
        func holds(_ scope: Scope?) -> Bool { scope.map { link.isIn($0) } ?? false }
        let isDelayed = link.isIn(delays.scope)
        link.requests.arrange(isHung: holds(hung.requests), delay: isDelayed ? delays.requests : 0)
        link.replies.arrange(isHung: holds(hung.replies), delay: isDelayed ? delays.replies : 0)
        if !(link.requests.isHung && link.replies.isHung) { link.serve(target) }
    }
}
