import Foundation
import Testing

@testable import RushKit

/// A run of three buyers on two tickets in which everything is right; each test spoils one thing.
private struct Outcome {
    var tally = Tally()
    var truth = SaleTruth(
        sale: "42", quantity: 2, limit: 1, leftBefore: 2, confirmedBefore: 5, confirmedAfter: 7,
        audit: SaleTruth.Audit(sold: 2, inFlight: 0, drift: 0))

    init() {
        tally.claims = 3
        tally.outcomes = ["accepted": 2, "sold_out": 1]
        tally.orders = [
            OrderTold(buyer: 0, sale: "42", order: "42-1", ticket: 1, end: "confirmed"),
            OrderTold(buyer: 2, sale: "42", order: "42-2", ticket: 2, end: "confirmed"),
        ]
    }

    var verdict: Verdict { Verdict(tally, buyers: 3, claims: 1, truths: [truth]) }
    var broken: [String] { verdict.checks.filter { !$0.holds }.map(\.words) }
}

struct VerdictTests {
    @Test func allIsWell() {
        let verdict = Outcome().verdict
        #expect(verdict.holds)
        #expect(verdict.checks.count == 10)
    }

    @Test func unanswered() {
        var outcome = Outcome()
        outcome.tally.outcomes["sold_out"] = nil
        outcome.tally.waiting = ["rush-r-1"]
        #expect(outcome.broken == ["every claim was answered"])
        #expect(outcome.verdict.checks[0].detail == "2 of 3; waiting: rush-r-1")
    }

    @Test(arguments: [nil, "failed", "cancelled"])
    func unconfirmed(end: String?) {
        var outcome = Outcome()
        outcome.tally.orders[0].end = end
        outcome.truth.confirmedAfter = 6
        #expect(outcome.broken == ["every accepted claim was confirmed", "exactly what was left was sold"])
    }

    @Test func faults() {
        var outcome = Outcome()
        outcome.tally.fault("an offset was skipped")
        #expect(outcome.broken == ["outcomes came in order, once, and never changed"])
    }

    @Test func oneOrderForTwo() {
        var outcome = Outcome()
        outcome.tally.orders[1] = OrderTold(buyer: 2, sale: "42", order: "42-1", ticket: 2, end: "confirmed")
        #expect(outcome.broken == ["no order was told to two buyers"])
    }

    @Test(arguments: [1, 0, 3, -1] as [Int64])
    func wrongTickets(ticket: Int64) {
        var outcome = Outcome()
        outcome.tally.orders[1] = OrderTold(buyer: 2, sale: "42", order: "42-2", ticket: ticket, end: "confirmed")
        #expect(outcome.broken == ["no ticket was told to two buyers, and each exists"])
    }

    @Test func aTicketThatCameBackIsSoldAgain() {
        var outcome = Outcome()
        outcome.tally.orders[1] = OrderTold(buyer: 2, sale: "42", order: "42-2", ticket: 1, end: "failed")
        #expect(!outcome.broken.contains("no ticket was told to two buyers, and each exists"))
    }

    @Test func aboveTheLimit() {
        var outcome = Outcome()
        outcome.tally.orders[1] = OrderTold(buyer: 0, sale: "42", order: "42-2", ticket: 2, end: "confirmed")
        #expect(outcome.broken == ["nobody has more than the limit"])
    }

    @Test(arguments: [nil, 6, 8] as [Int64?])
    func theServerCountsOtherwise(after: Int64?) {
        var outcome = Outcome()
        outcome.truth.confirmedAfter = after
        #expect(outcome.broken == ["the server counts as many confirmed as were told"])
    }

    @Test func oversold() {
        var outcome = Outcome()
        outcome.truth.audit = SaleTruth.Audit(sold: 3, inFlight: 0, drift: 0)
        #expect(outcome.broken == ["no more was sold than there is"])
    }

    @Test func undersold() {
        var outcome = Outcome()
        outcome.tally.outcomes = ["accepted": 1, "sold_out": 2]
        outcome.tally.orders.removeLast()
        outcome.truth.confirmedAfter = 6
        #expect(outcome.broken == ["exactly what was left was sold"])
        // Two buyers who were turned down for another reason did not want what was left.
        outcome.tally.outcomes = ["accepted": 1, "rejected": 2]
        #expect(outcome.verdict.holds)
    }

    @Test func fewBuyersNeedNotBuyAll() {
        var outcome = Outcome()
        outcome.truth = SaleTruth(
            sale: "42", quantity: 9, limit: 1, leftBefore: 9, confirmedBefore: 0, confirmedAfter: 2,
            audit: SaleTruth.Audit(sold: 2, inFlight: 0, drift: 0))
        #expect(outcome.verdict.holds && outcome.verdict.checks.count == 9)
    }

