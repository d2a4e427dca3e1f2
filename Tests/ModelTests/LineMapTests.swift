import Testing

@testable import Model

/// A line as one would write it down.
private struct NaiveLine {
    var event: Int64 = 0
    var head: Int64
    var next: Int64
    var gone: Set<Int64> = []

    var waiting: [Int64] { head < next ? (head + 1...next).filter { !gone.contains($0) } : [] }

    /// The bitmap as Redis has it, from `origin` on, without the zeros at its end.
    func bitmap(origin: Int64) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in gone where number > origin {
            let bit = Int(number - origin - 1)
            while bytes.count <= bit / 8 { bytes.append(0) }
            bytes[bit / 8] |= 0x80 >> UInt8(bit % 8)
        }
        return bytes
    }
}

private func line(head: Int64, next: Int64, gone: Set<Int64> = []) -> LineMap {
    let naive = NaiveLine(head: head, next: next, gone: gone)
    return LineMap(event: 0, head: head, next: next, origin: head, gone: naive.bitmap(origin: head))
}

@Suite struct LineMapTests {
    private func check(_ line: LineMap, is naive: NaiveLine, _ location: SourceLocation = #_sourceLocation) {
        let waiting = naive.waiting
        var wrong: [Int64] = []
        for (index, number) in waiting.enumerated()
        where line.rank(of: number) != Int64(index + 1) || line.hasLeft(number) {
            wrong.append(number)
        }
        for number in naive.gone where line.rank(of: number) != nil || line.hasLeft(number) != (number > naive.head) {
            wrong.append(number)
        }
        for number in [naive.head - 700, naive.head - 1, naive.head, naive.next + 1, naive.next + 700]
        where line.rank(of: number) != nil || line.hasLeft(number) {
            wrong.append(number)
        }
        #expect(wrong.isEmpty, "head \(naive.head), next \(naive.next)", sourceLocation: location)
        #expect(line.waiting == Int64(waiting.count), sourceLocation: location)
        #expect((line.event, line.head, line.next) == (naive.event, naive.head, naive.next), sourceLocation: location)
    }

