import CWebSockets
import EventLoop
import Glibc

/// A short text on its way to many: composed in one piece of memory that is used again and again, and sent from there.
@LoopActor
public final class TextFrame {
    private var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// Bytes of the text.
    public private(set) var count = 0

    /// An empty text. It grows as it has to.
    public init(capacity: Int = 512) {
        self.capacity = capacity
        base = Self.allocate(capacity)
    }

    isolated deinit { base.deallocate() }

    /// The text.
    public var bytes: [UInt8] { Array(UnsafeBufferPointer(start: text, count: count)) }

    /// Forgets the text.
    public func clear() { count = 0 }

    /// Adds bytes, which have to be UTF-8 in the end.
    public func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return }
            reserve(bytes.count)
            (text + count).update(from: start, count: bytes.count)
            count += bytes.count
        }
    }

    /// Adds characters that are known when this is compiled.
    public func append(_ characters: StaticString) {
        reserve(characters.utf8CodeUnitCount)
        (text + count).update(from: characters.utf8Start, count: characters.utf8CodeUnitCount)
        count += characters.utf8CodeUnitCount
    }

    /// Adds a whole number in digits.
    public func append(_ number: Int64) {
        reserve(20)
        if number < 0 {
            text[count] = UInt8(ascii: "-")
            count += 1
        }
        var length = 1
        var power: UInt64 = 10
        while length < 19, number.magnitude >= power { (length, power) = (length + 1, power * 10) }
        var rest = number.magnitude
        for place in stride(from: count + length - 1, through: count, by: -1) {
            text[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        count += length
    }

    /// Sends it over a WebSocket where nothing waits, and tells whether that still lives.
    func send(_ wsi: OpaquePointer, isPlain: Bool) -> Bool { Scratch.sendText(wsi, text, count, isPlain: isPlain) }

    private var text: UnsafeMutablePointer<UInt8> { base + Int(dibs_lws_pre) }

    private func reserve(_ more: Int) {
        guard count + more > capacity else { return }
        let old = base
        let held = count
        capacity = max(capacity * 2, count + more)
        base = Self.allocate(capacity)
        text.update(from: old + Int(dibs_lws_pre), count: held)
        old.deallocate()
    }

    /// The library wants room before a text.
    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt8> {
        .allocate(capacity: Int(dibs_lws_pre) + capacity + 16)
    }
}
