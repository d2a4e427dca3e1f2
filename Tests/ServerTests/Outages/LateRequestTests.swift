import EventLoop
import Glibc
import TestServices
import Testing

/// A process that stood still finds requests of clients that have gone elsewhere since, and were told something else there.
@Suite struct LateRequestTests {
    /// Somebody asked an instance that was frozen, gave up, and was told `sold_out` by another one: it must not own a ticket in
    /// the end, because the first one wakes up when one has come back.
    @Test func whoGaveUpIsNotDecidedUpon() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(1)
            let first = try await shop.claim(sale, "a")
            #expect(first.status == 201)
            try await shop.settled(sale)
            shop.instances[1].signal(SIGSTOP)
            // It lies in the socket; the client closes its end.
            let body = #"{"userId":"late"}"#
            let head =
                "POST /api/sales/\(sale)/claims HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(shop.token("late"))\r\n"
                + "Content-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
            try await shop.leaveBehind(head + body, on: 1)
            #expect(try await shop.claim(sale, "late", key: "k", on: 0).code == "sold_out")
            let gone = try await shop.call(.delete, "/api/orders/\(first.order ?? "")", as: .service)
            #expect(gone.status == 200)
            await EventLoop.sleep(milliseconds: 2000)
            shop.instances[1].signal(SIGCONT)
            try await eventually("it is awake") { try await shop.call(.get, "/readyz", on: 1).status == 200 }
            #expect(try await shop.truth(sale, "late", on: 0)["status"] == "none")
            #expect(try await shop.show(sale)["remaining"] == 1)
            // Asked again, it is decided as ever.
            #expect(try await shop.claim(sale, "late", key: "k", on: 1).status == 201)
        }
    }
}

extension Shop {
    /// Sends something to an instance and closes the connection without waiting for an answer.
    fileprivate func leaveBehind(_ text: String, on instance: Int) async throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { _ = Glibc.close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        let port = instances[instance].log.items.first { $0.event == "listening" }?.json["port"].integer
        address.sin_port = in_port_t(try #require(UInt16(exactly: port ?? 0))).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
        let bytes = Array(text.utf8)
        #expect(Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
    }
}
