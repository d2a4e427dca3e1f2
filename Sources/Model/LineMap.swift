/// What a gateway knows of a room's line: enough to compute any rank without asking.
///
/// A bit for each number after ``head`` says whether it left out of turn; bits after the last departure are not kept. A
/// rank is one sum over the bits before it: blocks of 512 are counted in a binary indexed tree (P. Fenwick, "A New Data
/// Structure for Cumulative Frequency Tables", 1994), so it costs O(log n), and the tree a sixteenth of the bits.
public struct LineMap: Sendable {
    /// What became of a message.
    public enum Applied: Sendable {
        /// It was the next one.
        case applied
        /// What it says is known already.
        case old
        /// Messages before it are missing, or it contradicts what is known: a snapshot has to be read.
        case gap
    }

    /// The number of the last message that is in it.
    public private(set) var event: Int64
    /// Every number up to it is done with.
    public private(set) var head: Int64
    /// The last number given.
    public private(set) var next: Int64

    /// Whole blocks; the first bit is the most significant one, as in Redis.
    private var words: [UInt64] = []
    /// The tree over the blocks: element i (from 1, at i-1) is the sum of the `i & -i` blocks that end with block i.
    private var tree: [Int32] = []
    /// The number that the first bit stands for; never above `head + 1`.
    private var first: Int64
    /// How many bits are set, those up to `head` included.
    private var total: Int64 = 0
    /// How many of them are up to `head`.
    private var totalUpToHead: Int64 = 0

    private static let wordsInBlock = 8
    private static let bitsInBlock = Int64(wordsInBlock * UInt64.bitWidth)
    /// The largest number, which Redis' functions can count exactly, and the most that can be in line: what says more is
    /// broken, and must not cost the memory for it.
    private static let largestNumber: Int64 = 1 << 53
    private static let longest: Int64 = 1 << 28

    /// A line from a snapshot.
    ///
    /// `gone` is Redis' bitmap: bit i (byte i / 8, most significant bit first) says that number `origin + 1 + i` left out
    /// of turn. Zero bytes at its end may be missing; bits of numbers that aren't between `head` and `next` don't count.
    public init(event: Int64, head: Int64, next: Int64, origin: Int64, gone: [UInt8]) {
        let head = max(0, min(head, Self.largestNumber))
        let origin = max(0, min(origin, Self.largestNumber))
        self.event = event
        self.head = head
        self.next = max(head, min(next, head + Self.longest))
        // From the byte on that has the bit of `head + 1`; before the bitmap's first one if it begins too late.
        let skipped = Int((head - origin) >> 3)
        first = origin + 1 + Int64(skipped) * 8
        let end = gone.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
        let last = min(Int64(end - skipped) * 8, self.next - first + 1)
        guard skipped < end, last > 0 else { return }
        words = [UInt64](repeating: 0, count: Self.blocks(for: last) * Self.wordsInBlock)
        for index in max(0, skipped)..<end {
            let byte = index - skipped
            guard byte >> 3 < words.count else { break }
            words[byte >> 3] |= UInt64(gone[index]) << UInt64(56 - (byte & 7) * 8)
        }
        clear(after: last)
        plant()
        totalUpToHead = count(upTo: head)
    }

    /// How many wait.
    public var waiting: Int64 { next - head - (total - totalUpToHead) }

    /// The place of a number in line, from 1; nil when it is done with, gone, or not given yet.
    public func rank(of number: Int64) -> Int64? {
        guard number > head, number <= next, !hasLeft(number) else { return nil }
        return number - head - (count(upTo: number) - totalUpToHead)
    }

    /// Whether a number left out of turn; false for those that are done with.
    public func hasLeft(_ number: Int64) -> Bool {
        guard number > head, number <= next else { return false }
        let (word, bit) = Int(number - first).quotientAndRemainder(dividingBy: UInt64.bitWidth)
        return word < words.count && words[word] & (1 << UInt64(63 - bit)) != 0
    }

    /// Applies a message: the line's ends after it, and the numbers that left out of turn. Those that were gone before,
    /// and those outside of the line, change nothing.
    public mutating func apply(event: Int64, head: Int64, next: Int64, left: [ClosedRange<Int64>]) -> Applied {
        guard event > self.event else { return .old }
        guard event - 1 == self.event, head >= self.head, next >= self.next, head <= next,
            next <= Self.largestNumber, next - head <= Self.longest
        else { return .gap }
        self.event = event
        self.next = next
        if head > self.head {
            self.head = head
            forget()
        }
        for range in left {
            let (low, high) = (max(range.lowerBound, head + 1), min(range.upperBound, next))
            if low <= high { set(low...high) }
        }
        return .applied
    }

