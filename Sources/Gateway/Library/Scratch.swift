import CWebSockets
import EventLoop

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
}
