import CWebSockets
import EventLoop
import Model

/// One WebSocket that a client opened.
///
/// Small while idle: what waits to be sent, and messages that have come in part, take room only while there are any.
public final class WebSocketConnection: Peer {
    /// What a message is to the gateway. Both kinds keep their order, and are never dropped while the connection lives:
    /// when too much waits, the connection ends with 4008.
    public enum MessageKind: Sendable {
        /// What has to reach the client, now or after it comes back.
        case outcome
        /// The direct answer to what the client sent.
        case reply
    }

    enum State {
        case open
        case closing
        case closed
    }

    /// The client's address: at the other end, or behind a trusted proxy.
    public nonisolated let remoteAddress: PeerAddress
    /// Anything that whoever uses the gateway wants to find again.
    public var context: AnyObject?

    let server: GatewayServer
    /// Whether there is no TLS between us and the socket.
    private let isPlain: Bool
    private(set) var state = State.open
    /// Whether nothing is read for a while.
    private var isPaused = false
    /// Whether it stands in line to be read, or will as of the end of this turn.
    private var isInLine = false
    /// Whether it sends much of what the library doesn't tell.
    private var isSuspect = false
    /// What its socket had received when that was looked at last, and what was charged for since, in bytes.
    private var lookedAt: Int64 = 0
    private var charged: Int64 = 0
    /// Whether the socket was asked to tell that it is writable, for the sake of what was read already.
    private var isWoken = false
    /// Whether a close frame is still to be sent.
    private var isFrameOwed = false
    private var outbox: Box?
    /// The beginning of a message whose end has not come.
    private var partial: [UInt8] = []
    /// When something was last heard, on the loop's clock.
    private var lastHeard = EventLoop.monotonicMilliseconds
    /// When as much may be read at once as ever, in microseconds of the loop's clock; ``GatewayConfiguration/receiveRate``.
    private var budgetFullAt: Int64 = 0
    /// When as much is read as it comes as ever, on the loop's clock; ``readInSecond``.
    private var personFullAt: Int64 = 0
    /// When the silence after a ping, or the wait for a close frame's answer, is over; 0 when there is none.
    private var deadline: Int64 = 0
    /// Why it ends, once that is known.
    private var reason: Ending?

    private final class Box {
        var outbox = Outbox()
        /// A long text of which not all is sent: nothing else may come between.
        var fragments: Fragments?

        var isEmpty: Bool { outbox.isEmpty && fragments == nil }
    }

    private final class Ending {
        let reason: CloseReason
        init(_ reason: CloseReason) { self.reason = reason }
    }

    init(server: GatewayServer, wsi: OpaquePointer, address: PeerAddress) {
        self.server = server
        remoteAddress = address
        isPlain = !server.hasTLS
        super.init()
        self.wsi = wsi
    }

    /// Names the connection for as long as the object lives.
    public nonisolated var id: ObjectIdentifier { ObjectIdentifier(self) }

    /// Whether messages still get through: false once it closes, for whatever reason.
    public var isOpen: Bool { state == .open }

    /// Bytes of messages that wait for the socket, without what the kernel has taken.
    public var bufferedBytes: Int { outbox?.outbox.bytes ?? 0 }

    /// Sends a text message: at once when the socket takes it, else as soon as it does. `text` has to be UTF-8.
    /// - Returns: false when the connection is closing or closed.
    @discardableResult
    public func send(_ text: [UInt8], as kind: MessageKind = .reply) -> Bool {
        guard state == .open, let wsi else { return false }
        if outbox == nil && lws_partial_buffered(wsi) == 0 { return write(wsi, text) }
        guard bufferedBytes + text.count <= server.configuration.outgoingLimitBytes else {
            close(.tooSlow, "too much waits to be read")
            return false
        }
        waiting().outbox.append(text)
        return true
    }

    /// Tells that a state has changed. Its newest value is taken from `encode` when the socket can take it, which may be
    /// at once; nil means that there is nothing to say any more.
    public func markChanged(_ key: StateKey, _ encode: @escaping @LoopActor () -> [UInt8]?) {
        guard state == .open, let wsi else { return }
        if outbox == nil && lws_partial_buffered(wsi) == 0 {
            if let value = encode() { _ = write(wsi, value) }
            return
        }
        waiting().outbox.mark(Outbox.Mark(key: key, encode: .short(encode)))
    }

