import Foundation
import Testing

@testable import RushKit

private let second: UInt64 = 1_000_000_000

/// A run of six buyers through a room of two, in which everything is right; each test spoils one thing. The passes live
/// for 5 s, and whoever has one keeps it to its end.
private struct Outcome {
    var tally = Tally()
    var truth = LineTruth(
        room: "r", maxActive: 2, passSeconds: 5, admitPerMinute: nil, graceSeconds: 10, ordering: "fifo", before: 0,
        clockTolerance: 5, isUnchanged: true, waitingAfter: 0, activeAfter: 0)
    var cutAt: UInt64?

    init() {
        tally.line.joins = 6
        tally.line.joined = 6
        tally.line.admitted = 6
        tally.line.ranks = 9
        tally.line.stays = (0..<6).map { index in
            var stay = Stay(buyer: index, joinAt: UInt64(index) * second)
            let rank = index < 2 ? nil : Int64(index - 1)
            (stay.joinedAt, stay.joined) = (UInt64(index) * second + 1000, Int64(index) * 100)
            (stay.firstRank, stay.lastRank) = (rank, rank.map { min($0, 2) })
            stay.pass = UInt64(index)
            stay.issued = Int64(index / 2) * 5000 + 1000
            stay.expires = stay.issued! + 5000
            stay.end = .expired
            return stay
        }
    }

    var checks: [Check] { Verdict.line(tally, truth, claims: false, cutAt: cutAt) }
    var broken: [String] { checks.filter { !$0.holds }.map(\.words) }
}

struct LineVerdictTests {
    @Test func allIsWell() {
        let outcome = Outcome()
        #expect(outcome.broken == [] && outcome.checks.count == 9)
        #expect(outcome.tally.line.mostAtOnce(outcome.truth) == 2)
    }

    @Test func joinsWithoutAnswer() {
        var outcome = Outcome()
        outcome.tally.line.joins = 7
        #expect(outcome.broken == ["every join was answered"])
        outcome.tally.line.joins = 6
        outcome.tally.line.joined = 5
        outcome.tally.line.rejected = 1
        #expect(outcome.broken == ["every join was answered"])
    }

    @Test func aRoomThatRejects() {
        var outcome = Outcome()
        outcome.truth = LineTruth(
            room: "r", maxActive: 2, passSeconds: 5, admitPerMinute: nil, graceSeconds: 10, ordering: "reject",
            before: 0, clockTolerance: 5, isUnchanged: true)
        outcome.tally.line = LineTally()
        outcome.tally.line.joins = 3
        outcome.tally.line.rejected = 3
        #expect(outcome.broken == [])
        outcome.tally.line.joined = 1
        outcome.tally.line.rejected = 2
        #expect(outcome.broken == ["every join was answered"])
    }

    @Test func ranks() {
        var outcome = Outcome()
        outcome.tally.line.rose("a")
        #expect(outcome.broken == ["no rank rose"])
        outcome = Outcome()
        outcome.tally.line.lostPlace("a")
        #expect(outcome.broken == ["whoever came back in time has kept the place"])
        outcome = Outcome()
        outcome.tally.line.stays[5].lastRank = 5
        #expect(outcome.broken == ["the last rank before the admission was small"])
        // It could not be told.
        outcome.tally.line.stays[5].isConnected = false
        #expect(outcome.broken == [])
    }

    @Test func outOfTurn() {
        var outcome = Outcome()
        outcome.tally.line.stays[2].issued = 6001
        #expect(outcome.broken == ["all were admitted in the order of joining"])
        // They asked at the same time: who was first is not known.
        outcome.tally.line.stays[2].joinedAt = 3 * second
        #expect(outcome.broken == [])
    }

    @Test func whoseTurnItWasIsNotAlwaysKnown() {
        let words = "all were admitted in the order of joining"
        var outcome = Outcome()
        outcome.tally.line.stays[0].issued = 2000
        #expect(outcome.broken.contains(words))
        outcome.tally.line.stays[0].isCertain = false
        #expect(!outcome.broken.contains(words))
        outcome.tally.line.stays[0].isCertain = true
        outcome.truth.isUnchanged = false
        #expect(!outcome.broken.contains(words))
    }

    @Test func tooManyAtOnce() {
        var outcome = Outcome()
        outcome.tally.line.stays[2].issued = 5999
        #expect(outcome.broken == ["never more than 2 were admitted at once"])
        // Somebody gave the pass back before, by a clock that may differ a little.
        outcome.tally.line.stays[0].done = 6004
        #expect(outcome.broken == [])
        outcome.tally.line.stays[0].done = 6005
        #expect(outcome.broken == ["never more than 2 were admitted at once"])
    }

    @Test func onePassForTwo() {
        var outcome = Outcome()
        outcome.tally.line.stays[2].pass = 1
        #expect(outcome.broken == ["no pass was given to two"])
    }

