import EventLoop
import Foundation
import Model

/// What the process counts, in Prometheus' text format.
@LoopActor
final class Metrics {
    /// Claims by what was answered.
    var claims: [String: Int64] = [:]
    /// Orders that the committer finished, by their status.
    var orders: [String: Int64] = [:]
    /// Wishes to hold seats, by what was answered.
    var holds: [String: Int64] = [:]
    /// Payments of reservations, by what was answered.
    var payments: [String: Int64] = [:]
    /// Entries of performances' logs that the committer finished, by their status.
    var reservations: [String: Int64] = [:]
    /// HTTP answers by status.
    var responses: [Int: Int64] = [:]
    /// WebSocket messages that came, by type.
    var messages: [String: Int64] = [:]
    /// WebSockets that this side closed, by code.
    var closed: [UInt16: Int64] = [:]
    /// Refusals by a limit, by its name.
    var limited: [String: Int64] = [:]
    /// Ranks that were pushed, and the time that looking for them and pushing them took.
    var rankPushes: Int64 = 0
    var rankNanoseconds: Int64 = 0
    /// How far Redis and PostgreSQL are apart, by kind, where this process is the one that audits.
    var auditDrift: [String: Int64] = [:]
    /// What the background audit looked at.
    var auditChecked: [String: Int64] = [:]
    /// When it had looked at everything last, in milliseconds since 1970, and how long that took; nil before.
    var auditRoundAt: Int64?
    var auditRoundSeconds = 0.0
    /// Values that are asked when the metrics are read.
    var gauges: [(name: String, help: String, value: () -> Int64)] = []

    private let startedAt = EventLoop.nanoseconds

    /// The text of `/metrics`.
    func text() -> String {
        var text = ""
        func head(_ name: String, _ type: String, _ help: String) {
            text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        }
        func counters(_ name: String, _ label: String, _ help: String, _ values: [(String, Int64)]) {
            head(name, "counter", help)
            for (key, value) in values.sorted(by: { $0.0 < $1.0 }) { text += "\(name){\(label)=\"\(key)\"} \(value)\n" }
        }
        counters("dibs_claims_total", "outcome", "Claims by what was answered.", claims.map { ($0, $1) })
        counters("dibs_orders_total", "status", "Orders that this committer finished.", orders.map { ($0, $1) })
        counters("dibs_holds_total", "outcome", "Wishes to hold seats by what was answered.", holds.map { ($0, $1) })
        counters("dibs_payments_total", "outcome", "Payments by what was answered.", payments.map { ($0, $1) })
        counters(
            "dibs_reservations_total", "status", "Ends and beginnings of holds that this committer finished.",
            reservations.map { ($0, $1) })
        counters("dibs_http_responses_total", "status", "HTTP answers.", responses.map { (String($0), $1) })
        counters("dibs_ws_messages_total", "type", "WebSocket messages that came.", messages.map { ($0, $1) })
        counters("dibs_ws_closed_total", "code", "WebSockets closed by this side.", closed.map { (String($0), $1) })
        counters("dibs_limited_total", "limit", "What was refused by a limit.", limited.map { ($0, $1) })
        head("dibs_rank_pushes_total", "counter", "Ranks that were pushed to waiting clients.")
        text += "dibs_rank_pushes_total \(rankPushes)\n"
        head("dibs_rank_push_microseconds_total", "counter", "Time that finding and pushing them took.")
        text += "dibs_rank_push_microseconds_total \(rankNanoseconds / 1000)\n"
        head("dibs_audit_drift", "gauge", "What the background audit found wrong, by kind.")
        for (kind, value) in auditDrift.sorted(by: { $0.key < $1.key }) {
            text += "dibs_audit_drift{kind=\"\(kind)\"} \(value)\n"
        }
        counters(
            "dibs_audit_checked_total", "what", "What the background audit looked at.", auditChecked.map { ($0, $1) })
        if let auditRoundAt {
            head("dibs_audit_last_seconds", "gauge", "Seconds since the background audit had looked at everything.")
            text += "dibs_audit_last_seconds \(max(0, EventLoop.wallMilliseconds - auditRoundAt) / 1000)\n"
            head("dibs_audit_round_seconds", "gauge", "How long that took.")
            text += "dibs_audit_round_seconds \(auditRoundSeconds)\n"
        }
        for gauge in gauges {
            head(gauge.name, "gauge", gauge.help)
            text += "\(gauge.name) \(gauge.value())\n"
        }
        head("dibs_uptime_seconds", "gauge", "Seconds since the process started serving.")
        text += "dibs_uptime_seconds \((EventLoop.nanoseconds - startedAt) / 1_000_000_000)\n"
        head("process_resident_memory_bytes", "gauge", "Resident memory.")
        text += "process_resident_memory_bytes \(residentBytes())\n"
        return text
    }

    private func residentBytes() -> Int64 {
        // procfs answers from memory: this does not block.
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return 0 }
        let fields = text.split(separator: " ")
        guard fields.count > 1, let pages = Int64(fields[1]) else { return 0 }
        return pages * Int64(sysconf(Int32(_SC_PAGESIZE)))
    }
}
