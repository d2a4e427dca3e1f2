import EventLoop
import Model

/// Ids that PostgreSQL did not know lately: asking for made-up ones must not cost a query each.
@LoopActor
struct MissingIDs<ID: Hashable> {
    private var seen: [ID: Int64] = [:]
    private let name: StaticString

    private static var milliseconds: Int64 { 1000 }
    private static var limit: Int { 10_000 }

    /// None yet; `name` is what a client calls the thing.
    init(_ name: StaticString) { self.name = name }

    /// The error for an id that is not there.
    var notFound: WireError { WireError(.notFound, "no such \(name)") }

    /// - Throws: `not_found` for an id that was missing a moment ago.
    func check(_ id: ID) throws(WireError) {
        if let at = seen[id], EventLoop.monotonicMilliseconds - at < Self.milliseconds { throw notFound }
    }

    /// PostgreSQL does not know it.
    mutating func insert(_ id: ID) {
        if seen.count >= Self.limit { seen.removeAll() }
        seen[id] = EventLoop.monotonicMilliseconds
    }

    /// It was made.
    mutating func remove(_ id: ID) { seen[id] = nil }
}
