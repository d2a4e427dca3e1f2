/// Reads decimal numbers and single bytes, one after the other. What Redis sends by the ten thousand consists of them, and
/// to split a string at its characters takes ten times as long.
public struct DecimalScanner {
    @usableFromInline let bytes: UnsafeBufferPointer<UInt8>
    @usableFromInline var position = 0

    /// Reads from bytes that stay where they are for as long as this is used.
    @inlinable public init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// Whether all is read.
    @inlinable public var isAtEnd: Bool { position == bytes.count }

    /// Reads one byte, if it is the next.
    @inlinable public mutating func skip(_ byte: UInt8) -> Bool {
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        return true
    }

    /// Reads a number without sign or leading zero, at most 2⁵³−1; nil, and nothing is read, where there is none.
    @inlinable public mutating func number() -> Int64? {
        var end = position
        var value: Int64 = 0
        while end < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[end]) {
            guard end - position < 16 else { return nil }
            value = value * 10 + Int64(bytes[end] - UInt8(ascii: "0"))
            end += 1
        }
        guard end > position, value < 1 << 53, end == position + 1 || bytes[position] != UInt8(ascii: "0") else {
            return nil
        }
        position = end
        return value
    }

    /// Reads a number as ``number()`` does, but not 0.
    @inlinable public mutating func positive() -> Int64? {
        let before = position
        guard let value = number(), value > 0 else {
            position = before
            return nil
        }
        return value
    }

    /// Reads two positive numbers with a hyphen between; nil, and something may be read, where there are none.
    @inlinable public mutating func pair() -> (Int64, Int64)? {
        guard let first = positive(), skip(UInt8(ascii: "-")), let second = positive() else { return nil }
        return (first, second)
    }
}

/// Calls `body` with a text's bytes, where they are if they are together.
@inlinable func withBytes<Result>(
    of text: some StringProtocol, _ body: (UnsafeBufferPointer<UInt8>) -> Result
) -> Result {
    if let result = text.utf8.withContiguousStorageIfAvailable(body) { return result }
    return Array(text.utf8).withUnsafeBufferPointer(body)
}
