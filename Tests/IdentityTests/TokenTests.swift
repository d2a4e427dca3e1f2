import EventLoop
import Model
import Testing

@testable import Identity

private let secret = "a secret of more than 32 characters, for tests"
private let verifier = TokenVerifier(secret: secret)
/// 2026-11-20T12:00:00Z.
private let second: Int64 = 1_795_176_000
private let now = Timestamp(milliseconds: second * 1000)

private func verify(_ payload: String, header: String? = nil, at moment: Timestamp = now) throws(TokenError)
    -> TokenClaims
{
    let token =
        header.map { Forge.token(header: $0, payload: payload, secret: secret) }
        ?? Forge.token(payload: payload, secret: secret)
    return try verifier.verify(token, at: moment)
}

@Suite("Client tokens")
struct TokenTests {
    @Test func theForgeIsRight() {
        // RFC 4231, test case 2.
        let mac = Forge.hmac(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        #expect(mac.prefix(4) == [0x5B, 0xDC, 0xC1, 0x46] && mac.suffix(4) == [0x64, 0xEC, 0x38, 0x43])
        #expect(Forge.bytes(base64URL: Forge.base64URL([0, 1, 250, 255])) == [0, 1, 250, 255])
    }

    @Test func whatIsIssuedIsAccepted() throws {
        let client = try #require(ClientID("shop:user-1.A"))
        let issued = TokenIssuer(secret: secret).issue(client, lifetimeSeconds: 60, at: now + 999)
        #expect(try verifier.verify(issued.token, at: now) == issued.claims)
        #expect(issued.claims.client == client)
        #expect(issued.claims.expiresAt == now + 60_000)
        #expect(issued.claims.tokenID.utf8.count == 32)
        let other = TokenIssuer(secret: secret).issue(client, lifetimeSeconds: 60, at: now)
        #expect(other.claims.tokenID != issued.claims.tokenID)
        #expect(issued.token.utf8.count < TokenVerifier.maximumLength)
    }

    /// RFC 7515, appendix A.1: right in its signature, without `sub`, over since 2011.
    @Test func theStandardsExample() throws {
        let key = Forge.bytes(
            base64URL: "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
        let token =
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
            + ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
            + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        let verifier = TokenVerifier(secret: key)
        #expect(throws: TokenError.missingClaim("sub")) {
            try verifier.verify(token, at: Timestamp(milliseconds: 1_300_819_379_999))
        }
        #expect(throws: TokenError.expired) {
            try verifier.verify(token, at: Timestamp(milliseconds: 1_300_819_380_000))
        }
        #expect(throws: TokenError.badSignature) { try TokenVerifier(secret: secret).verify(token, at: now) }
    }

    @Test func expiryIsToTheMillisecond() throws {
        let payload = #"{"sub":"c1","exp":\#(second)}"#
        #expect(throws: Never.self) { try verify(payload, at: now + -1) }
        #expect(throws: TokenError.expired) { try verify(payload, at: now) }
        #expect(throws: TokenError.expired) { try verify(payload, at: now + 1) }
        // With a fraction: NumericDate may have one.
        let fractional = #"{"sub":"c1","exp":\#(second).25}"#
        #expect(try verify(fractional, at: now + 249).expiresAt == now + 250)
        #expect(throws: TokenError.expired) { try verify(fractional, at: now + 250) }
        #expect(try verify(#"{"sub":"c1","exp":1.9e9}"#).expiresAt == Timestamp(milliseconds: 1_900_000_000_000))
    }

    @Test func aTokenBeforeItsTimeIsRefused() throws {
        let rest = #""sub":"c1","exp":\#(second + 60)"#
        #expect(throws: TokenError.notYetValid) { try verify(#"{"nbf":\#(second + 1),\#(rest)}"#) }
        #expect(throws: Never.self) { try verify(#"{"nbf":\#(second),\#(rest)}"#) }
        #expect(throws: TokenError.notYetValid) { try verify(#"{"nbf":\#(second).001,\#(rest)}"#) }
        #expect(throws: Never.self) { try verify(#"{"nbf":0,\#(rest)}"#) }
        #expect(throws: TokenError.badClaim("nbf")) { try verify(#"{"nbf":"soon",\#(rest)}"#) }
    }

