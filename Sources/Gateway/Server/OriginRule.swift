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
    func allows(origin: String?, hosts: [String]) -> Bool {
        guard let origin else { return true }
        return allowsOther(origin) || hosts.contains { OriginRule.isSame(origin, $0) }
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
    private static func isSame(_ origin: String, _ host: String) -> Bool {
        guard let origin = Origin(origin), let host = Origin(origin.scheme + "://" + host.trimmingSpaces) else {
            return false
        }
        return host.authority == origin.authority
    }
}

/// An origin in the form in which two of them are compared: lower case, without the port that goes without saying or a
/// slash at its end. This machine's own names are one.
private struct Origin {
    let scheme: String
    let authority: String

    var text: String { scheme + "://" + authority }

    init?(_ text: String) {
        let text = text.trimmingSpaces.lowercased()
        guard let scheme = ["https", "http"].first(where: { text.hasPrefix($0 + "://") }) else { return nil }
        var authority = text.dropFirst(scheme.utf8.count + 3)
        if authority.hasSuffix("/") { authority = authority.dropLast() }
        let ends: (Character) -> Bool = { "/?#@ ,".contains($0) }
        guard !authority.isEmpty, authority.utf8.count <= 255, !authority.contains(where: ends) else { return nil }
        let port = scheme == "https" ? ":443" : ":80"
        if authority.hasSuffix(port) { authority = authority.dropLast(port.utf8.count) }
        self.scheme = scheme
        self.authority = Origin.ofThisMachine(authority) ?? String(authority)
    }

    /// `localhost` and its port for each of this machine's names; nil for others.
    private static func ofThisMachine(_ authority: Substring) -> String? {
        for name in ["localhost", "127.0.0.1", "[::1]"] where authority.hasPrefix(name) {
            let port = authority.dropFirst(name.utf8.count)
            if port.isEmpty || port.hasPrefix(":") { return "localhost" + port }
        }
        return nil
    }
}
