import Foundation
import Testing

@testable import Model

private func at(_ seconds: Double) -> Timestamp { Timestamp(milliseconds: Int64(seconds * 1000)) }

@Suite struct WaitEstimateTests {
    /// What is counted when admissions and departures come evenly from `from` until `at`, in steps of 10 ms.
    private func pace(admitted: Double, left: Double = 0, from: Double = 0, at moment: Double) -> Pace {
        var weights = 0.0
        for step in 0..<Int((moment - from) * 100) { weights += exp(-(Double(step) + 0.5) / 6000) / 100 }
        return Pace(
            admitted: admitted * weights, left: left * weights, at: at(moment), from: at(from),
            count: Int64(admitted * (moment - from)))
    }

    private func seconds(
        _ rank: Int64, of waiting: Int64, _ pace: Pace, perMinute: Int64? = nil, free: Bool = false, now: Double
    ) -> Int64? {
        WaitEstimate.seconds(
            rank: rank, waiting: waiting, pace: pace, perMinute: perMinute, hasFreePlaces: free, now: at(now))
    }

    @Test(arguments: [1, 10, 60, 600])
    func anEvenPaceIsFoundAfterAnyTime(after: Double) throws {
        let estimate = try #require(seconds(1000, of: 5000, pace(admitted: 4, at: after), now: after))
        #expect((249...251).contains(estimate))
    }

    /// The line is played out second by second.
    @Test(arguments: [(1000, 1000), (1000, 5000), (20000, 100_000), (50, 100_000)] as [(Int64, Int64)])
    func thoseWhoGiveUpShortenTheWait(rank: Int64, waiting: Int64) throws {
        let (admissions, departures) = (5.0, 8.0)
        let measured = pace(admitted: admissions, left: departures, at: 120)
        let estimate = try #require(seconds(rank, of: waiting, measured, now: 120))
        var (remaining, played) = (Double(rank), 0.0)
        while remaining > 0 {
            // Departures are spread over the line as it was: it is filled up at its end.
            remaining -= (admissions + departures * remaining / Double(waiting)) / 100
            played += 0.01
        }
        #expect(abs(Double(estimate) - played) < 2 + played / 100)
        #expect(estimate <= seconds(rank, of: waiting, pace(admitted: admissions, at: 120), now: 120)!)
    }

    /// When nothing is counted any more, the pace is forgotten, and the estimate grows.
    @Test func silenceSlowsItDown() throws {
        let measured = pace(admitted: 4, at: 60)
        let estimates = [60, 90, 120, 240].map { seconds(1000, of: 1000, measured, now: $0) }
        #expect(estimates.compactMap { $0 } == estimates.compactMap { $0 }.sorted())
        #expect(Set(estimates).count == 4)
        // Measured over 120 s with the first 60 filled: (1 - e⁻¹)·e⁻¹ of 1 - e⁻² counts.
        let share = (1 - exp(-1.0)) * exp(-1.0) / (1 - exp(-2.0))
        #expect(abs(Double(estimates[2]!) - 250 / share) < 3)
    }

    @Test func nothingIsMeasuredYet() {
        let none = Pace(admitted: 0, left: 0, at: at(0), from: at(0), count: 0)
        #expect(seconds(1, of: 1, none, now: 0) == nil)
        #expect(seconds(1, of: 1, none, now: 100) == nil)
        #expect(seconds(1, of: 1, none, perMinute: 60, now: 100) == nil)
        #expect(seconds(1, of: 1, none, free: true, now: 100) == nil)
        let one = Pace(admitted: 1, left: 0, at: at(10), from: at(0), count: 1)
        #expect(seconds(1, of: 1, one, now: 10) == nil)
        // Two, in no time: that is no rate. Nor is a clock that goes backwards.
        let two = Pace(admitted: 2, left: 0, at: at(10), from: at(10), count: 2)
        #expect(seconds(1, of: 1, two, now: 10) == nil)
        #expect(seconds(1, of: 1, two, now: 5) == nil)
    }

    @Test func thePaceIsAnUpperBoundAndWithFreePlacesTheRate() {
        let none = Pace(admitted: 0, left: 0, at: at(0), from: at(0), count: 0)
        // Exactly: no second more for the rounding of binary fractions.
        for rank in 1...200 as ClosedRange<Int64> {
            #expect(seconds(rank, of: 200, none, perMinute: 60, free: true, now: 0) == rank)
            #expect(seconds(rank, of: 200, none, perMinute: 100, free: true, now: 0) == (rank * 3 + 4) / 5)
        }
        let quick = pace(admitted: 50, at: 60)
        #expect(seconds(120, of: 200, quick, perMinute: 60, now: 60) == 120)
        let slow = pace(admitted: 0.5, at: 60)
        #expect((239...241).contains(seconds(120, of: 200, slow, perMinute: 60, now: 60)!))
        #expect(seconds(120, of: 200, slow, perMinute: 60, free: true, now: 60) == 120)
    }

