import Testing

@testable import Model

private func outcome(_ offset: Int64) -> LoggedOutcome {
    LoggedOutcome(
        offset: offset, outcome: .order(OrderID(sale: SaleID(1), sequence: offset), .confirmed, ticket: 1, reason: nil))
}

@Suite struct OutcomeCursorTests {
    @Test func sendsInOrderAndOnce() {
        var cursor = OutcomeCursor(sent: 16)
        let result1 = cursor.received(outcome(17))
        #expect(result1 == .init(send: [outcome(17)]))
        let result2 = cursor.received(outcome(17))
        #expect(result2 == .init())
        let result3 = cursor.received(outcome(3))
        #expect(result3 == .init())
        let result4 = cursor.received(outcome(18))
        #expect(result4 == .init(send: [outcome(18)]))
        #expect(cursor.sent == 18)
    }

    @Test func readsTheLogAtAGapAndFillsIt() {
        var cursor = OutcomeCursor(sent: 16)
        let result5 = cursor.received(outcome(18))
        #expect(result5 == .init(readAfter: 16))
        // While the read is under way nothing overtakes, not even what would be next.
        let result6 = cursor.received(outcome(19))
        #expect(result6 == .init())
        let result7 = cursor.received(outcome(17))
        #expect(result7 == .init())
        let (action, skipped) = cursor.read([outcome(17), outcome(18)], last: 18)
        #expect(action == .init(send: [outcome(17), outcome(18), outcome(19)]))
        #expect(!skipped)
    }

    @Test func tellsWhenTheLogNoLongerHasIt() {
        var cursor = OutcomeCursor(sent: 5)
        let result8 = cursor.mayHaveMissed()
        #expect(result8 == .init(readAfter: 5))
        let (action, skipped) = cursor.read([outcome(9), outcome(10)], last: 10)
        #expect(action == .init(send: [outcome(9), outcome(10)]))
        #expect(skipped)
        #expect(cursor.sent == 10)
    }

    @Test func readsAgainWhenTheConnectionWasRenewedDuringARead() {
        var cursor = OutcomeCursor(sent: 1)
        let result9 = cursor.mayHaveMissed()
        #expect(result9 == .init(readAfter: 1))
        let result10 = cursor.mayHaveMissed()
        #expect(result10 == .init())
        let (action, _) = cursor.read([], last: 1)
        #expect(action == .init(readAfter: 1))
        let (second, _) = cursor.read([outcome(2)], last: 2)
        #expect(second == .init(send: [outcome(2)]))
    }

    @Test func startsAfterTheFirstRead() {
        var cursor = OutcomeCursor(sent: 0, isReading: true)
        let result11 = cursor.received(outcome(4))
        #expect(result11 == .init())
        let result12 = cursor.received(outcome(5))
        #expect(result12 == .init())
        let result13 = cursor.start(after: 4)
        #expect(result13 == .init(send: [outcome(5)]))
    }

    /// Whatever comes in whatever order, and however often: each once, in order.
    @Test(arguments: 0..<200) func anyOrderComesOutInOrder(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let log = (1...30).map { outcome(Int64($0)) }
        var cursor = OutcomeCursor(sent: 0)
        var sent: [LoggedOutcome] = []
        var pendingRead: Int64?
        func perform(_ action: OutcomeCursor.Action) {
            sent += action.send
            if let offset = action.readAfter {
                #expect(pendingRead == nil)
                pendingRead = offset
            }
        }
        func read() {
            guard let offset = pendingRead else { return }
            pendingRead = nil
            let last = Int64.random(in: offset...30, using: &random)
            let (action, skipped) = cursor.read(log.filter { $0.offset > offset && $0.offset <= last }, last: last)
            #expect(!skipped)
            perform(action)
        }
        for _ in 0..<100 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: read()
            case 1: perform(cursor.mayHaveMissed())
            default: perform(cursor.received(log.randomElement(using: &random)!))
            }
        }
        while let offset = pendingRead {
            pendingRead = nil
            perform(cursor.read(log.filter { $0.offset > offset }, last: 30).action)
        }
        perform(cursor.mayHaveMissed())
        perform(cursor.read(log.filter { $0.offset > cursor.sent }, last: 30).action)
        #expect(sent == log)
    }
}

/// SplitMix64, so that a failing seed replays. Source: Sebastiano Vigna, https://prng.di.unimi.it/splitmix64.c
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
