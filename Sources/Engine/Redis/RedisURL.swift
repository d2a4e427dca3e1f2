/// Where Redis is, and how to introduce oneself: `redis://[[user]:password@]host[:port][/db]` or
/// `unix:///path[?db=n]`.
public struct RedisURL: Hashable, Sendable, CustomStringConvertible {
    /// Where to connect to.
    public enum Endpoint: Hashable, Sendable {
        /// A host name or address, and a port.
        case tcp(host: String, port: Int32)
        /// The path of a socket.
        case unix(path: String)
    }

    /// Where to connect to.
    public let endpoint: Endpoint
    /// The user of Redis' access list; nil is its default user.
    public let user: String?
    /// The password, if one is asked for.
    public let password: String?
    /// The number of the database.
    public let database: Int64

    /// What is wrong with a URL. Never contains the URL itself: a password may be in it.
    public struct ParseError: Error, Hashable, Sendable, CustomStringConvertible {
        /// In words, to be shown to whoever wrote the URL.
        public let description: String
        init(_ description: String) { self.description = "Redis URL: \(description)" }
    }

    /// A URL from its parts.
    public init(endpoint: Endpoint, user: String? = nil, password: String? = nil, database: Int64 = 0) {
        self.endpoint = endpoint
        self.user = user
        self.password = password
        self.database = database
    }

    /// A URL from its written form; user, password and path may be percent-encoded.
    /// - Throws: ``ParseError``, which says what is wrong.
    public init(_ text: String) throws(ParseError) {
        if let rest = text.suffix(after: "redis://") {
            self = try RedisURL.tcp(rest)
        } else if let rest = text.suffix(after: "unix://") {
            self = try RedisURL.unix(rest)
        } else {
            throw ParseError("must begin with redis:// or unix://")
        }
    }

    /// The URL without user and password.
    public var description: String {
        switch endpoint {
        case .tcp(let host, let port):
            "redis://\(host.contains(":") ? "[\(host)]" : host):\(port)/\(database)"
        case .unix(let path): "unix://\(path)\(database == 0 ? "" : "?db=\(database)")"
        }
    }

    private static func tcp(_ text: Substring) throws(ParseError) -> RedisURL {
        guard !text.contains("?"), !text.contains("#") else { throw ParseError("takes no ? or #") }
        var rest = text
        var user: String?
        var password: String?
        if let at = rest.lastIndex(of: "@") {
            let credentials = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard credentials.count == 2 else {
                throw ParseError("the password is written :password@ or user:password@")
            }
            let name = try decoded(credentials[0], "user")
            user = name.isEmpty ? nil : name
            password = try decoded(credentials[1], "password")
            rest = rest[rest.index(after: at)...]
        }
        var database: Int64 = 0
        if let slash = rest.firstIndex(of: "/") {
            let number = rest[rest.index(after: slash)...]
            if !number.isEmpty { database = try databaseNumber(number) }
            rest = rest[..<slash]
        }
        let host: Substring
        let port: Substring?
        if rest.first == "[" {
            guard let end = rest.firstIndex(of: "]") else { throw ParseError("the address has no closing ]") }
            host = rest[rest.index(after: rest.startIndex)..<end]
            let after = rest[rest.index(after: end)...]
            guard after.isEmpty || after.first == ":" else { throw ParseError("only a port may follow the address") }
            port = after.isEmpty ? nil : after.dropFirst()
        } else {
            let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count <= 2 else { throw ParseError("an IPv6 address is written in [ ]") }
            host = parts[0]
            port = parts.count == 2 ? parts[1] : nil
        }
        guard !host.isEmpty else { throw ParseError("the host is missing") }
        guard !host.contains(where: \.isWhitespace) else { throw ParseError("the host has a space in it") }
        var number: Int32 = 6379
        if let port {
            guard let value = decimal(port), (1...65535).contains(value) else {
                throw ParseError("the port must be 1 to 65535")
            }
            number = Int32(value)
        }
        return RedisURL(
            endpoint: .tcp(host: String(host), port: number), user: user, password: password, database: database)
    }

    private static func unix(_ text: Substring) throws(ParseError) -> RedisURL {
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = try decoded(parts[0], "path")
        guard path.first == "/" else { throw ParseError("the path of the socket must begin with /: unix:///path") }
        // sockaddr_un has room for 108 bytes, the last of them 0.
        guard path.utf8.count < 108 else { throw ParseError("the path of the socket is longer than 107 bytes") }
        var database: Int64 = 0
        if parts.count == 2 {
            guard let number = parts[1].suffix(after: "db=") else { throw ParseError("after ? only db=n is known") }
            database = try databaseNumber(number)
        }
        return RedisURL(endpoint: .unix(path: path), database: database)
    }

    private static func databaseNumber(_ text: Substring) throws(ParseError) -> Int64 {
        guard let number = decimal(text) else { throw ParseError("the database must be a number from 0") }
        return number
    }

    private static func decimal(_ text: Substring) -> Int64? {
        guard (1...9).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int64(text)
    }

    private static func decoded(_ text: Substring, _ part: String) throws(ParseError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexadecimal), let low = rest.popFirst().flatMap(hexadecimal) else {
                throw ParseError("the \(part) has a % without two hexadecimal digits")
            }
            bytes.append(high << 4 | low)
        }
        guard !bytes.contains(0), let string = String(validating: bytes, as: UTF8.self) else {
            throw ParseError("the \(part) is not valid UTF-8")
        }
        return string
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}

extension StringProtocol where SubSequence == Substring {
    fileprivate func suffix(after prefix: String) -> Substring? {
        hasPrefix(prefix) ? dropFirst(prefix.count) : nil
    }
}