    @Test(arguments: [SaleTruth.Audit(sold: 2, inFlight: 1, drift: 0), .init(sold: 2, inFlight: 0, drift: 1), nil])
    func theAuditDisagrees(audit: SaleTruth.Audit?) {
        var outcome = Outcome()
        outcome.truth.audit = audit
        #expect(outcome.broken.contains("Redis and PostgreSQL agree"))
    }

    @Test func severalSales() {
        var tally = Tally()
        tally.claims = 4
        tally.outcomes = ["accepted": 3, "sold_out": 1]
        let audit = SaleTruth.Audit(sold: 1, inFlight: 0, drift: 0)
        let truths = ["42", "43"].map { sale in
            SaleTruth(
                sale: sale, quantity: 2, limit: 1, leftBefore: sale == "42" ? 2 : 1, confirmedBefore: 0,
                confirmedAfter: sale == "42" ? 2 : 1, audit: audit)
        }
        tally.orders = [
            OrderTold(buyer: 0, sale: "42", order: "42-1", ticket: 1, end: "confirmed"),
            OrderTold(buyer: 1, sale: "42", order: "42-2", ticket: 2, end: "confirmed"),
            OrderTold(buyer: 1, sale: "43", order: "43-1", ticket: 1, end: "confirmed"),
        ]
        #expect(Verdict(tally, buyers: 2, claims: 2, truths: truths).holds)
        tally.orders[2] = OrderTold(buyer: 1, sale: "43", order: "43-1", ticket: 1, end: "failed")
        let broken = Verdict(tally, buyers: 2, claims: 2, truths: truths).checks.filter { !$0.holds }
        #expect(broken.map(\.words).contains("exactly what was left was sold"))
        #expect(broken.contains { $0.detail.hasPrefix("sale 43: ") })
    }
}

struct ReportTests {
    private func report(_ outcome: Outcome) -> Report {
        Report(
            buyers: 3, watchers: 0, instances: 2, processes: 1, truths: [outcome.truth], tally: outcome.tally,
            verdict: outcome.verdict)
    }

    @Test func inWords() {
        var outcome = Outcome()
        outcome.tally.firstClaimAt = 1_000_000_000
        outcome.tally.lastResultAt = 1_001_500_000
        for value in [500_000, 1_500_000, 12_345_678] as [UInt64] { outcome.tally.toResult.record(value) }
        let text = report(outcome).text
        #expect(text.contains("3 buyers, sale 42 with 2 of 2 left, 2 instances, 1 generator process\n"))
        #expect(text.contains("decided             2,000 a second"))
        #expect(text.contains("12.3 ms\n"))
        #expect(text.contains("outcomes            2 accepted, 1 sold_out\n"))
        #expect(text.contains("  ok    every claim was answered: 3 of 3\n"))
        #expect(!text.contains("FALSE"))
        outcome.tally.fault("frogs")
        #expect(report(outcome).text.contains("  FALSE outcomes came in order, once, and never changed: frogs (1)\n"))
    }

    @Test func asJSON() throws {
        let object = try JSONSerialization.jsonObject(with: report(Outcome()).json()) as? [String: Any]
        #expect(object?["holds"] as? Bool == true)
        #expect((object?["outcomes"] as? [String: Int])?["accepted"] == 2)
        #expect((object?["checks"] as? [Any])?.count == 10)
    }

    @Test func durations() {
        #expect(Report.duration(999) == "1.00 µs")
        #expect(Report.duration(123_456) == "123 µs")
        #expect(Report.duration(1_234_567) == "1.23 ms")
        #expect(Report.duration(12_345_678_901) == "12.3 s")
    }

    @Test func thousands() {
        #expect([0, 999, 1000, 1_234_567, -1000].map(grouped) == ["0", "999", "1,000", "1,234,567", "-1,000"])
    }

    @Test func progress() {
        var progress = Progress()
        progress.connected = 500
        #expect(progress.line(clients: 1000, claims: 1000, bar: 4) == "▕██··▏ connected 500/1,000")
        var tally = Tally()
        tally.connected = 500
        tally.claims = 1000
        tally.outcomes = ["accepted": 100, "sold_out": 850]
        tally.settled = 60
        progress.add(Progress(tally))
        #expect(
            progress.line(clients: 1000, claims: 1000, bar: 0)
                == "connected 1,000/1,000  decided 950/1,000  confirmed 0/100")
    }

    @Test func talliesAddUp() {
        var one = Outcome().tally
        one.firstClaimAt = 5
        one.lastResultAt = 9
        var other = one
        other.firstClaimAt = 3
        other.lastResultAt = 7
        other.connected = 1
        var sum = Tally()
        sum.add(one)
        sum.add(other)
        #expect(sum.firstClaimAt == 3 && sum.lastResultAt == 9 && sum.lastSettledAt == nil)
        #expect(sum.decided == 6 && sum.orders.count == 4 && sum.connected == 1 && sum.claims == 6)
    }
}
