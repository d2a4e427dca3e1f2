import CWebSockets
import EventLoop

/// One connection as the gateway sees it, whichever side opened it: the base of ``WebSocketConnection`` and others.
@LoopActor
public class Peer {
    /// The library's connection; nil from the moment that it says good-bye, so that a dead one is never touched.
    final var wsi: OpaquePointer?
    /// The number under which the table holds this object; 0 when it doesn't.
    final var handle = PeerHandle.none
    /// Where the server's sweep finds this object; see ``Sweeper``.
    final var sweepPlace = SweepPlace.none

    /// Only the gateway makes these.
    init() {}

    /// Handles an event of the library and returns what its callback has to return: 0 to go on, -1 to close.
    func handle(_ reason: lws_callback_reasons, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int32 { 0 }

    /// Looks at deadlines; called about once in ``GatewayConfiguration/sweepMilliseconds``, from the moment on that it
    /// answered last; ``Sweeper/lookSoon(at:)``.
    func sweep(_ now: Int64) -> Int64 { now }

    /// Stops reading: too much was sent for a person. See ``FairReading``.
    func standInLine() {}

    /// Reads on.
    func leaveLine() {}

    /// Whether it stands in line again after each read, without a word.
    var staysInLine: Bool { false }

    /// Takes the connection off the library's list of timers, which is sorted at O(n) for each that is added
    /// (lib/core-net/sorted-usec-list.c): 15,000 that say nothing would stop the loop. Deadlines are ours (``sweep(_:)``).
    final func cancelLibraryTimeout() {
        guard let wsi else { return }
        lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0)
    }

    /// Begins a WebSocket's end with a close frame. Not from within one of its own events, and only when nothing is
    /// buffered: the library would send that, and then hang up without the frame.
    ///
    /// To return -1 from the event of a writable socket would not do: this build of the library closes twice then, of
    /// which the second drops the frame that the first prepared (`_DEBUG`, lib/core-net/service.c:732).
    final func startClosing(_ reason: CloseReason) {
        guard let wsi else { return }
        var text = Array(reason.text.utf8.prefix(120))
        lws_close_reason(wsi, lws_close_status(UInt32(reason.code)), &text, text.count)
        lws_set_timeout(wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC)
    }

    /// Closes the connection right away. Not from within one of its own events: return -1 there.
    ///
    /// What the library still has to send is lost only when `hard`; without, it gets 5 s more for it.
    final func kill(hard: Bool = false) {
        guard let wsi else { return }
        if hard || lws_partial_buffered(wsi) != 0 {
            // An expired timer is the one way that drops what is buffered (lib/core-net/wsi-timeout.c:114).
            lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC)
            lws_cancel_service(lws_get_context(wsi))
        } else {
            lws_set_timeout(wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_SYNC)
        }
    }
}

/// A number for a connection: its place in the table, and how often that place was given out before.
struct PeerHandle: Equatable {
    /// As the library keeps it, in the size of a pointer. Never 0 for a peer.
    let rawValue: UInt
    static let none = PeerHandle(rawValue: 0)

    var index: Int { Int(rawValue & 0xFFFF_FFFF) }
    var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
}

/// All connections by number.
///
/// The library gets numbers where it offers a pointer for user data. So there is nothing to retain or release: a
/// callback that comes after the end of a connection, or for one that never began, finds nobody and does nothing.
@LoopActor
enum PeerTable {
    private struct Slot {
        var generation: UInt32 = 1
        var peer: Peer?
    }

    private static var slots: [Slot] = []
    private static var free: [UInt32] = []

    static func insert(_ peer: Peer) {
        let index: Int
        if let reused = free.popLast() {
            index = Int(reused)
        } else {
            index = slots.count
            slots.append(Slot())
        }
        slots[index].peer = peer
        peer.handle = PeerHandle(rawValue: UInt(slots[index].generation) << 32 | UInt(index))
    }

    static func find(_ handle: PeerHandle) -> Peer? {
        let index = handle.index
        guard index < slots.count, slots[index].generation == handle.generation else { return nil }
        return slots[index].peer
    }

