import Model

/// What the server says of a room by itself, asked over REST.
struct LineTruth: Equatable, Sendable, Codable {
    let room: String
    let maxActive: Int64
    let passSeconds: Int64
    let admitPerMinute: Int64?
    let graceSeconds: Int64
    let ordering: String
    /// How many others waited or were admitted before the first join.
    let before: Int64
    /// By how much the clocks may differ, in milliseconds.
    let clockTolerance: Int64
    /// Whether the limits were still the same when all was over; nil when that could not be asked.
    var isUnchanged: Bool?
    /// Who waited when all was over.
    var waitingAfter: Int64?
    /// Who was admitted when all was over.
    var activeAfter: Int64?
    /// Whether time was up before everybody was through.
    var wasCut = false
}

extension Verdict {
    /// What has to be true of a line.
    static func line(_ tally: Tally, _ truth: LineTruth, claims: Bool, cutAt: UInt64?) -> [Check] {
        let line = tally.line
        var checks = [
            answered(line, truth, cutAt), ranksFell(line), keptPlaces(line), everybodyAdmitted(tally, truth, cutAt),
            withinCap(line, truth), distinctPasses(line),
        ]
        if truth.ordering == RoomOrdering.fifo.rawValue {
            checks.insert(inOrder(line, truth), at: 4)
            if !claims { checks.insert(smallLastRanks(line, truth), at: 2) }
        }
        if !claims { checks.append(ended(line, truth, cutAt)) }
        return checks
    }

    private static func answered(_ line: LineTally, _ truth: LineTruth, _ cutAt: UInt64?) -> Check {
        let answered = line.joined + line.rejected
        let isRightAnswer = truth.ordering == RoomOrdering.reject.rawValue ? line.joined == 0 : line.rejected == 0
        let isAllowed = isRightAnswer || truth.isUnchanged != true
        let rejected = line.rejected == 0 ? "" : "; \(grouped(line.rejected)) rejected"
        return Check(
            words: "every join was answered", holds: answered == line.joins && isAllowed,
            detail: "\(grouped(answered)) of \(grouped(line.joins))" + rejected)
    }

    private static func ranksFell(_ line: LineTally) -> Check {
        let words = line.risen == 0 ? "\(grouped(line.ranks)) pushed" : line.examples.prefix(3).joined(separator: "; ")
        return Check(
            words: "no rank rose", holds: line.risen == 0,
            detail: line.risen == 0 ? words : "\(grouped(line.risen)) times: \(words)")
    }

    private static func keptPlaces(_ line: LineTally) -> Check {
        let late = line.returnedLate == 0 ? "" : ", \(grouped(line.returnedLate)) too late"
        let detail = "\(grouped(line.returnedInTime)) came back in time\(late)"
        let examples = line.examples.prefix(3).joined(separator: "; ")
        return Check(
            words: "whoever came back in time has kept the place", holds: line.lostPlaces == 0,
            detail: line.lostPlaces == 0 ? detail : "\(grouped(line.lostPlaces)) have not: \(examples)")
    }

    /// In a run without claims the places fall free a room at a time, and between two of these moments a rank is told:
    /// so nobody is admitted who was told last to be far behind. Twice the room and a tenth of the way are for departures.
    private static func smallLastRanks(_ line: LineTally, _ truth: LineTruth) -> Check {
        var largest: Int64 = 0
        var late = 0
        for stay in line.stays where stay.wasAdmitted && stay.isConnected {
            guard let first = stay.firstRank, let last = stay.lastRank else { continue }
            largest = max(largest, last)
            if last > 2 * truth.maxActive + first / 10 { late += 1 }
        }
        return Check(
            words: "the last rank before the admission was small", holds: late == 0,
            detail: late == 0 ? "at most \(grouped(Int(largest)))" : "\(grouped(late)) times it was not")
    }

    /// If one's join was answered before another's was sent, and both waited for their turn, then the one was admitted no
    /// later than the other: by the ends of their passes, which the server writes.
    private static func inOrder(_ line: LineTally, _ truth: LineTruth) -> Check {
        let words = "all were admitted in the order of joining"
        guard truth.isUnchanged != false else {
            return Check(words: words, holds: true, detail: "not checked: the limits were changed")
        }
        let stays = line.stays.filter { $0.wasAdmitted && $0.isCertain && $0.joinedAt != nil }
        let byAnswer = stays.sorted { $0.joinedAt! < $1.joinedAt! }
        let byJoin = stays.sorted { $0.joinAt < $1.joinAt }
        var latest: Stay?
        var next = 0
        var before = 0
        var wrong = 0
        var example = ""
        for stay in byJoin {
            while next < byAnswer.count, byAnswer[next].joinedAt! < stay.joinAt {
                if byAnswer[next].issued! > latest?.issued ?? .min { latest = byAnswer[next] }
                next += 1
            }
            guard let latest else { continue }
            before += 1
            guard latest.issued! > stay.issued! else { continue }
            wrong += 1
            if example.isEmpty {
                example =
                    ": buyer \(stay.buyer) joined after buyer \(latest.buyer), and was admitted "
                    + "\(latest.issued! - stay.issued!) ms before"
            }
        }
        return Check(
            words: words, holds: wrong == 0,
            detail: wrong == 0
                ? "\(grouped(stays.count)), of which \(grouped(before)) joined after another's answer"
                : "\(grouped(wrong)) were not\(example)")
    }