    /// Joins, departures, admissions and snapshots in any order, with lines of all sizes.
    @Test(arguments: [(1, 40), (2, 700), (3, 9000), (4, 60000)] as [(UInt64, Int64)])
    func agreesWithANaiveLine(seed: UInt64, size: Int64) {
        var random = SeededGenerator(seed: seed)
        let start = Int64.random(in: 0...3000, using: &random)
        var naive = NaiveLine(head: start, next: start)
        var line = LineMap(event: 0, head: start, next: start, origin: start, gone: [])
        let rounds = 400
        for round in 0..<rounds {
            var left: [ClosedRange<Int64>] = []
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3: naive.next += Int64.random(in: 0...size / 4, using: &random)
            case 3..<7:
                // Beyond both ends too: what is outside of the line must not matter.
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let low = Int64.random(in: naive.head - 3...naive.next + 3, using: &random)
                    let length = Bool.random(using: &random) ? 0 : Int64.random(in: 0...size / 20, using: &random)
                    left.append(low...low + length)
                }
            case 7..<9:
                let waiting = naive.waiting
                let admitted = Int.random(in: 0...max(1, waiting.count / 3), using: &random)
                if admitted > 0, admitted <= waiting.count { naive.head = waiting[admitted - 1] }
                // The line also moves over those who have left.
                while naive.gone.contains(naive.head + 1) { naive.head += 1 }
            default:
                let origin = naive.head - Int64.random(in: 0...200, using: &random)
                line = LineMap(
                    event: naive.event, head: naive.head, next: naive.next, origin: origin,
                    gone: naive.bitmap(origin: origin))
            }
            for number in left.joined() where number > naive.head && number <= naive.next {
                naive.gone.insert(number)
            }
            naive.event += 1
            let applied = line.apply(event: naive.event, head: naive.head, next: naive.next, left: left)
            #expect(applied == .applied)
            if size < 1000 || round % 25 == 0 || round == rounds - 1 { check(line, is: naive) }
        }
    }

    @Test func readsTheBitsAsRedisWritesThem() {
        // SETBIT key 0, 7, 8 and 17: numbers 101, 108, 109 and 118.
        let line = LineMap(event: 7, head: 100, next: 120, origin: 100, gone: [0b1000_0001, 0b1000_0000, 0b0100_0000])
        #expect((101...120).filter { line.hasLeft($0) } == [101, 108, 109, 118])
        #expect(line.waiting == 16)
        #expect(line.rank(of: 101) == nil)
        #expect(line.rank(of: 102) == 1)
        #expect(line.rank(of: 110) == 7)
        #expect(line.rank(of: 120) == 16)
        #expect(line.event == 7)
    }

    @Test func bitsOutsideOfTheLineDoNotCount() {
        // All ones; the bitmap begins before the head and ends after the last number, within a byte and far from it.
        for (head, next) in [(105, 109), (103, 103), (116, 131), (900, 1000), (100, 100)] as [(Int64, Int64)] {
            var line = LineMap(
                event: 0, head: head, next: next, origin: 100, gone: [UInt8](repeating: 0xFF, count: 125))
            #expect(line.waiting == 0)
            let applied = line.apply(event: 1, head: head, next: next + 3, left: [])
            #expect(applied == .applied)
            #expect(line.waiting == 3)
            #expect(line.rank(of: next + 3) == 3)
        }
    }

    @Test func aBitmapMayBeginAfterTheHeadOrEndBeforeIt() {
        var line = LineMap(event: 0, head: 90, next: 110, origin: 103, gone: [0b1000_0000])
        #expect((80...120).filter { line.hasLeft($0) } == [104])
        let applied = line.apply(event: 1, head: 90, next: 110, left: [91...92])
        #expect(applied == .applied)
        #expect(line.rank(of: 93) == 1)
        #expect(line.rank(of: 105) == 12)
        line = LineMap(event: 0, head: 5000, next: 5002, origin: 100, gone: [0xFF, 0xFF])
        #expect(line.waiting == 2)
        #expect(line.rank(of: 5002) == 2)
    }

    @Test func messagesAreAppliedOnceAndInOrder() {
        var line = line(head: 10, next: 20)
        let next = line.apply(event: 1, head: 11, next: 20, left: [13...13])
        #expect(next == .applied)
        let repeated = line.apply(event: 1, head: 15, next: 30, left: [16...17])
        #expect(repeated == .old)
        let older = line.apply(event: 0, head: 15, next: 30, left: [16...17])
        #expect(older == .old)
        let later = line.apply(event: 3, head: 15, next: 30, left: [16...17])
        #expect(later == .gap)
        check(line, is: NaiveLine(event: 1, head: 11, next: 20, gone: [13]))
        // What contradicts what is known is not guessed at.
        for (head, next) in [(10, 20), (11, 19), (21, 20)] as [(Int64, Int64)] {
            let impossible = line.apply(event: 2, head: head, next: next, left: [])
            #expect(impossible == .gap)
        }
        check(line, is: NaiveLine(event: 1, head: 11, next: 20, gone: [13]))
        let second = line.apply(event: 2, head: 11, next: 20, left: [])
        #expect(second == .applied)
    }

    @Test func nobodyWaits() {
        var line = line(head: 0, next: 0)
        #expect(line.waiting == 0)
        #expect(line.rank(of: 0) == nil)
        #expect(line.rank(of: 1) == nil)
        let joined = line.apply(event: 1, head: 0, next: 1, left: [])
        #expect(joined == .applied)
        #expect(line.rank(of: 1) == 1)
        let admitted = line.apply(event: 2, head: 1, next: 1, left: [])
        #expect(admitted == .applied)
        #expect(line.waiting == 0)
        #expect(line.rank(of: 1) == nil)
    }

    @Test func everybodyLeavesAtOnce() {
        var line = line(head: 100, next: 200_000)
        let left = line.apply(event: 1, head: 100, next: 200_000, left: [1...300_000])
        #expect(left == .applied)
        #expect(line.waiting == 0)
        let joined = line.apply(event: 2, head: 100, next: 200_001, left: [150...180])
        #expect(joined == .applied)
        #expect(line.rank(of: 200_001) == 1)
        let moved = line.apply(event: 3, head: 200_000, next: 200_001, left: [])
        #expect(moved == .applied)
        #expect(line.rank(of: 200_001) == 1)
        #expect(line.memoryInBytes < 100)
    }

    @Test func departuresAtTheEdgesOfWordsAndBlocks() {
        let edges: [Int64] = [1, 63, 64, 65, 127, 128, 511, 512, 513, 1023, 1024, 1025, 4096, 32768, 32769]
        for edge in edges {
            for length in [0, 1, 63, 64, 447, 511, 512, 513, 8191] as [Int64] {
                var line = line(head: 0, next: 50_000)
                let applied = line.apply(event: 1, head: 0, next: 50_000, left: [edge...edge + length])
                #expect(applied == .applied)
                #expect(line.waiting == 50_000 - length - 1)
                #expect(line.rank(of: edge) == nil)
                #expect(line.rank(of: edge + length) == nil)
                #expect(line.rank(of: edge + length + 1) == edge)
                #expect(line.rank(of: edge - 1) == (edge == 1 ? nil : edge - 1))
                #expect(line.rank(of: 50_000) == 50_000 - length - 1)
            }
        }
    }

    /// Five million, of whom every third gives up, one message each thousand.
    @Test func fiveMillionFitIntoOneAndAHalfMegabytes() {
        let size: Int64 = 5_000_000
        var line = line(head: 0, next: 0)
        let joined = line.apply(event: 1, head: 0, next: size, left: [])
        #expect(joined == .applied)
        #expect(line.memoryInBytes == 0)
        var event: Int64 = 1
        var most = 0
        for thousand in 0..<size / 1000 {
            event += 1
            let left = stride(from: thousand * 1000 + 3, through: thousand * 1000 + 999, by: 3).map { $0...$0 }
            let applied = line.apply(event: event, head: 0, next: size, left: left)
            #expect(applied == .applied)
            most = max(most, line.memoryInBytes)
        }
        #expect(line.waiting == size - 333 * 5000)
        #expect(line.rank(of: size) == line.waiting)
        #expect(line.rank(of: 2_500_001) == 1_667_501)
        // Half of them are admitted, while as many join, and the last of them leaves.
        for step in 1...2500 as ClosedRange<Int64> {
            event += 1
            let last = size + step * 1000
            let applied = line.apply(event: event, head: step * 1000, next: last, left: [last...last])
            #expect(applied == .applied)
            most = max(most, line.memoryInBytes)
        }
        #expect(line.waiting == size - 333 * 2500 - 2500)
        #expect(line.rank(of: 2_500_001) == 1)
        #expect(most < 1_500_000, "\(most)")
        event += 1
        let moved = line.apply(event: event, head: 7_400_000, next: 7_500_000, left: [])
        #expect(moved == .applied)
        #expect(line.memoryInBytes < 30_000)
        let snapshot = LineMap(
            event: 1, head: 0, next: size, origin: 0, gone: [UInt8](repeating: 0b0101_0101, count: 625_000))
        #expect(snapshot.waiting == size / 2)
        #expect(snapshot.rank(of: size - 1) == size / 2)
        #expect(snapshot.memoryInBytes < 700_000)
    }
}
