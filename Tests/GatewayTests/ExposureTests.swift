import EventLoop
import Model
import TestServices
import Testing

@testable import Gateway

/// Addresses, proxies and origins, without a socket.
@Suite struct ExposureTests {
    @Test(
        arguments: [
            ("1.2.3.4", "1.2.3.4"), (" 1.2.3.4\t", "1.2.3.4"), ("1.2.3.4:567", "1.2.3.4"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"), ("2001:DB8::1", "2001:db8::1"), ("::ffff:1.2.3.4", "1.2.3.4"), ("", nil),
            ("unknown", nil), ("1.2.3", nil), ("1.2.3.4:x", nil), ("1.2.3.4:99999", nil), ("[1.2.3.4", nil),
            ("256.1.1.1", nil),
            ("1.2.3.4, 5.6.7.8", nil), ("[::1]x", nil), ("1.2.3.4\u{0}", nil),
        ] as [(String, String?)])
    func addresses(text: String, parsed: String?) { #expect(PeerAddress(text)?.description == parsed) }

    @Test(arguments: [
        ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false), ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false), ("0.0.0.0/0", "9.9.9.9", true), ("0.0.0.0/0", "::1", false),
        ("10.0.0.128/25", "10.0.0.129", true), ("10.0.0.128/25", "10.0.0.127", false), ("fd00::/8", "fd12::1", true),
        ("fd00::/8", "fe00::1", false), ("2001:db8::/65", "2001:db8::7fff:0:0:1", true),
        ("2001:db8::/65", "2001:db8::8000:0:0:1", false), ("::1", "::1", true), ("::/0", "1.2.3.4", false),
        ("::ffff:10.0.0.1", "10.0.0.1", true),
    ])
    func ranges(range: String, address: String, contains: Bool) throws {
        #expect(try #require(AddressRange(range)).contains(try #require(PeerAddress(address))) == contains)
    }

