/// Whose pages a browser may let use this server (RFC 6454). Programs that are no browser send no `Origin`, and are not
/// concerned.
public enum OriginRule: Hashable, Sendable {
    /// Pages of the host that is asked.
    case same
    /// Those, and pages of these origins, each as `https://shop.example` or with a port.
    case listed(Set<String>)
    /// All pages.
    case any

    /// A rule from a list of origins; `*` is all, an empty one is the same host only. Nil when one isn't an origin.
    public init?(_ texts: [String]) {
        if texts.isEmpty {
            self = .same
        } else if texts == ["*"] {
            self = .any
        } else {
            let origins = texts.compactMap { Origin($0)?.text }
            guard origins.count == texts.count else { return nil }
            self = .listed(Set(origins))
        }
    }

    /// Whether a request with these headers may be answered as a page's own: one of the host's, or without a page.
    func allows(origin: String?, host: String?) -> Bool {
        guard let origin else { return true }
        return allowsOther(origin) || OriginRule.isSame(origin, host)
    }

    /// Whether pages of another host, with this origin, are allowed.
    public func allowsOther(_ origin: String) -> Bool {
        switch self {
        case .same: false
        case .listed(let origins): Origin(origin).map { origins.contains($0.text) } ?? false
        case .any: true
        }
    }

    /// The scheme is not compared: behind a proxy that ends TLS it isn't known here.
    private static func isSame(_ origin: String, _ host: String?) -> Bool {
        guard let host = host?.trimmingSpaces.lowercased(), let origin = Origin(origin) else { return false }
        return host == origin.authority || host == origin.authority + origin.defaultPort
    }
}

/// An origin in the form in which two of them are compared: lower case, without the port that goes without saying.
private struct Origin {
    let scheme: String
    let authority: String

    var text: String { scheme + "://" + authority }
    var defaultPort: String { scheme == "https" ? ":443" : ":80" }

    init?(_ text: String) {
        let text = text.trimmingSpaces.lowercased()
        guard let scheme = ["https", "http"].first(where: { text.hasPrefix($0 + "://") }) else { return nil }
        var authority = text.dropFirst(scheme.utf8.count + 3)
        let ends: (Character) -> Bool = { "/?#@ ,".contains($0) }
        guard !authority.isEmpty, authority.utf8.count <= 255, !authority.contains(where: ends) else { return nil }
        let port = scheme == "https" ? ":443" : ":80"
        if authority.hasSuffix(port) { authority = authority.dropLast(port.utf8.count) }
        (self.scheme, self.authority) = (scheme, String(authority))
    }
}
