/// Durations in buckets whose width grows with the value: 128 steps for every doubling, so a value is known to about
/// 0.8 %, whatever its size, and histograms of several processes can be added up.
///
/// After Gil Tene's HdrHistogram. Counting what each single claim took would do too, but not for millions of claims.
public struct Histogram: Equatable, Sendable, Codable {
    private static let subBits = 7
    /// Counts by bucket; as long as it has to be.
    private var counts: [UInt64] = []
    /// How many values there are.
    public private(set) var count: UInt64 = 0
    /// The largest value; exact.
    public private(set) var max: UInt64 = 0

    /// No values.
    public init() {}

    /// Adds a value, in nanoseconds.
    public mutating func record(_ nanoseconds: UInt64) {
        let bucket = Histogram.bucket(nanoseconds)
        if bucket >= counts.count {
            counts.append(contentsOf: repeatElement(0, count: bucket + 1 - counts.count))
        }
        counts[bucket] += 1
        count += 1
        max = Swift.max(max, nanoseconds)
    }

    /// Adds another's values.
    public mutating func add(_ other: Histogram) {
        if other.counts.count > counts.count {
            counts.append(contentsOf: repeatElement(0, count: other.counts.count - counts.count))
        }
        for (bucket, number) in other.counts.enumerated() { counts[bucket] += number }
        count += other.count
        max = Swift.max(max, other.max)
    }

    /// The value that `fraction` of all values don't exceed; rounded up to its bucket's end, but never above the largest.
    /// Nil when there is none.
    public func quantile(_ fraction: Double) -> UInt64? {
        guard count > 0 else { return nil }
        let rank = Swift.max(1, UInt64((fraction * Double(count)).rounded(.up)))
        var seen: UInt64 = 0
        for (bucket, number) in counts.enumerated() {
            seen += number
            if seen >= rank { return Swift.min(max, Histogram.end(of: bucket)) }
        }
        return max
    }

    /// Values below 256 have a bucket each; above, the seven bits after the leading one name the bucket.
    private static func bucket(_ value: UInt64) -> Int {
        let bits = UInt64.bitWidth - value.leadingZeroBitCount
        let shift = Swift.max(0, bits - subBits - 1)
        return shift << subBits + Int(value >> UInt64(shift))
    }

    private static func end(of bucket: Int) -> UInt64 {
        let shift = Swift.max(0, bucket >> subBits - 1)
        let low = UInt64(bucket - shift << subBits) << UInt64(shift)
        return low + ((1 << UInt64(shift)) - 1)
    }

    // Most buckets are empty: only the others are written, as pairs of a bucket and its count.

    private enum CodingKeys: CodingKey {
        case max
        case buckets
    }

    /// Reads what ``encode(to:)`` wrote.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        max = try container.decode(UInt64.self, forKey: .max)
        let pairs = try container.decode([UInt64].self, forKey: .buckets)
        for index in stride(from: 0, to: pairs.count - 1, by: 2) {
            let bucket = Int(pairs[index])
            guard bucket >= counts.count, bucket < 64 << Histogram.subBits else {
                throw DecodingError.dataCorruptedError(
                    forKey: .buckets, in: container, debugDescription: "not in ascending order")
            }
            counts.append(contentsOf: repeatElement(0, count: bucket + 1 - counts.count))
            counts[bucket] = pairs[index + 1]
            count += pairs[index + 1]
        }
    }

    /// The largest value, and the buckets that aren't empty.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(max, forKey: .max)
        let pairs = counts.enumerated().filter { $0.element > 0 }.flatMap { [UInt64($0.offset), $0.element] }
        try container.encode(pairs, forKey: .buckets)
    }
}
