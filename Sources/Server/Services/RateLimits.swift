import EventLoop
import Gateway
import Model

/// How much clients and addresses may do, each on one process. Nil: as much as they like.
public struct RateConfiguration: Sendable {
    /// Messages of one WebSocket.
    public var connectionMessages: TokenBucket.Limit?
    /// Messages of one client on all its WebSockets, and its requests.
    public var clientMessages: TokenBucket.Limit?
    /// Claims, joins, holds and whatever else changes something, of one client.
    public var clientActions: TokenBucket.Limit?
    /// Messages of one address; beyond, each of its WebSockets may send a tenth.
    public var addressMessages: TokenBucket.Limit?
    /// Actions of one address.
    public var addressActions: TokenBucket.Limit?
    /// Requests of one address.
    public var addressRequests: TokenBucket.Limit?
    /// Tokens and keys of one address that prove nothing.
    public var addressFailures: TokenBucket.Limit?
    /// Passwords that one address wants hashed.
    public var addressPasswords: TokenBucket.Limit?
    /// New connections of one address.
    public var addressConnects: TokenBucket.Limit?
}

/// Says who does too much.
///
/// What it remembers is bounded: only clients and addresses that have used up a part of what they may, 8 bytes and a key
/// each, and an IPv6 network of 64 bits counts as one address.
@LoopActor
final class RateLimits {
    private let limits: RateConfiguration
    private let metrics: Metrics
    private var clientMessages = RateTable<ClientID>()
    private var clientActions = RateTable<ClientID>()
    private var addressMessages = RateTable<PeerAddress>()
    private var addressActions = RateTable<PeerAddress>()
    private var addressRequests = RateTable<PeerAddress>()
    private var addressFailures = RateTable<PeerAddress>()
    private var addressPasswords = RateTable<PeerAddress>()
    private var names = RateTable<String>()
    private let timer = LoopTimer()

    /// What a `connect` costs of a client's messages: it reads the client's outcomes from Redis.
    private static let connectCost: Double = 10
    /// Wrong passwords of one account, from wherever they come: some 17,000 a day, which no password of 8 characters that
    /// isn't in the lists has to fear. Whoever tries them delays the account's owner by seconds.
    private static let wrongPasswords = TokenBucket.Limit(perSecond: 0.2, burst: 30)

    init(_ limits: RateConfiguration, metrics: Metrics) {
        self.limits = limits
        self.metrics = metrics
        timer.start(after: 10_000, every: 10_000) { [weak self] in self?.tidy() }
    }

    private var now: Int64 { EventLoop.monotonicMilliseconds * 1_000_000 }

    /// Whether a client may send one more message or request, or one that counts for several.
    func mayTalk(_ client: ClientID?, _ cost: Double = 1) -> Bool {
        guard let limit = limits.clientMessages, let client else { return true }
        return clientMessages.take(client, limit, min(cost, limit.burst), now: now) || refused("client_messages")
    }

    /// Whether an address's WebSockets may send one more message.
    func mayTalk(_ address: PeerAddress, _ cost: Double) -> Bool {
        guard let limit = limits.addressMessages else { return true }
        return addressMessages.take(address.subscriber, limit, min(cost, limit.burst), now: now)
            || refused("address_messages")
    }

    /// Whether a client may connect once more.
    func mayConnect(_ client: ClientID) -> Bool {
        guard let limit = limits.clientMessages else { return true }
        return clientMessages.take(client, limit, min(limit.burst, Self.connectCost), now: now)
            || refused("client_connects")
    }

    /// Whether a client, from an address, may change something once more.
    func mayAct(_ client: ClientID, from address: PeerAddress) -> Bool {
        if let limit = limits.clientActions, !clientActions.take(client, limit, now: now) {
            return refused("client_actions")
        }
        guard let limit = limits.addressActions else { return true }
        return addressActions.take(address.subscriber, limit, now: now) || refused("address_actions")
    }

    /// Whether an address may make one more request.
    func mayAsk(_ address: PeerAddress) -> Bool {
        guard let limit = limits.addressRequests else { return true }
        return addressRequests.take(address.subscriber, limit, now: now) || refused("address_requests")
    }

    /// Whether an address may have one more password hashed.
    func mayTryPassword(_ address: PeerAddress) -> Bool {
        guard let limit = limits.addressPasswords else { return true }
        return addressPasswords.take(address.subscriber, limit, now: now) || refused("address_passwords")
    }

    /// Whether what an address shows is to be looked at. A token always is, since the neighbours behind one address must
    /// not suffer for each other; what isn't one might be an attempt at a key.
    func mayTry(_ bearer: String, from address: PeerAddress) -> Bool {
        guard let limit = limits.addressFailures, !bearer.contains(".") else { return true }
        return !addressFailures.isEmpty(address.subscriber, limit, now: now) || refused("address_failures")
    }

    /// What an address showed proves nothing. False when that happens too often.
    func failed(_ address: PeerAddress) -> Bool {
        guard let limit = limits.addressFailures else { return true }
        return addressFailures.take(address.subscriber, limit, now: now) || refused("address_failures")
    }

    /// Whether an account may be signed in to: its wrong passwords are not too many.
    func maySignIn(_ name: String) -> Bool {
        guard limits.addressPasswords != nil else { return true }
        return !names.isEmpty(name, Self.wrongPasswords, now: now) || refused("account_passwords")
    }

    /// A password of an account was wrong.
    func wrongPassword(_ name: String) {
        // A longer name is nobody's, and not worth remembering.
        guard limits.addressPasswords != nil, name.utf8.count <= 256 else { return }
        _ = names.take(name, Self.wrongPasswords, now: now)
    }

    private func refused(_ limit: String) -> Bool {
        metrics.limited[limit, default: 0] += 1
        return false
    }

    private func tidy() {
        clientMessages.tidy(now: now)
        clientActions.tidy(now: now)
        addressMessages.tidy(now: now)
        addressActions.tidy(now: now)
        addressRequests.tidy(now: now)
        addressFailures.tidy(now: now)
        addressPasswords.tidy(now: now)
        names.tidy(now: now)
    }
}
