import CWebSockets
import EventLoop
import Model

/// A request's line and headers, copied out of the library's table, which is gone by the time of the answer.
struct RequestHead {
    var request: HTTPRequest
    let version: HTTPVersion
    /// Whether the connection may carry another request after this one.
    let keepAlive: Bool
    let framing: Framing
    let expectsContinue: Bool

    /// What the headers say of a body.
    enum Framing: Equatable {
        /// None follows, and none was to be expected.
        case none
        /// So many bytes.
        case length(Int)
        /// No length was given where the library expects one: there is no body by RFC 9112, 6.3, but the library waits
        /// for 100 MB (lib/roles/http/server/server.c:1448), so the connection has to end with this answer.
        case unsaid
    }

    /// Why there is no head.
    struct Unreadable: Error {
        let status: Int
        let error: WireError

        static func bad(_ message: String) -> Unreadable {
            Unreadable(status: 400, error: WireError(.badRequest, message))
        }
    }

    /// Reads what the library has parsed.
    @LoopActor
    static func read(
        _ wsi: OpaquePointer, from address: PeerAddress, _ configuration: GatewayConfiguration
    ) throws(Unreadable) -> RequestHead {
        let (method, path) = try methodAndPath(wsi)
        let headers = headers(wsi, configuration.extraHeaders)
        let version = try version(wsi)
        if version == .http11 && lws_hdr_total_length(wsi, WSI_TOKEN_HOST) == 0 {
            throw .bad("HTTP/1.1 wants the header Host")
        }
        // The library decides by the whole value (server.c:1490); we also look inside a list.
        let connection = HeaderTable.value(wsi, WSI_TOKEN_CONNECTION)?.lowercased()
        let options = connection?.split(separator: ",").map { $0.trimmingSpaces } ?? []
        let keepAlive = (version == .http11 || connection == "keep-alive") && !options.contains("close")
        let forwardedFor = headers["x-forwarded-for"]
        let isFromProxy = configuration.trustedProxies.contains { $0.contains(address) }
        // Nobody knows whose it is: the proxy doesn't say so, or the client has made us lose its word (docs/gateway.md).
        if isFromProxy, forwardedFor == nil, !configuration.proxyPaths.contains(path) {
            throw .bad("the proxy has to send X-Forwarded-For")
        }
        let client = Forwarding.client(
            of: address, forwardedFor: forwardedFor, trusted: configuration.trustedProxies)
        return RequestHead(
            request: HTTPRequest(
                method: method, path: path, query: try query(wsi), headers: headers, remoteAddress: client,
                isFromProxy: isFromProxy),
            version: version, keepAlive: keepAlive, framing: try framing(wsi, method),
            expectsContinue: HeaderTable.value(wsi, WSI_TOKEN_HTTP_EXPECT)?.lowercased() == "100-continue")
    }

    private static let methods: [(HTTPMethod, lws_token_indexes)] = [
        (.get, WSI_TOKEN_GET_URI), (.post, WSI_TOKEN_POST_URI), (.head, WSI_TOKEN_HEAD_URI),
        (.put, WSI_TOKEN_PUT_URI), (.patch, WSI_TOKEN_PATCH_URI), (.delete, WSI_TOKEN_DELETE_URI),
        (.options, WSI_TOKEN_OPTIONS_URI),
    ]

    @LoopActor
    private static func methodAndPath(_ wsi: OpaquePointer) throws(Unreadable) -> (HTTPMethod, String) {
        guard let (method, token) = methods.first(where: { lws_hdr_total_length(wsi, $0.1) > 0 }) else {
            throw .bad("no method")
        }
        // The library splits the path at & and ; as if it were a query (lib/roles/http/parsers.c:810).
        let pieces = HeaderTable.fragments(wsi, token)
        let bytes = Array(pieces.joined(separator: [UInt8(ascii: "&")]))
        // A NUL gets through directly behind a slash (parsers.c:845), and elsewhere ends the connection.
        guard bytes.first == UInt8(ascii: "/"), !bytes.contains(0), let path = String(validating: bytes, as: UTF8.self)
        else { throw .bad("the path is not a path in UTF-8") }
        return (method, path)
    }

