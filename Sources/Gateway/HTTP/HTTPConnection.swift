import CWebSockets
import EventLoop
import Glibc
import Model

/// One accepted connection while it speaks HTTP.
///
/// Events of the library come in by ``handle(_:_:_:)``; answers are written in `HTTPConnection+Answer.swift`.
final class HTTPConnection: Peer {
    /// What the connection is doing.
    enum Phase: Equatable {
        /// The primer of ``Adoption`` is being parsed.
        case primed
        /// A request's head is awaited, or is coming.
        case waiting
        /// The body is coming.
        case body
        /// The delegate is at work.
        case handling
        /// An answer is on its way.
        case writing
        /// An error was answered while the request was still coming: the rest is thrown away for a moment, so that the
        /// client gets to read the answer.
        case lingering
        /// It is about to be a WebSocket.
        case upgrading
        /// The end is certain.
        case closing
    }

    let server: GatewayServer
    /// The other end of the connection, which may be a proxy's.
    let address: PeerAddress
    /// The address among whose connections it is counted; nil once it is a WebSocket, which is counted in its place.
    var counted: PeerAddress?
    var phase: Phase
    /// When the phase ends by force, on the loop's clock.
    var deadline: Int64
    /// Whether the next request's head has begun to come.
    private var isHeadComing = false
    /// Counts requests, so that an answer that comes late finds that its own is over.
    var exchange = 0
    /// Whether a trusted proxy is at the other end. It may send the requests of several clients over one connection, and
    /// docs/gateway.md says what one of them could do to another's: so there is one request on each.
    let isProxy: Bool
    /// Requests in a row that were answered by 429.
    var refusals = 0
    /// So many are answered one after the other; then the connection ends, as new ones are limited more narrowly.
    static let mostRefusals = 100
    /// Whether the next request waits for this connection's turn; the exchange before is not over until then.
    var isInLine = false
    /// The socket, while the connection stands in line to be let in; then the library has it.
    private var waitingSocket: Int32?
    /// Whether it is, or was when it got there, in the line of those who are to be let in.
    private var isNewcomer = false
    /// When as many requests may come at once as ever, on the loop's clock.
    var requestsFullAt: Int64 = 0
    /// Whether the next request came, in whole or in part, before the last one was answered.
    var isPipelined = false
    /// The request that is being read or answered.
    var head: RequestHead?
    /// The part of an answer that is still to be written.
    var outgoing: Outgoing?

    /// Waits for the socket to take more of it.
    var writability: Writability?

    /// An answer's body, and how much of it is written.
    struct Outgoing {
        let body: [UInt8]
        var written: Int
        let closesAfter: Bool
        let isUnlimited: Bool
        /// Whom it is for: the other end, or whom a trusted proxy names.
        let asker: PeerAddress
    }

    init(server: GatewayServer, address: PeerAddress) {
        self.server = server
        self.address = address
        counted = address
        isProxy = server.gate.isTrusted(address)
        phase = server.hasTLS ? .waiting : .primed
        deadline = EventLoop.monotonicMilliseconds + Int64(server.configuration.headerTimeoutSeconds) * 1000
        super.init()
    }

    /// Enters a phase that ends after `seconds` at the latest.
    func enter(_ phase: Phase, seconds: Int) {
        self.phase = phase
        isHeadComing = false
        deadline = EventLoop.monotonicMilliseconds + Int64(seconds) * 1000
    }

