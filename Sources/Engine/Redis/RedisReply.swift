import CHiredis
import Model

/// An error that Redis answered with.
struct RedisError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Redis' own text: a code in capitals, and words.
    let description: String

    /// The code: `ERR`, `NOGROUP`, `LOADING`, `READONLY`, `OOM`, …
    var code: Substring { description.prefix { $0 != " " } }

    /// Whether the function library is not there (it was flushed, or Redis was replaced). Nothing was executed.
    var isMissingFunction: Bool { description.hasPrefix("ERR Function not found") }

    /// Whether this Redis is not the one to talk to, for now or for ever: another connection may find a better one.
    var isUnfitServer: Bool { ["READONLY", "MASTERDOWN", "LOADING"].contains(code) }

    /// As callers of the engine see it: Redis could not be asked.
    var outage: Outage { Outage(.redis, description) }
}

/// A reply, copied out of hiredis' memory.
enum RedisReply: Hashable, Sendable {
    /// Nothing.
    case null
    /// A number.
    case integer(Int64)
    /// A string or a status.
    case string(String)
    /// A string that is not text.
    case bytes([UInt8])
    /// Several.
    case array([RedisReply])
    /// Redis refused.
    case error(RedisError)

    /// Copies a reply, which stays hiredis' own: it frees it after the callback returns.
    init(copying reply: UnsafePointer<redisReply>) {
        switch reply.pointee.type {
        case REDIS_REPLY_INTEGER: self = .integer(reply.pointee.integer)
        case REDIS_REPLY_STRING:
            let bytes = UnsafeRawBufferPointer(start: reply.pointee.str, count: reply.pointee.len)
            self = String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(Array(bytes))
        case REDIS_REPLY_STATUS: self = .string(RedisReply.text(reply))
        case REDIS_REPLY_ERROR: self = .error(RedisError(description: RedisReply.text(reply)))
        case REDIS_REPLY_ARRAY:
            let elements = UnsafeBufferPointer(start: reply.pointee.element, count: reply.pointee.elements)
            self = .array(elements.map { $0.map { RedisReply(copying: $0) } ?? .null })
        default: self = .null
        }
    }

    private static func text(_ reply: UnsafePointer<redisReply>) -> String {
        let bytes = UnsafeRawBufferPointer(start: reply.pointee.str, count: reply.pointee.len)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The string; nil for anything else.
    var string: String? { if case .string(let string) = self { string } else { nil } }

    /// The bytes of a string, whether they are text or not; none for anything else.
    var bytes: [UInt8] {
        switch self {
        case .string(let text): Array(text.utf8)
        case .bytes(let bytes): bytes
        default: []
        }
    }

    /// The number, also one written as a string; nil for anything else.
    var number: Int64? {
        switch self {
        case .integer(let number): number
        case .string(let text): Int64(text)
        default: nil
        }
    }

    /// The elements; none for anything else.
    var elements: [RedisReply] { if case .array(let elements) = self { elements } else { [] } }

    /// Names and values of a hash; those that aren't strings are left out.
    var fields: [String: String] {
        let elements = elements
        var fields: [String: String] = [:]
        for index in stride(from: 0, to: elements.count - 1, by: 2) {
            if let name = elements[index].string, let value = elements[index + 1].string { fields[name] = value }
        }
        return fields
    }
}

extension String {
    /// What is between its spaces. Split at bytes, which takes a fraction of the time that characters do.
    var words: [Substring] { utf8.split(separator: UInt8(ascii: " ")).map { Substring($0) } }

    /// The whole numbers between its spaces; what isn't one is left out.
    var numbers: [Int64] { words.compactMap { Int64($0) } }
}
