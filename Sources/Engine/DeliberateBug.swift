import Foundation

/// Mistakes that the server makes on purpose, so that it can be shown that the fault harness finds them
/// (`docs/reliability.md`). In debug builds only: `DIBS_BUG=stock_twice`.
package enum DeliberateBug: String, CaseIterable, Sendable {
    /// `confirmed` is told before PostgreSQL was asked.
    case confirmedEarly = "confirmed_early"
    /// Now and then an order is told and settled as confirmed, and never committed.
    case acknowledgedOnly = "acknowledged_only"
    /// A resume leaves out the first outcome that was missed.
    case resumeSkips = "resume_skips"
    /// The ticket of an order that fails goes back twice.
    case stockTwice = "stock_twice"
    /// A room admits one more than it may.
    case oneTooMany = "one_too_many"
    /// A room admits whoever joined last.
    case lastFirst = "last_first"
    /// A seat that is held can be held by another.
    case seatForTwo = "seat_for_two"

    /// Whether it is made.
    package var isOn: Bool {
        #if DEBUG
            Self.chosen == self
        #else
            false
        #endif
    }

    #if DEBUG
        private static let chosen = DeliberateBug(rawValue: ProcessInfo.processInfo.environment["DIBS_BUG"] ?? "")

        /// The functions of Redis with the chosen mistake in them.
        static func spoil(_ source: [UInt8]) -> [UInt8] {
            guard let (right, wrong) = chosen?.change else { return source }
            let text = String(decoding: source, as: UTF8.self)
            precondition(text.contains(right), "the functions have changed: DIBS_BUG does nothing")
            return Array(text.replacingOccurrences(of: right, with: wrong).utf8)
        }

        private var change: (right: String, wrong: String)? {
            switch self {
            case .confirmedEarly, .acknowledgedOnly, .resumeSkips: nil
            case .stockTwice:
                (
                    "    return_tickets(keys[1], keys[3], args[2], tickets)\n    return #open",
                    """
                        if tally.failed then tickets[#tickets + 1] = tickets[1] end
                        return_tickets(keys[1], keys[3], args[2], tickets)
                        return #open
                    """
                )
            case .oneTooMany: ("math.min(room.max - room.active,", "math.min(room.max + 1 - room.active,")
            case .lastFirst:
                ("redis.call('LPOP', room.line_key, math.min", "redis.call('RPOP', room.line_key, math.min")
            case .seatForTwo:
                ("or letter_of(performance, seat) ~= 'f' then", "or letter_of(performance, seat) == 's' then")
            }
        }
    #endif
}
