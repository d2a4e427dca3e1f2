import CWebSockets
import EventLoop
import Glibc
import Model

extension HTTPConnection {
    /// What is handed to the library at once: less than what is free in the buffer of a socket that is writable.
    private static let pieceBytes = 16384
    /// What is written on one connection before others get their turn.
    private static let writtenAtOnce = 262_144

    /// Writes an answer of ours that fits into one piece. False when the connection is broken.
    func writeWhole(_ response: HTTPResponse, keepAlive: Bool) -> Bool {
        guard let wsi else { return false }
        let bytes = marked(response).encode(
            version: head?.version ?? .http11, keepAlive: keepAlive, omitBody: head?.request.method == .head,
            date: HTTPDate.now)
        return Scratch.write(wsi, bytes, LWS_WRITE_HTTP)
    }

    /// With what every answer over TLS says where that is wanted: don't come without (RFC 6797).
    private func marked(_ response: HTTPResponse) -> HTTPResponse {
        let seconds = server.configuration.hstsSeconds
        guard seconds > 0, server.hasTLS else { return response }
        var response = response
        response.headers["strict-transport-security"] = "max-age=\(seconds)"
        return response
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
        refusals = response.status == 429 ? refusals + 1 : 0
        let keepAlive =
            head.keepAlive && head.framing != .unsaid && !server.isDraining && !isProxy
            && refusals < HTTPConnection.mostRefusals
        let omitBody = head.request.method == .head || !response.mayHaveBody
        var first = marked(response).encodeHead(version: head.version, keepAlive: keepAlive, date: HTTPDate.now)
        var written = response.body.count
        if !omitBody {
            written = min(response.body.count, HTTPConnection.pieceBytes)
            first.append(contentsOf: response.body[..<written])
        }
        self.head = nil
        outgoing = Outgoing(
            body: response.body, written: written, closesAfter: !keepAlive, isUnlimited: response.isUnlimited,
            asker: head.request.remoteAddress)
        enter(.writing, seconds: server.configuration.writeTimeoutSeconds)
        guard Scratch.write(wsi, first, LWS_WRITE_HTTP) else { return cut() }
        goOn()
    }

    /// Writes until the socket takes no more, and then waits for it; at the end goes on to the next request.
    ///
    /// The library is flow-controlled meanwhile, and so doesn't look at its sockets at all: its own wait for the socket
    /// (`rops_handle_POLLIN_h1`, lib/roles/h1/ops-h1.c:629, returns before it serves POLLOUT) would never end, and without
    /// flow control it would be woken all the time by whatever else the client sends. So the wait is ours, and no piece
    /// is larger than what a writable socket takes for certain.
    private func goOn() {
        guard let wsi, phase == .writing, let body = outgoing?.body, var written = outgoing?.written else { return }
        var writtenNow = 0
        while written < body.count {
            // A record of TLS that the socket took in part: the rest of it goes first.
            guard lws_partial_buffered(wsi) == 0 else {
                outgoing?.written = written
                return awaitLibrary(wsi)
            }
            guard writtenNow < HTTPConnection.writtenAtOnce, lws_send_pipe_choked(wsi) == 0 else {
                outgoing?.written = written
                if writtenNow > 0 { enter(.writing, seconds: server.configuration.writeTimeoutSeconds) }
                return awaitSocket(wsi)
            }
            let end = min(body.count, written + HTTPConnection.pieceBytes)
            guard Scratch.write(wsi, body[written..<end], LWS_WRITE_HTTP) else { return cut() }
            writtenNow += end - written
            written = end
        }
        outgoing?.written = written
        // Not to be expected, but for a lack of kernel memory; then the library has to be let look.
        guard lws_partial_buffered(wsi) == 0 else { return awaitLibrary(wsi) }
        answered()
    }

    /// Requests of one connection that are read as they come, and so many milliseconds for each one more. Who sends more
    /// stands in line with its like.
    private static let readAtOnce: Int64 = 30
    private static let requestMilliseconds: Int64 = 10

    /// The answer is written: the next request is read now, or when it is this connection's turn.
    private func answered() {
        guard !isInLine else { return }
        guard let wsi, let outgoing, !outgoing.isUnlimited, server.sharesReading else { return completed() }
        guard !outgoing.closesAfter else {
            // A proxy's connections carry one request each.
            server.company.note(outgoing.asker)
            return completed()
        }
        let now = EventLoop.monotonicMilliseconds
        let atOnce = HTTPConnection.readAtOnce * HTTPConnection.requestMilliseconds
        requestsFullAt = max(now, requestsFullAt) + HTTPConnection.requestMilliseconds
        guard requestsFullAt - now > atOnce else {
            server.company.note(outgoing.asker)
            return completed()
        }
        // What was asked at once long ago is forgiven.
        requestsFullAt = min(requestsFullAt, now + 2 * atOnce)
        isInLine = true
        // Where the library had to send a rest, it was let read as well: not before this exchange is over.
        lws_rx_flow_control(wsi, 0)
        keepAsleep()
        server.reading.note(self)
    }

    /// Lets the library send what it holds back; it tells when that is done.
    private func awaitLibrary(_ wsi: OpaquePointer) {
        lws_rx_flow_control(wsi, 1)
        lws_callback_on_writable(wsi)
    }

    /// Watches a duplicate of the socket: the library watches the socket itself.
    private func awaitSocket(_ wsi: OpaquePointer) {
        if let writability { return writability.watch() }
        guard let watch = Writability(of: lws_get_socket_fd(wsi), { [weak self] in self?.goOn() }) else {
            return cut()
        }
        writability = watch
        watch.watch()
    }

    /// The library sees the socket writable, which matters after a partial write only.
    func writable() -> Int32 {
        guard let wsi, phase == .writing, let outgoing, lws_partial_buffered(wsi) == 0 else { return 0 }
        let isDone = outgoing.written == outgoing.body.count
        if !isDone { lws_rx_flow_control(wsi, 0) }
        // Not from within the callback: it may close the connection.
        Turn.atEnd(.flush) {
            if isDone { return self.answered() }
            self.keepAsleep()
            self.goOn()
        }
        return 0
    }

    /// The exchange is over. Runs outside of the library's callbacks.
    func completed() {
        guard let wsi, phase == .writing, let answer = outgoing else { return }
        (outgoing, writability) = (nil, nil)
        if !answer.closesAfter && !server.isDraining {
            enter(.waiting, seconds: server.configuration.idleHTTPSeconds)
            if lws_http_transaction_completed(wsi) == 0 {
                // The library keeps the table of headers only when it has read more than the request already.
                isPipelined = HeaderTable.isAttached(wsi)
                lws_rx_flow_control(wsi, 1)
                return
            }
        }
        phase = .closing
        kill()
    }

    /// Ends the connection, whatever is under way.
    func cut() {
        guard !cutInLine() else { return }
        phase = .closing
        kill(hard: true)
    }

    /// Ends a connection on which nothing is under way; the others end with their answer.
    func drain() {
        guard phase == .waiting || phase == .primed, !cutInLine() else { return }
        phase = .closing
        kill()
    }
}
