import CWebSockets
import EventLoop

/// A WebSocket that we open, for the load generator and tests. Thousands of them share one library context.
public final class WebSocketClient: ClientPeer {
    private enum State {
        case connecting
        case open
        case closing
        case closed
    }

    private var state = State.connecting
    private var connecting: CheckedContinuation<Void, any Error>?
    private var onText: @LoopActor ([UInt8]) -> Void
    private var onClose: @LoopActor (CloseReason) -> Void
    /// Gets the pieces of a message as they come, and whether it is the last; true: it took it, and nothing is kept. For
    /// whoever only measures: thousands of messages of megabytes each would not fit into memory.
    public var onPiece: (@LoopActor (_ piece: UnsafeRawBufferPointer, _ isLast: Bool) -> Bool)?
    private var partial: [UInt8] = []
    private var outbox: [[UInt8]] = []
    private var reason: CloseReason?
    private var isFrameSent = false

    /// Opens a WebSocket at a `ws://` URL.
    /// - Parameters:
    ///   - onText: gets each text message, from the first on.
    ///   - onClose: is called once, when the connection has ended for whatever reason, but not when it never opened.
    /// - Throws: ``GatewayError`` when it could not be opened.
    public static func connect(
        _ url: String, headers: [(name: String, value: String)] = [],
        onText: @escaping @LoopActor ([UInt8]) -> Void, onClose: @escaping @LoopActor (CloseReason) -> Void = { _ in }
    ) async throws -> WebSocketClient {
        let address = try ClientAddress(url, scheme: "ws")
        let client = WebSocketClient(headers: headers, onText: onText, onClose: onClose)
        let numeric = try await address.resolve()
        try await client.open(address, at: numeric)
        return client
    }

    private init(
        headers: [(name: String, value: String)], onText: @escaping @LoopActor ([UInt8]) -> Void,
        onClose: @escaping @LoopActor (CloseReason) -> Void
    ) {
        self.onText = onText
        self.onClose = onClose
        super.init(headers: headers)
    }

    private func open(_ address: ClientAddress, at numeric: String) async throws {
        try await withCheckedThrowingContinuation { continuation in
            connecting = continuation
            do {
                try connect(address, at: numeric, method: nil)
            } catch {
                finishConnecting(.failure(error))
            }
        }
    }

    /// Whether messages can be sent.
    public var isOpen: Bool { state == .open }

    /// Sends a text message, as soon as the socket takes it.
    @discardableResult
    public func send(_ text: [UInt8]) -> Bool {
        guard state == .open, let wsi else { return false }
        if outbox.isEmpty && lws_partial_buffered(wsi) == 0 { return Scratch.write(wsi, text, LWS_WRITE_TEXT) }
        outbox.append(text)
        lws_callback_on_writable(wsi)
        return true
    }

    /// Sends a text message.
    @discardableResult
    public func send(_ text: String) -> Bool { send(Array(text.utf8)) }

    /// Closes with a code. What waits to be sent is dropped.
    public func close(_ code: UInt16 = 1000, _ text: String = "") {
        guard state == .open else { return }
        state = .closing
        reason = CloseReason(code: code, text: text, origin: .local)
        outbox = []
        Turn.atEnd(.flush) { self.sendCloseFrame() }
    }

    /// Cuts the connection without a word.
    public func abort() { kill(hard: true) }

    override func handle(_ reason: lws_callback_reasons, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int32 {
        switch reason {
        case LWS_CALLBACK_CLIENT_RECEIVE: return received(UnsafeRawBufferPointer(start: bytes, count: count))
        case LWS_CALLBACK_CLIENT_WRITEABLE: return writable()
        case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER: return appendHeaders(bytes, room: count)
        case LWS_CALLBACK_CLIENT_ESTABLISHED:
            state = .open
            finishConnecting(.success(()))
            return 0
        case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
            closedByPeer(UnsafeRawBufferPointer(start: bytes, count: count))
            return 0
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
            let words = String(
                decoding: UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : count), as: UTF8.self)
            ended(GatewayError(description: "no WebSocket: \(words)", code: 0))
            return 0
        case LWS_CALLBACK_CLIENT_CLOSED, LWS_CALLBACK_WSI_DESTROY:
            ended(GatewayError(description: "no WebSocket: the connection broke", code: 0))
            return 0
        default: return 0
        }
    }

    private func received(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard state == .open, let wsi else { return 0 }
        let isLast = lws_is_final_fragment(wsi) != 0
        if partial.isEmpty, onPiece?(bytes, isLast) == true { return 0 }
        guard isLast else {
            partial.append(contentsOf: bytes)
            return 0
        }
        if partial.isEmpty {
            onText(Array(bytes))
        } else {
            partial.append(contentsOf: bytes)
            let message = partial
            partial = []
            onText(message)
        }
        return 0
    }

    private func writable() -> Int32 {
        guard let wsi else { return -1 }
        if state == .closing { Turn.atEnd(.flush) { self.sendCloseFrame() } }
        while state == .open, !outbox.isEmpty, lws_partial_buffered(wsi) == 0 {
            guard Scratch.write(wsi, outbox.removeFirst(), LWS_WRITE_TEXT) else { return -1 }
        }
        if !outbox.isEmpty { lws_callback_on_writable(wsi) }
        return 0
    }

    private func sendCloseFrame() {
        guard state == .closing, !isFrameSent, let wsi, let reason, reason.origin == .local,
            lws_partial_buffered(wsi) == 0
        else { return }
        isFrameSent = true
        startClosing(reason)
    }

    private func closedByPeer(_ payload: UnsafeRawBufferPointer) {
        guard state == .open else { return }
        state = .closing
        let code = payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : 1005
        reason = CloseReason(
            code: code, text: String(decoding: payload.dropFirst(2), as: UTF8.self), origin: .remote)
    }

    private func ended(_ error: GatewayError) {
        guard state != .closed else { return }
        let wasConnecting = state == .connecting
        state = .closed
        wsi = nil
        PeerTable.remove(self)
        if wasConnecting {
            finishConnecting(.failure(error))
        } else {
            onClose(reason ?? CloseReason(code: 1006, text: "", origin: .lost))
        }
        // They may hold on to whoever holds on to this object.
        onText = { _ in }
        onPiece = nil
        onClose = { _ in }
    }

    private func finishConnecting(_ result: Result<Void, any Error>) {
        if case .failure = result { state = .closed }
        connecting?.resume(with: result)
        connecting = nil
    }
}
