import EventLoop
import Glibc
import Testing

@testable import Gateway

/// What can be tested without a socket.
@Suite struct PartsTests {
    @Test func dates() async throws {
        try await onLoop {
            #expect(HTTPDate.format(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
            #expect(HTTPDate.format(0) == "Thu, 01 Jan 1970 00:00:00 GMT")
        }
    }

    @Test(arguments: [
        (nil, false), ("\"a\"", true), ("\"b\", \"a\"", true), ("W/\"a\"", true), ("*", true), ("\"ab\"", false),
        ("a", false),
    ])
    func entityTags(list: String?, matches: Bool) {
        #expect(StaticFiles.matches(list, "\"a\"") == matches)
    }

    @Test(arguments: [
        ("/", "index.html"), ("/a", "a"), ("/a/b.js", "a/b.js"), ("/a/", "a/index.html"), ("/.a", nil),
        ("/a/.b/c", nil),
        ("/..", nil), ("/a\u{0}", nil),
    ])
    func fileNames(path: String, name: String?) {
        #expect(StaticFiles.name(for: path) == name)
    }

    @Test func responsesCannotSmuggleHeaders() {
        let response = HTTPResponse(
            status: 200, headers: ["x-a": "b\r\nSet-Cookie: c", "Content-Length": "7", "Connection": "x"],
            body: Array("body".utf8))
        let text = String(
            decoding: response.encode(version: .http11, keepAlive: true, omitBody: false, date: "now"), as: UTF8.self)
        #expect(text == "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 4\r\nx-a: bSet-Cookie: c\r\n\r\nbody")
    }

    @Test func outbox() async throws {
        try await onLoop {
            var outbox = Outbox()
            #expect(outbox.isEmpty)
            let key = StateKey(kind: 1, subject: 1)
            outbox.mark(Outbox.Mark(key: key, encode: .short { [1] }))
            for number in 0..<600 { outbox.append([UInt8(number & 255), 0]) }
            outbox.mark(Outbox.Mark(key: StateKey(kind: 1, subject: 2), encode: .short { nil }))
            outbox.mark(Outbox.Mark(key: key, encode: .short { [2] }))
            #expect(outbox.bytes == 1200)
            for number in 0..<600 { #expect(message(outbox.next()) == [UInt8(number & 255), 0]) }
            #expect(outbox.bytes == 0)
            #expect(!outbox.isEmpty)
            #expect(message(outbox.next()) == [2])
            #expect(message(outbox.next()) == nil)
            #expect(outbox.isEmpty)
            outbox.mark(Outbox.Mark(key: key, encode: .short { [3] }))
            outbox.removeMark(key)
            #expect(outbox.isEmpty)
        }
    }

    @Test(arguments: [
        ("ws://a", "a", 80, "/"), ("ws://a:81/b?c=d", "a", 81, "/b?c=d"), ("ws://[::1]:9/x", "::1", 9, "/x"),
        ("ws://a?b", "a", 80, "/?b"),
    ])
    func urls(url: String, host: String, port: Int32, target: String) throws {
        let address = try ClientAddress(url, scheme: "ws")
        #expect(address.host == host)
        #expect(address.port == port)
        #expect(address.target == target)
    }

    @Test(arguments: ["http://a", "ws://", "ws://a:0", "ws://a:x", "ws://a:70000", "ws://a/ b", "ws://a/é"])
    func badURLs(url: String) {
        #expect(throws: GatewayError.self) { try ClientAddress(url, scheme: "ws") }
    }

    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1", true), ("::ffff:127.0.0.2", "127.0.0.2", true), ("::1", "::1", true),
        ("10.1.2.3", "10.1.2.3", false), ("2001:db8::1", "2001:db8::1", false), ("::ffff:10.1.2.3", "10.1.2.3", false),
    ])
    func addresses(text: String, shown: String, isLoopback: Bool) {
        var storage = sockaddr_storage()
        withUnsafeMutablePointer(to: &storage) { storage in
            if text.contains(":") {
                storage.pointee.ss_family = sa_family_t(AF_INET6)
                storage.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    _ = inet_pton(AF_INET6, text, &$0.pointee.sin6_addr)
                }
            } else {
                storage.pointee.ss_family = sa_family_t(AF_INET)
                storage.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    _ = inet_pton(AF_INET, text, &$0.pointee.sin_addr)
                }
            }
        }
        let address = PeerAddress(&storage)
        #expect(address.description == shown)
        #expect(address.isLoopback == isLoopback)
    }
}

/// The bytes of a short message.
private func message(_ item: Outbox.Item?) -> [UInt8]? {
    if case .message(let bytes) = item { bytes } else { nil }
}
