import CWebSockets
import EventLoop
import Glibc
import Model

extension HTTPConnection {
    /// What is handed to the library at once. More waits for the socket to be writable.
    private static let pieceBytes = 65536

    /// Writes an answer of ours that fits into one piece. False when the connection is broken.
    func writeWhole(_ response: HTTPResponse, keepAlive: Bool) -> Bool {
        guard let wsi else { return false }
        let bytes = response.encode(
            version: head?.version ?? .http11, keepAlive: keepAlive, omitBody: head?.request.method == .head,
            date: HTTPDate.now)
        return Scratch.write(wsi, bytes, LWS_WRITE_HTTP)
    }

    /// Answers a request that is not handed on, and ends the connection. To be returned from a callback.
    func refuse(_ response: HTTPResponse, status: Int? = nil, moreComes: Bool) -> Int32 {
        var response = response
        if let status { response.status = status }
        guard let wsi, writeWhole(response, keepAlive: false) else { return -1 }
        guard moreComes else {
            phase = .closing
            return -1
        }
        enter(.lingering, seconds: HTTPConnection.lingerSeconds)
        // No more of ours will follow: a client that reads the answer now sees its end at once.
        if lws_partial_buffered(wsi) == 0 { shutdown(lws_get_socket_fd(wsi), Int32(SHUT_WR)) }
        // With a body to come, the library goes on to discard it (`LRS_DISCARD_BODY`).
        return lws_http_transaction_completed(wsi) == 0 ? 0 : -1
    }

    /// The delegate's answer is there. Runs outside of the library's callbacks.
    func finish(_ response: HTTPResponse, exchange: Int) {
        guard let wsi, self.exchange == exchange, phase == .handling, let head else { return }
        let keepAlive = head.keepAlive && head.framing != .unsaid && !server.isDraining
        let omitBody = head.request.method == .head || !response.mayHaveBody
        var first = response.encodeHead(version: head.version, keepAlive: keepAlive, date: HTTPDate.now)
        var written = response.body.count
        if !omitBody {
            written = min(response.body.count, max(0, HTTPConnection.pieceBytes - first.count))
            first.append(contentsOf: response.body[..<written])
        }
        self.head = nil
        outgoing = Outgoing(body: response.body, written: written, closesAfter: !keepAlive)
        enter(.writing, seconds: server.configuration.writeTimeoutSeconds)
        guard Scratch.write(wsi, first, LWS_WRITE_HTTP) else { return kill(hard: true) }
        if advance() < 0 { kill() }
    }

    /// The socket takes more, or the library asks for some reason of its own.
    func writable() -> Int32 {
        guard let wsi, phase == .writing, let sending = outgoing else { return 0 }
        if sending.written < sending.body.count && lws_partial_buffered(wsi) == 0 {
            let end = min(sending.body.count, sending.written + HTTPConnection.pieceBytes)
            guard Scratch.write(wsi, sending.body[sending.written..<end], LWS_WRITE_HTTP) else { return -1 }
            outgoing?.written = end
            enter(.writing, seconds: server.configuration.writeTimeoutSeconds)
        }
        return advance()
    }

    /// Goes on after a write: to the next piece, the next request, or the end (-1).
    private func advance() -> Int32 {
        guard let wsi, let sending = outgoing else { return -1 }
        if sending.written < sending.body.count || lws_partial_buffered(wsi) != 0 {
            lws_callback_on_writable(wsi)
            return 0
        }
        outgoing = nil
        if sending.closesAfter || server.isDraining {
            phase = .closing
            return -1
        }
        enter(.waiting, seconds: server.configuration.idleHTTPSeconds)
        guard lws_http_transaction_completed(wsi) == 0 else {
            phase = .closing
            return -1
        }
        lws_rx_flow_control(wsi, 1)
        return 0
    }

    /// Ends a connection on which nothing is under way; the others end with their answer.
    func drain() {
        guard phase == .waiting || phase == .primed else { return }
        phase = .closing
        kill()
    }
}
