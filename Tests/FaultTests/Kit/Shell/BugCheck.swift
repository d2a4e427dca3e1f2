import EventLoop

/// Shows that the checker finds mistakes: each of the server's deliberate ones has to be found in one round.
@LoopActor
public enum BugCheck {
    /// A mistake of `Sources/Engine/DeliberateBug.swift`, and the rules of which at least one has to find it.
    public struct Bug: Sendable, CustomStringConvertible {
        /// The value of `DIBS_BUG`.
        public let name: String
        /// Rules of the checker.
        public let rules: Set<String>
        /// By its name.
        public var description: String { name }
    }

    /// All of them.
    public nonisolated static let bugs = [
        Bug(name: "confirmed_early", rules: ["I4 told otherwise"]),
        Bug(name: "acknowledged_only", rules: ["I5 lost"]),
        Bug(name: "resume_skips", rules: ["offsets"]),
        Bug(name: "stock_twice", rules: ["I3 stock"]),
        Bug(name: "one_too_many", rules: ["I7 admitted", "I7 passes"]),
        Bug(name: "last_first", rules: ["I6 order"]),
        Bug(name: "seat_for_two", rules: ["I8 two holders", "I8 holder", "I8 deadline"]),
    ]

    /// Rounds in which a mistake may show: that a resume leaves something out needs one that missed something.
    private static let attempts: UInt64 = 4

    /// Runs a round with each of them, and others where it did not show.
    /// - Returns: Those that were not found.
    public static func run(_ options: Run.Options) async throws -> [Bug] {
        var missed: [Bug] = []
        for bug in bugs {
            var options = options
            options.rounds = 1
            options.clients = min(options.clients, 300)
            options.faults = Array(repeating: Fault(.cut), count: 4)
            options.environment["DIBS_BUG"] = bug.name
            let say = options.say
            options.say = { _ in }
            var violations: [Violation] = []
            var found: Set<String> = []
            for attempt in 0..<attempts where found.isEmpty {
                options.seed &+= attempt
                violations = try await Run(options).run()
                found = Set(violations.map(\.rule)).intersection(bug.rules)
            }
            if found.isEmpty { missed.append(bug) }
            let first = violations.first { found.contains($0.rule) }
            say("\(bug): " + (first.map { "found: \($0)" } ?? "NOT FOUND; \(violations.count) other violations"))
        }
        return missed
    }
}
