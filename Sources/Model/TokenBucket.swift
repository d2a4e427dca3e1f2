/// Limits a rate: `burst` at once, and `perSecond` in the long run.
///
/// Source: "token bucket", J. Turner, "New Directions in Communications", IEEE Communications Magazine, 1986.
public struct TokenBucket: Sendable {
    private var tokens: Double
    private var refilledAt: Int64

    /// How much is allowed.
    public struct Limit: Sendable, Hashable {
        /// In the long run, a second.
        public let perSecond: Double
        /// At once.
        public let burst: Double

        /// A limit.
        public init(perSecond: Double, burst: Double) {
            self.perSecond = perSecond
            self.burst = burst
        }
    }

    /// A full bucket, as of a moment in milliseconds of a clock that never jumps.
    public init(_ limit: Limit, now: Int64) {
        tokens = limit.burst
        refilledAt = now
    }

    /// Takes one, or another amount, if there is that much.
    public mutating func take(_ limit: Limit, _ amount: Double = 1, now: Int64) -> Bool {
        tokens = min(limit.burst, tokens + Double(now - refilledAt) / 1000 * limit.perSecond)
        refilledAt = now
        guard tokens >= amount else { return false }
        tokens -= amount
        return true
    }

    /// Whether it would be full at a moment: then nothing is lost by forgetting it.
    public func isFull(_ limit: Limit, now: Int64) -> Bool {
        tokens + Double(now - refilledAt) / 1000 * limit.perSecond >= limit.burst
    }
}
