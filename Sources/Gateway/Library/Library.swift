import CWebSockets
import EventLoop
import Glibc
import Model

/// One libwebsockets context on the event loop, with a vhost for accepted connections and one for our own.
///
/// Contexts are made once for each header deadline that is asked for and then live as long as the process: a context on
/// a foreign loop cannot be taken down safely while others run there, and a server has exactly one.
@LoopActor
final class Library {
    /// What libwebsockets reads of a socket at once, no less than ``recordBytes``, and the room for a client's handshake.
    static let serviceBufferBytes = 16384
    /// The room for one request's line and headers. More is refused.
    static let headerBytes = 8192
    /// What an established WebSocket reads at once. Also the size of its receive buffer, so of an idle connection.
    static let receiveBytes = 512
    /// The most that a record of TLS carries (RFC 8446, 5.1).
    static let recordBytes = 16384

    /// What a server may want of its context.
    private struct Kind: Hashable {
        let headerSeconds: UInt32
        let tls: TLSFiles?
    }

    private static var contexts: [Kind: Library] = [:]

    let context: OpaquePointer
    let serverVhost: OpaquePointer
    let clientVhost: OpaquePointer
    /// The certificate that accepted connections show; nil without TLS.
    let identity: TLSIdentity?

    /// The context whose connections have `headerSeconds` from a request's first byte to the end of its headers.
    static func shared(headerSeconds: UInt32, tls: TLSFiles? = nil) throws -> Library {
        let kind = Kind(headerSeconds: headerSeconds, tls: tls)
        if let library = contexts[kind] { return library }
        let library = try Library(headerSeconds: headerSeconds, tls: tls)
        contexts[kind] = library
        return library
    }

    /// The context for connections of our own, where no server asked for a special one.
    static func forClients() throws -> Library {
        if let library = contexts.values.first { return library }
        return try shared(headerSeconds: 10)
    }

    private init(headerSeconds: UInt32, tls: TLSFiles?) throws {
        routeLog()
        let identity = try tls.map { try TLSIdentity($0) }
        self.identity = identity
        var loops: [UnsafeMutableRawPointer?] = [UnsafeMutableRawPointer(EventLoop.handle)]
        let policy = noValidityChecks
        let context = loops.withUnsafeMutableBufferPointer { loops in
            var info = lws_context_creation_info()
            info.port = Int32(CONTEXT_PORT_NO_LISTEN)
            info.options =
                UInt64(LWS_SERVER_OPTION_LIBUV) | UInt64(LWS_SERVER_OPTION_EXPLICIT_VHOSTS)
                | UInt64(LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME) | UInt64(LWS_SERVER_OPTION_VALIDATE_UTF8)
                | UInt64(LWS_SERVER_OPTION_JUST_USE_RAW_ORIGIN)
            if identity != nil { info.options |= UInt64(LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT) }
            info.foreign_loops = loops.baseAddress
            // -1: stay who we are. 0 would drop to root's ids.
            info.gid = -1
            info.uid = -1
            info.pt_serv_buf_size = UInt32(Library.serviceBufferBytes)
            info.max_http_header_data2 = UInt32(Library.headerBytes)
            // Deadlines are ours (`Peer.sweep`); the library's own are taken back as soon as we hear of them.
            info.timeout_secs = 30
            info.retry_and_idle_policy = UnsafePointer(policy)
            return lws_create_context(&info)
        }
        guard let context else { throw GatewayError.library("lws_create_context") }
        self.context = context
        serverVhost = try TLSIdentity.installing(identity) {
            try Library.makeVhost(context, "server", headerSeconds: headerSeconds, hasTLS: identity != nil)
        }
        clientVhost = try Library.makeVhost(context, "client", headerSeconds: headerSeconds)
    }

