import CWebSockets
import EventLoop

/// A text of any length, sent as one message in fragments (RFC 6455, section 5.4). Its bytes are shared by all who are sent
/// the same, and a client that reads slowly costs no copy of them.
public struct LongText: Sendable {
    /// The text, in pieces.
    let parts: [[UInt8]]

    /// A text of pieces, which have to be UTF-8 together.
    public init(_ parts: [[UInt8]]) { self.parts = parts.filter { !$0.isEmpty } }
}

/// A long text on its way out.
struct Fragments {
    /// Bytes of a fragment at most. What the kernel doesn't take of one is copied by the library.
    static let size = 32_768

    private let parts: [[UInt8]]
    private var part = 0
    private var offset = 0
    private var isFirst = true

    init(_ text: LongText) { parts = text.parts }

    var isDone: Bool { part == parts.count }

    /// Writes the next fragment.
    /// - Returns: false when the connection is dead.
    @LoopActor
    mutating func write(to wsi: OpaquePointer) -> Bool {
        let end = min(parts[part].count, offset + Self.size)
        let bytes = parts[part][offset..<end]
        offset = end
        if end == parts[part].count { (part, offset) = (part + 1, 0) }
        let opcode = isFirst ? LWS_WRITE_TEXT : LWS_WRITE_CONTINUATION
        isFirst = false
        let flags = isDone ? 0 : LWS_WRITE_NO_FIN.rawValue
        return Scratch.write(wsi, bytes, lws_write_protocol(rawValue: opcode.rawValue | flags))
    }
}