    @Test(arguments: [
        (#""exp":null"#, TokenError.badClaim("exp")), (#""exp":true"#, .badClaim("exp")),
        (#""exp":"1795179600""#, .badClaim("exp")), (#""exp":[1795179600]"#, .badClaim("exp")),
        (#""exp":{}"#, .badClaim("exp")), (#""exp":99999999999999"#, .badClaim("exp")),
        (#""exp":9223372036854775807"#, .badClaim("exp")), (#""exp":1e300"#, .badClaim("exp")),
        (#""exp":99999999999999999999"#, .malformed), (#""exp":1e999"#, .malformed),
        (#""exp":0"#, .expired), (#""exp":-1"#, .expired), (#""exp":-1.5"#, .expired),
        (#""x":1"#, .missingClaim("exp")),
    ])
    func expiriesThatAreNone(claim: String, error: TokenError) {
        #expect(throws: error) { try verify(#"{"sub":"c1",\#(claim)}"#) }
    }

    @Test(arguments: [
        (#""sub":"""#, TokenError.badSubject), (#""sub":"a b""#, .badSubject), (#""sub":"ÿ""#, .badSubject),
        (#""sub":null"#, .badSubject), (#""sub":1.5"#, .badSubject), (#""sub":5.0"#, .badSubject),
        (#""sub":1e3"#, .badSubject), (#""sub":true"#, .badSubject), (#""sub":["c1"]"#, .badSubject),
        (#""sub":"\#(String(repeating: "x", count: 65))""#, .badSubject), (#""sub":"a\u0000b""#, .malformed),
        (#""subject":"c1""#, .missingClaim("sub")),
    ])
    func subjectsThatAreNone(claim: String, error: TokenError) {
        #expect(throws: error) { try verify(#"{"exp":\#(second + 60),\#(claim)}"#) }
    }

    @Test(arguments: [
        (#""c1""#, "c1"), (#""A-z_0.9:x""#, "A-z_0.9:x"), ("42", "42"), ("0", "0"), ("-1", "-1"),
        ("9007199254740993", "9007199254740993"), (#""\u0063\u0031""#, "c1"),
    ])
    func subjects(json: String, client: String) throws {
        #expect(try verify(#"{"exp":\#(second + 60),"sub":\#(json)}"#).client.rawValue == client)
    }

    @Test func whatNamesATokenIsItsIDOrItsSignature() throws {
        let rest = #""sub":"c1","exp":\#(second + 60),"iss":5,"aud":["x"]"#
        #expect(try verify(#"{"jti":"j-1",\#(rest)}"#).tokenID == "j-1")
        let token = Forge.token(payload: "{\(rest)}", secret: secret)
        #expect(try verifier.verify(token, at: now).tokenID == String(token.split(separator: ".")[2]))
        #expect(throws: TokenError.badClaim("jti")) { try verify(#"{"jti":"",\#(rest)}"#) }
        #expect(throws: TokenError.badClaim("jti")) { try verify(#"{"jti":7,\#(rest)}"#) }
    }

    // MARK: Forgeries

    @Test(arguments: [
        #"{"alg":"none"}"#, #"{"alg":"NONE"}"#, #"{"alg":"none","typ":"JWT"}"#, #"{"alg":"RS256","typ":"JWT"}"#,
        #"{"alg":"ES256"}"#, #"{"alg":"HS512"}"#, #"{"alg":"HS384"}"#, #"{"alg":"hs256"}"#,
        #"{"alg":"HS256","crit":["b64"],"b64":false}"#, #"{"alg":"HS256","crit":null}"#,
    ])
    func otherAlgorithms(header: String) {
        let payload = #"{"sub":"c1","exp":\#(second + 60)}"#
        // With an HMAC-SHA-256 by the right secret, with a wrong one, and without a signature.
        #expect(throws: TokenError.wrongAlgorithm) { try verify(payload, header: header) }
        let token = Forge.token(header: header, payload: payload, secret: "wrong")
        #expect(throws: TokenError.wrongAlgorithm) { try verifier.verify(token, at: now) }
        let unsigned = token[...token.lastIndex(of: ".")!]
        #expect(throws: TokenError.wrongAlgorithm) { try verifier.verify(String(unsigned), at: now) }
    }

    /// The secret also proves HS384 and HS512 to libjwt; they are refused all the same.
    @Test func aTokenOfLibJWTsOwnWithHS512IsRefused() throws {
        // {"alg":"HS512","typ":"JWT"} {"exp":4102444800,"sub":"c1"}, signed with the secret `confused`.
        let token =
            "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDAsInN1YiI6ImMxIn0"
            + ".1jeK-hfVZQTU3qlDtYNYVxPrKIAnm7oG_qGIyum4zzw00DZgSMOoPPoGx7IUoEfViHIxfIP23ngU01c6jDyRUw"
        let provenByLibJWT =
            if JSONWebToken(verifying: token, secret: Array("confused".utf8)) != nil { true } else { false }
        #expect(provenByLibJWT)
        #expect(throws: TokenError.wrongAlgorithm) { try TokenVerifier(secret: "confused").verify(token, at: now) }
    }

    @Test(arguments: [
        #"{"alg":"PS256"}"#, #"{"alg":""}"#, #"{"alg":5}"#, "{}", "[]", "5", "", "{", #"{"alg":"HS256","typ":"x"}"#,
    ])
    func headersThatAreNone(header: String) {
        #expect(throws: TokenError.malformed) { try verify(#"{"sub":"c1","exp":\#(second + 60)}"#, header: header) }
    }

    @Test func payloadsThatAreNone() {
        for payload in ["", "{", "null", "\u{0}", #"{"exp":1"#, String(repeating: "[", count: 2900)] {
            #expect(throws: TokenError.malformed) { try verify(payload) }
        }
        for payload in ["[]", "{}", #"["exp"]"#] {
            #expect(throws: TokenError.missingClaim("exp")) { try verify(payload) }
        }
    }

    @Test func everyChangeOfATokenIsNoticed() throws {
        let token = Forge.token(payload: #"{"sub":"c1","exp":\#(second + 60),"jti":"j"}"#, secret: secret)
        #expect(throws: Never.self) { try verifier.verify(token, at: now) }
        let characters = Array(token.utf8)
        for index in characters.indices {
            for replacement in [UInt8(ascii: "A"), UInt8(ascii: "B"), UInt8(ascii: "."), UInt8(ascii: "=")]
            where characters[index] != replacement {
                var changed = characters
                changed[index] = replacement
                #expect(throws: TokenError.self) {
                    try verifier.verify(String(decoding: changed, as: UTF8.self), at: now)
                }
            }
            #expect(throws: TokenError.self) {
                try verifier.verify(String(decoding: characters[..<index], as: UTF8.self), at: now)
            }
        }
        for addition in [".", "A", "=", " ", "\n", "\u{0}", ".x", "é"] {
            #expect(throws: TokenError.self) { try verifier.verify(token + addition, at: now) }
            #expect(throws: TokenError.malformed) { try verifier.verify(addition + token + addition, at: now) }
        }
    }

    @Test func lengthIsBounded() {
        func token(padding: Int) -> String {
            let payload = #"{"sub":"c1","exp":\#(second + 60),"x":"\#(String(repeating: "x", count: padding))"}"#
            return Forge.token(payload: payload, secret: secret)
        }
        let longest = (2900...3000).last { token(padding: $0).utf8.count <= 4096 }!
        #expect(throws: Never.self) { try verifier.verify(token(padding: longest), at: now) }
        #expect(throws: TokenError.malformed) { try verifier.verify(token(padding: longest + 1), at: now) }
        #expect(throws: TokenError.malformed) { try verifier.verify(String(repeating: ".", count: 1_000_000), at: now) }
        #expect(throws: TokenError.malformed) { try verifier.verify("", at: now) }
    }
}
