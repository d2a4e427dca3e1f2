import Engine
import EventLoop
import Identity
import Model
import Persistence

/// Tells who is asking, and knows which tokens were logged out.
@LoopActor
final class CredentialsChecker {
    /// Who a WebSocket belongs to.
    struct Connecting {
        let client: ClientID
        let expiresAt: Timestamp
        let tokenID: String?
    }

    private let credentials: Credentials
    private let engine: Engine
    private let store: Store
    private let log: Log
    /// Until when each revoked token would have lived: after that it is refused anyway, and forgotten here.
    private var revoked: [String: Timestamp] = [:]
    private var subscription: Subscription?
    private let refreshTimer = LoopTimer()
    /// Called with each token that is revoked from now on.
    var onRevoked: (@LoopActor (String) -> Void)?

    private static let refreshMilliseconds: Int64 = 15_000

    init(_ credentials: Credentials, engine: Engine, store: Store, log: Log) {
        self.credentials = credentials
        self.engine = engine
        self.store = store
        self.log = log
    }

    /// What this `Authorization` header proves.
    func prove(authorization: String, at now: Timestamp) -> Proof {
        accepted(credentials.prove(authorizationHeader: authorization, at: now))
    }

    /// Whose WebSocket it is that shows this token; nil when it isn't good. The keys may act for any client, and say for
    /// which. `isForged` tells what anybody could have made from what was good once, or is for somebody else.
    func connect(token: String, as client: String?, at now: Timestamp) -> (who: Connecting?, isForged: Bool) {
        switch accepted(credentials.prove(bearer: token, at: now)) {
        case .nothing: return (nil, true)
        case .notNow: return (nil, false)
        case .caller(.client(let claims)):
            guard client == nil || client == claims.client.rawValue else { return (nil, false) }
            return (Connecting(client: claims.client, expiresAt: claims.expiresAt, tokenID: claims.tokenID), false)
        case .caller(.service), .caller(.admin):
            guard let client = client.flatMap({ ClientID($0) }) else { return (nil, false) }
            return (Connecting(client: client, expiresAt: Timestamp(milliseconds: .max), tokenID: nil), false)
        }
    }

    /// Begins to hear of tokens that are logged out; returns when those so far are known, or could not be asked for.
    func start() async {
        await refresh()
        refreshTimer.start(after: Self.refreshMilliseconds, every: Self.refreshMilliseconds) { [weak self] in
            guard let self else { return }
            EventLoop.task { await self.refresh() }
        }
    }

    private func follow() async {
        guard subscription == nil else { return }
        do {
            subscription = try await engine.subscribeRevocations { [weak self] event in
                guard let self else { return }
                switch event {
                case .revoked(let tokenID, let until): self.revoke(tokenID, until)
                case .renewed: EventLoop.task { await self.refresh() }
                }
            }
        } catch {
            log(.warning, "revocations_not_followed", ["error": .init("\(error)")])
        }
    }

    /// Reads the list anew: from Redis, which is told of each first, and from PostgreSQL, which keeps it.
    private func refresh() async {
        await follow()
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        revoked = revoked.filter { $0.value > now }
        if let tokens = try? await engine.revokedTokens() { for (id, until) in tokens { revoke(id, until) } }
        do {
            for token in try await store.revokedTokens() { revoke(token.id, token.until) }
        } catch {
            log(.warning, "revocations_not_read", ["error": .init("\(error)")])
        }
    }

    /// Refuses a token from now on, on this process.
    func revoke(_ tokenID: String, _ until: Timestamp) {
        guard revoked.updateValue(until, forKey: tokenID) == nil else { return }
        onRevoked?(tokenID)
    }

    private func accepted(_ proof: Proof) -> Proof {
        guard case .caller(.client(let claims)) = proof, revoked[claims.tokenID] != nil else { return proof }
        return .notNow
    }
}
