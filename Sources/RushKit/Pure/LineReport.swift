/// The figures of a waiting room, for people.
extension Report {
    /// Ranks a second, from the first to the last.
    var ranksPerSecond: Double? { rate(tally.line.ranks, tally.line.firstRankAt, tally.line.lastRankAt) }

    /// The part of the table that is about the room.
    func text(of truth: LineTruth) -> [String] {
        let line = tally.line
        var counts = ["\(grouped(line.joined)) joined", "\(grouped(line.admitted)) admitted"]
        if line.atOnce > 0 { counts[1] += " (\(grouped(line.atOnce)) without waiting)" }
        for (count, words) in [
            (line.rejected, "rejected"), (line.left, "left"),
            (line.admittedAsTheyLeft, "told of a pass after they had left"), (line.vanished, "vanished"),
            (line.returnedInTime, "times back in time"), (line.returnedLate, "times back too late"),
            (line.missed, "asked too seldom to see their pass"),
            (line.dismissed.values.reduce(0, +), "told to go"),
            (line.unreachable, "told that nothing is left for them"),
        ] where count > 0 { counts.append("\(grouped(count)) \(words)") }
        let perSecond = ranksPerSecond.map { "\(grouped(Int($0))) a second" } ?? ""
        let polls = line.polls == 0 ? "" : ", \(grouped(line.polls)) asked for"
        var lines = [
            "", row("line", counts.joined(separator: ", "), ""),
            row("ranks", "\(grouped(line.ranks)) pushed\(polls)", perSecond),
            "", row("", ["p50", "p90", "p99", "max"].map { pad($0, 11) }.joined(), ""),
        ]
        let times = [("join to answer", line.toJoined), ("join to admission", line.toAdmission)]
        for (name, histogram) in times where histogram.count > 0 { lines.append(row(name, quantiles(histogram), "")) }
        if let refill = line.refill(truth), refill.count > 0 {
            lines.append(row("place free at most", quantiles(refill), "\(grouped(Int(refill.count))) places"))
        }
        if line.toExpired.count > 0 { lines.append(row("end of pass, told", quantiles(line.toExpired), "")) }
        if line.estimateError.count > 0 {
            let share = line.estimateErrorShare.quantile(0.5).map { share in
                "half are wrong by at most \(Double(share / 10) / 10) %"
            }
            lines.append(row("estimate, wrong by", quantiles(line.estimateError), share ?? ""))
        }
        return lines
    }
}

extension LineTruth {
    /// In a headline.
    var words: String {
        let pace = admitPerMinute.map { ", \(grouped(Int($0))) a minute" } ?? ""
        return "room \(room) (\(ordering), \(grouped(Int(maxActive))) at once\(pace), passes of \(passSeconds) s)"
    }
}

extension Histogram {
    /// For programs; empty when there are no values.
    func quantiles(per unit: Double) -> [String: Double] {
        var values: [String: Double] = [:]
        for (name, fraction) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1)] {
            values[name] = quantile(fraction).map { Double($0) / unit }
        }
        return values
    }
}

/// The figures of a waiting room, for programs.
struct LineSummary: Encodable {
    let room: LineTruth
    let joins, joined, admitted, atOnce, rejected, left, vanished, returnedInTime, returnedLate, expired: Int
    let admittedAsTheyLeft, missed: Int
    let dismissed: [String: Int]
    let unreachable, ranks, polls, risen, lostPlaces: Int
    let ranksPerSecond: Double?
    /// How many passes were alive at once at most, as far as the clients know.
    let mostAtOnce: Int64
    let toJoinedMs, toAdmissionMs, toExpiredMs, refillMs: [String: Double]
    let estimates: Int
    let estimateErrorSeconds, estimateErrorPercent: [String: Double]
    /// The rank that was told last before the admission.
    let lastRank: [String: Double]

    init(_ line: LineTally, _ truth: LineTruth) {
        room = truth
        joins = line.joins
        joined = line.joined
        admitted = line.admitted
        atOnce = line.atOnce
        rejected = line.rejected
        left = line.left
        vanished = line.vanished
        returnedInTime = line.returnedInTime
        returnedLate = line.returnedLate
        expired = line.expired
        missed = line.missed
        admittedAsTheyLeft = line.admittedAsTheyLeft
        dismissed = line.dismissed
        unreachable = line.unreachable
        ranks = line.ranks
        polls = line.polls
        risen = line.risen
        lostPlaces = line.lostPlaces
        let seconds = Double((line.lastRankAt ?? 0) - (line.firstRankAt ?? 0)) / 1e9
        ranksPerSecond = seconds > 0 ? Double(line.ranks) / seconds : nil
        mostAtOnce = line.mostAtOnce(truth)
        toJoinedMs = line.toJoined.quantiles(per: 1e6)
        toAdmissionMs = line.toAdmission.quantiles(per: 1e6)
        toExpiredMs = line.toExpired.quantiles(per: 1e6)
        refillMs = line.refill(truth)?.quantiles(per: 1e6) ?? [:]
        estimates = Int(line.estimateError.count)
        estimateErrorSeconds = line.estimateError.quantiles(per: 1e9)
        estimateErrorPercent = line.estimateErrorShare.quantiles(per: 100)
        var ranks = Histogram()
        for rank in line.stays.filter(\.wasAdmitted).compactMap(\.lastRank) { ranks.record(UInt64(max(0, rank))) }
        lastRank = ranks.quantiles(per: 1)
    }
}
