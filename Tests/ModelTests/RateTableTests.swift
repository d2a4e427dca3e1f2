import Model
import Testing

@Suite struct RateTableTests {
    private let second: Int64 = 1_000_000_000
    private let limit = TokenBucket.Limit(perSecond: 10, burst: 5)

    @Test func allowsTheBurstAndThenTheRate() {
        var table = RateTable<String>()
        func take(_ key: String, _ amount: Double = 1, at now: Int64) -> Bool {
            table.take(key, limit, amount, now: now)
        }
        let taken = (0..<8).filter { _ in take("a", at: second) }
        #expect(taken.count == 5)
        #expect(table.isEmpty("a", limit, now: second))
        #expect(!table.isEmpty("b", limit, now: second))
        // Others have their own.
        #expect(take("b", at: second))
        // A tenth of a second is worth one, and what was refused cost nothing.
        #expect(!take("a", at: second + second / 10 - 1))
        #expect(take("a", at: second + second / 10))
        #expect(!take("a", at: second + second / 10))
        #expect(take("a", 5, at: 10 * second))
        #expect(!take("a", at: 10 * second))
        #expect(!take("c", 6, at: 10 * second))
    }

    /// In any span, no more than the burst and what the rate adds.
    @Test(arguments: 0..<20)
    func neverAllowsMore(seed: UInt64) {
        var table = RateTable<Int>()
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func random(_ bound: Int64) -> Int64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int64(state % UInt64(bound))
        }
        var now: Int64 = 0
        var taken: [Int64] = []
        for _ in 0..<2000 {
            now += random(second / 5)
            if table.take(0, limit, now: now) { taken.append(now) }
        }
        for (index, start) in taken.enumerated() {
            let last = min(taken.count - 1, index + 200)
            for end in index...last {
                let span = Double(taken[end] - start) / 1e9
                #expect(Double(end - index + 1) <= limit.burst + span * limit.perSecond + 1e-6)
            }
        }
        #expect(taken.count > 100)
    }

    @Test func forgetsWhoeverHasAllAgain() {
        var table = RateTable<Int>()
        for key in 0..<1000 { _ = table.take(key, limit, now: 0) }
        #expect(table.count == 1000)
        table.tidy(now: second / 10)
        #expect(table.count == 0)
    }

    /// A flood of ever new keys costs no more than the table's size, and shuts nobody out.
    @Test func staysWithinItsSize() {
        var table = RateTable<Int>(capacity: 3000)
        func take(_ key: Int, at now: Int64) -> Bool { table.take(key, limit, now: now) }
        let refused = (0..<100_000).filter { !take($0, at: 0) || table.count > 3000 }
        #expect(refused.isEmpty)
        // Who is in it is limited still.
        for _ in 0..<4 { _ = take(0, at: 0) }
        #expect(!take(0, at: 0))
        // Time makes room.
        #expect(take(200_000, at: second))
        #expect(table.count <= 2)
    }
}