    /// As ``markChanged(_:_:)``, for a state whose text may be long.
    public func markChanged(_ key: StateKey, long encode: @escaping @LoopActor () -> LongText?) {
        guard state == .open, let wsi else { return }
        if outbox == nil && lws_partial_buffered(wsi) == 0 {
            guard let text = encode(), !text.parts.isEmpty else { return }
            let box = waiting()
            box.fragments = Fragments(text)
            _ = send(box, wsi)
            return
        }
        waiting().outbox.mark(Outbox.Mark(key: key, encode: .long(encode)))
    }

    /// Sends a text if nothing waits that has to go first. Nothing is allocated, and nothing is copied.
    /// - Returns: false when something waits: then it is for the caller to mark a state, or to send it as a message.
    public func sendAtOnce(_ frame: TextFrame) -> Bool {
        guard state == .open, let wsi else { return true }
        guard outbox == nil && lws_partial_buffered(wsi) == 0 else { return false }
        if !frame.send(wsi, isPlain: isPlain) { broken() }
        return true
    }

    /// Forgets a state that was marked as changed and is not sent yet.
    public func unmark(_ key: StateKey) { outbox?.outbox.removeMark(key) }

    /// Ends the connection with a close frame. What waits is dropped. `closed` of the delegate comes when the other end
    /// has answered, or has had ``GatewayConfiguration/closeTimeoutSeconds`` to do so.
    public func close(_ code: CloseCode, _ text: String = "") { close(code: code.rawValue, text) }

    /// Ends the connection with a close frame of any code.
    public func close(code: UInt16, _ text: String = "") {
        guard state == .open else { return }
        beginClosing(CloseReason(code: code, text: text, origin: .local))
        // Not within an event of its own: there the library wants -1, and then drops the rest of what it has read. It no
        // longer finds the frames in what follows, takes that for a broken connection, and resets it before the client
        // has read the close frame.
        Turn.atEnd(.flush) { self.sendCloseFrame() }
    }

    /// Stops reading from the client, or goes on: the kernel's buffers, and then the client, do the waiting.
    public func setReceiving(_ receiving: Bool) {
        guard state != .closed, let wsi else { return }
        lws_rx_flow_control(wsi, receiving ? 1 : 0)
    }

    /// Reads nothing of the client for a while. What it sends meanwhile waits in its own system.
    public func pauseReceiving(milliseconds: Int64) {
        guard state == .open, !isPaused else { return }
        isPaused = true
        setReceiving(false)
        // The timer holds itself, so that connections that are never paused have no place for one.
        let timer = LoopTimer()
        timer.start(after: milliseconds) { [weak self] in
            timer.stop()
            guard let self, self.isPaused else { return }
            self.isPaused = false
            if !self.isInLine { self.readOn() }
        }
    }

    override func standInLine() { setReceiving(false) }

    override func leaveLine() {
        isInLine = isSuspect
        if !isPaused { readOn() }
    }

    override var staysInLine: Bool { isSuspect && state != .closed }

    /// Compares what the socket has received with what the library told of. Of pings it tells nothing: whoever sends many
    /// stays in line. To be called when the loop has much to do, as it takes a system call.
    private func lookForSilentFlood(_ wsi: OpaquePointer) {
        let descriptor = lws_get_socket_fd(wsi)
        let total = TCPInfo.receivedBytes(descriptor)
        let silent = Int64(total) - lookedAt - charged
        // Before the first look there was a handshake.
        let handshake = lookedAt == 0 ? Library.headerBytes : 0
        let wasSuspect = isSuspect
        // The kernel receives no more of it than is read; what it holds back shows that there is more to come.
        isSuspect =
            silent > Int64(Self.readAtOnce + handshake) || wasSuspect && TCPInfo.unreadBytes(descriptor) > 0
        if isSuspect, !wasSuspect, !isInLine {
            isInLine = true
            server.reading.note(self)
        }
        (lookedAt, charged) = (Int64(total), 0)
    }

    private func readOn() {
        setReceiving(true)
        // What OpenSSL has decrypted already makes the socket readable no more: the library looks for it when anything
        // happens on the connection.
        guard server.hasTLS, let wsi else { return }
        isWoken = true
        lws_callback_on_writable(wsi)
    }

    // MARK: Events of the library

