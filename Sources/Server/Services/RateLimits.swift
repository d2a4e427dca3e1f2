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
    /// New connections of one address that are let in as they come; those beyond take turns.
    public var addressArrivals: TokenBucket.Limit?
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
    private var addressRefusals = RateTable<PeerAddress>()
    /// Each client's floor: what it may do whatever its address does.
    private var floors = RateTable<ClientID>()
    private var names = RateTable<String>()
    private var namesFromAddresses = RateTable<NameFromAddress>()
    /// Proxies: what they send is of many, and none of their own.
    private let trusted: [AddressRange]
    private let timer = LoopTimer()

    /// What a `connect` costs of a client's messages: it reads the client's outcomes from Redis.
    private static let connectCost: Double = 10
    /// Changes of a client that its address can't take from it.
    private static let floor = TokenBucket.Limit(perSecond: 1, burst: 2)
    /// Wrong passwords of one account from one address.
    private static let wrongFromAddress = TokenBucket.Limit(perSecond: 1 / Double(signInPause), burst: 30)
    /// Wrong passwords of one account, from wherever they come: some 86,000 a day, which no password of 8 characters that
    /// isn't in the lists has to fear. Beyond, only addresses that were wrong are barred: nobody locks the owner out.
    private static let wrongPasswords = TokenBucket.Limit(perSecond: 1, burst: 300)
    /// Seconds after which an address may try an account's password once more, and in which it is known as one that did.
    static let signInPause: Int64 = 30

    private struct NameFromAddress: Hashable {
        let name: String
        let address: PeerAddress
    }

    /// Requests and connects of one address that are refused for being too many, and hear so at once; and how many
    /// milliseconds later the others do.
    private static let quickRefusals = TokenBucket.Limit(perSecond: 20, burst: 200)
    private static let refusalPause: Int64 = 1000

    /// What a client that wants to change something is told.
    enum Verdict {
        case good
        /// The client itself does too much.
        case tooMuch
        /// Its address does, and it has had its part for now.
        case tooMuchOfAddress
    }

    init(_ limits: RateConfiguration, trusted: [AddressRange], metrics: Metrics) {
        self.limits = limits
        self.trusted = trusted
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
        guard let limit = limits.addressMessages, counts(address) else { return true }
        return addressMessages.take(address.subscriber, limit, min(cost, limit.burst), now: now)
            || refused("address_messages")
    }

    /// Whether a client may connect once more.
    func mayConnect(_ client: ClientID) -> Bool {
        guard let limit = limits.clientMessages else { return true }
        return clientMessages.take(client, limit, min(limit.burst, Self.connectCost), now: now)
            || refused("client_connects")
    }

    /// Whether a client, from an address, may change something once more. What is refused for the address's sake is not
    /// charged to the client, nor the other way round; and about one change a second is the client's whatever its
    /// neighbours do.
    func mayAct(_ client: ClientID, from address: PeerAddress) -> Verdict {
        if let limit = limits.clientActions, clientActions.isEmpty(client, limit, now: now) {
            _ = refused("client_actions")
            return .tooMuch
        }
        if let limit = limits.addressActions, counts(address),
            !addressActions.take(address.subscriber, limit, now: now), !floors.take(client, Self.floor, now: now)
        {
            _ = refused("address_actions")
            return .tooMuchOfAddress
        }
        if let limit = limits.clientActions { _ = clientActions.take(client, limit, now: now) }
        return .good
    }

    /// Whether an address may make one more request.
    func mayAsk(_ address: PeerAddress) -> Bool {
        guard let limit = limits.addressRequests, counts(address) else { return true }
        return addressRequests.take(address.subscriber, limit, now: now) || refused("address_requests")
    }

    /// Whether an address may have one more password hashed.
    func mayTryPassword(_ address: PeerAddress) -> Bool {
        guard let limit = limits.addressPasswords, counts(address) else { return true }
        return addressPasswords.take(address.subscriber, limit, now: now) || refused("address_passwords")
    }

    /// What an address showed proves nothing. False when that happens too often. What is good is taken all the same: the
    /// neighbours behind one address, and the shop's backend, must not suffer for each other.
    func failed(_ address: PeerAddress) -> Bool {
        guard let limit = limits.addressFailures, counts(address) else { return true }
        return addressFailures.take(address.subscriber, limit, now: now) || refused("address_failures")
    }

    /// For how many milliseconds an address is kept waiting that is to hear, once more, that it asks too much; nil for one
    /// that has not heard it often. It waits with its sockets, whose number is limited: so a flood of new connections, or of
    /// requests, that are only refused becomes a trickle.
    func pauseBeforeRefusal(_ address: PeerAddress) -> Int64? {
        guard counts(address) else { return nil }
        return addressRefusals.take(address.subscriber, Self.quickRefusals, now: now) ? nil : Self.refusalPause
    }

    /// Whether an account may be signed in to from an address: its wrong passwords from there are not too many, nor, if
    /// there were any, those from everywhere.
    func maySignIn(_ name: String, from address: PeerAddress) -> Bool {
        guard limits.addressPasswords != nil else { return true }
        let pair = NameFromAddress(name: name, address: address.subscriber)
        if namesFromAddresses.isEmpty(pair, Self.wrongFromAddress, now: now) { return refused("account_passwords") }
        guard namesFromAddresses.remembers(pair, now: now) else { return true }
        return !names.isEmpty(name, Self.wrongPasswords, now: now) || refused("account_passwords")
    }

    /// A password of an account was wrong.
    func wrongPassword(_ name: String, from address: PeerAddress) {
        // A longer name is nobody's, and not worth remembering.
        guard limits.addressPasswords != nil, name.utf8.count <= 256 else { return }
        let pair = NameFromAddress(name: name, address: address.subscriber)
        _ = namesFromAddresses.take(pair, Self.wrongFromAddress, now: now)
        _ = names.take(name, Self.wrongPasswords, now: now)
    }

    /// Whether an address is that of somebody, and not of a proxy for many.
    private func counts(_ address: PeerAddress) -> Bool {
        trusted.isEmpty || !trusted.contains { $0.contains(address) }
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
        addressRefusals.tidy(now: now)
        floors.tidy(now: now)
        names.tidy(now: now)
        namesFromAddresses.tidy(now: now)
    }
}