    /// What it keeps for the bits and their sums.
    var memoryInBytes: Int { words.capacity * 8 + tree.capacity * 4 }

    // MARK: Bits

    private static func blocks(for bits: Int64) -> Int { Int((bits + bitsInBlock - 1) / bitsInBlock) }

    /// Sets the bits of numbers between `head` and `next`.
    private mutating func set(_ numbers: ClosedRange<Int64>) {
        let (low, high) = (Int(numbers.lowerBound - first), Int(numbers.upperBound - first))
        grow(toBlocks: Self.blocks(for: Int64(high) + 1))
        var block = low / Int(Self.bitsInBlock)
        var added: Int32 = 0
        for word in low >> 6...high >> 6 {
            if word / Self.wordsInBlock != block {
                add(added, toBlock: block)
                (block, added) = (word / Self.wordsInBlock, 0)
            }
            var mask = UInt64.max
            if word == low >> 6 { mask &= .max >> UInt64(low & 63) }
            if word == high >> 6 { mask &= .max << UInt64(63 - high & 63) }
            added += Int32((mask & ~words[word]).nonzeroBitCount)
            words[word] |= mask
        }
        add(added, toBlock: block)
    }

    /// Clears all but the first `count` bits.
    private mutating func clear(after count: Int64) {
        let (word, bit) = Int(count).quotientAndRemainder(dividingBy: UInt64.bitWidth)
        guard word < words.count else { return }
        words[word] &= bit == 0 ? 0 : .max << UInt64(64 - bit)
        for word in word + 1..<words.count { words[word] = 0 }
    }

    /// How many bits are set up to a number's, which is included.
    private func count(upTo number: Int64) -> Int64 {
        let index = Int(number - first)
        guard index >= 0 else { return 0 }
        guard index >> 6 < words.count else { return total }
        let block = index / Int(Self.bitsInBlock)
        var sum: Int64 = 0
        var node = block
        while node > 0 {
            sum += Int64(tree[node - 1])
            node &= node - 1
        }
        for word in block * Self.wordsInBlock..<index >> 6 { sum += Int64(words[word].nonzeroBitCount) }
        return sum + Int64((words[index >> 6] & .max << UInt64(63 - index & 63)).nonzeroBitCount)
    }

    // MARK: Blocks

    /// Computes the tree and the total.
    private mutating func plant() {
        tree = [Int32](repeating: 0, count: words.count / Self.wordsInBlock)
        total = 0
        for block in 0..<tree.count {
            var count: Int32 = 0
            for word in block * Self.wordsInBlock..<(block + 1) * Self.wordsInBlock {
                count += Int32(words[word].nonzeroBitCount)
            }
            total += Int64(count)
            tree[block] += count
            let node = block + 1
            let parent = node + (node & -node)
            if parent <= tree.count { tree[parent - 1] += tree[block] }
        }
    }

    private mutating func add(_ count: Int32, toBlock block: Int) {
        guard count > 0 else { return }
        total += Int64(count)
        var node = block + 1
        while node <= tree.count {
            tree[node - 1] += count
            node += node & -node
        }
    }

    /// Appends blocks of zeros. The memory grows by eighths: doubling it would waste as much as it needs.
    private mutating func grow(toBlocks blocks: Int) {
        guard blocks > tree.count else { return }
        if blocks * Self.wordsInBlock > words.capacity {
            let capacity = max(blocks, tree.count + tree.count / 8 + 1)
            words.reserveCapacity(capacity * Self.wordsInBlock)
            tree.reserveCapacity(capacity)
        }
        words.append(contentsOf: repeatElement(0, count: blocks * Self.wordsInBlock - words.count))
        while tree.count < blocks {
            // The node's sum is that of the nodes below it, as its own block is empty.
            let node = tree.count + 1
            var sum: Int32 = 0
            var child = node - 1
            while child > node - (node & -node) {
                sum += tree[child - 1]
                child &= child - 1
            }
            tree.append(sum)
        }
    }

    /// Gives back the blocks before `head` once they are a quarter of all: what remains to be copied is then at most
    /// three times as much as was passed since the last time.
    private mutating func forget() {
        let passed = Int((head + 1 - first) / Self.bitsInBlock)
        if passed >= tree.count {
            words = []
            tree = []
            first = head + 1
            total = 0
        } else if passed * 4 >= max(tree.count, 64) {
            words = Array(words[(passed * Self.wordsInBlock)...])
            first += Int64(passed) * Self.bitsInBlock
            plant()
        }
        totalUpToHead = count(upTo: head)
    }
}
