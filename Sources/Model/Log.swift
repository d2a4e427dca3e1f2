/// How much an event matters.
public enum LogLevel: String, Sendable, CaseIterable, Comparable {
    /// For whoever looks for a fault.
    case debug
    /// What an operator expects to see.
    case info
    /// Something that the server deals with by itself, but not what it should be.
    case warning
    /// Something that needs a person.
    case error

    private var rank: Int { LogLevel.allCases.firstIndex(of: self)! }
    /// By how much they matter.
    public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rank < right.rank }
}

/// A value in a log line. Never a secret, never a token.
public enum LogValue: Sendable, Hashable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral
{
    /// Text.
    case text(String)
    /// A whole number.
    case number(Int64)
    /// A truth value.
    case flag(Bool)

    /// Text.
    public init(stringLiteral value: String) { self = .text(value) }
    /// A whole number.
    public init(integerLiteral value: Int64) { self = .number(value) }
    /// A truth value.
    public init(booleanLiteral value: Bool) { self = .flag(value) }
    /// Whatever describes itself.
    public init(_ value: some CustomStringConvertible) { self = .text(value.description) }
    /// A whole number.
    public init(_ value: Int) { self = .number(Int64(value)) }
    /// A whole number.
    public init(_ value: Int64) { self = .number(value) }
}

/// Where events are written: one JSON object a line in the running server, a list in tests.
public struct Log: Sendable {
    private let sink: @Sendable (LogLevel, String, [String: LogValue]) -> Void

    /// A log that hands each event to `sink`, on whatever thread it happened.
    public init(sink: @escaping @Sendable (LogLevel, String, [String: LogValue]) -> Void) { self.sink = sink }

    /// Drops everything.
    public static let none = Log { _, _, _ in }

    /// Writes one event: a name in `snake_case`, and fields.
    public func callAsFunction(_ level: LogLevel, _ event: String, _ fields: [String: LogValue] = [:]) {
        sink(level, event, fields)
    }
}
