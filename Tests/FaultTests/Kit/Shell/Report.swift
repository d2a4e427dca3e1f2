/// What came of many rounds, as a table for `docs/reliability.md`.
public struct Report: Sendable {
    private struct Row {
        var rounds = 0
        var violations = 0
        var decided = Times()
        var told = Times()
    }

    private let seed: UInt64
    private let clients: Int
    private var rows: [Fault.Kind: Row] = [:]
    private var rounds = 0
    private var outcomes = 0
    private var overlapping = 0
    private var failing: [UInt64] = []
    private var milliseconds: Int64 = 0

    init(seed: UInt64, clients: Int) {
        self.seed = seed
        self.clients = clients
    }

    mutating func add(_ result: Round.Result) {
        rounds += 1
        outcomes += result.outcomes
        milliseconds += result.milliseconds
        if !result.violations.isEmpty { failing.append(result.schedule.seed) }
        for step in result.schedule.steps {
            rows[step.fault.kind, default: Row()].rounds += 1
            rows[step.fault.kind, default: Row()].violations += result.violations.count
            if case .together = step.start { overlapping += 1 }
        }
        for (kind, recovery) in result.recoveries {
            rows[kind, default: Row()].decided.add(recovery.decided)
            if let told = recovery.told { rows[kind, default: Row()].told.add(told) }
        }
    }

    /// In Markdown.
    public var markdown: String {
        var lines = [
            "\(rounds) rounds of \(clients) clients, seed \(seed): \(outcomes) outcomes checked in \(milliseconds / 1000) s; "
                + "two faults at once in \(overlapping) rounds; "
                + (failing.isEmpty ? "no violation." : "violations in the rounds with the seeds \(failing)."),
            "",
            "| fault | times | violations in its rounds | claims decided again, p50 / max ms | last outcome told, p50 / max ms |",
            "| --- | --- | --- | --- | --- |",
        ]
        for kind in Fault.Kind.allCases {
            guard let row = rows[kind] else { continue }
            lines.append(
                "| `\(kind.rawValue)` | \(row.rounds) | \(row.violations) | \(row.decided.words) | \(row.told.words) |")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
