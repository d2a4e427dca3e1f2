import CWebSockets
import EventLoop

/// Asks a server over HTTP/1.1, one connection for each request; for the load generator and tests.
@LoopActor
public enum HTTPClient {
    /// What came back.
    public struct Answer: Sendable {
        /// The status.
        public let status: Int
        /// Those headers that the library knows or that were asked for.
        public let headers: HTTPHeaders
        /// The body.
        public let body: [UInt8]
        /// The body as text.
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// Sends a request to an `http://` URL and returns the answer.
    /// - Throws: ``GatewayError`` when there is none within `timeout` milliseconds.
    public static func request(
        _ method: HTTPMethod, _ url: String, headers: [(name: String, value: String)] = [], body: [UInt8]? = nil,
        timeout: Int64 = 30_000
    ) async throws -> Answer {
        let address = try ClientAddress(url, scheme: "http")
        var headers = headers
        if let body { headers.append((name: "content-length", value: String(body.count))) }
        let exchange = HTTPExchange(headers: headers, body: body ?? [])
        let numeric = try await address.resolve()
        let timer = LoopTimer()
        timer.start(after: timeout) { exchange.timedOut() }
        defer { timer.stop() }
        return try await exchange.run(address, at: numeric, method)
    }
}

/// One request of ``HTTPClient``.
final class HTTPExchange: ClientPeer {
    private let body: [UInt8]
    private var method = HTTPMethod.get
    private var waiting: CheckedContinuation<HTTPClient.Answer, any Error>?
    private var status = 0
    private var headers = HTTPHeaders()
    private var received: [UInt8] = []

    init(headers: [(name: String, value: String)], body: [UInt8]) {
        self.body = body
        super.init(headers: headers)
    }

    func run(_ address: ClientAddress, at numeric: String, _ method: HTTPMethod) async throws -> HTTPClient.Answer {
        self.method = method
        return try await withCheckedThrowingContinuation { continuation in
            waiting = continuation
            do {
                try connect(address, at: numeric, method: method.rawValue)
            } catch {
                finish(.failure(error))
            }
        }
    }

    func timedOut() {
        finish(.failure(GatewayError(description: "no answer in time", code: 0)))
        kill(hard: true)
    }

    override func handle(_ reason: lws_callback_reasons, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int32 {
        switch reason {
        case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
            guard waiting != nil, appendHeaders(bytes, room: count) == 0, let wsi else { return -1 }
            // The library is about to set its own limit; how long to wait is the caller's to say.
            Turn.atEnd(.flush) { self.cancelLibraryTimeout() }
            if !body.isEmpty {
                lws_client_http_body_pending(wsi, 1)
                lws_callback_on_writable(wsi)
            }
            return 0
        case LWS_CALLBACK_CLIENT_HTTP_WRITEABLE: return sendBody()
        case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP: return headCame()
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP: return read()
        case LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ:
            received.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            return 0
        case LWS_CALLBACK_COMPLETED_CLIENT_HTTP:
            complete()
            return -1
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
            let words = String(
                decoding: UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : count), as: UTF8.self)
            ended("no answer: \(words)")
            return 0
        case LWS_CALLBACK_CLOSED_CLIENT_HTTP, LWS_CALLBACK_WSI_DESTROY:
            // Of an answer without a body, the library learns the end by the end of the connection.
            if status != 0 && (method == .head || status == 204 || status == 304) { complete() }
            ended("no answer: the connection broke")
            return 0
        default: return 0
        }
    }

    private func sendBody() -> Int32 {
        guard waiting != nil else { return -1 }
        guard let wsi, status == 0, !body.isEmpty else { return 0 }
        lws_client_http_body_pending(wsi, 0)
        Turn.atEnd(.flush) { self.cancelLibraryTimeout() }
        return Scratch.write(wsi, body, LWS_WRITE_HTTP_FINAL) ? 0 : -1
    }

    private func headCame() -> Int32 {
        guard let wsi else { return -1 }
        status = Int(lws_http_client_http_response(wsi))
        for (name, token) in HTTPExchange.known {
            if let value = HeaderTable.value(wsi, token) { headers.add(name, value) }
        }
        for name in HTTPExchange.custom {
            if let value = HeaderTable.custom(wsi, name) { headers.add(name, value) }
        }
        return 0
    }

    private static let known: [(String, lws_token_indexes)] = [
        ("content-type", WSI_TOKEN_HTTP_CONTENT_TYPE), ("content-length", WSI_TOKEN_HTTP_CONTENT_LENGTH),
        ("etag", WSI_TOKEN_HTTP_ETAG), ("retry-after", WSI_TOKEN_HTTP_RETRY_AFTER), ("date", WSI_TOKEN_HTTP_DATE),
        ("cache-control", WSI_TOKEN_HTTP_CACHE_CONTROL), ("allow", WSI_TOKEN_HTTP_ALLOW),
        ("connection", WSI_TOKEN_CONNECTION),
    ]
    private static let custom = ["content-security-policy", "x-content-type-options", "referrer-policy"]

    private func read() -> Int32 {
        guard let wsi else { return -1 }
        var buffer: UnsafeMutablePointer<CChar>?
        var count: Int32 = 0
        // With no buffer of ours it reads into its own, and calls back with what is the body's.
        return lws_http_client_read(wsi, &buffer, &count) < 0 ? -1 : 0
    }

    private func complete() {
        finish(.success(HTTPClient.Answer(status: status, headers: headers, body: received)))
    }

    private func ended(_ words: String) {
        wsi = nil
        PeerTable.remove(self)
        finish(.failure(GatewayError(description: words, code: 0)))
    }

    private func finish(_ result: Result<HTTPClient.Answer, any Error>) {
        waiting?.resume(with: result)
        waiting = nil
    }
}
