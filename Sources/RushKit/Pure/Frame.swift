/// What the server said in one frame: the members that a buyer looks at, whatever their order.
///
/// Ids come as numbers or strings and are compared as text.
struct Frame: Equatable, Sendable {
    enum Kind: Sendable {
        case connected
        case result
        case order
        case sale
        case error
        /// Anything else: not for us.
        case other
    }

    var kind = Kind.other
    /// What we put on the claim that this answers.
    var id: Int64?
    /// Of an outcome: its place in the client's log. Of `connected`: where the log starts for this connection.
    var offset: Int64?
    var epoch: String?
    var recovered = false
    var sale: String?
    var outcome: String?
    var order: String?
    var ticket: Int64?
    var status: String?
    /// Of an order that failed.
    var reason: String?
    /// Of an error.
    var code: String?
    var message: String?
}

extension Frame {
    /// Reads a frame; nil when it isn't an object, or is broken where we look.
    ///
    /// A scan of the top level without building a tree: the load generator shares the machine with what it measures.
    init?(_ text: [UInt8]) {
        let frame: Frame? = text.withUnsafeBufferPointer { bytes in
            var scanner = FrameScanner(bytes)
            var frame = Frame()
            let isWhole = scanner.members { name, scanner in
                switch name {
                case .type: frame.kind = Kind(scanner.text() ?? "")
                case .id: frame.id = scanner.text().flatMap { Int64($0) }
                case .offset: frame.offset = scanner.text().flatMap { Int64($0) }
                case .ticket: frame.ticket = scanner.text().flatMap { Int64($0) }
                case .epoch: frame.epoch = scanner.text()
                case .recovered: frame.recovered = scanner.text() == "true"
                case .sale: frame.sale = scanner.text()
                case .outcome: frame.outcome = scanner.text()
                case .order: frame.order = scanner.text()
                case .status: frame.status = scanner.text()
                case .reason: frame.reason = scanner.text()
                case .code: frame.code = scanner.text()
                case .message: frame.message = scanner.text()
                case .other: scanner.skip()
                }
            }
            return isWhole ? frame : nil
        }
        guard let frame else { return nil }
        self = frame
    }

    fileprivate enum Member: String, CaseIterable {
        case type, id, offset, epoch, recovered, sale, outcome, order, ticket, status, reason, code, message, other
    }
}

extension Frame.Kind {
    fileprivate init(_ name: String) {
        switch name {
        case "connected": self = .connected
        case "result": self = .result
        case "order": self = .order
        case "sale": self = .sale
        case "error": self = .error
        default: self = .other
        }
    }
}

/// Walks over one JSON object. Values that nobody asks for are skipped by their brackets and quotes, unchecked.
private struct FrameScanner {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var position = 0
    private var isBroken = false

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// Calls `body` with each member's name; `body` has to take or skip the value. False when it isn't an object.
    mutating func members(_ body: (Frame.Member, inout FrameScanner) -> Void) -> Bool {
        guard take("{") else { return false }
        if take("}") { return atEnd }
        repeat {
            guard let name = string() else { return false }
            guard take(":") else { return false }
            body(Frame.Member(rawValue: name) ?? .other, &self)
            if isBroken { return false }
        } while take(",")
        return take("}") && atEnd
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

    private var atEnd: Bool {
        mutating get {
            space()
            return position == bytes.count
        }
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
