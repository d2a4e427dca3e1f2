import CWebSockets
import EventLoop
import Glibc
import Model

/// A server for REST, static files and WebSockets on one port.
///
/// It carries bytes; their meaning is the delegate's. Everything happens on the event loop.
@LoopActor
public final class GatewayServer {
    /// What the server was started with.
    public nonisolated let configuration: GatewayConfiguration
    /// The port that it listens on.
    public nonisolated let port: UInt16

    let delegate: any GatewayDelegate
    let log: Log
    private let library: Library
    let sweeper: Sweeper
    private var listener: Listener?
    private let files: StaticFiles?
    let gate: ConnectionGate
    /// Connections that send much.
    let reading: FairReading
    /// New connections of whoever opens very many.
    private let arriving: FairReading
    let newcomers: Newcomers
    let company = Company()
    private(set) var isDraining = false
    private var originsRefused = 0
    private var originLogAfter: Int64 = .min
    private static let originLogMilliseconds: Int64 = 10_000
    private var whenEmpty: CheckedContinuation<Void, Never>?

    /// Listens and serves from now on. The delegate is kept until the server has been shut down.
    /// - Throws: ``GatewayError`` when the address can't be listened on.
    public init(_ configuration: GatewayConfiguration, delegate: any GatewayDelegate, log: Log = .none) throws {
        self.configuration = configuration
        self.delegate = delegate
        self.log = log
        LibraryLog.use(log)
        library = try Library.shared(
            headerSeconds: UInt32(max(1, configuration.headerTimeoutSeconds)), tls: configuration.tls)
        gate = ConnectionGate(configuration)
        reading = FairReading(company)
        arriving = FairReading(company, leastInTurn: 16)
        newcomers = Newcomers(arriving)
        sweeper = Sweeper(period: configuration.sweepMilliseconds)
        files = configuration.webRoot.map { StaticFiles(root: $0) }
        let arrivals = Arrivals()
        let listener = try Listener(configuration, log: log) { arrivals.server?.arrived($0, $1) ?? false }
        self.listener = listener
        port = listener.port
        arrivals.server = self
        sweeper.beforeStep = { [reading] in
            reading.lookAtLoop()
            return reading.isLoopBusy
        }
        sweeper.start()
    }

    /// Whether connections are encrypted.
    var hasTLS: Bool { library.identity != nil }

    /// When the certificate in use ends, in seconds since 1970; nil without TLS.
    public var certificateExpiry: Int64? { library.identity?.expiresAt }

    /// Reads the certificate and its key anew. Connections that are open keep what they have; those to come get the new
    /// one. Nothing changes when it can't be used, or, unless `always`, when the files are as they were.
    public func reloadCertificate(always: Bool) { library.identity?.reload(always: always, log) }

    /// Open connections, WebSockets and others.
    public var connectionCount: Int { sweeper.count }

    /// Whether connections that send much are read in turns: where what is read is limited at all.
    var sharesReading: Bool { configuration.receiveRate != nil }

    /// Asked before connections that send much are read: whether enough is under way as it is.
    public func whenBusy(_ isBusy: @escaping @LoopActor () -> Bool) {
        reading.isBusy = isBusy
        // A crowd by itself is what all this is for.
        arriving.isBusy = { [company] in company.isPresent && isBusy() }
    }

    /// Stops accepting, closes WebSockets with 1001, a batch at a time, lets requests in flight finish, and returns when
    /// all are gone, or after `deadline` milliseconds, when the rest is cut off.
    public func shutdown(deadline: Int64) async {
        isDraining = true
        listener?.close()
        listener = nil
        let end = EventLoop.monotonicMilliseconds + deadline
        var count = 0
        for peer in sweeper.all {
            (peer as? HTTPConnection)?.drain()
            guard let socket = peer as? WebSocketConnection else { continue }
            socket.close(.goingAway, "the server is going away")
            count += 1
            // Not all at once: they will all come back, to this or another instance.
            if count % GatewayServer.drainBatch == 0 { await EventLoop.sleep(milliseconds: 10) }
        }
        await empty(until: end)
        for peer in sweeper.all {
            if let connection = peer as? HTTPConnection { connection.cut() } else { peer.kill(hard: true) }
        }
        await empty(until: EventLoop.monotonicMilliseconds + 1000)
        sweeper.stop()
        gate.stop()
    }

