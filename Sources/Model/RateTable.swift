/// Limits the rate of many at once, by 8 bytes for each that has used up a part of what it may.
///
/// A token bucket written as the moment at which it will be full again: whoever is not in the table has a full one, and
/// whose moment has passed is forgotten. Source: "generic cell rate algorithm", ITU-T I.371, in its form with one time.
public struct RateTable<Key: Hashable & Sendable>: Sendable {
    /// When each bucket is full again, in nanoseconds.
    private var fullAt: [Key: Int64] = [:]
    /// At this size those that are full again are looked for and forgotten.
    private var tidyAt = RateTable.leastTidied
    /// Not before this, when it is full: to look at all of them takes a while.
    private var tidyAfter: Int64 = .min
    private let capacity: Int

    private static var leastTidied: Int { 1024 }

    /// An empty table that never remembers more than `capacity`. A key that finds no room is let through: to refuse it
    /// would let whoever has that many addresses shut out everybody else.
    public init(capacity: Int = 200_000) { self.capacity = capacity }

    /// Those that are remembered.
    public var count: Int { fullAt.count }

    /// Takes `amount`, if there is that much, at a moment in nanoseconds of a clock that never jumps.
    public mutating func take(
        _ key: Key, _ limit: TokenBucket.Limit, _ amount: Double = 1, now: Int64
    ) -> Bool {
        let before = fullAt[key]
        let base = max(now, before ?? now)
        let next = base + Int64(amount / limit.perSecond * 1e9)
        guard next - now <= Int64(limit.burst / limit.perSecond * 1e9) else { return false }
        if before == nil && fullAt.count >= tidyAt {
            if fullAt.count < capacity || now >= tidyAfter { tidy(now: now) }
            guard fullAt.count < capacity else { return true }
        }
        fullAt[key] = next
        return true
    }

    /// Whether nothing is left.
    public func isEmpty(_ key: Key, _ limit: TokenBucket.Limit, now: Int64) -> Bool {
        guard let full = fullAt[key] else { return false }
        return full + Int64(1e9 / limit.perSecond) - now > Int64(limit.burst / limit.perSecond * 1e9)
    }

    /// Whether it has used up anything that it hasn't got back.
    public func remembers(_ key: Key, now: Int64) -> Bool { fullAt[key].map { $0 > now } ?? false }

    /// Forgets whoever has a full bucket, and gives the memory back.
    public mutating func tidy(now: Int64) {
        guard !fullAt.isEmpty else { return }
        fullAt = fullAt.filter { $0.value > now }
        tidyAfter = now + 1_000_000_000
        tidyAt = min(capacity, max(RateTable.leastTidied, fullAt.count * 2))
    }
}
