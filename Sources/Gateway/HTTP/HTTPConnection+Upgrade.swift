import CWebSockets
import EventLoop
import Model

extension HTTPConnection {
    /// A request with the header Upgrade: the library asks before it goes on. 0 lets it; -1 ends the connection.
    func upgradeAsked(_ protocolName: UnsafeMutableRawPointer?) -> Int32 {
        guard let wsi, let protocolName, phase == .waiting else { return -1 }
        let name = protocolName.assumingMemoryBound(to: CChar.self)
        let wanted = String(cString: name).lowercased()
        if wanted == "h2c" {
            // An offer that we don't take (Java's client makes it with every first request). The library would; it
            // compares this very text again after we return, finds nothing that it knows, and goes on with the request.
            name.pointee = CChar(bitPattern: UInt8(ascii: "-"))
            return 0
        }
        exchange += 1
        let head: RequestHead
        do {
            head = try RequestHead.read(wsi, from: address, server.configuration)
        } catch {
            return refuse(.error(error.error), status: error.status, moreComes: false)
        }
        self.head = head
        if let refusal = refusal(of: head, wanted, wsi) { return refuse(refusal, moreComes: false) }
        enter(.upgrading, seconds: server.configuration.headerTimeoutSeconds)
        return 0
    }

    /// Why this is not going to be a WebSocket; nil when it is.
    private func refusal(of head: RequestHead, _ wanted: String, _ wsi: OpaquePointer) -> HTTPResponse? {
        func bad(_ message: String) -> HTTPResponse { .error(WireError(.badRequest, message)) }
        guard wanted == "websocket" else { return bad("no upgrade to \(wanted.prefix(32)) here") }
        guard head.request.path == server.configuration.webSocketPath else {
            return .error(WireError(.notFound, "there is no WebSocket at this path"))
        }
        guard server.allowsOrigin(of: head.request) else {
            return .error(WireError(.forbidden, "pages of this origin may not connect here"))
        }
        guard head.request.method == .get, head.framing == .none, head.version == .http11 else {
            return bad("a WebSocket begins with GET and HTTP/1.1")
        }
        // What follows is what the library checks too late for an answer (lib/roles/ws/server-ws.c).
        guard lws_hdr_total_length(wsi, WSI_TOKEN_HOST) > 0 else { return bad("the header Host is missing") }
        let connection = HeaderTable.value(wsi, WSI_TOKEN_CONNECTION)?.lowercased() ?? ""
        guard connection.utf8.count < 128,
            connection.split(separator: ",").contains(where: { $0.trimmingSpaces == "upgrade" })
        else { return bad("the header Connection has to say Upgrade") }
        guard HeaderTable.value(wsi, WSI_TOKEN_VERSION)?.trimmingSpaces == "13" else {
            var response = bad("Sec-WebSocket-Version has to be 13")
            response.status = 426
            response.headers["sec-websocket-version"] = "13"
            return response
        }
        guard HeaderTable.value(wsi, WSI_TOKEN_KEY)?.trimmingSpaces.utf8.count == 24 else {
            return bad("Sec-WebSocket-Key has to be 16 bytes in base 64")
        }
        if let offered = HeaderTable.value(wsi, WSI_TOKEN_PROTOCOL) {
            // The library takes no client that names only subprotocols that it doesn't know.
            guard offered.split(separator: ",").contains(where: { $0.trimmingSpaces == "dibs" }) else {
                return bad("the only subprotocol is dibs")
            }
        }
        if server.isDraining { return .error(WireError(.unavailable, "the server is going away")) }
        return countsAsItsClient(head.request.remoteAddress)
            ? nil : .error(WireError(.rateLimited, "too many connections of this address"))
    }

    /// Behind a trusted proxy, counts the WebSocket among its client's; false when those are too many.
    private func countsAsItsClient(_ client: PeerAddress) -> Bool {
        guard client != counted else { return true }
        guard server.gate.enter(client) else {
            server.delegate.turnedAway(client)
            return false
        }
        if let counted { server.gate.leave(counted) }
        counted = client
        return true
    }

    /// It is a WebSocket now.
    func upgraded() -> Int32 {
        guard let wsi, phase == .upgrading, let request = head?.request else { return -1 }
        self.wsi = nil
        head = nil
        phase = .closing
        let socket = WebSocketConnection(server: server, wsi: wsi, address: counted ?? address)
        counted = nil
        PeerTable.replace(self, with: socket)
        server.upgraded(self, to: socket)
        return socket.open(request)
    }
}