    override func handle(_ reason: lws_callback_reasons, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int32 {
        switch reason {
        case LWS_CALLBACK_RECEIVE: return received(UnsafeRawBufferPointer(start: bytes, count: count))
        case LWS_CALLBACK_SERVER_WRITEABLE: return writable()
        case LWS_CALLBACK_RECEIVE_PONG:
            heard()
            return 0
        case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
            return closedByPeer(UnsafeRawBufferPointer(start: bytes, count: count))
        case LWS_CALLBACK_CLOSED, LWS_CALLBACK_WSI_DESTROY:
            ended()
            return 0
        default: return 0
        }
    }

    /// The handshake is done.
    func open(_ request: HTTPRequest) -> Int32 {
        server.delegate.opened(self, request)
        return 0
    }

    private func heard() {
        lastHeard = EventLoop.monotonicMilliseconds
        if state == .open { deadline = 0 }
    }

    private func received(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard state == .open, let wsi else { return 0 }
        heard()
        charge(bytes.count)
        if lws_frame_is_binary(wsi) != 0 {
            close(.notText, "only text is spoken here")
            return 0
        }
        let limit = server.configuration.maxMessageBytes
        // With what the frame's header announces: nobody has to send it all to hear that it is too much.
        guard partial.count + bytes.count <= limit, lws_remaining_packet_payload(wsi) <= limit - partial.count else {
            close(.tooBig, "larger than \(limit) bytes")
            return 0
        }
        guard lws_is_final_fragment(wsi) != 0 else {
            partial.append(contentsOf: bytes)
            return 0
        }
        guard !Turn.isLate(lws_get_socket_fd(wsi)) else { return 0 }
        if partial.isEmpty {
            server.delegate.received(Array(bytes), on: self)
        } else {
            partial.append(contentsOf: bytes)
            let message = partial
            partial = []
            server.delegate.received(message, on: self)
        }
        return 0
    }

    /// What a piece of a message costs besides its bytes: to hand one over takes as long as to read so many.
    private static let pieceCost = 256

    /// What is read of one connection as it comes, in bytes: a dozen messages at once, and seven a second. That is much for
    /// a person; who sends more stands in line with its like.
    private static let readAtOnce = 4096
    private static let readInSecond = 2048

    /// Counts what was read, and pauses when it is more than the rate. A piece of a message costs more than its bytes.
    private func charge(_ count: Int) {
        guard let rate = server.configuration.receiveRate else { return }
        let now = EventLoop.monotonicMilliseconds
        budgetFullAt =
            max(now * 1000, budgetFullAt) + Int64(Double(count + Self.pieceCost) / rate.perSecond * 1_000_000)
        let over = budgetFullAt - now * 1000 - Int64(rate.burst / rate.perSecond * 1_000_000)
        // At least 20 ms, so that there is something to read then that is worth it.
        if over > 0 { pauseReceiving(milliseconds: max(20, over / 1000)) }
        charged += Int64(count + Self.pieceCost)
        let atOnce = Int64(Self.readAtOnce * 1000 / Self.readInSecond)
        personFullAt = max(now, personFullAt) + Int64((count + Self.pieceCost) * 1000 / Self.readInSecond)
        // What was sent at once is forgiven in two seconds: then it counts as a person again.
        personFullAt = min(personFullAt, now + 2 * atOnce)
        guard !isInLine else { return }
        guard personFullAt - now > atOnce else { return server.company.note(remoteAddress) }
        isInLine = true
        server.reading.note(self)
    }

    private func writable() -> Int32 {
        guard let wsi else { return -1 }
        if state == .closing && isFrameOwed { Turn.atEnd(.flush) { self.sendCloseFrame() } }
        guard state == .open else { return 0 }
        if isWoken {
            isWoken = false
            if outbox == nil { return 0 }
        }
        guard let outbox else {
            // The library doesn't tell of a ping from the client, but of a socket that is writable once more after the
            // pong (lib/roles/ws/ops-ws.c:1321): that is how a flood of them is seen.
            charge(0)
            return 0
        }
        return send(outbox, wsi) ? 0 : -1
    }

    /// Sends of what waits as much as the socket takes, and as is fair.
    /// - Returns: false when the connection is dead.
    private func send(_ box: Box, _ wsi: OpaquePointer) -> Bool {
        var written = 0
        while state == .open, written < WebSocketConnection.writtenAtOnce, lws_partial_buffered(wsi) == 0 {
            if box.fragments != nil {
                written += Fragments.size
                guard box.fragments!.write(to: wsi) else {
                    broken()
                    return false
                }
                if box.fragments!.isDone { box.fragments = nil }
            } else if let item = box.outbox.next() {
                switch item {
                case .message(let message):
                    written += message.count
                    guard write(wsi, message) else { return false }
                case .long(let text): box.fragments = Fragments(text)
                }
            } else {
                break
            }
        }
        // Unless an encoder has closed the connection.
        guard state == .open else { return true }
        if box.isEmpty {
            outbox = nil
        } else {
            lws_callback_on_writable(wsi)
        }
        return true
    }

    /// Bytes for one connection before others get their turn.
    private static let writtenAtOnce = 65536

    /// Sends the close frame, unless the rest of a message has to go first: then the library tells when that is out.
    private func sendCloseFrame() {
        guard isFrameOwed, let wsi, let reason = reason?.reason, lws_partial_buffered(wsi) == 0 else { return }
        isFrameOwed = false
        startClosing(reason)
    }

    private func closedByPeer(_ payload: UnsafeRawBufferPointer) -> Int32 {
        guard state == .open, let wsi else { return 0 }
        let code = payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : 1005
        let text = String(decoding: payload.dropFirst(2), as: UTF8.self)
        beginClosing(CloseReason(code: code, text: text, origin: .remote))
        guard payload.count == 1 else { return 0 }
        // Half a code. The library would send it back as it came (lib/roles/ws/ops-ws.c:512), as wrong as before. It waits
        // for an answer to what it sends instead, but there is none to come.
        lws_close_reason(wsi, LWS_CLOSE_STATUS_PROTOCOL_ERR, nil, 0)
        deadline = EventLoop.monotonicMilliseconds + 100
        return -1
    }

    private func beginClosing(_ reason: CloseReason) {
        // The library has to see how the client answers: soon, or when it is the turn of one who sends too much, which it may
        // go on with.
        if isPaused && !isInLine { setReceiving(true) }
        isSuspect = isInLine
        (state, isPaused) = (.closing, false)
        isFrameOwed = reason.origin == .local
        self.reason = Ending(reason)
        outbox = nil
        partial = []
        deadline = EventLoop.monotonicMilliseconds + Int64(server.configuration.closeTimeoutSeconds) * 1000
        server.lookSoon(at: self)
    }

    private func ended() {
        guard let wsi else { return }
        // A rule of the library's own, such as 1007 for what isn't UTF-8, has left its close frame there.
        if state == .open && lws_get_close_length(wsi) >= 2 {
            let payload = UnsafeRawBufferPointer(start: lws_get_close_payload(wsi), count: 2)
            let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
            beginClosing(CloseReason(code: code, text: "", origin: .local))
        }
        self.wsi = nil
        state = .closed
        outbox = nil
        partial = []
        PeerTable.remove(self)
        server.left(self, countedAs: remoteAddress)
        server.delegate.closed(self, reason?.reason ?? CloseReason(code: 1006, text: "", origin: .lost))
    }

    // MARK: Inside

    override func sweep(_ now: Int64) -> Int64 {
        if state == .closing {
            guard now >= deadline else {
                // Until its end it may send more, of which the library tells nothing either.
                if server.reading.isLoopBusy || isSuspect, server.sharesReading, let wsi { lookForSilentFlood(wsi) }
                return now
            }
            deadline = now + 5000
            kill(hard: true)
            return deadline
        }
        guard let wsi else { return now }
        let pingAfter = Int64(server.configuration.pingAfterSeconds) * 1000
        if server.reading.isLoopBusy || isSuspect, server.sharesReading { lookForSilentFlood(wsi) }
        if deadline > 0 {
            if now >= deadline {
                // Its answer may be what nobody has read yet, where it stands in line to be: in the socket, or put aside by the
                // library or OpenSSL.
                if isInLine || isPaused || TCPInfo.unreadBytes(lws_get_socket_fd(wsi)) > 0 {
                    heard()
                } else {
                    close(.noPong, "no answer to a ping")
                }
            }
        } else if now - lastHeard >= pingAfter {
            deadline = now + Int64(server.configuration.pongTimeoutSeconds) * 1000
            // Where the socket takes nothing, the silence alone decides. The payload is needed: the library doesn't
            // tell of an empty pong (lib/roles/ws/ops-ws.c:591).
            if lws_partial_buffered(wsi) == 0 && !Scratch.write(wsi, "dibs".utf8, LWS_WRITE_PING) { broken() }
        }
        return isSuspect ? now : deadline > 0 ? deadline : lastHeard + pingAfter
    }

    private func waiting() -> Box {
        if let outbox { return outbox }
        let box = Box()
        outbox = box
        if let wsi { lws_callback_on_writable(wsi) }
        return box
    }

    private func write(_ wsi: OpaquePointer, _ text: [UInt8]) -> Bool {
        if Scratch.sendText(wsi, text, isPlain: isPlain) { return true }
        broken()
        return false
    }

    /// The socket is dead. It is cut off a little later, because this may be one of the connection's own events.
    private func broken() {
        guard state == .open else { return }
        beginClosing(CloseReason(code: 1006, text: "", origin: .lost))
        Turn.atEnd(.flush) { self.kill(hard: true) }
    }
}
