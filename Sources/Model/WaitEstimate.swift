// Of the C library only its functions of numbers: `exp` and `log1p`.
import Glibc

/// How long a wait takes.
public struct WaitEstimate {
    /// The longest that is told: seven days.
    private static let longest = 604_800.0

    /// Seconds until a rank is admitted, rounded up, at least 1; nil while nothing is measured, or above seven days.
    ///
    /// The formula and where it comes from: docs/waiting-room.md. Two admissions have to have been counted, unless places
    /// are free (`hasFreePlaces`) and it is `perMinute` alone that holds admissions back: then that is the pace.
    public static func seconds(
        rank: Int64, waiting: Int64, pace: Pace, perMinute: Int64?, hasFreePlaces: Bool, now: Timestamp
    ) -> Int64? {
        let admitted = admissionsPerSecond(pace: pace, perMinute: perMinute, hasFreePlaces: hasFreePlaces, now: now)
        guard let admitted, admitted > 0 else { return nil }
        let direct = Double(max(1, rank)) / admitted
        let left = pace.left * (perSecond(pace, at: now) ?? 0)
        let gaveUp = left * direct / Double(max(1, rank, waiting))
        // Where nearly nobody gives up, the logarithm is its argument.
        let seconds = gaveUp > 1e-9 ? direct * log1p(gaveUp) / gaveUp : direct
        guard seconds <= longest else { return nil }
        // Not up for the rounding of the arithmetic itself.
        return max(1, Int64((seconds - 1e-6).rounded(.up)))
    }

    /// How many are admitted in a second, by the same rules; nil while nothing is measured.
    public static func admissionsPerSecond(
        pace: Pace, perMinute: Int64?, hasFreePlaces: Bool, now: Timestamp
    ) -> Double? {
        let limit = perMinute.map { Double($0) / 60 }
        if let limit, hasFreePlaces { return limit }
        guard pace.count >= 2, let perSecond = perSecond(pace, at: now) else { return nil }
        return min(pace.admitted * perSecond, limit ?? .infinity)
    }

    /// What turns a weighed count of the pace into a rate; nil when no time has passed in which anything could be counted.
    private static func perSecond(_ pace: Pace, at now: Timestamp) -> Double? {
        let memory = Pace.memoryMilliseconds
        let age = Double(max(0, now.milliseconds - pace.at.milliseconds))
        let measured = memory * (1 - exp(-Double(max(0, now.milliseconds - pace.from.milliseconds)) / memory)) / 1000
        return measured > 0 ? exp(-age / memory) / measured : nil
    }
}

/// When a waiter hears of its rank.
public struct RankPolicy {
    /// Up to which rank every change is told.
    private static let front: Int64 = 100
    /// After how long any change is told.
    public static let patienceMilliseconds: Int64 = 5000

    /// Whether to push a rank now that was `told` before: near the front every change; further back one of at least 1 %
    /// of the rank told, or any when the last push is 5 s ago. Never the same rank: whoever has something else to tell
    /// with it knows that itself.
    public static func shouldPush(
        rank: Int64, told: Int64, toldAtMilliseconds: Int64, nowMilliseconds: Int64
    ) -> Bool {
        guard rank != told else { return false }
        return rank <= front || abs(rank - told) >= (told + 99) / 100
            || nowMilliseconds - toldAtMilliseconds >= patienceMilliseconds
    }

    /// In how many seconds a poller should ask again: 1 to 15, less near the front, and never more than a third of the
    /// time for which its place is kept.
    public static func refreshSeconds(rank: Int64, estimatedSeconds: Int64?, graceSeconds: Int64) -> Int64 {
        let byRank: Int64 =
            switch rank {
            case ...10: 1
            case ...100: 2
            case ...1000: 5
            default: 15
            }
        return max(1, min(byRank, (estimatedSeconds ?? .max) / 4, graceSeconds / 3))
    }
}