    private static let drainBatch = 500

    private func empty(until end: Int64) async {
        guard sweeper.count > 0 else { return }
        let timer = LoopTimer()
        await withCheckedContinuation { continuation in
            whenEmpty = continuation
            timer.start(after: max(0, end - EventLoop.monotonicMilliseconds)) { self.wakeDrain() }
        }
        timer.stop()
    }

    private func wakeDrain() {
        whenEmpty?.resume()
        whenEmpty = nil
    }

    /// A connection was accepted. Answers whether others are to have the time before the next is: it is one of very many,
    /// and others are there.
    private func arrived(_ socket: Int32, _ address: PeerAddress) -> Bool {
        guard gate.enter(address) else {
            delegate.turnedAway(address)
            Turnaway.cut(socket)
            return company.isPresent
        }
        guard sweeper.count < configuration.maxConnections else {
            gate.leave(address)
            // Words in the clear are none to who speaks TLS.
            if hasTLS { Turnaway.cut(socket) } else { Turnaway.turnAway(socket) }
            return false
        }
        let connection = HTTPConnection(server: self, address: address)
        sweeper.add(connection)
        guard gate.isCrowded(address) else {
            adopt(connection, socket)
            return false
        }
        company.noteCrowd(address)
        connection.waits(with: socket)
        return company.isPresent
    }

    /// Gives a connection's socket to the library, which closes it if that fails.
    func adopt(_ connection: HTTPConnection, _ socket: Int32) {
        guard Adoption.adopt(socket, as: connection, vhost: library.serverVhost, isPrimed: !hasTLS) else {
            return left(connection, countedAs: connection.counted)
        }
    }

    /// A connection has ended.
    func left(_ peer: Peer, countedAs address: PeerAddress?) {
        // The library may say so, and fail to take it over as well.
        guard peer.sweepPlace != .none else { return }
        sweeper.remove(peer)
        if let address { gate.leave(address) }
        if sweeper.count == 0 { wakeDrain() }
    }

    /// A connection has a deadline that is earlier than it was.
    func lookSoon(at peer: Peer) { sweeper.lookSoon(at: peer) }

    func upgraded(_ old: HTTPConnection, to new: WebSocketConnection) { sweeper.replace(old, with: new) }

    /// The answer to a request: a file's, or the delegate's.
    func answer(_ request: HTTPRequest) async -> HTTPResponse {
        if let answer = CrossOrigin.preflight(request, configuration.origins) {
            return delegate.refusal(ofPreflight: request) ?? answer
        }
        var response = await fileOrMeaning(request)
        CrossOrigin.mark(&response, for: request, configuration.origins)
        return response
    }

    /// Whether a WebSocket may be opened from where the request says that it comes from. A refusal is logged, since it is
    /// the first thing that goes wrong behind a proxy; not each, since anybody may ask.
    func allowsOrigin(of request: HTTPRequest) -> Bool {
        var hosts = [request.headers["host"]]
        if request.isFromProxy, let forwarded = request.headers["x-forwarded-host"] {
            hosts += forwarded.split(separator: ",").map(String.init)
        }
        if configuration.origins.allows(origin: request.origin, hosts: hosts.compactMap { $0 }) { return true }
        originsRefused += 1
        let now = EventLoop.monotonicMilliseconds
        guard now >= originLogAfter else { return false }
        originLogAfter = now + GatewayServer.originLogMilliseconds
        log(
            .warning, "origin_refused",
            [
                "origin": .text(String((request.origin ?? "").prefix(255))),
                "host": .text(String(hosts.compactMap { $0 }.joined(separator: ", ").prefix(255))),
                "refused": .init(originsRefused),
            ])
        originsRefused = 0
        return false
    }

    private func fileOrMeaning(_ request: HTTPRequest) async -> HTTPResponse {
        guard let files, request.method == .get || request.method == .head, !isDynamic(request.path) else {
            return await delegate.respond(to: request)
        }
        if let response = await files.respond(to: request) { return response }
        return await delegate.respond(to: request)
    }

    private func isDynamic(_ path: String) -> Bool {
        configuration.dynamicPaths.contains { $0.hasSuffix("/") ? path.hasPrefix($0) : path == $0 }
    }
}

/// Breaks the knot of a server that needs a listener that needs the server.
@LoopActor
private final class Arrivals {
    weak var server: GatewayServer?
}
