import Model

/// Reads the frames that nearly all are: one object with a few known members, each a whole number or plain text.
///
/// A general decoder takes some thirty times as long, which is most of what a refused claim costs. This one knows nothing of
/// escapes, nesting, fractions, `null`, or names it was not told: for all of that, and for whatever is wrong, the answer is nil,
/// and the general decoder has to look. What it does read, both read alike (`MessageScannerTests`).
struct MessageScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var type: String?
    private var id: MessageID?
    private var token: String?
    private var client: String?
    private var sale: String?
    private var performance: String?
    private var key: String?
    private var room: String?

    /// The frame; nil when it takes more than this to read it.
    static func read(_ bytes: [UInt8]) -> ClientMessage? {
        bytes.withUnsafeBufferPointer { buffer in
            var scanner = MessageScanner(buffer)
            return scanner.message()
        }
    }

    private init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    private enum Value {
        case number(Int64)
        case text(Range<Int>)
    }

    private mutating func message() -> ClientMessage? {
        guard skip(UInt8(ascii: "{")) else { return nil }
        repeat {
            guard let name = plainText(), skip(UInt8(ascii: ":")), let value = value(), take(value, for: name) else {
                return nil
            }
        } while skip(UInt8(ascii: ","))
        guard skip(UInt8(ascii: "}")) else { return nil }
        skipSpaces()
        guard position == bytes.count, let type else { return nil }
        return ClientMessage(
            type: type, id: id, token: token, client: client.map(FlexibleID.init(text:)), resume: nil,
            sale: sale.map(NumericID.init(text:)), performance: performance.map(NumericID.init(text:)),
            key: key.map(FlexibleID.init(text:)), room: room.map(FlexibleID.init(text:)), seats: nil, compact: nil)
    }

    /// Keeps a member. False for one that it doesn't know, that came before, or whose value is of another kind.
    private mutating func take(_ value: Value, for name: Range<Int>) -> Bool {
        switch name.count {
        case 2 where isName(name, "id"):
            guard id == nil else { return false }
            switch value {
            case .number(let number): id = .number(number)
            case .text(let range):
                guard range.count <= 128 else { return false }
                id = .text(text(range))
            }
            return true
        case 3 where isName(name, "key"): return takeID(value, &key)
        case 4 where isName(name, "type"): return takeText(value, &type)
        case 4 where isName(name, "sale"): return takeID(value, &sale)
        case 4 where isName(name, "room"): return takeID(value, &room)
        case 5 where isName(name, "token"): return takeText(value, &token)
        case 6 where isName(name, "client"): return takeID(value, &client)
        case 11 where isName(name, "performance"): return takeID(value, &performance)
        default: return false
        }
    }

    private func takeText(_ value: Value, _ into: inout String?) -> Bool {
        guard into == nil, case .text(let range) = value else { return false }
        into = text(range)
        return true
    }

    /// Text, or a number from 0 to 2^53 - 1, as ``FlexibleID`` and ``NumericID`` have it.
    private func takeID(_ value: Value, _ into: inout String?) -> Bool {
        guard into == nil else { return false }
        switch value {
        case .text(let range): into = text(range)
        case .number(let number):
            guard (0..<1 << 53).contains(number) else { return false }
            into = String(number)
        }
        return true
    }

    private func isName(_ range: Range<Int>, _ name: StaticString) -> Bool {
        name.withUTF8Buffer { $0.elementsEqual(bytes[range]) }
    }

    private func text(_ range: Range<Int>) -> String {
        String(decoding: UnsafeBufferPointer(rebasing: bytes[range]), as: UTF8.self)
    }

    private mutating func skipSpaces() {
        while position < bytes.count, bytes[position] == 0x20 { position += 1 }
    }

    /// Skips a byte, and spaces before it; false when another one is there.
    private mutating func skip(_ byte: UInt8) -> Bool {
        skipSpaces()
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    private mutating func value() -> Value? {
        skipSpaces()
        guard position < bytes.count else { return nil }
        return bytes[position] == UInt8(ascii: "\"") ? plainText().map { .text($0) } : number().map { .number($0) }
    }

    /// A text of ASCII without escapes.
    private mutating func plainText() -> Range<Int>? {
        guard skip(UInt8(ascii: "\"")) else { return nil }
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") {
                position += 1
                return start..<position - 1
            }
            guard (0x20..<0x7F).contains(byte), byte != UInt8(ascii: "\\") else { return nil }
            position += 1
        }
        return nil
    }

    /// A whole number of up to 18 digits, not below 0.
    private mutating func number() -> Int64? {
        let start = position
        var number: Int64 = 0
        while position < bytes.count, (0x30...0x39).contains(bytes[position]), position - start < 18 {
            number = number * 10 + Int64(bytes[position] - 0x30)
            position += 1
        }
        let count = position - start
        guard count > 0, count == 1 || bytes[start] != 0x30, position < bytes.count else { return nil }
        switch bytes[position] {
        case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), 0x30...0x39: return nil
        default: return number
        }
    }
}
