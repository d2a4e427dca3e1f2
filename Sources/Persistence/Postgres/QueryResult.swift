import CPostgres
import EventLoop
import Model

/// The rows that a statement answered, read from libpq's memory where they lie.
@LoopActor
final class QueryResult {
    private let result: OpaquePointer

    /// Takes `result` over and frees it in the end.
    init(adopting result: OpaquePointer) { self.result = result }

    isolated deinit { PQclear(result) }

    /// How many rows there are.
    var count: Int { Int(PQntuples(result)) }

    /// The rows.
    var rows: [Row] { (0..<count).map { Row(result: self, index: Int32($0)) } }

    /// The first row, if any.
    var first: Row? { count > 0 ? Row(result: self, index: 0) : nil }

    fileprivate func bytes(_ row: Int32, _ column: Int32, type: Oid) -> UnsafeRawBufferPointer? {
        // A bug of ours, whatever the data: the statement and its reader stand side by side.
        precondition(PQftype(result, column) == type, "column \(column) has type \(PQftype(result, column))")
        guard PQgetisnull(result, row, column) == 0, let value = PQgetvalue(result, row, column) else { return nil }
        return UnsafeRawBufferPointer(start: value, count: Int(PQgetlength(result, row, column)))
    }
}

/// One row. Columns are numbered from 0; a null where none is expected traps, as that is a bug in the statement.
@LoopActor
struct Row {
    fileprivate let result: QueryResult
    fileprivate let index: Int32

    func integer(_ column: Int32) -> Int64 { optionalInteger(column)! }

    func optionalInteger(_ column: Int32) -> Int64? {
        result.bytes(index, column, type: PostgresType.int8).map { Int64(bigEndian: $0.loadUnaligned(as: Int64.self)) }
    }

    func text(_ column: Int32) -> String { optionalText(column)! }

    func optionalText(_ column: Int32) -> String? {
        result.bytes(index, column, type: PostgresType.text).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The elements of an array of whole numbers without nulls: what `array_send` writes.
    func integers(_ column: Int32) -> [Int64] {
        let bytes = result.bytes(index, column, type: PostgresType.int8Array)!
        func word(at offset: Int) -> Int32 {
            Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
        }
        // Dimensions, whether there are nulls, the type; of the one dimension its length and first index. Each element
        // has its length before it.
        guard word(at: 0) == 1 else { return [] }
        return (0..<Int(word(at: 12))).map {
            Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: 20 + $0 * 12 + 4, as: Int64.self))
        }
    }

    func flag(_ column: Int32) -> Bool { result.bytes(index, column, type: PostgresType.bool)![0] != 0 }

    func moment(_ column: Int32) -> Timestamp { optionalMoment(column)! }

    func optionalMoment(_ column: Int32) -> Timestamp? {
        result.bytes(index, column, type: PostgresType.timestamptz).map {
            PostgresType.moment(microseconds: Int64(bigEndian: $0.loadUnaligned(as: Int64.self)))
        }
    }
}
