import Foundation

/// How a run went: the figures, and whether what was told is true.
struct Report: Equatable, Sendable, Codable {
    let buyers: Int
    let watchers: Int
    let instances: Int
    let processes: Int
    let truths: [SaleTruth]
    let tally: Tally
    let verdict: Verdict
    /// The waiting room that all went through.
    var line: LineTruth?
    /// The performance whose seats all wanted.
    var seats: SeatTruth?
}

extension Report {
    /// Decisions a second, from the first claim to the last answer.
    var decidedPerSecond: Double? { rate(tally.decided, tally.firstClaimAt, tally.lastResultAt) }
    /// Clients a second, from the first attempt to the last success.
    var connectedPerSecond: Double? { rate(tally.connected, tally.firstConnectAt, tally.lastConnectedAt) }
    /// Frames a second to watchers, from the first to the last.
    var watchedPerSecond: Double? { rate(tally.watched, tally.firstWatchedAt, tally.lastWatchedAt) }

    /// From the answer to whoever made a change to the last watcher's hearing of it; empty where it is not followed.
    var toLastWatcher: Histogram { tally.followed.toLast(of: max(1, watchers)) }

    /// The same from asking for the change.
    var askedToLastWatcher: Histogram { tally.followed.toLast(of: max(1, watchers), fromAsking: true) }

    func rate(_ number: Int, _ from: UInt64?, _ to: UInt64?) -> Double? {
        guard let from, let to, to > from, number > 0 else { return nil }
        return Double(number) / (Double(to - from) / 1e9)
    }

