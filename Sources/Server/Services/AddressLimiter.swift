import EventLoop
import Gateway
import Model

/// Limits how many requests and connections an address may make.
@LoopActor
final class AddressLimiter {
    private let isOn: Bool
    private let limit: TokenBucket.Limit
    private var buckets: [PeerAddress: TokenBucket] = [:]

    /// Buckets that are remembered; full ones are forgotten beyond it.
    private static let capacity = 100_000

    init(isOn: Bool, limit: TokenBucket.Limit) {
        self.isOn = isOn
        self.limit = limit
    }

    /// Takes one from the address's bucket.
    func allows(_ address: PeerAddress) -> Bool {
        guard isOn else { return true }
        let now = EventLoop.monotonicMilliseconds
        if buckets.count >= Self.capacity {
            buckets = buckets.filter { !$0.value.isFull(limit, now: now) }
            // All of them busy: a flood from ever new addresses. Whoever is new starts full.
            if buckets.count >= Self.capacity { buckets.removeAll() }
        }
        return buckets[address, default: TokenBucket(limit, now: now)].take(limit, now: now)
    }
}
