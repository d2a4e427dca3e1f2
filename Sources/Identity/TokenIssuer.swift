import Model

/// A token and what it says.
public struct IssuedToken: Hashable, Sendable {
    /// The token, to be given to the client and nobody else.
    public let token: String
    /// What a ``TokenVerifier`` with the same secret reads in it.
    public let claims: TokenClaims
}

/// Makes client tokens for the built-in accounts: JWT, HS256, with `sub`, `iat`, `exp` and a random `jti`.
public struct TokenIssuer: Sendable {
    private let secret: [UInt8]

    /// An issuer that signs with this secret.
    public init(secret: String) {
        precondition(!secret.isEmpty, "an empty secret proves nothing")
        self.secret = Array(secret.utf8)
    }

    /// A token for a client, good from now on for so long. `exp` has whole seconds: `now` counts from its second's
    /// beginning.
    public func issue(_ client: ClientID, lifetimeSeconds: Int64, at now: Timestamp) -> IssuedToken {
        let second = now.milliseconds / 1000
        let expiry = second + lifetimeSeconds
        let id = RandomID.make()
        let token = JSONWebToken.signed(
            strings: [("sub", client.rawValue), ("jti", id)], integers: [("iat", second), ("exp", expiry)],
            secret: secret)
        return IssuedToken(
            token: token,
            claims: TokenClaims(
                client: client, expiresAt: Timestamp(milliseconds: expiry * 1000), tokenID: id))
    }
}

/// Names that nobody can guess.
enum RandomID {
    /// 128 random bits from the system's generator, as 32 hexadecimal digits.
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<2).map { _ in
            let digits = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