    /// The table at the end of a run.
    var text: String {
        var lines = [headline, ""]
        if let decidedPerSecond {
            lines.append(row("decided", "\(grouped(Int(decidedPerSecond))) a second", took(tally.lastResultAt)))
        }
        if let watchedPerSecond {
            let frames = "\(grouped(tally.watched)) frames"
            lines.append(row("told to watchers", "\(grouped(Int(watchedPerSecond))) a second", frames))
        }
        if let connectedPerSecond { lines.append(row("connected", "\(grouped(Int(connectedPerSecond))) a second", "")) }
        if tally.toResult.count > 0 {
            lines += ["", row("", ["p50", "p90", "p99", "max"].map { pad($0, 11) }.joined(), "")]
            lines.append(row(seats == nil ? "claim to result" : "hold to answer", quantiles(tally.toResult), ""))
            if seats == nil { lines.append(row("claim to confirmed", quantiles(tally.toConfirmed), "")) }
        }
        if toLastWatcher.count > 0 {
            let number = "\(grouped(Int(toLastWatcher.count))) changes"
            lines.append(row("asked to last watcher", quantiles(askedToLastWatcher), number))
            lines.append(row("answer to last of them", quantiles(toLastWatcher), ""))
        }
        if let line { lines += text(of: line) }
        if let seats { lines += text(of: seats) }
        lines.append("")
        lines.append(row("outcomes", listed(tally.outcomes), ""))
        lines.append(row("retries", listed(tally.retries), ""))
        let unrecovered = tally.unrecovered == 0 ? "" : " (\(grouped(tally.unrecovered)) without a replay)"
        lines.append(row("reconnects", grouped(tally.reconnects) + unrecovered, ""))
        if tally.failedConnects > 0 { lines.append(row("failed to connect", grouped(tally.failedConnects), "")) }
        lines += ["", "check"]
        for check in verdict.checks {
            let mark = check.holds ? "  ok    " : "  FALSE "
            lines.append(mark + check.words + (check.detail.isEmpty ? "" : ": " + check.detail))
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// For programs: the rates and latencies, counts, checks and sales.
    func json() throws -> Data {
        func milliseconds(_ histogram: Histogram) -> [String: Double] { histogram.quantiles(per: 1e6) }
        let summary = Summary(
            holds: verdict.holds, buyers: buyers, watchers: watchers, instances: instances, processes: processes,
            decidedPerSecond: decidedPerSecond, connectedPerSecond: connectedPerSecond,
            watchedPerSecond: watchedPerSecond, claims: tally.claims, decided: tally.decided, settled: tally.settled,
            toResultMs: milliseconds(tally.toResult), toConfirmedMs: milliseconds(tally.toConfirmed),
            outcomes: tally.outcomes, retries: tally.retries, reconnects: tally.reconnects,
            failedConnects: tally.failedConnects, unrecovered: tally.unrecovered, watched: tally.watched,
            faults: tally.faults, generatorProcessorMs: Double(tally.processorTime) / 1e6,
            latestClaimMs: Double(tally.latestClaim) / 1e6, checks: verdict.checks, sales: truths,
            line: line.map { LineSummary(tally.line, $0) }, seats: seats.map { SeatSummary(tally.seats, $0) },
            followed: Int(toLastWatcher.count), toLastWatcherMs: milliseconds(toLastWatcher),
            askedToLastWatcherMs: milliseconds(askedToLastWatcher))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return try encoder.encode(summary)
    }

    private struct Summary: Encodable {
        let holds: Bool
        let buyers, watchers, instances, processes: Int
        let decidedPerSecond, connectedPerSecond, watchedPerSecond: Double?
        let claims, decided, settled: Int
        let toResultMs, toConfirmedMs: [String: Double]
        let outcomes, retries: [String: Int]
        let reconnects, failedConnects, unrecovered, watched: Int
        let faults: [String: Int]
        let generatorProcessorMs, latestClaimMs: Double
        let checks: [Check]
        let sales: [SaleTruth]
        let line: LineSummary?
        let seats: SeatSummary?
        let followed: Int
        let toLastWatcherMs, askedToLastWatcherMs: [String: Double]
    }

    private var headline: String {
        var sale = truths.isEmpty ? (line == nil ? "an echo" : "no sale") : "\(truths.count) sales"
        if truths.count == 1 {
            let left = "\(grouped(Int(truths[0].leftBefore))) of \(grouped(Int(truths[0].quantity)))"
            sale = "sale \(truths[0].sale) with \(left) left"
        }
        if let seats { sale = seats.words }
        let watching = watchers == 0 ? "" : ", \(grouped(watchers)) watchers"
        let room = line.map { ", \($0.words)" } ?? ""
        return "\(grouped(buyers)) buyers\(watching), \(sale)\(room), "
            + "\(instances) instance\(instances == 1 ? "" : "s"), "
            + "\(processes) generator process\(processes == 1 ? "" : "es")"
    }

    private func took(_ end: UInt64?) -> String {
        guard let begin = tally.firstClaimAt, let end, end > begin else { return "" }
        return "\(grouped(tally.decided)) in \(Report.duration(end - begin)), "
            + "\(Report.duration(tally.processorTime)) of processor time in the generator"
    }

    func quantiles(_ histogram: Histogram) -> String {
        [0.5, 0.9, 0.99, 1].map { pad(histogram.quantile($0).map(Report.duration) ?? "-", 11) }.joined()
    }

    func listed(_ counts: [String: Int]) -> String {
        guard !counts.isEmpty else { return "0" }
        return counts.sorted { $0.key < $1.key }.map { "\(grouped($0.value)) \($0.key)" }.joined(separator: ", ")
    }

    func row(_ name: String, _ value: String, _ more: String) -> String {
        let name = name + String(repeating: " ", count: max(0, 20 - name.count))
        return name + value + (more.isEmpty ? "" : "   (\(more))")
    }

    /// To the right of `width` columns.
    func pad(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }

    /// Three digits and a unit.
    static func duration(_ nanoseconds: UInt64) -> String {
        switch nanoseconds {
        case ..<1_000_000: "\(rounded(Double(nanoseconds) / 1e3)) µs"
        case ..<1_000_000_000: "\(rounded(Double(nanoseconds) / 1e6)) ms"
        default: "\(rounded(Double(nanoseconds) / 1e9)) s"
        }
    }

    private static func rounded(_ value: Double) -> String {
        let decimals = value >= 100 ? 0 : value >= 10 ? 1 : 2
        return String(format: "%.\(decimals)f", value)
    }
}
