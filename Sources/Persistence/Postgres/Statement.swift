import CPostgres
import Model

/// A statement and its parameters. Its text is a literal of the program, so that nothing from outside can become SQL.
struct Statement: Sendable {
    let sql: StaticString
    let parameters: [Parameter]

    init(_ sql: StaticString, _ parameters: Parameter...) { self.init(sql, parameters: parameters) }

    init(_ sql: StaticString, parameters: [Parameter]) {
        self.sql = sql
        self.parameters = parameters
    }

    /// Queues the statement on a connection in pipeline mode, asking for binary results; false when libpq has no memory
    /// for it.
    func send(on connection: OpaquePointer) -> Bool {
        let types = parameters.map(\.type)
        let formats = [Int32](repeating: 1, count: parameters.count)
        // One buffer for all values; the pointers are made when it no longer moves.
        var buffer: [UInt8] = []
        var ranges: [Range<Int>?] = []
        for parameter in parameters {
            let start = buffer.count
            ranges.append(parameter.encode(into: &buffer) ? start..<buffer.count : nil)
        }
        // An empty buffer may have no address, and libpq takes no address for null.
        buffer.append(0)
        let lengths = ranges.map { Int32($0?.count ?? 0) }
        return buffer.withUnsafeBytes { bytes in
            let base = bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
            let values = ranges.map { range in range.map { base + $0.lowerBound } }
            return sql.withUTF8Buffer { text in
                text.withMemoryRebound(to: CChar.self) { text in
                    PQsendQueryParams(
                        connection, text.baseAddress, Int32(types.count), types, values, lengths, formats, 1)
                }
            } == 1
        }
    }
}

/// A value that goes to PostgreSQL, in its binary format.
enum Parameter: Sendable {
    case integer(Int64?)
    case text(String?)
    case flag(Bool)
    case moment(Timestamp?)
    case integers([Int64])
    case texts([String?])
    case moments([Timestamp])

    /// The type's object id, as in PostgreSQL's `pg_type.dat`.
    var type: Oid {
        switch self {
        case .integer: PostgresType.int8
        case .text: PostgresType.text
        case .flag: PostgresType.bool
        case .moment: PostgresType.timestamptz
        case .integers: PostgresType.int8Array
        case .texts: PostgresType.textArray
        case .moments: PostgresType.timestamptzArray
        }
    }

    /// Appends the value; false for null.
    func encode(into buffer: inout [UInt8]) -> Bool {
        switch self {
        case .integer(nil), .text(nil), .moment(nil): return false
        case .integer(let value?): buffer.append(bigEndian: value)
        case .text(let value?): buffer.append(contentsOf: value.utf8)
        case .flag(let value): buffer.append(value ? 1 : 0)
        case .moment(let value?): buffer.append(bigEndian: PostgresType.microseconds(value))
        case .integers(let values):
            Parameter.arrayHeader(of: PostgresType.int8, count: values.count, into: &buffer)
            for value in values {
                buffer.append(bigEndian: Int32(8))
                buffer.append(bigEndian: value)
            }
        case .texts(let values):
            Parameter.arrayHeader(of: PostgresType.text, count: values.count, into: &buffer)
            for value in values {
                guard let value else {
                    buffer.append(bigEndian: Int32(-1))
                    continue
                }
                buffer.append(bigEndian: Int32(value.utf8.count))
                buffer.append(contentsOf: value.utf8)
            }
        case .moments(let values):
            Parameter.arrayHeader(of: PostgresType.timestamptz, count: values.count, into: &buffer)
            for value in values {
                buffer.append(bigEndian: Int32(8))
                buffer.append(bigEndian: PostgresType.microseconds(value))
            }
        }
        return true
    }

    /// One dimension, elements may be null, counted from 1: what `array_recv` reads.
    private static func arrayHeader(of element: Oid, count: Int, into buffer: inout [UInt8]) {
        guard count > 0 else {
            for word in [0, 0, Int32(element)] { buffer.append(bigEndian: word) }
            return
        }
        for word in [1, 1, Int32(element), Int32(count), 1] { buffer.append(bigEndian: word) }
    }
}

/// What of PostgreSQL's types is known here: object ids never change, and neither do the binary formats.
enum PostgresType {
    static let bool: Oid = 16
    static let int8: Oid = 20
    static let text: Oid = 25
    static let int8Array: Oid = 1016
    static let textArray: Oid = 1009
    static let timestamptz: Oid = 1184
    static let timestamptzArray: Oid = 1185

    /// 2000-01-01 UTC, from which PostgreSQL counts, in milliseconds since 1970.
    private static let epoch: Int64 = 946_684_800_000

    /// A moment as PostgreSQL counts it. Moments are kept within the years 1 to 9999, which RFC 3339 can write.
    static func microseconds(_ moment: Timestamp) -> Int64 {
        (min(max(moment.milliseconds, -62_135_596_800_000), 253_402_300_799_999) - epoch) * 1000
    }

    static func moment(microseconds: Int64) -> Timestamp {
        Timestamp(milliseconds: (microseconds >= 0 ? microseconds / 1000 : (microseconds - 999) / 1000) + epoch)
    }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
