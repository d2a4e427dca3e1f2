import Model

@testable import Engine

/// A line as Redis tells it, against one that is a set of numbers.
enum LineParsers {
    /// Bytes as numbers: small ones, and now and then one from the edges.
    private struct Numbers {
        var bytes: ArraySlice<UInt8>
        static let edges: [Int64] = [0, -1, .min, .max, 1 << 53, 1 << 31, 1 << 32, -(1 << 40), .max - 7]

        mutating func byte() -> Int64 { Int64(bytes.popFirst() ?? 0) }
        mutating func next(wild: Bool) -> Int64 {
            let byte = byte()
            if wild, byte >= 224 { return Self.edges[Int(byte) % Self.edges.count] }
            return byte
        }
    }

    /// A snapshot, and messages after it. The first byte says whether the numbers make sense.
    static func line(_ bytes: [UInt8]) -> String? {
        var numbers = Numbers(bytes: bytes[...])
        let isWild = numbers.byte() & 1 == 1
        let head = numbers.next(wild: isWild)
        let next = isWild ? numbers.next(wild: true) : head + numbers.byte()
        let origin = isWild ? numbers.next(wild: true) : max(0, head - numbers.byte() % 32) & ~7
        let count = Int(numbers.byte() % 40)
        let gone = Array(numbers.bytes.prefix(count))
        numbers.bytes = numbers.bytes.dropFirst(count)
        var map = LineMap(event: 1, head: head, next: next, origin: origin, gone: gone)
        var model = Set<Int64>()
        if !isWild {
            for (index, byte) in gone.enumerated() {
                for bit in 0..<8 where byte & (0x80 >> UInt8(bit)) != 0 {
                    let number = origin + 1 + Int64(index * 8 + bit)
                    // The others don't count, also not once they are given.
                    if number > head && number <= next { model.insert(number) }
                }
            }
        }
        if let complaint = compare(map, model, isWild) { return complaint }
        while !numbers.bytes.isEmpty {
            let (low, length) = (numbers.next(wild: isWild), numbers.byte() % 16)
            let (headMove, nextMove) = (numbers.next(wild: isWild), numbers.next(wild: isWild))
            let lower = isWild ? low : map.head + low
            guard lower >= 1, lower < 1 << 53 else { continue }
            let left = lower...(lower + length)
            let newNext = isWild ? nextMove : map.next + nextMove
            let newHead = isWild ? headMove : min(newNext, map.head + headMove % 8)
            let applied = map.apply(event: map.event + 1, head: newHead, next: newNext, left: [left])
            if case .applied = applied, !isWild { model.formUnion(left.filter { $0 > newHead && $0 <= newNext }) }
            if let complaint = compare(map, model, isWild) { return complaint }
        }
        return nil
    }

    private static func compare(_ map: LineMap, _ model: Set<Int64>, _ isWild: Bool) -> String? {
        _ = (map.waiting, map.rank(of: map.head), map.rank(of: map.next), map.rank(of: .max), map.rank(of: .min))
        guard !isWild else { return nil }
        var rank: Int64 = 0
        for number in stride(from: map.head + 1, through: map.next, by: 1) {
            let isGone = model.contains(number)
            if !isGone { rank += 1 }
            guard map.rank(of: number) == (isGone ? nil : rank) else {
                return "\(number) has the rank \(map.rank(of: number).map(String.init) ?? "-"), not \(rank)"
            }
        }
        return map.waiting == rank ? nil : "\(map.waiting) wait, not \(rank)"
    }
}
