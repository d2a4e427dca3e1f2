/// What a waiter was told of the time that it has still to wait, until it is known how long that was.
struct EstimateLog: Sendable {
    private var estimates: [(at: UInt64, seconds: Double)] = []
    /// One in so many is kept: there may be thousands, and there may be thousands of waiters.
    private var stride = 1
    private var seen = 0
    private static let most = 256

    /// An estimate came.
    mutating func note(_ seconds: Double, at now: UInt64) {
        guard seconds.isFinite, (0..<1e9).contains(seconds) else { return }
        seen += 1
        guard seen.isMultiple(of: stride) else { return }
        estimates.append((now, seconds))
        guard estimates.count == EstimateLog.most else { return }
        estimates = estimates.enumerated().filter { !$0.offset.isMultiple(of: 2) }.map(\.element)
        stride *= 2
    }

    /// The wait is over: how wrong was each?
    mutating func judge(at now: UInt64, _ tally: inout LineTally) {
        for estimate in estimates {
            let real = Double(now - estimate.at) / 1e9
            let error = abs(estimate.seconds - real)
            tally.estimateError.record(UInt64(error * 1e9))
            // Of the last moment, a share says nothing.
            if real >= 1 { tally.estimateErrorShare.record(UInt64(error / real * 10_000)) }
        }
        estimates = []
    }
}
