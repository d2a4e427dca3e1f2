import CJWT
import Glibc
import Model

@testable import Identity

/// What is shown to prove who one is.
enum TokenParsers {
    private static let secret = "the secret of the fuzzers"
    private static let now = Timestamp(milliseconds: 1_800_000_000_000)
    private static let verifier = TokenVerifier(secret: secret)
    private static let credentials = Credentials(
        adminKey: "the admin's key", serviceKey: "the shop's key", verifier: verifier)

    static func token(_ bytes: [UInt8]) -> String? {
        let text = String(decoding: bytes, as: UTF8.self)
        if text.hasPrefix("{") { return signed(claims: text) }
        // Nobody who doesn't know the secret gets in.
        if let claims = try? verifier.verify(text, at: now) { return "a forged token is good: \(claims)" }
        return credentials.identify(authorizationHeader: text, at: now).map { "got in as \($0)" }
    }

    /// Any claims, well signed: they reach what looks at them.
    private static func signed(claims: String) -> String? {
        guard let token = sign(claims) else { return nil }
        guard let proven = try? verifier.verify(token, at: now) else { return nil }
        guard proven.expiresAt > now else { return "a token that has run out is good" }
        guard ClientID(proven.client.rawValue) != nil else { return "no id of a client: \(proven.client)" }
        guard !proven.tokenID.isEmpty else { return "a token without a name" }
        // Any other signature is none.
        let forged = String(token.dropLast(4)) + (token.hasSuffix("AAAA") ? "BBBB" : "AAAA")
        return (try? verifier.verify(forged, at: now)) == nil ? nil : "a forged signature is good"
    }

    private static func sign(_ claims: String) -> String? {
        var token: OpaquePointer?
        guard !claims.utf8.contains(0), jwt_new(&token) == 0, let token else { return nil }
        defer { jwt_free(token) }
        let key = Array(secret.utf8)
        guard jwt_set_alg(token, JWT_ALG_HS256, key, Int32(key.count)) == 0, jwt_add_grants_json(token, claims) == 0,
            let text = jwt_encode_str(token)
        else { return nil }
        defer { free(text) }
        return String(cString: text)
    }
}
