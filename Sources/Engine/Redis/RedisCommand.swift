/// A command as Redis reads it: an array of byte strings in RESP.
struct RedisCommand: Sendable {
    /// Room for `*<count>\r\n` is left at the beginning, because the count is known last.
    private static let room = 16
    private var bytes: [UInt8]
    private var count = 0
    /// Where the sealed command begins; nil before.
    private var start: Int?

    /// A command of a name and arguments.
    init(_ name: String, _ arguments: String..., reserving capacity: Int = 128) {
        bytes = []
        bytes.reserveCapacity(capacity)
        bytes.append(contentsOf: repeatElement(0, count: RedisCommand.room))
        append(name)
        for argument in arguments { append(argument) }
    }

    /// `FCALL` of a function of the library.
    init(function: FunctionLibrary.Function, keys: [String], reserving capacity: Int = 256) {
        self.init("FCALL", reserving: capacity)
        append(function.rawValue)
        append(keys.count)
        for key in keys { append(key) }
    }

    /// Adds an argument.
    mutating func append(_ argument: String) {
        beginArgument(length: argument.utf8.count)
        bytes.append(contentsOf: argument.utf8)
        endArgument()
    }

    /// Adds an argument made of two parts with a byte between them.
    mutating func append(_ first: String, _ separator: Unicode.Scalar, _ second: String) {
        beginArgument(length: first.utf8.count + 1 + second.utf8.count)
        bytes.append(contentsOf: first.utf8)
        bytes.append(UInt8(ascii: separator))
        bytes.append(contentsOf: second.utf8)
        endArgument()
    }

    /// Adds an argument of bytes.
    mutating func append(_ argument: [UInt8]) {
        beginArgument(length: argument.count)
        bytes.append(contentsOf: argument)
        endArgument()
    }

    /// Adds a number in decimal form.
    mutating func append(_ argument: some FixedWidthInteger) { append(String(argument)) }

    private mutating func beginArgument(length: Int) {
        count += 1
        bytes.append(UInt8(ascii: "$"))
        appendDecimal(length)
        endArgument()
    }

    private mutating func endArgument() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func appendDecimal(_ number: Int) {
        if number >= 10 { appendDecimal(number / 10) }
        bytes.append(UInt8(ascii: "0") + UInt8(number % 10))
    }

    /// Writes the head, in front of the arguments. To be called once no more are added; again it does nothing.
    mutating func seal() {
        guard start == nil else { return }
        let head = Array("*\(count)\r\n".utf8)
        start = RedisCommand.room - head.count
        bytes.replaceSubrange((RedisCommand.room - head.count)..<RedisCommand.room, with: head)
        // hiredis looks for the end of the arguments itself where it reads them (SUBSCRIBE).
        bytes.append(0)
    }

    /// Calls `body` with the sealed command and its length. A zero byte follows its end.
    func withBytes<Result>(_ body: (UnsafePointer<CChar>, Int) -> Result) -> Result {
        guard let start else { preconditionFailure("a command must be sealed before it is sent") }
        return bytes.withUnsafeBytes { buffer in
            let pointer = buffer.baseAddress!.advanced(by: start).assumingMemoryBound(to: CChar.self)
            return body(pointer, buffer.count - start - 1)
        }
    }
}
