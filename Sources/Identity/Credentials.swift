import Model

/// Who is asking.
public enum Caller: Hashable, Sendable {
    /// A client, by a token: it may act for itself.
    case client(TokenClaims)
    /// A shop's backend, by the service key: it may act for any client.
    case service
    /// The admin, by the admin key: everything.
    case admin

    /// Whether this caller may do what that client may.
    public func mayAct(for client: ClientID) -> Bool {
        switch self {
        case .client(let claims): claims.client == client
        case .service, .admin: true
        }
    }

    /// Whether this caller may do what the contract marks (admin).
    public var isAdmin: Bool { self == .admin }

    /// The client whose token this is; nil for the keys, which are nobody's in particular.
    public var client: ClientID? {
        if case .client(let claims) = self { claims.client } else { nil }
    }
}

/// What somebody shows, and what it is worth.
public enum Proof: Hashable, Sendable {
    /// It is good.
    case caller(Caller)
    /// It was good, or is going to be: nobody guesses who shows it.
    case notNow
    /// Anybody could have made it.
    case nothing
}

/// Tells who is asking by what they show.
public struct Credentials: Sendable {
    private let adminKey: [UInt8]
    private let serviceKey: [UInt8]
    private let verifier: TokenVerifier

    /// The keys of this server and the verifier of its clients' tokens.
    public init(adminKey: String, serviceKey: String, verifier: TokenVerifier) {
        precondition(!adminKey.isEmpty && !serviceKey.isEmpty, "an empty key would let in everyone")
        self.adminKey = Array(adminKey.utf8)
        self.serviceKey = Array(serviceKey.utf8)
        self.verifier = verifier
    }

    /// Who shows this `Authorization` header; nil for none, and for one that proves nothing.
    public func identify(authorizationHeader header: String?, at now: Timestamp) -> Caller? {
        guard let header, let bearer = Credentials.bearerToken(header) else { return nil }
        return identify(bearer: bearer, at: now)
    }

    /// Who shows this key or token; nil when it proves nothing. Whether the token was revoked is not known here.
    public func identify(bearer: String, at now: Timestamp) -> Caller? {
        if case .caller(let caller) = prove(bearer: bearer, at: now) { caller } else { nil }
    }

    /// What an `Authorization` header proves.
    public func prove(authorizationHeader header: String, at now: Timestamp) -> Proof {
        Credentials.bearerToken(header).map { prove(bearer: $0, at: now) } ?? .nothing
    }

    /// What a key or token proves.
    public func prove(bearer: String, at now: Timestamp) -> Proof {
        let shown = Array(bearer.utf8)
        // Both are compared whatever the first comparison says.
        let isAdmin = takesTheSameTime(shown, equals: adminKey)
        let isService = takesTheSameTime(shown, equals: serviceKey)
        if isAdmin { return .caller(.admin) }
        if isService { return .caller(.service) }
        do throws(TokenError) {
            return .caller(.client(try verifier.verify(bearer, at: now)))
        } catch {
            // Both are told only of what the secret has signed.
            return error == .expired || error == .notYetValid ? .notNow : .nothing
        }
    }

    /// What follows `Bearer`, in any case (RFC 9110, section 11.1), and one space or more; nil for other schemes.
    private static func bearerToken(_ header: String) -> String? {
        let scheme = header.utf8.prefix(7)
        guard scheme.count == 7, scheme.last == UInt8(ascii: " "),
            zip(scheme, "bearer".utf8).allSatisfy({ $0 | 0x20 == $1 })
        else { return nil }
        let rest = header.utf8.dropFirst(7).drop { $0 == UInt8(ascii: " ") }
        return rest.isEmpty ? nil : String(rest)
    }
}

/// Whether two texts are the same, in a time that depends on the length of what was shown only: not on the key, nor on
/// how much of it agrees.
@inline(never)
func takesTheSameTime(_ shown: [UInt8], equals key: [UInt8]) -> Bool {
    var difference = shown.count ^ key.count
    for (index, byte) in shown.enumerated() {
        difference |= Int(byte ^ key[index % key.count])
    }
    return difference == 0
}
