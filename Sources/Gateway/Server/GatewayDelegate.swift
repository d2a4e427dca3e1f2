import EventLoop

/// What stands behind a ``GatewayServer``: the meaning of requests and messages.
@LoopActor
public protocol GatewayDelegate: AnyObject, Sendable {
    /// Answers a request. It may take its time; the client may be gone by then, and the answer is dropped.
    func respond(to request: HTTPRequest) async -> HTTPResponse

    /// A WebSocket is open. `request` is the one that asked for it.
    func opened(_ connection: WebSocketConnection, _ request: HTTPRequest)

    /// A text message came whole; it is valid UTF-8. Not called after ``WebSocketConnection/close(_:_:)``.
    func received(_ text: [UInt8], on connection: WebSocketConnection)

    /// A WebSocket has ended: called once for each one that was opened, whichever way it ended.
    func closed(_ connection: WebSocketConnection, _ reason: CloseReason)

    /// A connection was cut, or a WebSocket refused, because its address has too many or makes them too fast.
    func turnedAway(_ address: PeerAddress)

    /// Why a browser that asks beforehand whether a page may ask gets no answer; nil when nothing is against it.
    func refusal(ofPreflight request: HTTPRequest) -> HTTPResponse?
}

extension GatewayDelegate {
    /// Nothing, unless the delegate wants to know.
    public func turnedAway(_ address: PeerAddress) {}

    /// Nothing, unless the delegate knows something.
    public func refusal(ofPreflight request: HTTPRequest) -> HTTPResponse? { nil }
}

/// How a WebSocket ended.
public struct CloseReason: Hashable, Sendable {
    /// Who began it.
    public enum Origin: Sendable {
        /// We did, by ``WebSocketConnection/close(_:_:)`` or a rule of the gateway.
        case local
        /// The other end sent a close frame.
        case remote
        /// The connection broke.
        case lost
    }

    /// The code; 1005 when the other end gave none, 1006 when the connection broke.
    public let code: UInt16
    /// The words with the code.
    public let text: String
    /// Who began it.
    public let origin: Origin
}
