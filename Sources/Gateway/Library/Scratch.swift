import CWebSockets
import EventLoop
import Glibc

/// The one buffer from which everything is sent: the library wants room before a payload and may change the payload.
@LoopActor
enum Scratch {
    private static var capacity = 65536
    private static var base = allocate(65536)

    /// Where a payload of `count` bytes may be put.
    static func room(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        if count > capacity {
            base.deallocate()
            capacity = max(count, capacity * 2)
            base = allocate(capacity)
        }
        return base + Int(dibs_lws_pre)
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt8> {
        .allocate(capacity: Int(dibs_lws_pre) + capacity + 16)
    }

    /// Writes `payload` and tells whether the connection still lives. What the kernel doesn't take waits in the library,
    /// so a caller has to see that `lws_partial_buffered` is 0 first: a second write would break the framing
    /// (`inside_frame`, lib/roles/ws/ops-ws.c:1884).
    static func write(_ wsi: OpaquePointer, _ payload: some Collection<UInt8>, _ kind: lws_write_protocol) -> Bool {
        let count = payload.count
        let room = room(count)
        let done: Void? = payload.withContiguousStorageIfAvailable { bytes in
            if let source = bytes.baseAddress { room.update(from: source, count: count) }
        }
        if done == nil { for (offset, byte) in payload.enumerated() { room[offset] = byte } }
        return lws_write(wsi, room, count, kind) >= 0
    }

    /// Sends a text of a server as one frame, and tells whether the connection still lives. Like ``write(_:_:_:)``, only
    /// where `lws_partial_buffered` is 0.
    static func sendText(_ wsi: OpaquePointer, _ text: [UInt8], isPlain: Bool) -> Bool {
        let room = room(text.count)
        text.withUnsafeBufferPointer { if let start = $0.baseAddress { room.update(from: start, count: $0.count) } }
        return sendText(wsi, room, text.count, isPlain: isPlain)
    }

    /// As ``sendText(_:_:isPlain:)``, for a text that stands in memory with `LWS_PRE` bytes of room before it.
    ///
    /// Without TLS (`isPlain`) it goes to the socket directly: a frame of a server is its text with two or four bytes before
    /// it (RFC 6455, section 5.2), and `lws_write` comes to the same `send` by a detour. What the kernel doesn't take is
    /// handed to the library, which puts nothing around what is written as HTTP (`send_raw`, lib/roles/ws/ops-ws.c:1916),
    /// keeps it, and sends it before anything else.
    static func sendText(
        _ wsi: OpaquePointer, _ text: UnsafeMutablePointer<UInt8>, _ count: Int, isPlain: Bool
    ) -> Bool {
        guard isPlain, count < 65536 else { return lws_write(wsi, text, count, LWS_WRITE_TEXT) >= 0 }
        let frame: UnsafeMutablePointer<UInt8>
        if count < 126 {
            frame = text - 2
            frame[1] = UInt8(count)
        } else {
            frame = text - 4
            (frame[1], frame[2], frame[3]) = (126, UInt8(count >> 8), UInt8(count & 255))
        }
        // A text, and all of it.
        frame[0] = 0x81
        let length = text + count - frame
        let sent = send(lws_get_socket_fd(wsi), frame, length, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        if sent == length { return true }
        guard sent >= 0 || errno == EAGAIN || errno == EINTR else { return false }
        let rest = max(0, sent)
        return lws_write(wsi, frame + rest, length - rest, LWS_WRITE_HTTP) >= 0
    }
}
