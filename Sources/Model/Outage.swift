/// Redis or PostgreSQL could not be asked: whether something happened is not known, and must not be shown as "no".
public struct Outage: Error, Hashable, Sendable, CustomStringConvertible {
    /// Who did not answer.
    public enum Source: String, Sendable { case redis, postgres }
    /// Who did not answer.
    public let source: Source
    /// What was seen, for the log; without secrets.
    public let detail: String

    /// An outage.
    public init(_ source: Source, _ detail: String) {
        self.source = source
        self.detail = detail
    }

    /// Source and detail.
    public var description: String { "\(source.rawValue): \(detail)" }
}