    /// Puts another object in the place of one: an upgraded connection keeps its number.
    static func replace(_ old: Peer, with new: Peer) {
        precondition(slots[old.handle.index].peer === old)
        slots[old.handle.index].peer = new
        new.handle = old.handle
        old.handle = .none
    }

    static func remove(_ peer: Peer) {
        guard peer.handle != .none else { return }
        let index = peer.handle.index
        precondition(slots[index].peer === peer)
        slots[index].peer = nil
        slots[index].generation = max(1, slots[index].generation &+ 1)
        free.append(UInt32(index))
        peer.handle = .none
    }
}

/// The one callback of all our protocols. `user` is a ``PeerHandle``, put there by `lws_set_wsi_user` or `userdata`.
///
/// Retain/release: none, see ``PeerTable``. `find` returns a strong reference, so the object outlives the call.
func connectionEvent(
    _ wsi: OpaquePointer?, _ reason: lws_callback_reasons, _ user: UnsafeMutableRawPointer?,
    _ bytes: UnsafeMutableRawPointer?, _ count: Int
) -> Int32 {
    if reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS {
        // Proof: used only during this call, on the loop's thread. `user` is the SSL_CTX of the vhost that is being made.
        nonisolated(unsafe) let context = user
        return LoopActor.assumeIsolated { TLSIdentity.install(OpaquePointer(context)) }
    }
    guard reason.isOfConnection else { return 0 }
    // Proof: used only below, on the loop's thread, which assumeIsolated checks, and during this call.
    nonisolated(unsafe) let (wsi, user, bytes) = (wsi, user, bytes)
    return LoopActor.assumeIsolated {
        if reason == LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED { return Adoption.adopted(wsi!, user) }
        guard let user, let peer = PeerTable.find(PeerHandle(rawValue: UInt(bitPattern: user))) else { return 0 }
        if peer.wsi == nil { peer.wsi = wsi }
        return peer.handle(reason, bytes, count)
    }
}

extension lws_callback_reasons {
    /// Whether `user` is a connection's handle: some others pass something else there.
    fileprivate var isOfConnection: Bool {
        switch self {
        // The frequent ones first: this is a chain of comparisons.
        case LWS_CALLBACK_RECEIVE, LWS_CALLBACK_SERVER_WRITEABLE, LWS_CALLBACK_CLIENT_RECEIVE, LWS_CALLBACK_HTTP,
            LWS_CALLBACK_HTTP_BODY, LWS_CALLBACK_HTTP_BODY_COMPLETION, LWS_CALLBACK_HTTP_WRITEABLE,
            LWS_CALLBACK_HTTP_CONFIRM_UPGRADE, LWS_CALLBACK_HTTP_DROP_PROTOCOL, LWS_CALLBACK_CLOSED_HTTP,
            LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED, LWS_CALLBACK_RAW_ADOPT, LWS_CALLBACK_RAW_RX,
            LWS_CALLBACK_RAW_WRITEABLE, LWS_CALLBACK_RAW_CLOSE, LWS_CALLBACK_ESTABLISHED, LWS_CALLBACK_RECEIVE_PONG,
            LWS_CALLBACK_WS_PEER_INITIATED_CLOSE, LWS_CALLBACK_CLOSED, LWS_CALLBACK_WSI_DESTROY,
            LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER, LWS_CALLBACK_CLIENT_ESTABLISHED,
            LWS_CALLBACK_CLIENT_WRITEABLE, LWS_CALLBACK_CLIENT_CLOSED, LWS_CALLBACK_CLIENT_CONNECTION_ERROR,
            LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP, LWS_CALLBACK_RECEIVE_CLIENT_HTTP,
            LWS_CALLBACK_RECEIVE_CLIENT_HTTP_READ, LWS_CALLBACK_COMPLETED_CLIENT_HTTP,
            LWS_CALLBACK_CLIENT_HTTP_WRITEABLE, LWS_CALLBACK_CLOSED_CLIENT_HTTP:
            true
        default: false
        }
    }
}
