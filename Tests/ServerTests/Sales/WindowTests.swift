import EventLoop
import Model
import TestServices
import Testing

/// A sale opens and closes by its own clock, on every instance.
@Suite struct WindowTests {
    @Test func opensAndClosesByItselfOnEveryInstance() async throws {
        try await withShop(2) { shop in
            let sale = try await shop.sale(10, opensIn: 1500, closesIn: 3500)
            let opensAt = try #require(Timestamp(rfc3339: try await shop.show(sale)["opensAt"].text ?? ""))
            let watchers = try await concurrently(2) { try await Buyer.connect(shop, as: "watcher\($0)", on: $0) }
            for watcher in watchers { #expect(try await watcher.watch(sale)["status"] == "scheduled") }
            let early = try await concurrently(2) { try await shop.claim(sale, "early\($0)", on: $0) }
            #expect(early.allSatisfy { $0.status == 409 && $0.code == "not_open" })
            #expect(try await watchers[0].claim(sale)["outcome"] == "not_open")

            for (instance, watcher) in watchers.enumerated() {
                try await watcher.sees(sale, status: "open", remaining: 10)
                let late = EventLoop.wallMilliseconds - opensAt.milliseconds
                #expect((0..<1000).contains(late), "told \(late) ms after it opened")
                #expect(try await watcher.claim(sale)["outcome"] == "accepted")
                #expect(try await shop.claim(sale, "rest\(instance)", on: instance).status == 201)
            }
            for (instance, watcher) in watchers.enumerated() {
                try await watcher.sees(sale, status: "closed", remaining: 6)
                let late = EventLoop.wallMilliseconds - opensAt.milliseconds - 2000
                #expect((0..<1000).contains(late), "told \(late) ms after it closed")
                #expect(try await watcher.claim(sale)["outcome"] == "closed")
                let refused = try await shop.claim(sale, "late\(instance)", on: instance)
                #expect(refused.status == 409 && refused.code == "closed")
                #expect(try await shop.show(sale, on: instance)["status"] == "closed")
            }
            try await shop.expectBooks(sale, sold: 4)
        }
    }
}
