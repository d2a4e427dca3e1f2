import Foundation
import Testing

@testable import Model

@Suite struct IdentifierTests {
    @Test func clientsAreOfTheseCharacters() {
        #expect(ClientID("user-1.a_b:C")?.rawValue == "user-1.a_b:C")
        #expect(ClientID(String(repeating: "a", count: 64)) != nil)
        for text in ["", String(repeating: "a", count: 65), "a b", "ä", "a\u{0}", "a/b", "a\n"] {
            #expect(ClientID(text) == nil)
        }
    }

    @Test func ordersAndSales() {
        #expect(OrderID(parsing: "42-17") == OrderID(sale: SaleID(42), sequence: 17))
        #expect(OrderID(sale: SaleID(42), sequence: 17).description == "42-17")
        for text in ["", "42", "-1", "42-", "42-0", "042-1", "42-17-1", "4 2-1", "42-9007199254740992", "٤-1"] {
            #expect(OrderID(parsing: text) == nil)
        }
        #expect(SaleID(parsing: "9007199254740991") != nil)
        #expect(SaleID(parsing: "9007199254740992") == nil)
        #expect(SaleID(parsing: "+1") == nil)
    }

    @Test func keys() {
        #expect(IdempotencyKey("a") != nil)
        #expect(IdempotencyKey(String(repeating: "k", count: 128)) != nil)
        for text in ["", String(repeating: "k", count: 129), "a b", "ü", "a\t"] { #expect(IdempotencyKey(text) == nil) }
    }
}

@Suite struct TimestampTests {
    @Test(arguments: [
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00.000Z"),
        ("2026-11-20T12:00:00.5+09:00", "2026-11-20T03:00:00.500Z"),
        ("2026-11-20t12:00:00.123456789z", "2026-11-20T12:00:00.123Z"),
        ("2024-02-29T23:59:59.999-00:30", "2024-03-01T00:29:59.999Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
    ])
    func readsAndWrites(text: String, expected: String) {
        #expect(Timestamp(rfc3339: text)?.description == expected)
    }

    @Test(arguments: [
        "", "2026-11-20", "2026-11-20T12:00:00", "2026-11-20 12:00:00Z", "2026-13-20T12:00:00Z",
        "2026-02-29T12:00:00Z", "2026-11-20T24:00:00Z", "2026-11-20T12:60:00Z", "2026-11-20T12:00:61Z",
        "2026-11-20T12:00:00.Z", "2026-11-20T12:00:00+24:00", "2026-11-20T12:00:00Zx", "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:60Z", "２026-11-20T12:00:00Z",
    ])
    func refuses(text: String) {
        #expect(Timestamp(rfc3339: text) == nil)
    }

    @Test func agreesWithFoundation() {
        let formatter = ISO8601DateFormatter()
        formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        var random = SeededGenerator(seed: 7)
        for _ in 0..<2000 {
            let milliseconds = Int64.random(in: 0..<4_102_444_800_000, using: &random)
            let text = Timestamp(milliseconds: milliseconds).description
            #expect(text == formatter.string(from: Date(timeIntervalSince1970: Double(milliseconds) / 1000)))
            #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
        }
    }
}

@Suite struct JSONWriterTests {
    @Test func writesWhatFoundationReads() throws {
        var json = JSONWriter()
        json.object { json in
            json.member("text", "\"\\/\u{0}\u{1F}\n한글 🎫")
            json.member("none", nil as String?)
            json.member("number", Int64.min)
            json.member("flag", true)
            json.member("list") { json in
                json.array { json in
                    json.number(1)
                    json.string("")
                    json.object { _ in }
                    json.array { _ in }
                    json.null()
                }
            }
            json.key(dynamic: "refused:\"x\"")
            json.number(2)
        }
        let read = try #require(JSONSerialization.jsonObject(with: Data(json.bytes)) as? [String: Any])
        #expect(read["text"] as? String == "\"\\/\u{0}\u{1F}\n한글 🎫")
        #expect(read["none"] is NSNull)
        #expect(read["number"] as? Int64 == .min)
        #expect(read["flag"] as? Bool == true)
        #expect((read["list"] as? [Any])?.count == 5)
        #expect(read["refused:\"x\""] as? Int == 2)
        #expect(
            json.text.hasSuffix(#","list":[1,"",{},[],null],"refused:\"x\"":2}"#), "\(json.text)")
    }
}

@Suite struct RateTests {
    @Test func backoffGrowsToItsCapAndStartsAnew() {
        var random = SeededGenerator(seed: 1)
        var backoff = Backoff(base: 10, cap: 100)
        let ceilings: [Int64] = [10, 20, 40, 80, 100, 100, 100]
        for ceiling in ceilings {
            let pause = backoff.next(using: &random)
            #expect((1...ceiling).contains(pause))
        }
        for _ in 0..<1000 {
            let pause = backoff.next(using: &random)
            #expect((1...100).contains(pause))
        }
        backoff.reset()
        let first = backoff.next(using: &random)
        #expect((1...10).contains(first))
    }

    @Test func aBucketAllowsItsBurstAndThenItsRate() {
        let limit = TokenBucket.Limit(perSecond: 10, burst: 3)
        var bucket = TokenBucket(limit, now: 0)
        let taken = (0..<5).map { _ in bucket.take(limit, now: 0) }
        #expect(taken == [true, true, true, false, false])
        let result1 = bucket.take(limit, now: 99)
        #expect(!result1)
        let result2 = bucket.take(limit, now: 200)
        #expect(result2)
        #expect(!bucket.isFull(limit, now: 300))
        #expect(bucket.isFull(limit, now: 10_000))
    }

    @Test func countersHaveNamesBothWays() {
        let counters: [Counter] =
            [.requests, .accepted, .confirmed, .failed, .cancelled] + Refusal.allCases.map(Counter.refused)
        for counter in counters { #expect(Counter(name: counter.name) == counter) }
        #expect(Counter(name: "refused:nothing") == nil)
        #expect(Counter(name: "x") == nil)
    }

    @Test func everyRefusalHasAWireCode() {
        for refusal in Refusal.allCases {
            let error = WireError(refusal)
            #expect(error.code.rawValue == refusal.rawValue)
            #expect([403, 409].contains(error.code.status))
        }
        #expect(WireError(.unavailable, "").retryAfter == 1)
        #expect(WireError(.rateLimited, "").retryAfter == 1)
        #expect(WireError(.soldOut, "").retryAfter == nil)
    }
}
