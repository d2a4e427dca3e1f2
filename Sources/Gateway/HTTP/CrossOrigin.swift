import Model

/// Lets pages of other hosts read answers, where the configuration says so (Fetch Standard, "CORS protocol"). Without
/// these headers a browser keeps answers from a page of another origin; programs that are no browser don't care.
enum CrossOrigin {
    /// The answer to a browser that asks beforehand whether a page may ask; nil for any other request.
    static func preflight(_ request: HTTPRequest, _ origins: OriginRule) -> HTTPResponse? {
        guard request.method == .options, let origin = request.origin,
            request.headers["access-control-request-method"] != nil
        else { return nil }
        guard origins.allowsOther(origin) else {
            return .error(WireError(.forbidden, "pages of this origin may not ask here"))
        }
        return HTTPResponse(
            status: 204,
            headers: [
                "access-control-allow-origin": origin,
                "access-control-allow-methods": "GET, HEAD, POST, PATCH, DELETE",
                "access-control-allow-headers": "authorization, content-type, idempotency-key, token",
                "access-control-max-age": "600", "vary": "origin",
            ])
    }

    /// Puts the headers on an answer. There is no word of credentials: tokens come in headers, and cookies aren't used.
    static func mark(_ response: inout HTTPResponse, for request: HTTPRequest, _ origins: OriginRule) {
        guard origins != .same else { return }
        response.headers.add("vary", "origin")
        guard let origin = request.origin, origins.allowsOther(origin) else { return }
        response.headers["access-control-allow-origin"] = origin
        response.headers["access-control-expose-headers"] = "retry-after"
    }
}
