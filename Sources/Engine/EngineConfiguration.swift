import Model

/// How the engine finds Redis, and its limits.
public struct EngineConfiguration: Sendable {
    /// Where Redis is.
    public var url: RedisURL
    /// How many outcomes a client's log keeps.
    public var outcomeLimit: Int
    /// How many seconds a client's log lives after its last outcome or read.
    public var outcomeSeconds: Int64
    /// How many milliseconds a reply may take; then the connection counts as hung, and all that waits on it fails. It
    /// is noticed up to a quarter later.
    public var replyTimeoutMilliseconds: Int64
    /// How many claims of one sale, or seats of one performance that are to be held, go into one call at most, 1…1000. A
    /// call keeps Redis from everybody else for its time, some 4 µs a claim.
    public var claimsPerCall: Int
    /// The clock by which the engine decides; nil is Redis' own, which all processes share.
    public var clock: (@Sendable () -> Timestamp)?

    /// A configuration with the defaults.
    public init(
        url: RedisURL, outcomeLimit: Int = 128, outcomeSeconds: Int64 = 172_800, replyTimeoutMilliseconds: Int64 = 2000,
        claimsPerCall: Int = 128, clock: (@Sendable () -> Timestamp)? = nil
    ) {
        self.url = url
        self.outcomeLimit = max(1, outcomeLimit)
        self.outcomeSeconds = max(1, outcomeSeconds)
        self.replyTimeoutMilliseconds = max(4, replyTimeoutMilliseconds)
        self.claimsPerCall = min(max(1, claimsPerCall), 1000)
        self.clock = clock
    }
}
