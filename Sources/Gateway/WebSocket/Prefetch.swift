import CWebSockets
import EventLoop

/// Whoever tells thousands of connections something finds each of them somewhere else in memory, and would wait for it. So
/// what is needed some steps later is asked for before: it comes while the kernel sends.
@LoopActor
public enum Prefetch {
    /// So many steps before an object is read, it is asked for.
    public nonisolated static let steps = 4

    /// Asks for an object's beginning: the fields that are read. The address may be of anything, and is not touched.
    public nonisolated static func object(at address: UnsafeRawPointer) { dibs_prefetch(address, 192) }

    /// Asks for what sending by a connection reads of the library. The connection itself is read.
    public static func socket(of connection: WebSocketConnection) {
        guard let wsi = connection.wsi else { return }
        dibs_prefetch(UnsafeRawPointer(wsi) + sendingOffset, 128)
    }

    /// Where `lws_partial_buffered` and `lws_get_socket_fd` look in `struct lws`, in Debian 12's build of the library (bytes
    /// 720 and 776). With another build nothing is wrong but the time it takes.
    private static let sendingOffset = 704
}
