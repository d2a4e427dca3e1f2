import EventLoop
import Gateway
import TestServices
import Testing

/// A client with a WebSocket, which records every frame.
@LoopActor
final class Buyer {
    let client: String
    private let frames = Journal<JSON>()
    /// When each frame came, by the machine's clock.
    private var arrivals: [Int64] = []
    private let closings = Journal<CloseReason>()
    private var socket: WebSocketClient?
    private var lastID: Int64 = 0
    /// The answer to `connect`.
    private(set) var connected = JSON.null

    /// Opens a WebSocket, and says nothing yet; through what is between it and the server, if anything is.
    static func open(
        _ shop: Shop, on instance: Int = 0, as client: String = "", through proxy: FaultProxy? = nil
    ) async throws -> Buyer {
        let buyer = Buyer(client)
        let direct = "ws" + shop.instances[instance].url.dropFirst("http".count)
        let url = (proxy.map { "ws://127.0.0.1:\($0.port)" } ?? direct) + "/ws"
        buyer.socket = try await WebSocketClient.connect(url) { bytes in
            buyer.arrivals.append(EventLoop.wallMilliseconds)
            buyer.frames.add(JSON(parsing: bytes) ?? .text("not JSON: \(String(decoding: bytes, as: UTF8.self))"))
        } onClose: { reason in
            buyer.closings.add(reason)
            buyer.frames.finish("before the connection ended with \(reason.code) \(reason.text)")
        }
        return buyer
    }

    /// Opens a WebSocket and connects; returns when the server has answered.
    static func connect(
        _ shop: Shop, as client: String, on instance: Int = 0, resume: JSON? = nil, token: String? = nil
    ) async throws -> Buyer {
        let buyer = try await open(shop, on: instance, as: client)
        try await buyer.connect(token: token ?? shop.token(client), resume: resume)
        return buyer
    }

    private init(_ client: String) { self.client = client }

    /// Sends `connect`, and waits for the answer.
    func connect(token: String, resume: JSON? = nil) async throws {
        let answer = try await tryToConnect(token: token, resume: resume)
        try #require(answer["type"] == "connected", "\(answer)")
    }

    /// Sends `connect`; the answer may be that it is not possible now.
    func tryToConnect(token: String, resume: JSON? = nil) async throws -> JSON {
        var message: JSON = ["type": "connect", "token": .text(token)]
        if let resume { message = ["type": "connect", "token": .text(token), "resume": resume] }
        let answer = try await ask(message)
        if answer["type"] == "connected" { connected = answer }
        return answer
    }

    /// Every frame so far.
    var heard: [JSON] { frames.items }

    /// When the first frame like this one came, in milliseconds since 1970.
    func arrival(of frame: JSON) -> Int64? { frames.items.firstIndex(of: frame).map { arrivals[$0] } }

    /// The offsets of all outcomes, in the order in which they came.
    var offsets: [Int64] { frames.items.filter { $0["type"] != "connected" }.compactMap { $0["offset"].integer } }

    /// Where to resume: after the last outcome.
    var position: JSON {
        ["epoch": connected["epoch"], "offset": .integer(offsets.last ?? connected["offset"].integer ?? 0)]
    }

    /// Takes the first frame that matches and was not taken; waits for it.
    @discardableResult
    func next(
        _ what: String = "a frame", within milliseconds: Int64 = patienceMilliseconds,
        where matches: @escaping @LoopActor (JSON) -> Bool = { _ in true }
    ) async throws -> JSON {
        try await frames.next("\(client): \(what)", within: milliseconds, where: matches)
    }

    /// Takes the next frame of that type.
    @discardableResult
    func next(type: String) async throws -> JSON { try await next(type) { $0["type"] == .text(type) } }

    /// Takes the frame that tells that an order of the sale has that status.
    @discardableResult
    func order(_ status: String, in sale: Int64) async throws -> JSON {
        try await next("order \(status)") {
            $0["type"] == "order" && $0["sale"] == .integer(sale) && $0["status"] == .text(status)
        }
    }

    /// Sends any text.
    func send(text: String) { socket?.send(text) }

    /// Sends a message.
    func send(_ message: JSON) { socket?.send(message.bytes) }

    /// Sends a message with an id of its own, and waits for its direct answer.
    func ask(_ message: JSON) async throws -> JSON {
        lastID += 1
        let id = JSON.integer(lastID)
        guard case .object(var members) = message else { return .null }
        members["id"] = id
        send(.object(members))
        return try await next("the answer to \(message["type"])") { $0["id"] == id }
    }

    /// Claims, and waits for the answer.
    func claim(_ sale: Int64, key: String? = nil) async throws -> JSON {
        var message: [String: JSON] = ["type": "claim", "sale": .integer(sale)]
        if let key { message["key"] = .text(key) }
        return try await ask(.object(message))
    }

    /// Watches a sale, and waits for its state.
    @discardableResult
    func watch(_ sale: Int64) async throws -> JSON { try await ask(["type": "watch", "sale": .integer(sale)]) }

    /// Waits until the watched sale is told to be so.
    @discardableResult
    func sees(_ sale: Int64, status: String, remaining: Int64? = nil) async throws -> JSON {
        try await next("sale \(status)") {
            $0["type"] == "sale" && $0["sale"] == .integer(sale) && $0["status"] == .text(status)
                && (remaining == nil || $0["remaining"].integer == remaining)
        }
    }

    /// Closes in order.
    func close() async throws {
        socket?.close()
        _ = try await closed()
    }

    /// Cuts the connection without a word.
    func abort() { socket?.abort() }

    /// Waits for the end of the connection.
    @discardableResult
    func closed(within milliseconds: Int64 = patienceMilliseconds) async throws -> CloseReason {
        try await closings.first("\(client): the end of the connection", within: milliseconds) { _ in true }
    }
}