    @LoopActor
    private static func query(_ wsi: OpaquePointer) throws(Unreadable) -> [(name: String, value: String)] {
        var query: [(name: String, value: String)] = []
        for piece in HeaderTable.fragments(wsi, WSI_TOKEN_HTTP_URI_ARGS) where !piece.isEmpty {
            let parts = piece.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = String(validating: parts[0], as: UTF8.self),
                let value = parts.count > 1 ? String(validating: parts[1], as: UTF8.self) : ""
            else { throw .bad("the query is not UTF-8") }
            query.append((name: name, value: value))
        }
        return query
    }

    /// An escaped line break in the path or the query ends the request's line for the library (parsers.c:1066), and what
    /// follows becomes a header: the line is then without a version.
    @LoopActor
    private static func version(_ wsi: OpaquePointer) throws(Unreadable) -> HTTPVersion {
        switch HeaderTable.value(wsi, WSI_TOKEN_HTTP)?.trimmingSpaces {
        case "HTTP/1.1": return .http11
        case "HTTP/1.0": return .http10
        default: throw .bad("the request's line has no version that is spoken here, or a line break in its path")
        }
    }

    @LoopActor
    private static func framing(_ wsi: OpaquePointer, _ method: HTTPMethod) throws(Unreadable) -> Framing {
        let length = HeaderTable.value(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH)?.trimmingSpaces
        if lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0 {
            // The library has no decoder for requests in chunks: it would take the chunks for the next request.
            if length != nil { throw .bad("both Content-Length and Transfer-Encoding") }
            throw Unreadable(
                status: 411, error: WireError(.badRequest, "bodies in chunks are not taken; send Content-Length"))
        }
        guard let length else {
            switch method {
            case .post, .put, .patch: return .unsaid
            default: return .none
            }
        }
        // As strict as can be: the library's own reading is `atoll` of at most 31 characters (server.c:1455).
        let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
        guard (1...15).contains(length.utf8.count), length.utf8.allSatisfy({ digits.contains($0) }),
            let count = Int(length)
        else { throw .bad("Content-Length is not a number") }
        return count == 0 ? .none : .length(count)
    }

    /// Headers that the library has a place for.
    private static let known: [(String, lws_token_indexes)] = [
        ("host", WSI_TOKEN_HOST), ("authorization", WSI_TOKEN_HTTP_AUTHORIZATION),
        ("content-type", WSI_TOKEN_HTTP_CONTENT_TYPE), ("origin", WSI_TOKEN_ORIGIN), ("accept", WSI_TOKEN_HTTP_ACCEPT),
        ("if-none-match", WSI_TOKEN_HTTP_IF_NONE_MATCH), ("user-agent", WSI_TOKEN_HTTP_USER_AGENT),
        ("x-forwarded-for", WSI_TOKEN_X_FORWARDED_FOR), ("cookie", WSI_TOKEN_HTTP_COOKIE),
        ("accept-language", WSI_TOKEN_HTTP_ACCEPT_LANGUAGE), ("accept-encoding", WSI_TOKEN_HTTP_ACCEPT_ENCODING),
        ("referer", WSI_TOKEN_HTTP_REFERER), ("cache-control", WSI_TOKEN_HTTP_CACHE_CONTROL),
        ("x-real-ip", WSI_TOKEN_HTTP_X_REAL_IP), ("x-auth-token", WSI_TOKEN_X_AUTH_TOKEN),
        ("if-match", WSI_TOKEN_HTTP_IF_MATCH), ("range", WSI_TOKEN_HTTP_RANGE),
        ("access-control-request-headers", WSI_TOKEN_HTTP_AC_REQUEST_HEADERS),
    ]

    /// Headers that it keeps by name.
    private static let custom = [
        "token", "idempotency-key", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-request-id", "traceparent",
        "access-control-request-method",
    ]

    @LoopActor
    private static func headers(_ wsi: OpaquePointer, _ extra: [String]) -> HTTPHeaders {
        var headers = HTTPHeaders()
        for (name, token) in known { if let value = HeaderTable.value(wsi, token) { headers.add(name, value) } }
        for name in custom { if let value = HeaderTable.custom(wsi, name) { headers.add(name, value) } }
        for name in extra { if let value = HeaderTable.custom(wsi, name) { headers.add(name, value) } }
        return headers
    }
}

extension StringProtocol {
    /// Without spaces and tabs at both ends.
    var trimmingSpaces: String {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        guard let first = firstIndex(where: { !blank($0) }), let last = lastIndex(where: { !blank($0) }) else {
            return ""
        }
        return String(self[first...last])
    }
}