    @Test func whoStillWaits() {
        let words = "everybody who stayed was admitted"
        var outcome = Outcome()
        outcome.tally.line.stays[5].issued = nil
        outcome.tally.line.stays[5].end = nil
        outcome.tally.line.lastAdmittedAt = 20 * second
        #expect(outcome.broken.contains(words))
        // Time was up, and the line was moving.
        outcome.cutAt = 29 * second
        #expect(outcome.broken == [])
        outcome.cutAt = 31 * second
        outcome.tally.waiting = ["rush-r-5"]
        #expect(outcome.broken == [words])
        #expect(
            outcome.checks.first { $0.words == words }?.detail
                == "5 of 6: time was up, and the line stood still; waiting: rush-r-5")
        // Who left need not be admitted; who was told to go should have been.
        outcome.cutAt = nil
        outcome.tally.line.stays[5].end = .own
        #expect(outcome.broken == [])
        outcome.tally.line.dismissed = ["closed": 1]
        #expect(outcome.broken == [words])
    }

    @Test func anEndThatIsNotTold() {
        var outcome = Outcome()
        outcome.tally.line.stays[5].end = nil
        #expect(outcome.broken == ["the end of every pass was told"])
        outcome.cutAt = 1
        #expect(outcome.broken == [])
    }

    @Test func howLongPlacesLayFree() throws {
        var outcome = Outcome()
        outcome.tally.line.stays[3].issued = 6040
        outcome.tally.line.stays[3].expires = 11_040
        let refill = try #require(outcome.tally.line.refill(outcome.truth))
        #expect(refill.count == 4 && refill.max == 40_000_000)
        // Nobody waited then.
        outcome.tally.line.stays[3].joined = 6020
        #expect(outcome.tally.line.refill(outcome.truth)?.max == 0)
        // Somebody may have had a place of whom we know nothing.
        outcome.tally.line.vanished = 1
        #expect(outcome.tally.line.refill(outcome.truth) == nil)
    }

    @Test func withClaims() {
        var outcome = Outcome()
        outcome.tally.claims = 6
        outcome.tally.outcomes = ["accepted": 2, "sold_out": 4]
        outcome.tally.orders = [1, 2].map {
            OrderTold(buyer: $0, sale: "42", order: "42-\($0)", ticket: Int64($0), end: "confirmed")
        }
        let sale = SaleTruth(
            sale: "42", quantity: 2, limit: 1, leftBefore: 2, confirmedBefore: 0, confirmedAfter: 2,
            audit: SaleTruth.Audit(sold: 2, inFlight: 0, drift: 0))
        let verdict = Verdict(outcome.tally, claims: 1, truths: [sale], line: outcome.truth, cutAt: nil)
        #expect(verdict.holds && verdict.checks.count == 17, "\(verdict.checks)")
        outcome.tally.outcomes["sold_out"] = 3
        #expect(!Verdict(outcome.tally, claims: 1, truths: [sale], line: outcome.truth, cutAt: nil).holds)
        #expect(Verdict(outcome.tally, claims: 0, truths: [], line: outcome.truth, cutAt: nil).checks.count == 10)
    }

    @Test func inWordsAndAsJSON() throws {
        var outcome = Outcome()
        outcome.tally.line.toAdmission.record(1_500_000_000)
        outcome.tally.line.estimateError.record(250_000_000)
        outcome.tally.line.estimateErrorShare.record(1234)
        outcome.tally.line.left = 3
        let verdict = Verdict(outcome.tally, claims: 0, truths: [], line: outcome.truth, cutAt: nil)
        var report = Report(
            buyers: 6, watchers: 0, instances: 1, processes: 1, truths: [], tally: outcome.tally, verdict: verdict)
        report.line = outcome.truth
        #expect(report.text.contains("6 buyers, no sale, room r (fifo, 2 at once, passes of 5 s), 1 instance"))
        #expect(report.text.contains("line                6 joined, 6 admitted, 3 left\n"))
        #expect(report.text.contains("half are wrong by at most 12.3 %"))
        let object = try JSONSerialization.jsonObject(with: report.json()) as? [String: Any]
        let line = object?["line"] as? [String: Any]
        #expect(line?["mostAtOnce"] as? Int == 2 && line?["left"] as? Int == 3)
        #expect((line?["toAdmissionMs"] as? [String: Double])?["max"] == 1500)
        #expect((line?["room"] as? [String: Any])?["maxActive"] as? Int == 2)
    }

    @Test func progress() {
        var tally = Outcome().tally
        tally.connected = 6
        tally.line.admitted = 2
        tally.claims = 2
        tally.outcomes = ["accepted": 1]
        let text = Progress(tally).line(clients: 6, claims: 6, buyersInLine: 6, bar: 3)
        #expect(text == "▕█··▏ connected 6/6  waiting 4  admitted 2  decided 1/2  confirmed 0/1")
    }
}
