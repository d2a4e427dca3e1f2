/// How the seats of a performance are arranged. Seats have ids from 1 on, without gaps: by section, then by row, then from
/// one end of the row to the other.
public struct SeatLayout: Hashable, Sendable {
    /// A block of rows of the same length.
    public struct Section: Hashable, Sendable {
        /// What people read.
        public let name: String
        /// How many rows it has.
        public let rows: Int64
        /// How many seats each row has.
        public let seatsPerRow: Int64

        /// A section from its parts.
        public init(name: String, rows: Int64, seatsPerRow: Int64) {
            self.name = name
            self.rows = rows
            self.seatsPerRow = seatsPerRow
        }

        /// How many seats it has.
        public var count: Int64 { rows * seatsPerRow }
    }

    /// Where a seat is.
    public struct Place: Hashable, Sendable {
        /// The name of its section; nil where seats are just numbered.
        public let section: String?
        /// Its row, from 1; nil where seats are just numbered.
        public let row: Int64?
        /// Its number in the row, from 1; the seat's id where seats are just numbered.
        public let number: Int64
    }

    /// The most seats that a performance may have.
    public static let limit: Int64 = 100_000

    /// The sections, in order; none where seats are just numbered.
    public let sections: [Section]
    /// How many seats there are.
    public let count: Int64

    /// Seats that are just numbered, from 1 on.
    public init(numbered count: Int64) {
        sections = []
        self.count = count
    }

    /// Seats in sections.
    public init(sections: [Section]) {
        self.sections = sections
        count = sections.reduce(0) { $0 + $1.count }
    }

    /// Where a seat is; nil when there is no such seat.
    public func place(of seat: Int64) -> Place? {
        guard (1...max(1, count)).contains(seat), count > 0 else { return nil }
        guard !sections.isEmpty else { return Place(section: nil, row: nil, number: seat) }
        var index = seat - 1
        for section in sections {
            if index < section.count {
                return Place(
                    section: section.name, row: index / section.seatsPerRow + 1, number: index % section.seatsPerRow + 1
                )
            }
            index -= section.count
        }
        return nil
    }
}

/// What a seat is to the public.
public enum SeatStatus: String, Sendable, CaseIterable {
    /// Nobody has it.
    case free
    /// It is set aside for one client for a limited time.
    case held
    /// It is paid for.
    case sold

    /// The byte by which Redis and the wire's compact form know it: `f`, `h` or `s`.
    public var letter: UInt8 {
        switch self {
        case .free: UInt8(ascii: "f")
        case .held: UInt8(ascii: "h")
        case .sold: UInt8(ascii: "s")
        }
    }

    /// A status by its byte; nil for any other.
    public init?(letter: UInt8) {
        switch letter {
        case UInt8(ascii: "f"): self = .free
        case UInt8(ascii: "h"): self = .held
        case UInt8(ascii: "s"): self = .sold
        default: return nil
        }
    }
}
