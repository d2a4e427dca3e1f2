import EventLoop
import Foundation
import Model
import TestServices
import Testing

@testable import Gateway

extension Certificates {
    fileprivate var files: TLSFiles { TLSFiles(certificate: certificate, key: key) }
}

/// HTTPS and WSS, by clients that aren't ours: Python's and openssl's.
@Suite(.timeLimit(.minutes(2 * patience)))
struct TLSTests {
    /// What all scripts begin with: `connect` makes a connection; `name` tells whose certificate it was shown.
    private static let prelude = #"""
        import socket, ssl, sys, os, struct, time
        port = int(sys.argv[1])
        def connect():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2", "http/1.1"])
            raw = socket.create_connection(("127.0.0.1", port), timeout=20)
            return context.wrap_socket(raw, server_hostname="one.example")
        def name(tls):
            der = tls.getpeercert(True)
            return next(n for n in ("one", "two", "three") if (n + ".example").encode() in der)
        def ask(tls, text, body=b""):
            tls.sendall(text.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            got = b""
            while b"\r\n\r\n" not in got: got += tls.recv(1)
            head = got.decode().lower()
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            answer = b""
            while len(answer) < length:
                piece = tls.recv(65536)
                assert piece, "the end after %d bytes" % len(answer)
                answer += piece
            return head, answer

        """#

    @LoopActor
    private func script(_ server: TestServer, _ text: String, _ path: String = "") throws -> Program {
        try Program("/usr/bin/python3", ["-u", "-c", Self.prelude + text, String(server.gateway.port), path])
    }

    @LoopActor
    private func succeeds(_ program: Program) async throws {
        let exit = try await program.waitForExit()
        #expect(exit == ChildProcess.Exit(status: 0, signal: 0), "\(program.errors.items.joined(separator: "\n"))")
    }

    @Test func speaksHTTPAndWebSocket() async throws {
        let certificates = try await onLoop { try await Certificates("one.example") }
        let files = await certificates.files
        try await withServer({
            $0.tls = files
            $0.hstsSeconds = 300
        }) { server in
            let program = try script(
                server,
                #"""
                tls = connect()
                assert name(tls) == "one" and tls.version() == "TLSv1.3", tls.version()
                assert tls.selected_alpn_protocol() == "http/1.1", tls.selected_alpn_protocol()
                for _ in range(3):
                    head, body = ask(tls, "GET /api/echo?a=b HTTP/1.1\nHost: x")
                    assert head.startswith("http/1.1 200") and body.startswith(b"GET /api/echo [a=b]"), (head, body)
                    assert "strict-transport-security: max-age=300" in head
                head, body = ask(tls, "POST /api/echo HTTP/1.1\nHost: x\nContent-Length: 60000", b"x" * 60000)
                assert body.endswith(b"body=60000"), body
                # Far more than the socket takes, for a reader that takes its time.
                tls.sendall(b"GET /api/big?n=3000000 HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(0.3)
                got = 0
                while got < 3000000: got += len(tls.recv(100000))
                head, body = ask(tls, "GET /api/echo HTTP/1.1\nHost: x")
                assert head.startswith("http/1.1 200"), head
                head, body = ask(tls, "BREW /api/echo HTTP/1.1\nHost: x")
                assert head.startswith("http/1.1 405"), head
                tls = connect()
                tls.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
                got = b""
                while b"\r\n\r\n" not in got: got += tls.recv(1)
                assert got.startswith(b"HTTP/1.1 101"), got
                for size in (5, 120, 4000, 16000):
                    frame = b"\x81" + (bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size))
                    tls.sendall(frame + b"\0\0\0\0" + b"y" * size)
                    want, got = (2 if size < 126 else 4) + size, b""
                    while len(got) < want: got += tls.recv(want - len(got))
                    assert got.endswith(b"y" * size) and got[0] == 0x81
                """#)
            try await succeeds(program)
        }
    }

    /// A new certificate is taken into use without an end for those who are connected; a broken one is not.
    @Test func certificatesAreReplaced() async throws {
        let certificates = try await onLoop { try await Certificates("one.example") }
        let files = await certificates.files
        try await withServer({ $0.tls = files }) { server in
            let program = try script(
                server,
                #"""
                old = connect()
                assert name(old) == "one"
                print("connected")
                for line in ("broken", "two", "three"):
                    while line == "broken" and not os.path.exists(sys.argv[2]): time.sleep(0.01)
                    deadline = time.time() + 20
                    wanted = "one" if line == "broken" else line
                    while name(connect()) != wanted: assert time.time() < deadline, wanted
                    head, body = ask(old, "GET /api/echo HTTP/1.1\nHost: x")
                    assert head.startswith("http/1.1 200"), head
                    print("saw", line)
                """#, certificates.path("broken"))
            try await program.output.first("a connection") { $0 == "connected" }
            let before = try #require(server.gateway.certificateExpiry)
            // Not a certificate; then one without its key, as in the moment between the writing of the two.
            let good = try certificates.read(files.certificate)
            try certificates.write(Data("nonsense".utf8), files.certificate)
            server.gateway.reloadCertificate(always: false)
            try certificates.write(good, files.certificate)
            let key = try certificates.read(files.key)
            try await certificates.make("two.example")
            let newKey = try certificates.read(files.key)
            try certificates.write(key, files.key)
            server.gateway.reloadCertificate(always: true)
            #expect(server.gateway.certificateExpiry == before)
            try certificates.write(Data(), certificates.path("broken"))
            try await program.output.first("the old one") { $0 == "saw broken" }
            try certificates.write(newKey, files.key)
            server.gateway.reloadCertificate(always: false)
            try await program.output.first("the second one") { $0 == "saw two" }
            // One of another kind: nothing of the one before may be left.
            try await certificates.make("three.example", algorithm: ["rsa:2048"])
            server.gateway.reloadCertificate(always: false)
            try await succeeds(program)
            #expect(program.output.items.contains("saw three"))
        }
    }

    @Test func badFilesAreRefusedAtTheStart() async throws {
        let certificates = try await onLoop { try await Certificates("one.example") }
        let files = await certificates.files
        #expect(files.problem == nil)
        #expect(TLSFiles(certificate: files.key, key: files.certificate).problem?.contains("certificate") == true)
        #expect(TLSFiles(certificate: files.certificate, key: "/no/such/file").problem?.contains("key") == true)
        let encrypted = await certificates.path("encrypted.pem")
        _ = try await onLoop {
            try await Program.run(
                "/usr/bin/openssl",
                ["pkey", "-in", files.key, "-aes-256-cbc", "-passout", "pass:sesame", "-out", encrypted])
        }
        #expect(TLSFiles(certificate: files.certificate, key: encrypted).problem?.contains("encrypted") == true)
        let other = try await onLoop { try await Certificates("two.example") }
        let mixed = TLSFiles(certificate: files.certificate, key: await other.files.key)
        #expect(mixed.problem != nil)
        await #expect(throws: GatewayError.self) { try await withServer({ $0.tls = mixed }) { _ in } }
    }

    /// What OpenSSL has decrypted is read after a pause, though nothing more comes.
    @Test func aPauseLosesNothing() async throws {
        let certificates = try await onLoop { try await Certificates("one.example") }
        let files = await certificates.files
        try await withServer({
            $0.tls = files
            $0.receiveRate = TokenBucket.Limit(perSecond: 20_000, burst: 2000)
        }) { server in
            try await succeeds(
                script(
                    server,
                    #"""
                    tls = connect()
                    tls.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
                    got = b""
                    while b"\r\n\r\n" not in got: got += tls.recv(1)
                    # One record, of which much comes after the pause.
                    tls.sendall((b"\x81\xe4\0\0\0\0" + b"z" * 100) * 100)
                    got = b""
                    while len(got) < 102 * 100:
                        piece = tls.recv(65536)
                        assert piece, len(got)
                        got += piece
                    """#))
        }
    }

    /// Who begins a handshake and doesn't end it, or speaks something else, is sent away in time and leaves nothing.
    @Test func slowAndWrongHandshakes() async throws {
        let certificates = try await onLoop { try await Certificates("one.example") }
        let files = await certificates.files
        try await withServer({
            $0.tls = files
            $0.headerTimeoutSeconds = 1
            $0.sweepMilliseconds = 50
        }) { server in
            let silent = try await server.raw()
            // The beginning of a ClientHello of 512 bytes.
            let slow = try await server.raw()
            slow.send([22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
            let plain = try await server.raw()
            plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(!(await plain.all()).contains("HTTP/1.1"))
            let noise = try await server.raw()
            noise.send([UInt8](repeating: 22, count: 5000))
            _ = await noise.all()
            for _ in 0..<100 {
                let cut = try await server.raw()
                cut.send([22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3])
                cut.close()
            }
            #expect(await silent.all() == "")
            _ = await slow.all()
            try await server.echo.ends(with: 0, server.gateway)
            // Who is slow after the handshake has no more time.
            try await succeeds(
                script(
                    server,
                    #"""
                    tls = connect()
                    tls.sendall(b"GET / HT")
                    assert tls.recv(1) == b""
                    tls = connect()
                    head, body = ask(tls, "GET /api/echo HTTP/1.1\nHost: x")
                    assert head.startswith("http/1.1 200")
                    """#))
        }
    }

    @Test func olderVersionsAreNotSpoken() async throws {
        let certificates = try await onLoop { try await Certificates("one.example") }
        let files = await certificates.files
        try await withServer({ $0.tls = files }) { server in
            @LoopActor func handshake(_ version: String) async throws -> String {
                let program = try Program(
                    "/usr/bin/openssl",
                    [
                        "s_client", "-connect", "127.0.0.1:\(server.gateway.port)", version, "-cipher",
                        "DEFAULT@SECLEVEL=0",
                    ])
                _ = try await program.waitForExit()
                return (program.output.items + program.errors.items).joined(separator: "\n")
            }
            let (spoken, refused) = (try await handshake("-tls1_2"), try await handshake("-tls1_1"))
            #expect(spoken.contains("Protocol  : TLSv1.2"), "\(spoken)")
            #expect(refused.contains("alert protocol version"), "\(refused)")
        }
    }
}
