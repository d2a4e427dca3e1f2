import EventLoop
import Gateway
import Model

/// Who may make a call.
enum Access {
    /// Anybody, without a token.
    case open
    /// Whoever has a good token or key; the handler checks for whom.
    case caller
    /// The service key or the admin key.
    case service
    /// The admin key.
    case admin
}

/// One call of the REST interface.
struct Route {
    let method: HTTPMethod
    /// Path segments; `{name}` matches any and hands it to the handler.
    let pattern: [String]
    let access: Access
    let handler: @LoopActor (RequestContext) async throws -> HTTPResponse

    /// Whether a machine looks there at whether all is well: not to be refused because somebody beside it asks too much.
    let isProbe: Bool
    /// Whether its answer is the same for everybody who asks at the same time: then they share one.
    let isShared: Bool

    init(
        _ method: HTTPMethod, _ path: String, _ access: Access, isProbe: Bool = false, isShared: Bool = false,
        _ handler: @escaping @LoopActor (RequestContext) async throws -> HTTPResponse
    ) {
        self.method = method
        pattern = path.split(separator: "/").map(String.init)
        self.access = access
        self.handler = handler
        self.isProbe = isProbe
        self.isShared = isShared
    }
}

/// Finds the route of a request.
struct Router {
    enum Match {
        case found(Route, parameters: [String: String])
        case methodNotAllowed(allowed: [HTTPMethod])
        case notFound
    }

    private let routes: [Route]

    init(_ routes: [Route]) { self.routes = routes }

    func match(_ method: HTTPMethod?, _ path: String) -> Match {
        guard path.hasPrefix("/"), path == "/" || !path.hasSuffix("/") else { return .notFound }
        let segments = path.split(separator: "/", omittingEmptySubsequences: true)
        var allowed: [HTTPMethod] = []
        let wanted = method == .head ? .get : method
        for route in routes {
            guard let parameters = parameters(of: route.pattern, in: segments) else { continue }
            if route.method == wanted { return .found(route, parameters: parameters) }
            allowed.append(route.method)
            if route.method == .get { allowed.append(.head) }
        }
        return allowed.isEmpty ? .notFound : .methodNotAllowed(allowed: allowed)
    }

    private func parameters(of pattern: [String], in segments: [Substring]) -> [String: String]? {
        guard pattern.count == segments.count else { return nil }
        var parameters: [String: String] = [:]
        for (expected, segment) in zip(pattern, segments) {
            if expected.hasPrefix("{") {
                parameters[String(expected.dropFirst().dropLast())] = String(segment)
            } else if expected != segment {
                return nil
            }
        }
        return parameters
    }
}
