import EventLoop
import Model
import TestServices
import Testing

@testable import Gateway

/// What a client gets that doesn't keep to the rules: an answer in the contract's form, and an end.
@Suite(.timeLimit(.minutes(patience)))
struct HostileHTTPTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let request: String
        let status: Int
        let code: String
    }

    static let cases: [Case] = [
        Case(
            testDescription: "unknown method", request: "BREW /api/echo HTTP/1.1\r\nHost: a\r\n\r\n", status: 405,
            code: "method_not_allowed"),
        Case(
            testDescription: "TRACE", request: "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", status: 405,
            code: "method_not_allowed"),
        Case(
            testDescription: "a method that begins like one", request: "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
            status: 405, code: "method_not_allowed"),
        Case(
            testDescription: "CONNECT", request: "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", status: 405,
            code: "method_not_allowed"),
        Case(testDescription: "not HTTP", request: "\u{16}\u{3}\u{1}hello\r\n\r\n", status: 400, code: "bad_request"),
        Case(
            testDescription: "bad escape", request: "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "cut escape", request: "GET /a% HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "NUL in the path", request: "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "NUL behind a slash", request: "GET /%00b HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "NUL in the query", request: "GET /a?b=%00 HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "line break in the path", request: "GET /a%0ab HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "line break in the query", request: "GET /a?b=1%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n",
            status: 400,
            code: "bad_request"),
        Case(
            testDescription: "no version", request: "GET /api/echo\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "version 2", request: "GET /api/echo HTTP/2.0\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "version nonsense", request: "GET /api/echo HTTP/1.1x\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "path not UTF-8", request: "GET /%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "query not UTF-8", request: "GET /a?b=%ff HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(testDescription: "no host", request: "GET /api/echo HTTP/1.1\r\n\r\n", status: 400, code: "bad_request"),
        Case(
            testDescription: "asterisk", request: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "two methods", request: "GET / HTTP/1.1\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(testDescription: "no method", request: "Host: a\r\n\r\n", status: 400, code: "bad_request"),
        Case(
            testDescription: "length is no number",
            request: "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", status: 400, code: "bad_request"
        ),
        Case(
            testDescription: "negative length",
            request: "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "two lengths",
            request: "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            status: 400, code: "bad_request"),
        Case(
            testDescription: "chunked",
            request: "POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            status: 411, code: "bad_request"),
        Case(
            testDescription: "chunked GET",
            request: "GET /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            status: 411, code: "bad_request"),
        Case(
            testDescription: "length and chunked",
            request:
                "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
            status: 400, code: "bad_request"),
        Case(
            testDescription: "huge length",
            request: "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\n\r\nhello", status: 413,
            code: "too_large"),
        Case(
            testDescription: "absurd length",
            request: "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
            status: 400, code: "bad_request"),
        Case(
            testDescription: "one byte too much",
            request: "PUT /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", status: 413,
            code: "too_large"),
        Case(
            testDescription: "too much, sent",
            request: "PUT /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"
                + String(repeating: "x", count: 300000), status: 413, code: "too_large"),
        Case(
            testDescription: "long header",
            request: "GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + String(repeating: "x", count: 20000) + "\r\n\r\n",
            status: 400, code: "bad_request"),
        Case(
            testDescription: "long path",
            request: "GET /" + String(repeating: "x", count: 20000) + " HTTP/1.1\r\nHost: a\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "many headers",
            request: "GET / HTTP/1.1\r\nHost: a\r\n" + (0..<2000).map { "X-\($0): y\r\n" }.joined() + "\r\n",
            status: 400, code: "bad_request"),
        Case(
            testDescription: "many parameters",
            request: "GET /?" + (0..<500).map { "a\($0)=1" }.joined(separator: "&") + " HTTP/1.1\r\nHost: a\r\n\r\n",
            status: 400, code: "bad_request"),
        Case(
            testDescription: "upgrade elsewhere", request: RawFrame.handshake("/other"), status: 404, code: "not_found"),
        Case(
            testDescription: "unknown upgrade",
            request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n", status: 400,
            code: "bad_request"),
        Case(
            testDescription: "upgrade by POST", request: RawFrame.handshake("/ws").replacing("GET", with: "POST"),
            status: 400, code: "bad_request"),
        Case(
            testDescription: "upgrade, old version",
            request: RawFrame.handshake("/ws").replacing("Version: 13", with: "Version: 8"), status: 426,
            code: "bad_request"),
        Case(
            testDescription: "upgrade without key",
            request: RawFrame.handshake("/ws").replacing("Sec-WebSocket-Key", with: "X-Key"), status: 400,
            code: "bad_request"),
        Case(
            testDescription: "upgrade without Connection",
            request: RawFrame.handshake("/ws").replacing("Connection", with: "X-Connection"), status: 400,
            code: "bad_request"),
    ]

    /// As a connection's first request, and after another.
    @Test(arguments: cases, [false, true])
    func answered(testCase: Case, second: Bool) async throws {
        try await withServer { server in
            let socket = try await server.raw()
            if second {
                socket.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(await socket.answer()?.status == 200)
            }
            socket.send(testCase.request)
            let answer = await socket.answer()
            #expect(answer?.status == testCase.status)
            #expect(
                answer?.body.hasPrefix("{\"result\":null,\"error\":{\"code\":\"\(testCase.code)\",\"message\":") == true
            )
            #expect(answer?.headers["connection"] == "close")
            #expect(answer?.headers["content-type"] == "application/json")
            // And then the end, with nothing behind the answer.
            #expect(await socket.all() == "")
        }
    }

    @Test func edges() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            for count in [0, 1, 8191, 8192, 8193, 16384, 65535, 65536] {
                socket.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(count)\r\n\r\n")
                socket.send([UInt8](repeating: 65, count: count))
                #expect(await socket.answer()?.body.hasSuffix("body=\(count)") == true)
            }
            // A body without a length is none, and the connection ends with the answer.
            socket.send("POST /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            let answer = await socket.answer()
            #expect(answer?.body.hasSuffix("body=0") == true)
            #expect(answer?.headers["connection"] == "close")
            #expect(await socket.all() == "")
        }
    }

    @Test func headAndNoContent() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send("HEAD /api/big?n=100000 HTTP/1.1\r\nHost: a\r\n\r\n")
            let head = await socket.answer(head: true)
            #expect(head?.headers["content-length"] == "100000")
            socket.send("GET /api/nothing HTTP/1.1\r\nHost: a\r\n\r\n")
            let nothing = await socket.answer()
            #expect(nothing?.status == 204)
            #expect(nothing?.headers["content-length"] == nil)
            socket.send("GET /api/echo HTTP/1.0\r\n\r\n")
            let old = await socket.answer()
            #expect(old?.status == 200)
            #expect(old?.headers["connection"] == "close")
            #expect(await socket.all() == "")
        }
    }

    @Test(arguments: [
        ("/a/../b", "/b"), ("/../../etc/passwd", "/etc/passwd"), ("/%2e%2e/%2e%2e/etc", "/etc"), ("/a//b", "/a/b"),
        ("/a/./b", "/a/b"), ("/a%2fb", "/a/b"), ("/ä".addingEscapes, "/ä"), ("/a&b;c", "/a&b&c"),
    ])
    func paths(sent: String, seen: String) async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send("GET \(sent) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer()?.status == 404)
            #expect(server.echo.asked.items.map(\.path) == [seen])
        }
    }

    @Test func slowHead() async throws {
        try await withServer({
            $0.headerTimeoutSeconds = 1
            $0.sweepMilliseconds = 50
        }) { server in
            let silent = try await server.raw()
            let slow = try await server.raw()
            slow.send("GET / HTTP/1.1\r\nHost: a\r\nX-S")
            let again = try await server.raw()
            again.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await again.answer()?.status == 200)
            again.send("GET / HT")
            #expect(await silent.all() == "")
            #expect(await slow.all() == "")
            #expect(await again.all() == "")
        }
    }

    @Test func slowBody() async throws {
        try await withServer({
            $0.bodyTimeoutSeconds = 1
            $0.sweepMilliseconds = 50
        }) { server in
            let socket = try await server.raw()
            socket.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            #expect(await socket.all() == "")
            #expect(server.gateway.connectionCount == 0)
        }
    }

    @Test func idle() async throws {
        try await withServer({
            $0.idleHTTPSeconds = 1
            $0.sweepMilliseconds = 50
        }) { server in
            let socket = try await server.raw()
            socket.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer()?.status == 200)
            #expect(await socket.all() == "")
        }
    }

    @Test func clientGoesWhileTheAnswerIsMade() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send("GET /api/wait HTTP/1.1\r\nHost: a\r\n\r\nGET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            try await server.echo.asked.wait(for: 1)
            socket.close()
            let half = try await server.raw()
            half.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            half.close()
            server.echo.gate.fire()
            let other = try await server.raw()
            other.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await other.answer()?.status == 200)
        }
    }

    @Test func slowReaderOfALargeAnswer() async throws {
        try await withServer({
            $0.writeTimeoutSeconds = 1
            $0.sweepMilliseconds = 50
        }) { server in
            let socket = try await server.raw(receiveBuffer: 4096)
            socket.read(false)
            let request = "GET /api/big?n=5000000 HTTP/1.1\r\nHost: a\r\n\r\n"
            socket.send(request + request)
            try await server.echo.asked.wait(for: 1)
            let ended = Signal()
            let watch = LoopTimer()
            watch.start(after: 10, every: 10) { if server.gateway.connectionCount == 0 { ended.fire() } }
            try await ended.wait()
            watch.stop()
            // One that reads, late, gets everything.
            let patient = try await server.raw(receiveBuffer: 4096)
            patient.read(false)
            patient.send(request.replacing("5000000", with: "1000000") + "GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            try await server.echo.asked.wait(for: 2)
            patient.read(true)
            #expect(await patient.answer()?.body.utf8.count == 1_000_000)
            #expect(await patient.answer()?.status == 200)
        }
    }

    @Test func expectContinue() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            #expect(await socket.answer()?.status == 100)
            socket.send("abc")
            #expect(await socket.answer()?.body.hasSuffix("body=3") == true)
        }
    }

    @Test func tooManyConnections() async throws {
        try await withServer({ $0.maxConnections = 3 }) { server in
            var sockets: [RawSocket] = []
            for _ in 0..<3 {
                let socket = try await server.raw()
                socket.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(await socket.answer()?.status == 200)
                sockets.append(socket)
            }
            let refused = try await server.raw()
            let answer = await refused.answer()
            #expect(answer?.status == 503)
            #expect(answer?.headers["retry-after"] == "1")
            #expect(await refused.all() == "")
            sockets[0].close()
            var status = 503
            while status == 503 {
                let socket = try await server.raw()
                socket.send("GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
                status = await socket.answer()?.status ?? 503
            }
            #expect(status == 200)
        }
    }
}

extension String {
    /// Percent-encoded, for what isn't ASCII.
    fileprivate var addingEscapes: String {
        utf8.map { $0 < 128 ? String(UnicodeScalar($0)) : "%" + String($0, radix: 16) }.joined()
    }
}
