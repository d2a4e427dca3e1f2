import Engine
import EventLoop
import Foundation
import Identity
import Model
import Persistence

/// Accounts for those who have no shop of their own, the tokens of clients, and points.
@LoopActor
final class AccountService {
    struct Session {
        let client: ClientID
        let token: String
        let expiresAt: Timestamp
    }

    private let store: Store
    private let engine: Engine
    private let credentials: CredentialsChecker
    private let issuer: TokenIssuer
    private let hasher: PasswordHasher
    private let tokenSeconds: Int64
    private let log: Log

    init(
        store: Store, engine: Engine, credentials: CredentialsChecker, issuer: TokenIssuer, hasher: PasswordHasher,
        tokenSeconds: Int64, log: Log
    ) {
        self.store = store
        self.engine = engine
        self.credentials = credentials
        self.issuer = issuer
        self.hasher = hasher
        self.tokenSeconds = tokenSeconds
        self.log = log
    }

    /// Makes an account.
    /// - Throws: `invalid`, `in_use`, `unavailable`.
    func signUp(name: String, password: String) async throws -> Session {
        let name = try Self.checked(name: name)
        guard (8...256).contains(password.unicodeScalars.count) else {
            throw WireError(.invalid, "password: 8 to 256 characters")
        }
        let hash = try await hashing { try await self.hasher.hash(password) }
        let client = ClientID(trusted: "user:" + UUID().uuidString.lowercased())
        guard try await store.insertUser(name: name, client: client, passwordHash: hash) else {
            throw WireError(.inUse, "name: somebody has it")
        }
        return issue(client, seconds: tokenSeconds)
    }

    /// Signs in. A wrong name and a wrong password get the same answer, after the same work.
    /// - Throws: `unauthenticated`, `unavailable`.
    func signIn(name: String, password: String) async throws -> Session {
        let wrong = WireError(.unauthenticated, "name or password are wrong")
        // A name that nobody can have, as one with a NUL, is nobody's.
        var user: (client: ClientID, passwordHash: String)?
        if let known = try? Self.checked(name: name) { user = try await store.user(named: known) }
        let matches = try await hashing { try await self.hasher.verify(password, against: user?.passwordHash) }
        guard let user, matches else { throw wrong }
        return issue(user.client, seconds: tokenSeconds)
    }

    /// Refuses a token from now on, on every instance: durable first, then told.
    func signOut(tokenID: String, until: Timestamp) async throws {
        try await store.revoke(tokenID: tokenID, until: until)
        credentials.revoke(tokenID, until)
        try await engine.revoke(tokenID: tokenID, until: until)
    }

    /// A token for a client, for a shop that lets Dibs sign.
    func issue(_ client: ClientID, seconds: Int64) -> Session {
        let issued = issuer.issue(
            client, lifetimeSeconds: seconds, at: Timestamp(milliseconds: EventLoop.wallMilliseconds))
        return Session(client: client, token: issued.token, expiresAt: issued.claims.expiresAt)
    }

    /// Adds points to a client's balance; with a key, once for that key.
    func charge(_ client: ClientID, points: Int64, key: IdempotencyKey?) async throws {
        let reference = key.map { "\(client.rawValue) \($0.rawValue)" } ?? UUID().uuidString
        _ = try await store.charge(client, points: points, reference: reference)
    }

    private func hashing<Value: Sendable>(_ body: @LoopActor () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch PasswordError.busy {
            throw WireError(.unavailable, "too many passwords to check just now; try again")
        }
    }

    private static func checked(name: String) throws(WireError) -> String {
        guard (1...64).contains(name.unicodeScalars.count),
            name == name.trimmingCharacters(in: .whitespacesAndNewlines),
            !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else {
            throw WireError(.invalid, "name: 1 to 64 characters, no space around them, no control characters")
        }
        return name.precomposedStringWithCanonicalMapping
    }
}