    private static func withinCap(_ line: LineTally, _ truth: LineTruth) -> Check {
        let words = "never more than \(grouped(Int(truth.maxActive))) were admitted at once"
        guard truth.isUnchanged != false else {
            return Check(words: words, holds: true, detail: "not checked: the limits were changed")
        }
        let most = line.mostAtOnce(truth)
        return Check(words: words, holds: most <= truth.maxActive, detail: "at most \(grouped(Int(most)))")
    }

    private static func distinctPasses(_ line: LineTally) -> Check {
        let passes = line.stays.compactMap(\.pass)
        let twice = passes.count - Set(passes).count
        return Check(
            words: "no pass was given to two", holds: twice == 0, detail: twice == 0 ? "" : "\(grouped(twice)) were")
    }

    /// Who still waits when time is up is no fault as long as the line was moving.
    private static func everybodyAdmitted(_ tally: Tally, _ truth: LineTruth, _ cutAt: UInt64?) -> Check {
        let line = tally.line
        let isReject = truth.ordering == RoomOrdering.reject.rawValue
        let stayed = line.stays.count { $0.stayed }
        let admitted = line.stays.count { $0.wasAdmitted && $0.stayed }
        let dismissed = line.dismissed.values.reduce(0, +)
        var holds = dismissed == 0 && stayed == admitted
        var detail = "\(grouped(admitted)) of \(grouped(stayed))"
        if dismissed > 0 {
            let reasons = line.dismissed.sorted { $0.key < $1.key }.map { "\(grouped($0.value)) \($0.key)" }
            detail += "; told to go: " + reasons.joined(separator: ", ")
        }
        if stayed > admitted, dismissed == 0, let cutAt, let last = line.lastAdmittedAt {
            let pause = UInt64(max(truth.passSeconds, truth.admitPerMinute.map { 60 / max(1, $0) } ?? 0) + 5)
            holds = cutAt < last + pause * 1_000_000_000
            detail += holds ? ": time was up, and the line was moving" : ": time was up, and the line stood still"
            if !holds { detail += "; waiting: " + tally.waiting.prefix(5).joined(separator: ", ") }
        }
        return Check(words: "everybody who stayed was admitted", holds: holds || isReject, detail: detail)
    }

    private static func ended(_ line: LineTally, _ truth: LineTruth, _ cutAt: UInt64?) -> Check {
        let passes = line.stays.count { $0.wasAdmitted }
        let ended = line.stays.count { $0.wasAdmitted && $0.end != nil }
        return Check(
            words: "the end of every pass was told", holds: passes == ended || cutAt != nil,
            detail: "\(grouped(ended)) of \(grouped(passes))")
    }
}

extension LineTally {
    /// How many passes were alive at the same moment at most. Each lives from its issue to its end; who used it up or
    /// gave it back knows the end by another clock.
    func mostAtOnce(_ truth: LineTruth) -> Int64 {
        var changes: [(at: Int64, by: Int64)] = []
        for stay in stays {
            guard let issued = stay.issued, let end = stay.freeAt(truth), end > issued else { continue }
            changes.append((issued, 1))
            changes.append((end, -1))
        }
        // At the same moment an end comes first.
        changes.sort { ($0.at, $0.by) < ($1.at, $1.by) }
        var most: Int64 = 0
        var now: Int64 = 0
        for change in changes {
            now += change.by
            most = max(most, now)
        }
        return most
    }

    /// How long places lay free while somebody waited, in nanoseconds: the place that fell free as the k-th is the one of
    /// the k-th admission after the room was filled for the first time. Nil where others than ours, or nobody whom we
    /// know, may have had a place in between, and where places lie free on purpose.
    func refill(_ truth: LineTruth) -> Histogram? {
        guard truth.before == 0, truth.admitPerMinute == nil, truth.isUnchanged == true, vanished == 0,
            returnedLate == 0
        else { return nil }
        let admitted = stays.filter(\.wasAdmitted).sorted { $0.issued! < $1.issued! }
        let ends = admitted.compactMap { $0.freeAt(truth) }.sorted()
        var histogram = Histogram()
        for (free, next) in zip(ends, admitted.dropFirst(Int(truth.maxActive))) {
            // Whoever joined later found the place free.
            guard next.firstRank != nil, let joined = next.joined, joined < free else { continue }
            histogram.record(UInt64(max(0, next.issued! - free)) * 1_000_000)
        }
        return histogram
    }
}

extension Stay {
    /// When its place may have fallen free at the earliest, in milliseconds since 1970.
    func freeAt(_ truth: LineTruth) -> Int64? {
        guard let issued, let expires else { return nil }
        return max(issued, min(expires, done.map { $0 - truth.clockTolerance } ?? expires))
    }
}
