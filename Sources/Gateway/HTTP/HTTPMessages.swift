import Model

/// A request's method, as far as the library's parser knows them. Others are answered by 405 without asking.
public enum HTTPMethod: String, Sendable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
    case patch = "PATCH"
    case delete = "DELETE"
    case options = "OPTIONS"
}

/// Headers by name, in lower case.
///
/// A request's are the usual ones (`RequestHead.known` and `RequestHead.custom`) and
/// ``GatewayConfiguration/extraHeaders``: the library gives out what it is asked for, and can't list.
public struct HTTPHeaders: Sendable, ExpressibleByDictionaryLiteral {
    /// All, in order.
    public private(set) var fields: [(name: String, value: String)] = []

    /// None.
    public init() {}
    /// From pairs. Names are put into lower case.
    public init(_ fields: [(String, String)]) {
        self.fields = fields.map { (name: $0.0.lowercased(), value: $0.1) }
    }
    /// From pairs. Names are put into lower case.
    public init(dictionaryLiteral elements: (String, String)...) { self.init(elements) }

    /// The first of that name, in lower case. Setting replaces all of the name; nil removes them.
    public subscript(name: String) -> String? {
        get { fields.first { $0.name == name }?.value }
        set {
            fields.removeAll { $0.name == name }
            if let newValue { fields.append((name: name, value: newValue)) }
        }
    }

    /// Adds one, whether or not there is one of that name.
    public mutating func add(_ name: String, _ value: String) { fields.append((name: name.lowercased(), value: value)) }
}

/// A complete request.
public struct HTTPRequest: Sendable {
    /// What is to be done.
    public let method: HTTPMethod
    /// The path, percent-decoded, with `.`, `..` and doubled slashes resolved; begins with `/`. It has no form before
    /// that: `%2F` can't be told from `/`, nor `+` from a space.
    public let path: String
    /// The query's parameters in order, decoded. Without `=`, the value is empty.
    public let query: [(name: String, value: String)]
    /// The headers.
    public let headers: HTTPHeaders
    /// The body; empty when there is none.
    public internal(set) var body: [UInt8] = []
    /// Who asks: the other end of the connection, or whom a trusted proxy names.
    public let remoteAddress: PeerAddress

    /// A query parameter's first value.
    public func parameter(_ name: String) -> String? { query.first { $0.name == name }?.value }

    /// The header `authorization`.
    public var authorization: String? { headers["authorization"] }
    /// The header `content-type`.
    public var contentType: String? { headers["content-type"] }
    /// The header `idempotency-key`.
    public var idempotencyKey: String? { headers["idempotency-key"] }
    /// The header `token`, which carries a pass.
    public var pass: String? { headers["token"] }
    /// The header `origin`.
    public var origin: String? { headers["origin"] }
    /// The header `x-forwarded-for`, as sent: only to be believed from a proxy of one's own.
    public var forwardedFor: String? { headers["x-forwarded-for"] }
    /// The header `if-none-match`.
    public var ifNoneMatch: String? { headers["if-none-match"] }
    /// Whether a trusted proxy has sent it.
    public internal(set) var isFromProxy = false
    /// Whether it comes from this machine. What has come through a proxy does not, whether or not the proxy is trusted.
    public var isLoopback: Bool {
        !isFromProxy && remoteAddress.isLoopback && forwardedFor == nil && headers["forwarded"] == nil
            && headers["x-real-ip"] == nil
    }
}

/// An answer.
public struct HTTPResponse: Sendable {
    /// The status.
    public var status: Int
    /// Headers, but for `content-length`, `connection` and `date`, which are the gateway's.
    public var headers: HTTPHeaders
    /// The body. Not sent for HEAD, 204 and 304.
    public var body: [UInt8]
    /// Whether it is for somebody who may ask as much as they like. Else a connection on which much is asked waits for its
    /// turn to ask again.
    public var isUnlimited = false

    /// An answer from its parts.
    public init(status: Int, headers: HTTPHeaders = [:], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// An answer with JSON.
    public static func json(_ body: [UInt8], status: Int = 200) -> HTTPResponse {
        HTTPResponse(status: status, headers: ["content-type": "application/json"], body: body)
    }

    /// An error in the contract's words: `{"result":null,"error":{"code":…,"message":…}}`.
    public static func error(_ error: WireError) -> HTTPResponse {
        var writer = JSONWriter()
        writer.object { writer in
            writer.key("result")
            writer.null()
            writer.member("error") { writer in
                writer.object { writer in
                    writer.member("code", error.code.rawValue)
                    writer.member("message", error.message)
                    if let order = error.order { writer.member("order", order.description) }
                }
            }
        }
        var response = HTTPResponse.json(writer.bytes, status: error.code.status)
        response.headers["x-content-type-options"] = "nosniff"
        if let seconds = error.retryAfter { response.headers["retry-after"] = String(seconds) }
        return response
    }
}
