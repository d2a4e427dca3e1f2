import CWebSockets
import Model
import TestServices
import Testing

@testable import EventLoop
@testable import Gateway

@Suite(.timeLimit(.minutes(patience)))
struct HTTPTests {
    @Test(arguments: HTTPMethod.allCases.filter { $0 != .head })
    func methods(method: HTTPMethod) async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send(
                "\(method.rawValue) /api/echo?a=1&b=x%20y HTTP/1.1\r\nHost: a\r\nToken: t1\r\nIdempotency-Key: k1\r\n"
                    + "Authorization: Bearer z\r\nContent-Length: 3\r\n\r\nabc")
            let answer = await socket.answer()
            #expect(answer?.status == 200)
            #expect(
                answer?.body
                    == "\(method.rawValue) /api/echo [a=1,b=x y] token=t1 key=k1 auth=Bearer z body=3")
            #expect(answer?.headers["date"]?.hasSuffix(" GMT") == true)
            #expect(answer?.headers["connection"] == nil)
        }
    }

    @Test func keepAliveAndPipelining() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            let request = "GET /api/echo?n=%d HTTP/1.1\r\nHost: a\r\n\r\n"
            for round in 0..<3 {
                socket.send(request.replacing("%d", with: "\(round)"))
                let answer = await socket.answer()
                #expect(answer?.body.contains("[n=\(round)]") == true)
            }
            socket.send((0..<20).map { request.replacing("%d", with: "\($0)") }.joined())
            for round in 0..<20 {
                let answer = await socket.answer()
                #expect(answer?.body.contains("[n=\(round)]") == true)
            }
            socket.send(
                "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" + request.replacing("%d", with: "x")
            )
            #expect(await socket.answer()?.body.contains("POST") == true)
            #expect(await socket.answer()?.body.contains("GET") == true)
        }
    }

    /// The library would loop for ever, or read freed memory.
    @Test(arguments: [
        "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
        "POST /api/echo HTTP/1.1\r\nHost: a\r\n\r\n",
        "PUT /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nab",
        "POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\nab",
    ])
    func pipelinedBody(request: String) async throws {
        try await withServer { server in
            let socket = try await server.raw()
            let get = "GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n"
            socket.send(get + get + request + get)
            #expect(await socket.answer()?.status == 200)
            #expect(await socket.answer()?.status == 200)
            let refused = await socket.answer()
            #expect(refused?.status == 400 || refused?.status == 411)
            #expect(refused?.headers["connection"] == "close")
            #expect(await socket.all() == "")
        }
    }

    /// As Java's client begins.
    @Test func anOfferOfHTTP2IsNotTaken() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            for _ in 0..<2 {
                socket.send(
                    "POST /api/echo HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\nHost: a\r\n"
                        + "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n\r\nhello")
                let answer = await socket.answer()
                #expect(answer?.status == 200)
                #expect(answer?.body.hasSuffix("body=5") == true)
            }
        }
    }

    @Test func withoutKeepAlive() async throws {
        // A trusted proxy may send the requests of several clients over one connection: others' go on.
        try await withServer({ $0.trustedProxies = [AddressRange("127.0.0.2")!] }) { server in
            let socket = try await server.raw(from: "127.0.0.2")
            let request = "GET /api/echo HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n"
            socket.send(request + request)
            #expect(await socket.answer()?.headers["connection"] == "close")
            #expect(await socket.all() == "")
            #expect(server.echo.asked.items.count == 1)
            let other = try await server.raw()
            other.send(request + request)
            for _ in 0..<2 { #expect(await other.answer()?.status == 200) }
        }
    }

    /// The library would have the socket's writability awaited, of which it then takes no notice.
    @Test func theLoopSleepsWhileAPipelinedRequestIsAnswered() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            socket.send("GET /api/wait HTTP/1.1\r\nHost: a\r\n\r\nGET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            try await server.echo.asked.wait(for: 1)
            // To the end of the turn in which it came, and of the next one.
            for _ in 0..<2 {
                await withCheckedContinuation { done in Turn.atNextEnd(atOnce: true) { done.resume() } }
            }
            let connections = server.gateway.sweeper.all.compactMap { $0 as? HTTPConnection }
            let connection = try #require(connections.first { $0.phase == .handling })
            #expect(!EventLoop.isWatchedForWriting(lws_get_socket_fd(connection.wsi)))
            server.echo.gate.fire()
            #expect(await socket.answer()?.body == "waited")
            #expect(await socket.answer()?.status == 200)
            let big = "GET /api/big?n=3000000 HTTP/1.1\r\nHost: a\r\n\r\n"
            socket.send(big + "GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer()?.body.count == 3_000_000)
            #expect(await socket.answer()?.status == 200)
        }
    }

    /// A connection that says nothing keeps nothing for the headers of a request.
    @Test func silentConnectionsHaveNoTableOfHeaders() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            var connection: HTTPConnection?
            while connection?.phase != .waiting || HeaderTable.isAttached(connection!.wsi!) {
                await withCheckedContinuation { done in Turn.atNextEnd(atOnce: true) { done.resume() } }
                connection = server.gateway.sweeper.all.first as? HTTPConnection
            }
            // One is made when it speaks.
            socket.send("GET /api/ec")
            while !HeaderTable.isAttached(connection!.wsi!) {
                await withCheckedContinuation { done in Turn.atNextEnd(atOnce: true) { done.resume() } }
            }
            socket.send("ho HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer()?.status == 200)
        }
    }

    @Test func client() async throws {
        try await withServer { server in
            let answer = try await HTTPClient.request(
                .post, server.http + "/api/echo?q=1", headers: [("token", "p"), ("authorization", "Bearer x")],
                body: Array("hello".utf8))
            #expect(answer.status == 200)
            #expect(answer.text == "POST /api/echo [q=1] token=p key=- auth=Bearer x body=5")
            let big = try await HTTPClient.request(.get, server.http + "/api/big?n=3000000")
            #expect(big.body.count == 3_000_000)
            #expect(try await HTTPClient.request(.head, server.http + "/api/echo").status == 200)
            #expect(try await HTTPClient.request(.delete, server.http + "/api/nothing").status == 204)
            #expect(try await HTTPClient.request(.get, server.http + "/nowhere").status == 404)
            await #expect(throws: GatewayError.self) { try await HTTPClient.request(.get, "http://127.0.0.1:1/") }
        }
    }
}
