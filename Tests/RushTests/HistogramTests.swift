import Foundation
import Testing

@testable import RushKit

struct HistogramTests {
    private func histogram(_ values: some Sequence<UInt64>) -> Histogram {
        var histogram = Histogram()
        for value in values { histogram.record(value) }
        return histogram
    }

    @Test func empty() {
        #expect(Histogram().quantile(0.5) == nil)
        #expect(Histogram().count == 0)
    }

    @Test func smallValuesAreExact() {
        let histogram = histogram(1...100)
        #expect(histogram.quantile(0.5) == 50)
        #expect(histogram.quantile(0.9) == 90)
        #expect(histogram.quantile(0.99) == 99)
        #expect(histogram.quantile(1) == 100)
        #expect(histogram.quantile(0) == 1)
        #expect(histogram.max == 100)
    }

    @Test(
        arguments: [0, 1, 127, 128, 255, 256, 257, 1_000_000, 123_456_789_012, 1 << 40, (1 << 40) - 1, .max] as [UInt64]
    )
    func oneValueIsItself(value: UInt64) {
        // Never above the largest, and that is exact.
        #expect(histogram([value]).quantile(0.5) == value)
    }

    @Test func largeValuesAreKnownToAPercent() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<300 {
            let value =
                UInt64.random(in: 1...(1 << 45), using: &generator) >> UInt64.random(in: 0..<40, using: &generator)
            // With a larger one beside it, the value's own bucket has to answer.
            let found = histogram([value, .max]).quantile(0.5)!
            #expect(found >= value)
            #expect(Double(found) <= Double(value) * 1.008 + 1)
        }
    }

    @Test func addingIsLikeRecordingAll() {
        var sum = histogram(stride(from: 10, to: 900_000, by: 977))
        sum.add(histogram(stride(from: 5, to: 90_000_000, by: 99_991)))
        sum.add(Histogram())
        var all = histogram(stride(from: 10, to: 900_000, by: 977))
        for value in stride(from: UInt64(5), to: 90_000_000, by: 99_991) { all.record(value) }
        #expect(sum == all)
    }

    @Test func throughJSON() throws {
        let before = histogram([3, 3, 3, 70_000, 5_000_000_000])
        let text = try JSONEncoder().encode(before)
        #expect(text.count < 100)
        #expect(try JSONDecoder().decode(Histogram.self, from: text) == before)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(Histogram.self, from: Data(#"{"max":9,"buckets":[5,1,4,1]}"#.utf8))
        }
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(Histogram.self, from: Data(#"{"max":9,"buckets":[99999999,1]}"#.utf8))
        }
    }
}
