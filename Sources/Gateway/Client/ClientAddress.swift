import EventLoop
import Model

/// A URL in its parts: `ws://host:port/path?query` or `http://…`. TLS is not spoken here.
struct ClientAddress: Sendable {
    let host: String
    let port: Int32
    /// With the query; begins with `/`.
    let target: String

    /// As the header Host wants it.
    var authority: String { "\(host.contains(":") ? "[\(host)]" : host):\(port)" }

    init(_ url: String, scheme: String) throws(GatewayError) {
        func bad(_ why: String) -> GatewayError { GatewayError(description: "not a URL: \(url): \(why)", code: 0) }
        guard url.hasPrefix(scheme + "://") else { throw bad("it has to begin with \(scheme)://") }
        let rest = url.dropFirst(scheme.utf8.count + 3)
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = rest[..<end]
        let target = String(rest[end...])
        self.target = target.hasPrefix("/") ? target : "/" + target
        var name = authority
        var port: Substring?
        if authority.hasPrefix("["), let close = authority.firstIndex(of: "]") {
            name = authority[authority.index(after: authority.startIndex)..<close]
            let behind = authority[authority.index(after: close)...]
            port = behind.hasPrefix(":") ? behind.dropFirst() : nil
        } else if let colon = authority.lastIndex(of: ":") {
            name = authority[..<colon]
            port = authority[authority.index(after: colon)...]
        }
        guard !name.isEmpty else { throw bad("there is no host") }
        guard let number = port.map({ UInt16($0) }) ?? 80, number > 0 else { throw bad("the port is no port") }
        host = String(name)
        self.port = Int32(number)
        let visible = self.target.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard visible, self.target.utf8.count < 2000, host.utf8.count < 100 else {
            throw bad("too long, or not percent-encoded")
        }
    }

    /// A numeric address: the library would look names up by itself, and block the loop.
    @LoopActor
    func resolve() async throws -> String {
        guard let address = try await EventLoop.resolve(host).first else {
            throw GatewayError(description: "\(host) has no address", code: 0)
        }
        return address
    }
}