    private static func makeVhost(
        _ context: OpaquePointer, _ name: StaticString, headerSeconds: UInt32, hasTLS: Bool = false
    ) throws -> OpaquePointer {
        let isServer = "\(name)" == "server"
        var info = lws_context_creation_info()
        // We listen ourselves (`Listener`). The two kinds differ in the port, so that `lws_select_vhost`, which goes by
        // port and the Host header, never moves a connection from the one to the other.
        info.port = Int32(isServer ? CONTEXT_PORT_NO_LISTEN_SERVER : CONTEXT_PORT_NO_LISTEN)
        info.vhost_name = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
        info.protocols = UnsafePointer(isServer ? (hasTLS ? tlsProtocols : serverProtocols) : clientProtocols)
        info.retry_and_idle_policy = UnsafePointer(noValidityChecks)
        info.timeout_secs_ah_idle = headerSeconds
        info.keepalive_timeout = 3600
        info.connect_timeout_secs = 20
        // Not nil: the library would take a proxy for its client connections from the environment. Port 0 is none.
        let noProxy: StaticString = "none:0"
        info.http_proxy_address = UnsafeRawPointer(noProxy.utf8Start).assumingMemoryBound(to: CChar.self)
        if isServer {
            info.options = UInt64(LWS_SERVER_OPTION_FALLBACK_TO_APPLY_LISTEN_ACCEPT_CONFIG)
            info.headers = UnsafePointer(unsendableHeader)
            if hasTLS {
                // Without files: `TLSIdentity` gives the certificate, and another one later.
                info.options |=
                    UInt64(LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT) | UInt64(LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX)
            }
        }
        guard let vhost = lws_create_vhost(context, &info) else { throw GatewayError.library("lws_create_vhost") }
        return vhost
    }

    /// Makes the library look at its timers, which it otherwise does after its own events only.
    func wake() { lws_cancel_service(context) }
}

/// Why the gateway could not do what it was asked.
public struct GatewayError: Error, CustomStringConvertible, Sendable {
    /// What was tried, and the system's or the library's words.
    public let description: String
    /// The system's error number, or 0.
    public let code: Int32

    static func library(_ call: String) -> GatewayError { GatewayError(description: "\(call) failed", code: 0) }
    static func system(_ call: String) -> GatewayError {
        let code = errno
        return GatewayError(description: "\(call): \(String(cString: strerror(code)))", code: code)
    }
}

// The tables below are given to the library by address and have to outlive it: made once, never freed.

/// Both vhosts have one protocol: every connection's callbacks come to `connectionEvent`. The library wants a zeroed
/// entry at the end.
@LoopActor private let serverProtocols = makeProtocols("dibs", receiveBytes: Library.receiveBytes)
/// Over TLS a whole record is read at once. When a part of one is left in OpenSSL while a connection is flow-controlled, the
/// library goes round and round for it without end (`goto read`, lib/roles/ws/ops-ws.c, `rops_handle_POLLIN_ws`).
@LoopActor private let tlsProtocols = makeProtocols("dibs", receiveBytes: Library.recordBytes)
@LoopActor private let clientProtocols = makeProtocols("dibs-client", receiveBytes: 1024)

@LoopActor
private func makeProtocols(_ name: StaticString, receiveBytes: Int) -> UnsafeMutablePointer<lws_protocols> {
    let table = UnsafeMutablePointer<lws_protocols>.allocate(capacity: 2)
    table.initialize(repeating: lws_protocols(), count: 2)
    table[0].name = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    table[0].callback = connectionEvent
    table[0].rx_buffer_size = receiveBytes
    // One lws_write hands this much to the kernel; the rest of it waits in the library.
    table[0].tx_packet_size = 65536
    return table
}

/// The library's own pings would keep a sorted list of timers with an entry for each connection, at O(n) a change
/// (lib/core/lws_dll2.c:187). Zero turns them off; we ping in `WebSocketConnection.sweep`.
@LoopActor private let noValidityChecks: UnsafeMutablePointer<lws_retry_bo_t> = {
    let policy = UnsafeMutablePointer<lws_retry_bo_t>.allocate(capacity: 1)
    policy.initialize(to: lws_retry_bo_t())
    return policy
}()

/// A header that never fits, so that the library cannot answer a bad request by itself with a page in HTML
/// (`lws_return_http_status` fails in `lws_add_http_header_status`, lib/roles/http/header.c:330, and the connection is
/// closed): `HTTPConnection` answers instead, with JSON. Our own answers don't go through that function.
@LoopActor private let unsendableHeader: UnsafeMutablePointer<lws_protocol_vhost_options> = {
    let value = UnsafeMutablePointer<CChar>.allocate(capacity: Library.serviceBufferBytes + 1)
    value.initialize(repeating: CChar(bitPattern: UInt8(ascii: "x")), count: Library.serviceBufferBytes)
    value[Library.serviceBufferBytes] = 0
    let name: StaticString = "x:"
    let header = UnsafeMutablePointer<lws_protocol_vhost_options>.allocate(capacity: 1)
    header.initialize(to: lws_protocol_vhost_options())
    header.pointee.name = UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    header.pointee.value = UnsafePointer(value)
    return header
}()
