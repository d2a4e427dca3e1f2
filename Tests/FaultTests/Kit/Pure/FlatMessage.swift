/// A JSON object as a flat list of its members, which is all that a client needs of a frame. Members of `result` and
/// `error`, the two parts of REST's answers, count as members of the whole; other objects are passed over.
///
/// Of the harness's own, so that a bug in the product's JSON does not hide itself.
public struct FlatMessage: Sendable {
    private var texts: [String: String] = [:]
    private var lists: [String: [Int64]] = [:]

    /// A member's text; a number's digits.
    public subscript(name: String) -> String? { texts[name] }
    /// A member's whole number.
    public func integer(_ name: String) -> Int64? { texts[name].flatMap { Int64($0) } }
    /// A member's list of whole numbers.
    public func integers(_ name: String) -> [Int64] { lists[name] ?? [] }

    /// Reads an object; nil when it is none.
    public init?(_ bytes: [UInt8]) {
        var position = 0
        guard Self.object(bytes, &position, &self) else { return nil }
    }

    private init() {}

    private static func space(_ bytes: [UInt8], _ position: inout Int) {
        while position < bytes.count, bytes[position] <= 0x20 { position += 1 }
    }

    private static func take(_ byte: Character, _ bytes: [UInt8], _ position: inout Int) -> Bool {
        space(bytes, &position)
        guard position < bytes.count, bytes[position] == byte.asciiValue else { return false }
        position += 1
        return true
    }

    private static func object(_ bytes: [UInt8], _ position: inout Int, _ message: inout FlatMessage) -> Bool {
        guard take("{", bytes, &position) else { return false }
        if take("}", bytes, &position) { return true }
        repeat {
            space(bytes, &position)
            guard let name = string(bytes, &position), take(":", bytes, &position) else { return false }
            guard value(name, bytes, &position, &message) else { return false }
        } while take(",", bytes, &position)
        return take("}", bytes, &position)
    }

    private static func value(
        _ name: String, _ bytes: [UInt8], _ position: inout Int, _ message: inout FlatMessage
    ) -> Bool {
        space(bytes, &position)
        guard position < bytes.count else { return false }
        switch bytes[position] {
        case UInt8(ascii: "\""):
            guard let text = string(bytes, &position) else { return false }
            message.texts[name] = text
        case UInt8(ascii: "{"):
            if name == "result" || name == "error" { return object(bytes, &position, &message) }
            var ignored = FlatMessage()
            return object(bytes, &position, &ignored)
        case UInt8(ascii: "["):
            position += 1
            var numbers: [Int64] = []
            if take("]", bytes, &position) { return true }
            repeat {
                var element = FlatMessage()
                guard value("", bytes, &position, &element) else { return false }
                if let number = element.integer("") { numbers.append(number) }
            } while take(",", bytes, &position)
            message.lists[name] = numbers
            return take("]", bytes, &position)
        default:
            let start = position
            while position < bytes.count, !",]} \n\r\t".utf8.contains(bytes[position]) { position += 1 }
            let word = String(decoding: bytes[start..<position], as: UTF8.self)
            if word != "null" { message.texts[name] = word }
        }
        return true
    }

    /// A string; of escapes it knows those of one character, which is all that the names and ids here can have.
    private static func string(_ bytes: [UInt8], _ position: inout Int) -> String? {
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { return nil }
        position += 1
        var text: [UInt8] = []
        while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
            if bytes[position] == UInt8(ascii: "\\") { position += 1 }
            if position < bytes.count { text.append(bytes[position]) }
            position += 1
        }
        guard position < bytes.count else { return nil }
        position += 1
        return String(decoding: text, as: UTF8.self)
    }
}
