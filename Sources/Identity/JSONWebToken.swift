import CJWT
import Glibc

/// A decoded or growing token of libjwt; all calls of that library are in this file.
///
/// What libjwt 1.10.2 does and doesn't do, from its source (`libjwt/jwt.c`, `libjwt/jwt-openssl.c`):
/// - `jwt_decode` with a key checks the signature by the algorithm that the token's header names, whatever it is; so the
///   caller must compare it with the one expected. `none` with a key is refused. It compares signatures without
///   regard to how much of them agrees, as patched by Debian (1.10.2-1+deb12u1, CVE-2024-25189); upstream's 1.10.2
///   uses `strcmp`.
/// - Without a key, it decodes and checks nothing.
/// - It parses header and payload before it looks at the signature: input is bounded before (``TokenVerifier``).
/// - It takes header names like `hs256` for HS256, and ignores `crit`.
/// - It looks at no claim: neither `exp` nor `nbf`.
/// - `jwt_get_grant_int` gives 0 for anything but an integer, and -1 for a claim that isn't there.
struct JSONWebToken: ~Copyable {
    /// Made by `jwt_new` or `jwt_decode`, released once by `jwt_free`, which also overwrites its copy of the key.
    private let token: OpaquePointer

    deinit { jwt_free(token) }

    // MARK: Reading

    /// A token whose signature the key proves; nil when it doesn't, and when the text isn't a token.
    init?(verifying text: String, secret: [UInt8]) {
        precondition(!secret.isEmpty, "without a key, libjwt checks nothing")
        var decoded: OpaquePointer?
        guard jwt_decode(&decoded, text, secret, Int32(secret.count)) == 0, let decoded else { return nil }
        token = decoded
    }

    /// A token of which nothing is proven, to say why it was refused.
    init?(withoutProof text: String) {
        var decoded: OpaquePointer?
        guard jwt_decode(&decoded, text, nil, 0) == 0, let decoded else { return nil }
        token = decoded
    }

    /// Whether the header names HS256, spelt as the standard spells it, and no extension that must be understood.
    var isPlainHS256: Bool {
        guard let name = jwt_get_header(token, "alg"), strcmp(name, "HS256") == 0 else { return false }
        guard let extensions = jwt_get_headers_json(token, "crit") else { return true }
        free(extensions)
        return false
    }

    /// A claim by its type.
    enum Claim {
        case missing
        case string(String)
        case integer(Int64)
        /// A JSON number with a fraction or an exponent.
        case fraction(Double)
        case other
    }

    /// A claim of the payload.
    subscript(name: String) -> Claim {
        if let text = jwt_get_grant(token, name) { return .string(String(cString: text)) }
        let integer = jwt_get_grant_int(token, name)
        if integer > 0 { return .integer(Int64(integer)) }
        // Neither text nor a positive integer: its JSON says what it is. To be freed here.
        guard let json = jwt_get_grants_json(token, name) else { return .missing }
        defer { free(json) }
        let text = String(cString: json)
        if let integer = Int64(text) { return .integer(integer) }
        guard let first = text.utf8.first, first == UInt8(ascii: "-") || (0x30...0x39).contains(first),
            let number = Double(text)
        else { return .other }
        return .fraction(number)
    }

    // MARK: Writing

    /// A signed token with these claims.
    static func signed(strings: [(String, String)], integers: [(String, Int64)], secret: [UInt8]) -> String {
        var fresh: OpaquePointer?
        guard jwt_new(&fresh) == 0, let fresh else { fatalError("jwt_new: out of memory") }
        defer { jwt_free(fresh) }
        var status = jwt_set_alg(fresh, JWT_ALG_HS256, secret, Int32(secret.count))
        for (name, value) in strings { status |= jwt_add_grant(fresh, name, value) }
        for (name, value) in integers { status |= jwt_add_grant_int(fresh, name, Int(value)) }
        precondition(status == 0, "libjwt refuses our own claims: \(status)")
        guard let text = jwt_encode_str(fresh) else { fatalError("jwt_encode_str: \(errno)") }
        // malloc'ed for the caller.
        defer { free(text) }
        return String(cString: text)
    }
}
