import Foundation

/// A JSON value, for tests to write down and to look into. What is not there is null.
public enum JSON: Sendable, Hashable, Codable {
    /// Nothing.
    case null
    /// A truth value.
    case flag(Bool)
    /// A whole number.
    case integer(Int64)
    /// Any other number.
    case fraction(Double)
    /// Text.
    case text(String)
    /// Values in order.
    case list([JSON])
    /// Values by name.
    case object([String: JSON])

    /// From its text; nil when it is none.
    public init?(parsing text: some Sequence<UInt8>) {
        guard let value = try? JSONDecoder().decode(JSON.self, from: Data(text)) else { return nil }
        self = value
    }

    /// From whatever a decoder has.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode(String.self) {
            self = .text(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else if let value = try? container.decode([String: JSON].self) {
            self = .object(value)
        } else if let value = try? container.decode([JSON].self) {
            self = .list(value)
        } else if let value = try? container.decode(Bool.self) {
            self = .flag(value)
        } else if container.decodeNil() {
            self = .null
        } else {
            self = .fraction(try container.decode(Double.self))
        }
    }

    /// Writes it.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .flag(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .fraction(let value): try container.encode(value)
        case .text(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    /// Its text.
    public var bytes: [UInt8] { (try? JSONEncoder().encode(self)).map { Array($0) } ?? [] }

    /// A member of an object.
    public subscript(name: String) -> JSON {
        if case .object(let members) = self { members[name] ?? .null } else { .null }
    }

    /// An element of a list.
    public subscript(index: Int) -> JSON {
        if case .list(let list) = self, list.indices.contains(index) { list[index] } else { .null }
    }

    /// Whether an object has all members of another, with the same values: more may be added to whatever a server says.
    public func includes(_ part: JSON) -> Bool { part.names.allSatisfy { has($0) && self[$0] == part[$0] } }

    /// Whether an object has such a member, be it null.
    public func has(_ name: String) -> Bool { names.contains(name) }

    /// The names of an object's members.
    public var names: Set<String> { if case .object(let members) = self { Set(members.keys) } else { [] } }
    /// The elements of a list.
    public var list: [JSON] { if case .list(let list) = self { list } else { [] } }
    /// The text.
    public var text: String? { if case .text(let text) = self { text } else { nil } }
    /// The whole number.
    public var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
    /// Whether it is true.
    public var isTrue: Bool { self == .flag(true) }
    /// Whether it is null, or not there.
    public var isNull: Bool { self == .null }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral, ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// Text.
    public init(stringLiteral value: String) { self = .text(value) }
    /// A whole number.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// A truth value.
    public init(booleanLiteral value: Bool) { self = .flag(value) }
    /// A number.
    public init(floatLiteral value: Double) { self = .fraction(value) }
    /// Null.
    public init(nilLiteral: ()) { self = .null }
    /// A list.
    public init(arrayLiteral elements: JSON...) { self = .list(elements) }
    /// An object.
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(Dictionary(elements) { $1 })
    }
    /// Text.
    public init(_ text: some StringProtocol) { self = .text(String(text)) }
    /// A whole number.
    public init(_ number: some BinaryInteger) { self = .integer(Int64(number)) }
}

extension JSON: CustomStringConvertible {
    /// Its text.
    public var description: String { String(decoding: bytes, as: UTF8.self) }
}
