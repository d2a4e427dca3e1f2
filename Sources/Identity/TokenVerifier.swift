import Model

/// What a client token says, once it is proven.
public struct TokenClaims: Hashable, Sendable {
    /// Whom it speaks for: `sub`.
    public let client: ClientID
    /// The first moment at which it is no longer good: `exp`.
    public let expiresAt: Timestamp
    /// What names this token when it is to be refused from now on: its `jti`, or its signature when it has none.
    public let tokenID: String
}

/// Why a client token was refused. To its bearer all are the same 401.
public enum TokenError: Error, Hashable, Sendable {
    /// Not three parts of base64url, not JSON in them, too long, or of an algorithm that nobody knows.
    case malformed
    /// Not HS256, or with header extensions (`crit`) that aren't known here.
    case wrongAlgorithm
    /// Signed with another secret, or changed since.
    case badSignature
    /// Its time is over.
    case expired
    /// Its time has not come: `nbf`.
    case notYetValid
    /// A claim that must be there isn't.
    case missingClaim(String)
    /// A claim is not what the standard says it is.
    case badClaim(String)
    /// `sub` is not a client's id.
    case badSubject
}

/// Checks client tokens: JWT (RFC 7519), HS256 and nothing else, by libjwt.
///
/// - `exp` is required; from that moment on the token is refused. `nbf` is obeyed when present. No leeway is given: the
///   clocks of a shop's backend and of Dibs are expected to agree.
/// - Both may be JSON numbers with a fraction, as RFC 7519's NumericDate allows; parts of a millisecond are cut.
/// - `sub` is a client's id; a JSON integer is taken as its decimal string.
/// - `iss` and `aud` are ignored.
public struct TokenVerifier: Sendable {
    /// No token of a client needs more; it bounds what libjwt parses before it looks at the signature.
    public static let maximumLength = 4096

    private let secret: [UInt8]

    /// A verifier for tokens signed with this secret.
    public init(secret: String) { self.init(secret: Array(secret.utf8)) }

    /// A verifier for tokens signed with a secret that isn't text.
    public init(secret: [UInt8]) {
        precondition(!secret.isEmpty, "an empty secret proves nothing")
        self.secret = secret
    }

    /// Checks a token at a moment.
    public func verify(_ token: String, at now: Timestamp) throws(TokenError) -> TokenClaims {
        let signature = try TokenVerifier.signature(of: token)
        guard let proven = JSONWebToken(verifying: token, secret: secret) else {
            guard let unproven = JSONWebToken(withoutProof: token) else { throw .malformed }
            throw unproven.isPlainHS256 ? .badSignature : .wrongAlgorithm
        }
        // The same secret also signs HS384 and HS512, which libjwt takes.
        guard proven.isPlainHS256 else { throw .wrongAlgorithm }

        guard let expiresAt = try TokenVerifier.moment(proven, "exp") else { throw .missingClaim("exp") }
        guard now < expiresAt else { throw .expired }
        if let notBefore = try TokenVerifier.moment(proven, "nbf"), now < notBefore { throw .notYetValid }
        let tokenID: String
        switch proven["jti"] {
        case .string(let id) where !id.isEmpty: tokenID = id
        case .missing: tokenID = String(signature)
        default: throw .badClaim("jti")
        }
        return TokenClaims(
            client: try TokenVerifier.subject(proven), expiresAt: expiresAt, tokenID: tokenID)
    }

    /// The last of three parts of base64url. What libjwt gets to see has no other characters, and so no NUL, either.
    private static func signature(of token: String) throws(TokenError) -> Substring {
        guard token.utf8.count <= maximumLength else { throw .malformed }
        var dots: [String.Index] = []
        for index in token.utf8.indices {
            switch token.utf8[index] {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                continue
            case UInt8(ascii: "."): dots.append(index)
            default: throw .malformed
            }
        }
        guard dots.count == 2, dots[0] > token.startIndex, token.utf8.index(after: dots[0]) < dots[1] else {
            throw .malformed
        }
        return token[token.utf8.index(after: dots[1])...]
    }

    /// A NumericDate of RFC 7519, section 2; nil when the claim isn't there.
    private static func moment(_ token: borrowing JSONWebToken, _ name: String) throws(TokenError) -> Timestamp? {
        /// The end of the year 9999, the last that a timestamp can write.
        let end: Int64 = 253_402_300_800
        switch token[name] {
        case .missing: return nil
        case .integer(let seconds):
            guard -end < seconds, seconds < end else { throw .badClaim(name) }
            return Timestamp(milliseconds: seconds * 1000)
        case .fraction(let seconds):
            guard seconds.isFinite, abs(seconds) < Double(end) else { throw .badClaim(name) }
            return Timestamp(milliseconds: Int64((seconds * 1000).rounded(.down)))
        case .string, .other: throw .badClaim(name)
        }
    }

    private static func subject(_ token: borrowing JSONWebToken) throws(TokenError) -> ClientID {
        let text: String
        switch token["sub"] {
        case .missing: throw .missingClaim("sub")
        case .string(let name): text = name
        case .integer(let number): text = String(number)
        case .fraction, .other: throw .badSubject
        }
        guard let client = ClientID(text) else { throw .badSubject }
        return client
    }
}