    override func handle(_ reason: lws_callback_reasons, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int32 {
        switch reason {
        case LWS_CALLBACK_HTTP: return headCame()
        case LWS_CALLBACK_HTTP_BODY: return bodyCame(UnsafeRawBufferPointer(start: bytes, count: count))
        case LWS_CALLBACK_HTTP_BODY_COMPLETION: return bodyCompleted()
        case LWS_CALLBACK_HTTP_WRITEABLE: return writable()
        case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE: return upgradeAsked(bytes)
        case LWS_CALLBACK_ESTABLISHED: return upgraded()
        case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
            dropped(bytes)
            return 0
        case LWS_CALLBACK_RAW_RX: return notHTTP(UnsafeRawBufferPointer(start: bytes, count: count))
        case LWS_CALLBACK_CLOSED_HTTP, LWS_CALLBACK_RAW_CLOSE, LWS_CALLBACK_CLOSED, LWS_CALLBACK_WSI_DESTROY:
            ended()
            return 0
        default: return 0
        }
    }

    /// A request's head is complete.
    private func headCame() -> Int32 {
        guard let wsi else { return -1 }
        if phase == .primed {
            phase = .waiting
            Turn.atEnd(.flush) { self.letGoOfTable() }
            return lws_http_transaction_completed(wsi) == 0 ? 0 : -1
        }
        guard phase == .waiting else { return -1 }
        exchange += 1
        let head: RequestHead
        do {
            head = try RequestHead.read(wsi, from: address, server.configuration)
        } catch {
            return refuse(.error(error.error), status: error.status, moreComes: !isPipelined)
        }
        self.head = head
        if isPipelined && head.framing != .none {
            // The library would take the request's head, which it has kept, for the body, and read memory that it has
            // freed (the loop at lib/roles/http/server/server.c:1811). It doesn't when this returns -1.
            let message = "a request with a body has to wait for the answer to the one before"
            return refuse(.error(WireError(.badRequest, message)), moreComes: false)
        }
        guard case .length(let length) = head.framing else { return dispatch() }
        if length > server.configuration.maxBodyBytes {
            let limit = server.configuration.maxBodyBytes
            return refuse(.error(WireError(.tooLarge, "the body is larger than \(limit) bytes")), moreComes: true)
        }
        if head.expectsContinue {
            guard Scratch.write(wsi, "HTTP/1.1 100 Continue\r\n\r\n".utf8, LWS_WRITE_HTTP_HEADERS) else { return -1 }
        }
        self.head?.request.body.reserveCapacity(length)
        enter(.body, seconds: server.configuration.bodyTimeoutSeconds)
        cancelLibraryTimeout()
        return 0
    }

    /// Keeps the library from being woken while it is flow-controlled.
    ///
    /// Where more was read than the request, `lws_rx_flow_control` asks for the socket to be writable
    /// (lib/core-net/pollfd.c), which a flow-controlled connection never deals with (lib/roles/h1/ops-h1.c:629): the loop would
    /// not sleep until the answer is written. The library starts its watch again when it may read.
    func keepAsleep() {
        guard let wsi, lws_partial_buffered(wsi) == 0 else { return }
        switch phase {
        case .handling, .writing: EventLoop.stopLibraryWatch(of: lws_get_socket_fd(wsi))
        default: break
        }
    }

    /// Gives back the table of headers that the library keeps after the primer, since that still lies in its buffer: 9 KB for
    /// each connection that says nothing, on a list that is walked through when one of them ends.
    private func letGoOfTable() {
        // Of a request that has begun to come, it may hold a part.
        guard phase == .waiting, exchange == 0, let wsi, TCPInfo.receivedBytes(lws_get_socket_fd(wsi)) == 0 else {
            return
        }
        lws_http_headers_detach(wsi)
    }

    private func bodyCame(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard phase == .body else { return 0 }
        head?.request.body.append(contentsOf: bytes)
        // The library starts it anew when this returns.
        Turn.atEnd(.flush) { self.cancelLibraryTimeout() }
        return 0
    }

    private func bodyCompleted() -> Int32 {
        // For an empty POST the library reports a body that `headCame` has dealt with.
        phase == .body ? dispatch() : 0
    }

    /// Hands the request to the delegate.
    private func dispatch() -> Int32 {
        guard let wsi, let request = head?.request else { return -1 }
        guard !Turn.isLate(lws_get_socket_fd(wsi)) else { return -1 }
        phase = .handling
        deadline = .max
        cancelLibraryTimeout()
        // The library doesn't read in this state, but would be woken for what is there to read, over and over.
        lws_rx_flow_control(wsi, 0)
        Turn.atEnd(.flush) { self.keepAsleep() }
        let exchange = exchange
        EventLoop.task { [self] in
            let response = await server.answer(request)
            finish(response, exchange: exchange)
        }
        return 0
    }

    /// The library lets go of the connection's protocol: on the way to the next request, or to the end.
    private func dropped(_ caller: UnsafeMutableRawPointer?) {
        guard let wsi, let caller, phase == .waiting else { return }
        // The library names its function here. This one is the end; an end without a table, while a head was awaited,
        // is that of a request that it could not parse.
        guard strcmp(caller.assumingMemoryBound(to: CChar.self), "__lws_close_free_wsi") == 0,
            !HeaderTable.isAttached(wsi)
        else { return }
        phase = .closing
        let message = "the request's head is malformed, or larger than \(Library.headerBytes) bytes"
        _ = writeWhole(.error(WireError(.badRequest, message)), keepAlive: false)
    }

    /// What came is not a method that the library knows: it gives us the bytes and forgets about HTTP.
    private func notHTTP(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard let wsi else { return -1 }
        // More of it, after our answer.
        guard phase == .waiting else { return 0 }
        var response = HTTPResponse.error(WireError(.badRequest, "not a request of HTTP/1.1"))
        if let method = HTTPConnection.method(bytes) {
            response = .error(WireError(.methodNotAllowed, "there is no method \(method) here"))
            response.headers["allow"] = HTTPMethod.allCases.map(\.rawValue).joined(separator: ", ")
        }
        cancelLibraryTimeout()
        enter(.lingering, seconds: HTTPConnection.lingerSeconds)
        guard writeWhole(response, keepAlive: false) else { return -1 }
        shutdown(lws_get_socket_fd(wsi), Int32(SHUT_WR))
        return 0
    }

    /// For how long what comes after a refusal is read and thrown away.
    static let lingerSeconds = 2

    /// The method of a request line that is none of ours but well-formed; nil for anything else.
    private static func method(_ bytes: UnsafeRawBufferPointer) -> String? {
        let line = bytes.prefix { $0 != 13 && $0 != 10 }
        let parts = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 3, (1...24).contains(parts[0].count), parts[2].starts(with: "HTTP/1.".utf8) else {
            return nil
        }
        let isToken = parts[0].allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return isToken ? String(decoding: parts[0], as: UTF8.self) : nil
    }

    /// Whether it waits to be let in.
    var isOutside: Bool { waitingSocket != nil }

    /// Waits, with its socket, for its turn to be let in.
    func waits(with socket: Int32) {
        waitingSocket = socket
        isNewcomer = true
        server.newcomers.add(self)
    }

    override func leaveLine() {
        guard isNewcomer else {
            isInLine = false
            return completed()
        }
        isNewcomer = false
        server.newcomers.left(self)
        guard let socket = waitingSocket, !hasGivenUp(socket) else { return }
        waitingSocket = nil
        enter(phase, seconds: server.configuration.headerTimeoutSeconds)
        server.adopt(self, socket)
    }

    /// Whether whoever waited to be let in has gone: it costs no more than this.
    private func hasGivenUp(_ socket: Int32) -> Bool {
        // With TLS nothing can be answered to one who says no more.
        guard HungUp.hasNothingToSay(socket) || server.hasTLS && HungUp.isClosed(socket) else { return false }
        return cutInLine()
    }

    /// Ends a connection that the library doesn't know yet; false for the others.
    func cutInLine() -> Bool {
        guard let socket = waitingSocket else { return false }
        waitingSocket = nil
        phase = .closing
        Turnaway.cut(socket)
        server.left(self, countedAs: counted)
        return true
    }

    override func sweep(_ now: Int64) -> Int64 {
        if let socket = waitingSocket {
            _ = hasGivenUp(socket)
            return now
        }
        // The library has deadlines of its own for an end that has begun.
        guard phase != .closing || now >= deadline else { return now }
        // Who stands in line is waited for by nobody but itself.
        guard now >= deadline, !isInLine else {
            // Of a head that has begun to come, nobody tells us; but the library has made room for it.
            if phase == .waiting, !isHeadComing, let wsi, HeaderTable.isAttached(wsi) {
                isHeadComing = true
                deadline = min(deadline, now + Int64(server.configuration.headerTimeoutSeconds) * 1000)
            }
            cancelLibraryTimeout()
            return now
        }
        // The next look, should the library need longer.
        deadline = now + 5000
        phase = .closing
        kill(hard: true)
        return now
    }

    /// The library has let go of the connection.
    private func ended() {
        guard wsi != nil else { return }
        wsi = nil
        phase = .closing
        exchange += 1
        (head, outgoing, writability) = (nil, nil, nil)
        PeerTable.remove(self)
        server.left(self, countedAs: counted)
    }
}