    @Test(arguments: ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.0/8x"])
    func noRanges(text: String) { #expect(AddressRange(text) == nil) }

    @Test func aNetworkOfIPv6IsOneSubscriber() throws {
        func subscriber(_ text: String) throws -> PeerAddress { try #require(PeerAddress(text)).subscriber }
        #expect(try subscriber("2001:db8::1") == subscriber("2001:db8::ffff:1:2:3"))
        #expect(try subscriber("2001:db8::1") != subscriber("2001:db8:0:1::1"))
        #expect(try subscriber("1.2.3.4") != subscriber("1.2.3.5"))
    }

    @Test(
        arguments: [
            // Nobody is trusted, or not the one that connects: it is the client, whatever it writes.
            ("9.9.9.9", "1.1.1.1", "9.9.9.9"), ("10.0.0.1", nil, "10.0.0.1"), ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
            // What the client wrote itself stands on the left, and counts for nothing.
            ("10.0.0.1", "127.0.0.1, 1.1.1.1", "1.1.1.1"), ("10.0.0.1", "8.8.8.8, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"), ("10.0.0.1", "1.1.1.1, nonsense", "10.0.0.1"),
            ("10.0.0.1", "nonsense, 10.0.0.2", "10.0.0.2"), ("10.0.0.1", "1.1.1.1,", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "1.1.1.1, [2001:db8::1]:443", "2001:db8::1"),
        ] as [(String, String?, String)])
    func proxies(peer: String, header: String?, client: String) throws {
        let trusted = [try #require(AddressRange("10.0.0.0/8"))]
        let peer = try #require(PeerAddress(peer))
        #expect(Forwarding.client(of: peer, forwardedFor: header, trusted: trusted).description == client)
        #expect(Forwarding.client(of: peer, forwardedFor: header, trusted: []) == peer)
    }

    @Test(
        arguments: [
            (nil, "shop.example", true), ("https://shop.example", "shop.example", true),
            ("https://shop.example", "SHOP.example:443", true), ("http://shop.example:8080", "shop.example:8080", true),
            ("http://shop.example", "shop.example:8080", false), ("https://evil.example", "shop.example", false),
            ("https://shop.example.evil.example", "shop.example", false), ("null", "shop.example", false),
            ("", "shop.example", false), ("https://shop.example", nil, false), ("file://", "", false),
            ("https://evil.example@shop.example", "shop.example", false), ("http://[::1]:80", "[::1]", true),
            ("https://shop.example/", "shop.example", true), ("https://shop.example//", "shop.example", false),
            ("http://localhost:8080", "127.0.0.1:8080", true), ("http://127.0.0.1:8080", "[::1]:8080", true),
            ("http://localhost:8080", "127.0.0.1:8081", false), ("http://localhost.evil.example", "127.0.0.1", false),
            ("http://127.0.0.1.evil.example", "localhost", false),
        ] as [(String?, String?, Bool)])
    func sameOrigin(origin: String?, host: String?, allowed: Bool) {
        #expect(OriginRule.same.allows(origin: origin, hosts: [host].compactMap { $0 }) == allowed)
    }

    @Test func listedOrigins() throws {
        let rule = try #require(OriginRule(["https://Shop.example", "http://localhost:3000"]))
        for origin in [
            "https://shop.example", "https://shop.example:443", "http://localhost:3000", "https://host.example",
        ] {
            #expect(rule.allows(origin: origin, hosts: ["host.example"]), "\(origin)")
        }
        for origin in [
            "http://shop.example", "https://a.shop.example", "http://localhost", "null", "https://shop.example/x",
        ] {
            #expect(!rule.allows(origin: origin, hosts: ["host.example"]), "\(origin)")
        }
        #expect(OriginRule(["*"])?.allows(origin: "null", hosts: ["x"]) == true)
        #expect(OriginRule([]) == .same)
        for bad in ["shop.example", "https://", "https://a/b", "*", "ftp://a"] {
            #expect(OriginRule(["https://a.example", bad]) == nil, "\(bad)")
        }
    }
}

/// The same, over sockets.
@Suite(.timeLimit(.minutes(patience)))
struct ExposedServerTests {
    private static let get = "GET /api/echo HTTP/1.1\r\nHost: a\r\n"

    @Test func countsTheConnectionsOfAnAddress() async throws {
        try await withServer({ $0.maxConnectionsPerAddress = 3 }) { server in
            var sockets: [RawSocket] = []
            for _ in 0..<3 { sockets.append(try await server.raw(from: "127.0.0.2")) }
            for socket in sockets {
                socket.send(Self.get + "\r\n")
                #expect(await socket.answer()?.status == 200)
            }
            // One more is cut; a neighbour is not concerned.
            let cut = try await server.raw(from: "127.0.0.2")
            #expect(await cut.all() == "")
            #expect(server.echo.turnedAway.items.map(\.description) == ["127.0.0.2"])
            let other = try await server.raw(from: "127.0.0.3")
            other.send(Self.get + "\r\n")
            #expect(await other.answer()?.status == 200)
            // A WebSocket counts as the connection that it was, until its end.
            #expect(await sockets[0].upgrade())
            sockets[1].close()
            try await server.echo.ends(with: 3, server.gateway)
            let again = try await server.raw(from: "127.0.0.2")
            again.send(Self.get + "\r\n")
            #expect(await again.answer()?.status == 200)
            let second = try await server.raw(from: "127.0.0.2")
            #expect(await second.all() == "")
            sockets[0].close()
            try await server.echo.closed.wait(for: 1)
            let last = try await server.raw(from: "127.0.0.2")
            last.send(Self.get + "\r\n")
            #expect(await last.answer()?.status == 200)
        }
    }

    @Test func cutsAFloodOfConnections() async throws {
        try await withServer({ $0.connectionRate = TokenBucket.Limit(perSecond: 0.01, burst: 5) }) { server in
            var served = 0
            for _ in 0..<20 {
                let socket = try await server.raw(from: "127.0.0.2")
                socket.send(Self.get + "Connection: close\r\n\r\n")
                if await socket.all().hasPrefix("HTTP/1.1 200") { served += 1 }
            }
            #expect(served == 5)
            #expect(server.echo.turnedAway.items.count == 15)
            let other = try await server.raw()
            other.send(Self.get + "\r\n")
            #expect(await other.answer()?.status == 200)
        }
    }

    @Test func behindATrustedProxyItIsTheClientThatCounts() async throws {
        try await withServer({
            $0.trustedProxies = [AddressRange("127.0.0.2")!]
            $0.maxConnectionsPerAddress = 1
        }) { server in
            func upgrade(_ client: String) -> String {
                RawFrame.handshake("/ws").replacing("\r\n\r\n", with: "\r\nX-Forwarded-For: 6.6.6.6, \(client)\r\n\r\n")
            }
            let first = try await server.raw(from: "127.0.0.2")
            first.send(upgrade("9.9.9.9"))
            #expect(try await server.echo.opened.wait(for: 1)[0].remoteAddress.description == "9.9.9.9")
            #expect(server.echo.connections.first?.remoteAddress.description == "9.9.9.9")
            let second = try await server.raw(from: "127.0.0.2")
            second.send(upgrade("9.9.9.9"))
            #expect(await second.answer()?.status == 429)
            let third = try await server.raw(from: "127.0.0.2")
            third.send(upgrade("9.9.9.8"))
            #expect(try await server.echo.opened.wait(for: 2)[1].remoteAddress.description == "9.9.9.8")
            first.close()
            try await server.echo.closed.wait(for: 1)
            let fourth = try await server.raw(from: "127.0.0.2")
            fourth.send(upgrade("9.9.9.9"))
            try await server.echo.opened.wait(for: 3)
            // Whoever isn't the proxy is itself, and no request through a proxy is a local one.
            let liar = try await server.raw()
            liar.send(Self.get + "X-Forwarded-For: 9.9.9.9\r\n\r\n")
            #expect(await liar.answer()?.status == 200)
            let asked = try #require(server.echo.asked.items.last)
            #expect(asked.remoteAddress.description == "127.0.0.1" && !asked.isLoopback)
            liar.send(Self.get + "\r\n")
            #expect(await liar.answer()?.status == 200)
            #expect(server.echo.asked.items.last?.isLoopback == true)
        }
    }

    /// What a proxy doesn't say, or is made not to say, is nobody's: it is not taken for the proxy's own.
    @Test func aProxyHasToSayForWhomItAsks() async throws {
        try await withServer({ $0.trustedProxies = [AddressRange("127.0.0.2")!] }) { server in
            @LoopActor func ask(_ path: String, _ headers: String = "", _ source: String = "127.0.0.2") async throws
                -> RawAnswer?
            {
                let socket = try await server.raw(from: source)
                socket.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\(headers)\r\n")
                return await socket.answer()
            }
            let unsaid = try await ask("/api/echo")
            #expect(unsaid?.status == 400 && unsaid?.body.contains("X-Forwarded-For") == true)
            // The client's own header swallows the proxy's (docs/gateway.md).
            #expect(try await ask("/api/echo", "X: a\r\nX-Forwarded-For: 9.9.9.9\r\n")?.status == 400)
            #expect(try await ask("/metrics")?.status == 400)
            #expect(server.echo.asked.items.isEmpty)
            // What the proxy asks for itself, and what it says in order; neither is ever of this machine.
            #expect(try await ask("/healthz")?.status == 404)
            #expect(server.echo.asked.items.last?.isLoopback == false)
            #expect(try await ask("/api/echo", "X-Forwarded-For: 127.0.0.1\r\n")?.status == 200)
            #expect(server.echo.asked.items.last?.isLoopback == false)
            #expect(server.echo.asked.items.last?.remoteAddress.description == "127.0.0.1")
            #expect(try await ask("/api/echo", "", "127.0.0.3")?.status == 200)
            #expect(server.echo.asked.items.last?.isLoopback == true)
            let handshake = try await server.raw(from: "127.0.0.2")
            handshake.send(RawFrame.handshake("/ws"))
            #expect(await handshake.answer()?.status == 400)
        }
    }

    /// Behind a proxy the page's host is the one that the proxy was asked by. Only a trusted one is believed.
    @Test func theHostThatTheProxyWasAskedBy() async throws {
        try await withServer({ $0.trustedProxies = [AddressRange("127.0.0.2")!] }) { server in
            @LoopActor func opens(_ source: String, _ host: String) async throws -> Bool {
                let socket = try await server.raw(from: source)
                socket.send(
                    RawFrame.handshake("/ws").replacing(
                        "\r\n\r\n",
                        with: "\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: \(host)\r\n"
                            + "Origin: https://shop.example\r\n\r\n"))
                await socket.wait { socket.received.firstRange(of: Array("\r\n\r\n".utf8)) != nil }
                return String(decoding: socket.received, as: UTF8.self).hasPrefix("HTTP/1.1 101")
            }
            for (source, host, isGood) in [
                ("127.0.0.2", "shop.example", true), ("127.0.0.2", "shop.example, inner.example", true),
                ("127.0.0.2", "other.example", false), ("127.0.0.3", "shop.example", false),
            ] {
                let isOpen = try await opens(source, host)
                #expect(isOpen == isGood, "\(source) \(host)")
            }
        }
    }

    @Test func questionsBeforehandAreLimitedToo() async throws {
        try await withServer({ $0.origins = OriginRule(["https://shop.example"])! }) { server in
            let socket = try await server.raw()
            let question =
                "OPTIONS /api/echo HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: POST\r\n"
                + "Origin: https://shop.example\r\n\r\n"
            socket.send(question)
            #expect(await socket.answer()?.status == 204)
            server.echo.refusesPreflights = true
            socket.send(question)
            #expect(await socket.answer()?.status == 429)
        }
    }

    @Test func pagesOfOtherOriginsDontGetIn() async throws {
        try await withServer({ $0.origins = OriginRule(["https://shop.example"])! }) { server in
            func handshake(_ origin: String) -> String {
                RawFrame.handshake("/ws").replacing("\r\n\r\n", with: "\r\nOrigin: \(origin)\r\n\r\n")
            }
            let foreign = try await server.raw()
            foreign.send(handshake("https://evil.example"))
            let refusal = await foreign.answer()
            #expect(refusal?.status == 403 && refusal?.body.contains("\"forbidden\"") == true)
            let shop = try await server.raw()
            shop.send(handshake("https://shop.example"))
            try await server.echo.opened.wait(for: 1)

            @LoopActor func ask(_ request: String) async throws -> RawAnswer? {
                let socket = try await server.raw()
                socket.send(request)
                return await socket.answer()
            }
            let allowed = try await ask(Self.get + "Origin: https://shop.example\r\n\r\n")
            #expect(allowed?.headers["access-control-allow-origin"] == "https://shop.example")
            #expect(allowed?.headers["vary"] == "origin" && allowed?.status == 200)
            let denied = try await ask(Self.get + "Origin: https://evil.example\r\n\r\n")
            #expect(denied?.headers["access-control-allow-origin"] == nil && denied?.headers["vary"] == "origin")
            let question =
                "OPTIONS /api/echo HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: POST\r\n"
                + "Access-Control-Request-Headers: authorization\r\n"
            let yes = try await ask(question + "Origin: https://shop.example\r\n\r\n")
            #expect(yes?.status == 204 && yes?.headers["access-control-allow-origin"] == "https://shop.example")
            #expect(yes?.headers["access-control-allow-methods"]?.contains("DELETE") == true)
            #expect(yes?.headers["access-control-allow-headers"]?.contains("idempotency-key") == true)
            let no = try await ask(question + "Origin: https://evil.example\r\n\r\n")
            #expect(no?.status == 403 && no?.headers["access-control-allow-origin"] == nil)
        }
    }

    /// Compressed messages, the usual bomb, are not even offered.
    @Test func nothingIsInflated() async throws {
        try await withServer { server in
            let socket = try await server.raw()
            let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
            socket.send(RawFrame.handshake("/ws").replacing("\r\n\r\n", with: offer))
            try await server.echo.opened.wait(for: 1)
            await socket.wait { socket.received.firstRange(of: Array("\r\n\r\n".utf8)) != nil }
            let head = String(decoding: socket.received, as: UTF8.self).lowercased()
            #expect(head.hasPrefix("http/1.1 101 ") && !head.contains("deflate"))
            // A text frame with the bit that says compressed, masked with zeros.
            socket.send([0xC1, 0x83, 0, 0, 0, 0, 0x2A, 0x04, 0x00])
            let reason = try await server.echo.closed.wait(for: 1)[0]
            #expect(reason.code == 1002 || reason.code == 1006)
            #expect(server.echo.texts.items.isEmpty)
        }
    }
}
