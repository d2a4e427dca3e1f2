import CWebSockets
import EventLoop
import Glibc

/// Gives accepted sockets to the library.
@LoopActor
enum Adoption {
    /// The connection being adopted: the library's call below has no argument for it.
    private static var current: Peer?

    /// A request that nobody sent, with which each connection begins.
    ///
    /// The library tells us of a connection's end while we can still write (`HTTP_DROP_PROTOCOL`) only once the
    /// connection completed a request (`protocol_bind_balance`, lib/core-net/close.c:419). With this one completed before
    /// the first real one, a request that the library can't parse gets an answer, instead of a closed connection.
    private static let primer: StaticString = "GET / HTTP/1.1\r\n\r\n"

    /// Hands `descriptor` over; the library closes it from now on, whatever happens.
    ///
    /// With TLS there is no primer: it would wait for the end of the handshake, and while something waits the library
    /// doesn't let the loop sleep (`lws_service_adjust_timeout`, lib/core-net/service.c).
    static func adopt(_ descriptor: Int32, as peer: Peer, vhost: OpaquePointer, isPrimed: Bool) -> Bool {
        PeerTable.insert(peer)
        current = peer
        defer { current = nil }
        let wsi =
            isPrimed
            ? lws_adopt_socket_vhost_readbuf(
                vhost, descriptor, UnsafeRawPointer(primer.utf8Start).assumingMemoryBound(to: CChar.self),
                primer.utf8CodeUnitCount) : lws_adopt_socket_vhost(vhost, descriptor)
        guard wsi != nil else {
            PeerTable.remove(peer)
            return false
        }
        peer.cancelLibraryTimeout()
        return true
    }

    /// The library made its object for the socket.
    static func adopted(_ wsi: OpaquePointer, _ user: UnsafeMutableRawPointer?) -> Int32 {
        // A client's connection says the same; it has its handle already.
        guard user == nil, let current else { return 0 }
        current.wsi = wsi
        lws_set_wsi_user(wsi, UnsafeMutableRawPointer(bitPattern: current.handle.rawValue))
        return 0
    }
}
