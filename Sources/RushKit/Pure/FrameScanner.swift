/// Walks over one JSON object. Values that nobody asks for are skipped by their brackets and quotes, unchecked.
struct FrameScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var isBroken = false

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// Calls `body` with each member's name; `body` has to take or skip the value. False when it isn't an object, and
    /// nothing but it.
    mutating func object(_ body: (Frame.Member, inout FrameScanner) -> Void) -> Bool {
        members(body)
        space()
        return !isBroken && position == bytes.count
    }

    /// Whether the next value is an object.
    var isAtObject: Bool {
        mutating get {
            space()
            return position < bytes.count && bytes[position] == UInt8(ascii: "{")
        }
    }

    /// As ``object(_:)``, for an object within another.
    mutating func members(_ body: (Frame.Member, inout FrameScanner) -> Void) {
        guard take("{") else { return isBroken = true }
        if take("}") { return }
        repeat {
            let member = name()
            guard !isBroken, take(":") else { return isBroken = true }
            body(member, &self)
            if isBroken { return }
        } while take(",")
        if !take("}") { isBroken = true }
    }

    /// Calls `body` at each element of an array; it has to take or skip the value. Anything else is passed over.
    mutating func elements(_ body: (inout FrameScanner) -> Void) {
        guard take("[") else { return skip() }
        if take("]") { return }
        repeat {
            body(&self)
            if isBroken { return }
        } while take(",")
        if !take("]") { isBroken = true }
    }

    /// Whole numbers in an array, each of which may be in quotes; none for anything else.
    mutating func integers() -> [Int64] {
        var numbers: [Int64] = []
        elements { scanner in if let number = scanner.integer() { numbers.append(number) } }
        return numbers
    }

    private mutating func name() -> Frame.Member {
        let start = position
        guard take("\"") else {
            isBroken = true
            return .other
        }
        let first = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                position += 1
                return Frame.Member(bytes[first..<position - 1])
            case UInt8(ascii: "\\"):
                position = start
                return string().flatMap { Frame.Member(rawValue: $0) } ?? .other
            default: position += 1
            }
        }
        isBroken = true
        return .other
    }

    /// A whole number, which may be in quotes; nil for anything else.
    mutating func integer() -> Int64? {
        space()
        let start = position
        var value: Int64 = 0
        // Nearly always a few digits.
        while position < bytes.count, position - start < 18, (0x30...0x39).contains(bytes[position]) {
            value = value * 10 + Int64(bytes[position] - 0x30)
            position += 1
        }
        if position > start, position < bytes.count, FrameScanner.endsWord(bytes[position]) { return value }
        position = start
        return text().flatMap { Int64($0) }
    }

    /// A number, which may be in quotes; nil for anything else.
    mutating func number() -> Double? {
        let start = position
        if let value = integer() { return Double(value) }
        guard !isBroken else { return nil }
        position = start
        return text().flatMap { Double($0) }
    }

    /// A string, or a number, truth value or null as it is written; nil for null, an object or an array.
    mutating func text() -> String? {
        space()
        guard position < bytes.count else { return broken() }
        switch bytes[position] {
        case UInt8(ascii: "\""): return string()
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            skip()
            return nil
        default:
            let start = position
            while position < bytes.count, !FrameScanner.endsWord(bytes[position]) { position += 1 }
            guard position > start else { return broken() }
            let word = String(decoding: bytes[start..<position], as: UTF8.self)
            return word == "null" ? nil : word
        }
    }

    /// Passes over a value.
    mutating func skip() {
        space()
        guard position < bytes.count, bytes[position] == UInt8(ascii: "{") || bytes[position] == UInt8(ascii: "[")
        else {
            _ = text()
            return
        }
        var depth = 0
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "\""):
                guard string() != nil else { return }
                continue
            default: break
            }
            position += 1
            if depth == 0 { return }
        }
        isBroken = true
    }

    private mutating func string() -> String? {
        guard take("\"") else { return broken() }
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                let text = String(decoding: bytes[start..<position], as: UTF8.self)
                position += 1
                return text
            case UInt8(ascii: "\\"): return escapedString(from: start)
            default: position += 1
            }
        }
        return broken()
    }

    /// The rare case. `\u` is for words to people only, so pairs of surrogates are not put together.
    private mutating func escapedString(from start: Int) -> String? {
        var text = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            guard byte != UInt8(ascii: "\"") else { return String(decoding: text, as: UTF8.self) }
            guard byte == UInt8(ascii: "\\"), position < bytes.count else {
                text.append(byte)
                continue
            }
            let escape = bytes[position]
            position += 1
            switch escape {
            case UInt8(ascii: "n"): text.append(10)
            case UInt8(ascii: "t"): text.append(9)
            case UInt8(ascii: "r"): text.append(13)
            case UInt8(ascii: "b"): text.append(8)
            case UInt8(ascii: "f"): text.append(12)
            case UInt8(ascii: "u"):
                guard position + 4 <= bytes.count,
                    let number = UInt32(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
                else { return broken() }
                position += 4
                text.append(contentsOf: String(Unicode.Scalar(number) ?? "\u{FFFD}").utf8)
            default: text.append(escape)
            }
        }
        return broken()
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        space()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func space() {
        while position < bytes.count, bytes[position] <= 0x20 { position += 1 }
    }

    private mutating func broken() -> String? {
        isBroken = true
        return nil
    }

    private static func endsWord(_ byte: UInt8) -> Bool {
        byte <= 0x20 || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]")
            || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: ":")
    }
}
