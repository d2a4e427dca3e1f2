/// The figures of a run for seats, for people.
extension Report {
    /// The part of the table that is about seats.
    func text(of truth: SeatTruth) -> [String] {
        let told = tally.seats
        var lines: [String] = []
        let times = [
            ("payment to answer", told.toPaid), ("deadline to word of it", told.toExpired),
            ("watch to all seats", told.toFirstAnswer),
        ]
        for (name, histogram) in times where histogram.count > 0 { lines.append(row(name, quantiles(histogram), "")) }
        if let bytes = told.bytesEach { lines.append(row("first answer", "\(grouped(bytes)) bytes", "")) }
        lines.append("")
        lines.append(row("payments", listed(told.payments), ""))
        if told.gaveUp > 0 { lines.append(row("empty-handed", grouped(told.gaveUp), "")) }
        return lines
    }
}

extension SeatsTold {
    /// Bytes of a first answer; nil when there was none.
    var bytesEach: Int? { toFirstAnswer.count > 0 ? firstAnswerBytes / Int(toFirstAnswer.count) : nil }
}

extension SeatTruth {
    /// In a headline.
    var words: String {
        let want =
            switch options.want {
            case .any: "one each"
            case .pair: "pairs"
            case .one: "all the same"
            case .own: "each its own"
            }
        return "performance \(performance) with \(grouped(seats)) seats (\(want), holds of \(options.holdSeconds) s)"
    }
}

/// The figures of seats, for programs.
struct SeatSummary: Encodable {
    let performance: String
    let seats, held, paid, expired, released, kept, gaveUp: Int
    let payments: [String: Int]
    let toPaidMs, toExpiredMs, toFirstAnswerMs: [String: Double]
    let firstAnswerBytes: Int?
    let audit: SeatTruth.Audit?

    init(_ told: SeatsTold, _ truth: SeatTruth) {
        performance = truth.performance
        seats = truth.seats
        held = told.holds.count
        paid = told.holds.count { $0.end == "paid" }
        expired = told.holds.count { $0.end == "expired" }
        released = told.holds.count { $0.end == "released" }
        kept = told.holds.count { $0.end == nil && $0.isKept }
        gaveUp = told.gaveUp
        payments = told.payments
        toPaidMs = told.toPaid.quantiles(per: 1e6)
        toExpiredMs = told.toExpired.quantiles(per: 1e6)
        toFirstAnswerMs = told.toFirstAnswer.quantiles(per: 1e6)
        firstAnswerBytes = told.bytesEach
        audit = truth.audit
    }
}
