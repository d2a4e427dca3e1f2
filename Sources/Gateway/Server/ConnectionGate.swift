import EventLoop
import Model

/// Counts the connections of each address, and says which are too many.
///
/// It knows an address only while it has connections, or has made so many of late that they count: what an attacker can
/// make it remember is bounded by the connections that it has, and by ``RateTable``.
@LoopActor
final class ConnectionGate {
    private let most: Int?
    private let rate: TokenBucket.Limit?
    private let trusted: [AddressRange]
    private var open: [PeerAddress: Int32] = [:]
    private var made = RateTable<PeerAddress>()
    private var fewMade = RateTable<PeerAddress>()
    private let few: TokenBucket.Limit?
    private let timer = LoopTimer()

    init(_ configuration: GatewayConfiguration) {
        most = configuration.maxConnectionsPerAddress
        rate = configuration.connectionRate
        few = configuration.arrivalRate
        trusted = configuration.trustedProxies
        guard rate != nil || few != nil else { return }
        timer.start(after: 10_000, every: 10_000) { [weak self] in
            let now = EventLoop.monotonicMilliseconds * 1_000_000
            self?.made.tidy(now: now)
            self?.fewMade.tidy(now: now)
        }
    }

    func stop() { timer.stop() }

    /// Counts one more connection of an address; false when it is one too many, and not counted. A trusted proxy may have
    /// as many as it likes: its clients are counted when it says who they are.
    func enter(_ address: PeerAddress) -> Bool {
        if isTrusted(address) { return true }
        let address = address.subscriber
        if let rate, !made.take(address, rate, now: EventLoop.monotonicMilliseconds * 1_000_000) { return false }
        guard let most else { return true }
        guard open[address, default: 0] < most else { return false }
        open[address, default: 0] += 1
        return true
    }

    /// Whether a connection that has entered is one of so many of its address that it stands in line; see ``FairReading``.
    func isCrowded(_ address: PeerAddress) -> Bool {
        guard let few, !isTrusted(address) else { return false }
        return !fewMade.take(address.subscriber, few, now: EventLoop.monotonicMilliseconds * 1_000_000)
    }

    /// A connection that was counted is gone.
    func leave(_ address: PeerAddress) {
        guard most != nil, !isTrusted(address) else { return }
        let address = address.subscriber
        guard let count = open[address] else { return }
        open[address] = count > 1 ? count - 1 : nil
    }

    /// Whether it is a trusted proxy.
    func isTrusted(_ address: PeerAddress) -> Bool { trusted.contains { $0.contains(address) } }
}
