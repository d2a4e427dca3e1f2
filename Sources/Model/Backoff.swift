/// Exponential backoff with full jitter: each pause is drawn evenly from 0 to a ceiling that doubles.
/// Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
public struct Backoff: Sendable {
    /// The ceiling of the first pause, in milliseconds.
    public let base: Int64
    /// The highest ceiling, in milliseconds.
    public let cap: Int64
    /// Pauses taken since the last success.
    public private(set) var attempts = 0

    /// A backoff that has not failed yet.
    public init(base: Int64, cap: Int64) {
        self.base = base
        self.cap = cap
    }

    /// The next pause in milliseconds, at least 1.
    public mutating func next(using generator: inout some RandomNumberGenerator) -> Int64 {
        let ceiling = min(cap, base << Int64(min(attempts, 30)))
        attempts += 1
        return Int64.random(in: 1...max(1, ceiling), using: &generator)
    }

    /// The next pause in milliseconds, by the system's random numbers.
    public mutating func next() -> Int64 {
        var generator = SystemRandomNumberGenerator()
        return next(using: &generator)
    }

    /// It worked: the next failure starts small again.
    public mutating func reset() { attempts = 0 }
}
