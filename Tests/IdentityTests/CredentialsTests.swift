import Model
import Testing

@testable import Identity

@Suite("Credentials")
struct CredentialsTests {
    private let issuer = TokenIssuer(secret: "token-secret-of-the-tests")
    private let credentials = Credentials(
        adminKey: "admin-key-0123456789", serviceKey: "service-key-0123456789",
        verifier: TokenVerifier(secret: "token-secret-of-the-tests"))
    private let now = Timestamp(milliseconds: 1_795_176_000_000)
    private let alice = ClientID(trusted: "alice")
    private let bob = ClientID(trusted: "bob")

    private func identify(_ header: String?) -> Caller? {
        credentials.identify(authorizationHeader: header, at: now)
    }

    @Test func eachKindOfCaller() {
        let issued = issuer.issue(alice, lifetimeSeconds: 60, at: now)
        #expect(identify("Bearer admin-key-0123456789") == .admin)
        #expect(identify("Bearer service-key-0123456789") == .service)
        #expect(identify("Bearer \(issued.token)") == .client(issued.claims))
        #expect(credentials.identify(authorizationHeader: "Bearer \(issued.token)", at: now + 60_000) == nil)
    }

    /// What was good once is told from what anybody could have made.
    @Test func proofs() {
        let issued = issuer.issue(alice, lifetimeSeconds: 60, at: now)
        func prove(_ bearer: String, at moment: Timestamp) -> Proof { credentials.prove(bearer: bearer, at: moment) }
        #expect(prove(issued.token, at: now) == .caller(.client(issued.claims)))
        #expect(prove(issued.token, at: now + 60_000) == .notNow)
        let forged = TokenIssuer(secret: "another secret of somebody").issue(alice, lifetimeSeconds: 60, at: now).token
        for moment in [now, now + 60_000] {
            #expect(prove(forged, at: moment) == .nothing)
            #expect(prove("a guess at a key", at: moment) == .nothing)
        }
        #expect(credentials.prove(authorizationHeader: "Basic x", at: now) == .nothing)
    }

    @Test(arguments: ["bearer", "BEARER", "Bearer", "bEaReR"])
    func theSchemeIsInAnyCase(scheme: String) {
        #expect(identify("\(scheme) admin-key-0123456789") == .admin)
        #expect(identify("\(scheme)   admin-key-0123456789") == .admin)
    }

    @Test(arguments: [
        nil, "", "Bearer", "Bearer ", "Bearer  ", "admin-key-0123456789", "Basic admin-key-0123456789",
        "Beareradmin-key-0123456789", "Bearer\tadmin-key-0123456789", "Bearer admin-key-012345678",
        "Bearer admin-key-01234567890", "Bearer admin-key-0123456789 ", "Bearer Admin-key-0123456789",
        "Bearer admin-key-0123456789admin-key-0123456789", "Bearer a", "Bearer x.y.z", " Bearer admin-key-0123456789",
        "Bearer \u{0}", "\u{2}earer admin-key-0123456789",
    ])
    func whatProvesNothing(header: String?) {
        #expect(identify(header) == nil)
    }

    @Test func whoMayDoWhat() {
        let client = Caller.client(TokenClaims(client: alice, expiresAt: now, tokenID: "j"))
        #expect(client.mayAct(for: alice) && !client.mayAct(for: bob) && !client.isAdmin && client.client == alice)
        #expect(Caller.service.mayAct(for: bob) && !Caller.service.isAdmin && Caller.service.client == nil)
        #expect(Caller.admin.mayAct(for: bob) && Caller.admin.isAdmin && Caller.admin.client == nil)
    }

    @Test func comparisonIsExact() {
        let key = Array("0123456789abcdef".utf8)
        #expect(takesTheSameTime(key, equals: key))
        #expect(!takesTheSameTime([], equals: key))
        #expect(!takesTheSameTime(key + key, equals: key))
        #expect(!takesTheSameTime(Array(key.dropLast()), equals: key))
        for index in key.indices {
            for bit in 0..<8 {
                var other = key
                other[index] ^= 1 << UInt8(bit)
                #expect(!takesTheSameTime(other, equals: key))
            }
        }
    }
}
