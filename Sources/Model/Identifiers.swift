/// The id of a sale: a positive number that PostgreSQL gives.
public struct SaleID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The number.
    public let rawValue: Int64
    /// An id from its number.
    public init(_ rawValue: Int64) { self.rawValue = rawValue }
    /// An id from its decimal form; nil when that isn't a positive number of at most 2⁵³−1, JSON's largest exact one.
    @inlinable public init?(parsing text: some StringProtocol) {
        guard let value = positiveNumber(text) else { return nil }
        rawValue = value
    }
    /// The decimal form.
    public var description: String { String(rawValue) }
    /// By number.
    public static func < (left: SaleID, right: SaleID) -> Bool { left.rawValue < right.rawValue }
}

/// The id of an order: its sale, and the place of its claim among the accepted ones of that sale.
///
/// The sequence is never used again, unlike a ticket number, which another order may get after a cancellation.
public struct OrderID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The sale.
    public let sale: SaleID
    /// 1 for the sale's first accepted claim. A rebuilt sale goes on in a range of its own (``SaleEpoch``).
    public let sequence: Int64
    /// An id from its parts.
    public init(sale: SaleID, sequence: Int64) {
        self.sale = sale
        self.sequence = sequence
    }
    /// An id from its written form, `42-17`; nil when it isn't one.
    @inlinable public init?(parsing text: some StringProtocol) {
        guard let (sale, sequence) = numberPair(text) else { return nil }
        self.init(sale: SaleID(sale), sequence: sequence)
    }
    /// `42-17`.
    public var description: String { "\(sale.rawValue)-\(sequence)" }
    /// By sale, then by sequence.
    public static func < (left: OrderID, right: OrderID) -> Bool {
        (left.sale, left.sequence) < (right.sale, right.sequence)
    }
}

/// The id of a concert: a positive number that PostgreSQL gives.
public struct ConcertID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The number.
    public let rawValue: Int64
    /// An id from its number.
    public init(_ rawValue: Int64) { self.rawValue = rawValue }
    /// An id from its decimal form; nil when that isn't a positive number of at most 2⁵³−1, JSON's largest exact one.
    @inlinable public init?(parsing text: some StringProtocol) {
        guard let value = positiveNumber(text) else { return nil }
        rawValue = value
    }
    /// The decimal form.
    public var description: String { String(rawValue) }
    /// By number.
    public static func < (left: ConcertID, right: ConcertID) -> Bool { left.rawValue < right.rawValue }
}

/// The id of a performance, one date of a concert: a positive number that PostgreSQL gives.
public struct PerformanceID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The number.
    public let rawValue: Int64
    /// An id from its number.
    public init(_ rawValue: Int64) { self.rawValue = rawValue }
    /// An id from its decimal form; nil when that isn't a positive number of at most 2⁵³−1, JSON's largest exact one.
    @inlinable public init?(parsing text: some StringProtocol) {
        guard let value = positiveNumber(text) else { return nil }
        rawValue = value
    }
    /// The decimal form.
    public var description: String { String(rawValue) }
    /// By number.
    public static func < (left: PerformanceID, right: PerformanceID) -> Bool { left.rawValue < right.rawValue }
}

/// The id of a reservation: its performance, and the place of its hold among all that were taken there.
public struct ReservationID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The performance.
    public let performance: PerformanceID
    /// 1 for the performance's first hold. A rebuilt one goes on in a range of its own (``SaleEpoch``).
    public let sequence: Int64
    /// An id from its parts.
    public init(performance: PerformanceID, sequence: Int64) {
        self.performance = performance
        self.sequence = sequence
    }
    /// An id from its written form, `7-12`; nil when it isn't one.
    @inlinable public init?(parsing text: some StringProtocol) {
        guard let (performance, sequence) = numberPair(text) else { return nil }
        self.init(performance: PerformanceID(performance), sequence: sequence)
    }
    /// `7-12`.
    public var description: String { "\(performance.rawValue)-\(sequence)" }
    /// By performance, then by sequence.
    public static func < (left: ReservationID, right: ReservationID) -> Bool {
        (left.performance, left.sequence) < (right.performance, right.sequence)
    }
}

/// How often a sale's, or a performance's, state in Redis was rebuilt from PostgreSQL.
///
/// Each epoch numbers its orders, or holds, from `epoch × 2³²`, so that one that was accepted but lost with Redis never
/// shares its id with a later one.
public enum SaleEpoch {
    /// The first sequence of an epoch, less one.
    public static func base(_ epoch: Int64) -> Int64 { epoch << 32 }

    /// The epoch in which a sequence was given.
    public static func of(_ sequence: Int64) -> Int64 { sequence >> 32 }
}

/// Who wants something: 1 to 64 characters of `A-Za-z0-9._:-`.
public struct ClientID: Hashable, Sendable, CustomStringConvertible {
    /// The characters.
    public let rawValue: String
    /// An id; nil when the text isn't one.
    public init?(_ text: String) {
        guard (1...64).contains(text.utf8.count), text.utf8.allSatisfy(ClientID.allows) else { return nil }
        rawValue = text
    }
    /// An id that was checked before it was stored.
    public init(trusted text: String) { rawValue = text }
    /// The characters.
    public var description: String { rawValue }

    private static func allows(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// A key by which a client marks repeated attempts as one: 1 to 128 visible ASCII characters.
public struct IdempotencyKey: Hashable, Sendable {
    /// The characters.
    public let rawValue: String
    /// A key; nil when the text isn't one.
    public init?(_ text: String) {
        guard (1...128).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            return nil
        }
        rawValue = text
    }
}

/// A positive decimal number without sign or leading zero, at most 2⁵³−1; nil for anything else.
@inlinable func positiveNumber(_ text: some StringProtocol) -> Int64? {
    withBytes(of: text) { bytes in
        var scanner = DecimalScanner(bytes)
        guard let value = scanner.positive(), scanner.isAtEnd else { return nil }
        return value
    }
}

/// Two positive numbers with a hyphen between; nil for anything else.
@inlinable func numberPair(_ text: some StringProtocol) -> (Int64, Int64)? {
    withBytes(of: text) { bytes in
        var scanner = DecimalScanner(bytes)
        guard let pair = scanner.pair(), scanner.isAtEnd else { return nil }
        return pair
    }
}