    @Test func boundsOfTheAnswer() {
        let quick = pace(admitted: 5000, at: 60)
        #expect(seconds(1, of: 1, quick, now: 60) == 1)
        #expect(seconds(0, of: 0, quick, now: 60) == 1)
        let none = Pace(admitted: 0, left: 0, at: at(0), from: at(0), count: 0)
        #expect(seconds(604_800, of: 604_800, none, perMinute: 60, free: true, now: 0) == 604_800)
        #expect(seconds(604_801, of: 604_801, none, perMinute: 60, free: true, now: 0) == nil)
        #expect(seconds(.max, of: .max, none, perMinute: 1, free: true, now: 0) == nil)
        // Forgotten long ago.
        #expect(seconds(1, of: 1, quick, now: 1_000_000) == nil)
    }
}

@Suite struct RankPolicyTests {
    private func pushes(_ rank: Int64, told: Int64, after: Int64 = 0) -> Bool {
        RankPolicy.shouldPush(rank: rank, told: told, toldAtMilliseconds: 70_000, nowMilliseconds: 70_000 + after)
    }

    @Test func everyChangeNearTheFront() {
        #expect(pushes(100, told: 101))
        #expect(pushes(1, told: 2))
        #expect(!pushes(1, told: 1, after: 60_000))
    }

    @Test func oneInAHundredFurtherBack() {
        #expect(!pushes(9901, told: 10_000))
        #expect(pushes(9900, told: 10_000))
        #expect(!pushes(149, told: 150, after: 4999))
        #expect(pushes(148, told: 150))
        // Backwards too, as a draw may do.
        #expect(pushes(10_100, told: 10_000))
        #expect(!pushes(10_099, told: 10_000))
    }

    @Test func anyChangeAfterFiveSeconds() {
        #expect(!pushes(9999, told: 10_000, after: 4999))
        #expect(pushes(9999, told: 10_000, after: 5000))
        #expect(!pushes(10_000, told: 10_000, after: 5000))
    }

    @Test func pollersAreToldToComeInTime() {
        for rank in [1, 10, 11, 100, 101, 1000, 1001, 5_000_000] as [Int64] {
            for estimate in [nil, 1, 10, 100, 604_800] as [Int64?] {
                for grace in [1, 2, 3, 5, 30, 45, 86_400] as [Int64] {
                    let seconds = RankPolicy.refreshSeconds(
                        rank: rank, estimatedSeconds: estimate, graceSeconds: grace)
                    #expect((1...15).contains(seconds))
                    #expect(seconds <= max(1, grace / 3))
                }
            }
        }
        func seconds(_ rank: Int64, _ estimate: Int64?) -> Int64 {
            RankPolicy.refreshSeconds(rank: rank, estimatedSeconds: estimate, graceSeconds: 3600)
        }
        #expect([1, 50, 500, 50_000].map { seconds($0, nil) } == [1, 2, 5, 15])
        // A line that moves quickly is asked about more often, a slow one not less.
        #expect([3, 20, 100].map { seconds(50_000, $0) } == [1, 5, 15])
        #expect(seconds(5, 3600) == 1)
    }
}

@Suite struct NumberRangesTests {
    @Test func ranges() {
        #expect(NumberRanges.parse("") == [])
        #expect(NumberRanges.parse("5-9,12,20-31") == [5...9, 12...12, 20...31])
        #expect(NumberRanges.parse("7-7") == [7...7])
        // In the order of the text, also when that is no order.
        #expect(NumberRanges.parse("9,3,3-4") == [9...9, 3...3, 3...4])
        #expect(NumberRanges.parse("x1,2"[...].dropFirst()) == [1...1, 2...2])
        #expect(NumberRanges.parse("9007199254740991") == [9_007_199_254_740_991...9_007_199_254_740_991])
    }

    @Test(arguments: [
        ",", "1,", ",1", "1,,2", "-", "1-", "-1", "1-2-3", "2-1", "0", "0-5", "01", "+1", "1 ", " 1", "1;2", "a",
        "1-,2", "٤", "9007199254740992", "99999999999999999999",
    ])
    func malformed(text: String) {
        #expect(NumberRanges.parse(text) == nil)
    }

    @Test func encodes() {
        #expect(NumberRanges.encode([]) == "")
        #expect(NumberRanges.encode([12]) == "12")
        #expect(NumberRanges.encode([5, 6, 7, 8, 9, 12, 20, 21]) == "5-9,12,20-21")
        #expect(NumberRanges.encode([3, 3, 4]) == "3-4")
    }

    @Test func whatIsEncodedIsRead() throws {
        var random = SeededGenerator(seed: 5)
        for _ in 0..<500 {
            let numbers = (1...60).filter { _ in Bool.random(using: &random) } as [Int64]
            let ranges = try #require(NumberRanges.parse(NumberRanges.encode(numbers)))
            #expect(ranges.flatMap { Array($0) } == numbers)
            #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound + 1 < $1.lowerBound })
        }
    }
}
