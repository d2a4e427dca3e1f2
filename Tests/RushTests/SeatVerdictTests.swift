import Testing

@testable import RushKit

/// A run of four buyers for pairs among six seats, in which everything is right; each test spoils one thing. Seats 1 and 2
/// were given back by buyer 0 and bought by buyer 1; buyer 2's hold of 4 and 5 ran out; buyer 3 came too late.
private struct Outcome {
    var tally = Tally()
    var truth: SeatTruth

    init() {
        var options = SeatOptions()
        (options.seats, options.want, options.holdSeconds) = (6, .pair, 5)
        truth = SeatTruth(
            performance: "7", seats: 6, options: options, clockTolerance: 20, points: 10, watchers: 0,
            isFollowed: false)
        truth.letters = ["sold", "sold", "free", "free", "free", "free"]
        truth.balances = [0: 10, 1: 0, 2: 10, 3: 10]
        truth.audit = SeatTruth.Audit(
            sold: 2, held: 0, free: 4, soldInDatabase: 2, heldInDatabase: 0, inFlight: 0, drift: 0)
        tally.claims = 4
        tally.outcomes = ["held": 3, "seat_taken": 1]
        tally.seats.gaveUp = 1
        tally.seats.holds = [
            hold(0, "7-1", [1, 2], from: 1000, "released", releaseAskedAt: 1500),
            hold(1, "7-3", [1, 2], from: 1600, "paid"),
            hold(2, "7-2", [4, 5], from: 1100, "expired"),
        ]
    }

    func hold(
        _ buyer: Int, _ id: String, _ seats: [Int64], from: Int64, _ end: String?, releaseAskedAt: Int64? = nil
    ) -> HoldTold {
        HoldTold(
            buyer: buyer, reservation: id, seats: seats, price: 10, heldAt: from, expiresAt: from + 5000,
            releaseAskedAt: releaseAskedAt, end: end)
    }

    var checks: [Check] { Verdict(tally, truth).checks }
    var broken: [String] { checks.filter { !$0.holds }.map(\.words) }
}

struct SeatVerdictTests {
    private let twice = "no seat was held by two at once"
    private let untrue = "every seat is what its buyer was told"
    private let apart = "Redis and PostgreSQL agree"
    private let balance = "every balance is what was charged less what was paid"
    private let endless = "the end of every hold was told"

    @Test func allIsWell() {
        #expect(Outcome().broken == [] && Outcome().checks.count == 8)
    }

    @Test func holdsWithoutAnswer() {
        var outcome = Outcome()
        outcome.tally.claims = 5
        #expect(outcome.broken == ["every hold was answered"])
        outcome.tally.claims = 4
        outcome.tally.waiting = ["rush-x-3"]
        #expect(outcome.broken == ["every hold was answered"])
    }

    @Test func faults() {
        var outcome = Outcome()
        outcome.tally.fault("a hold's deadline moved")
        #expect(outcome.broken == ["what was told came in order, once, and never changed"])
    }

    @Test func twoHoldersAtOnce() {
        var outcome = Outcome()
        // Before its first holder had asked to give it back.
        outcome.tally.seats.holds[1] = outcome.hold(1, "7-3", [1, 2], from: 1400, "paid")
        #expect(outcome.broken == [twice])
        // Clocks may differ by a little.
        outcome.tally.seats.holds[1] = outcome.hold(1, "7-3", [1, 2], from: 1485, "paid")
        #expect(outcome.broken == [])
        // While a hold of one of its seats still ran; at its end it is free.
        outcome = Outcome()
        outcome.truth.audit = nil
        outcome.truth.letters = ["sold", "sold", "free", "free", "sold", "sold"]
        outcome.truth.balances[0] = 0
        outcome.tally.seats.holds.append(outcome.hold(0, "7-4", [5, 6], from: 6099, "paid"))
        #expect(outcome.broken == [twice, apart])
        outcome.tally.seats.holds[3] = outcome.hold(0, "7-4", [5, 6], from: 6100, "paid")
        #expect(outcome.broken == [apart])
        // What is paid is never free again.
        outcome.tally.seats.holds[2] = outcome.hold(2, "7-2", [1, 2], from: 90_000, "expired")
        #expect(outcome.broken == [twice, apart])
    }

    @Test func splitPairs() {
        var outcome = Outcome()
        outcome.tally.seats.holds[2] = outcome.hold(2, "7-2", [4, 6], from: 1100, "expired")
        #expect(outcome.broken == ["every pair is whole"])
        outcome.tally.seats.holds[2] = outcome.hold(2, "7-2", [4], from: 1100, "expired")
        #expect(outcome.broken == ["every pair is whole"])
        outcome.tally.seats.holds[2] = outcome.hold(2, "7-2", [6, 7], from: 1100, "expired")
        #expect(outcome.broken == ["every pair is whole"])
    }

    @Test func endsThatWereNotTold() {
        var outcome = Outcome()
        outcome.tally.seats.holds[2].end = nil
        #expect(outcome.broken == [endless])
        outcome.truth.wasCut = true
        #expect(outcome.broken == [])
        // What is kept is held to the end, by everybody's account.
        outcome = Outcome()
        outcome.tally.seats.holds[2].end = nil
        outcome.tally.seats.holds[2].isKept = true
        #expect(outcome.broken == [untrue, apart])
        outcome.truth.letters = ["sold", "sold", "free", "held", "held", "free"]
        outcome.truth.audit = SeatTruth.Audit(
            sold: 2, held: 2, free: 2, soldInDatabase: 2, heldInDatabase: 2, inFlight: 0, drift: 0)
        #expect(outcome.broken == [])
    }

    @Test func seatsThatAreNotAsTold() {
        var outcome = Outcome()
        outcome.truth.letters = ["sold", "free", "free", "free", "free", "free"]
        #expect(outcome.broken == [untrue])
        outcome.truth.letters = ["sold", "sold", "held", "free", "free", "free"]
        #expect(outcome.broken == [untrue])
        outcome.truth.letters = ["sold", "sold", "free"]
        #expect(outcome.broken == [untrue])
        outcome.truth.letters = nil
        #expect(outcome.broken == [untrue])
    }

    @Test func audits() {
        var outcome = Outcome()
        outcome.truth.audit = nil
        #expect(outcome.broken == [apart])
        for (sold, soldInDatabase, inFlight, drift) in [(3, 2, 0, 0), (2, 1, 0, 0), (2, 2, 1, 0), (2, 2, 0, 1)] {
            outcome.truth.audit = SeatTruth.Audit(
                sold: Int64(sold), held: 0, free: 6 - Int64(sold), soldInDatabase: Int64(soldInDatabase),
                heldInDatabase: 0, inFlight: Int64(inFlight), drift: Int64(drift))
            #expect(outcome.broken == [apart])
        }
        outcome = Outcome()
        outcome.truth.audit?.ledgerDrift = 1
        #expect(outcome.broken == [apart])
    }

    @Test func balances() {
        var outcome = Outcome()
        outcome.truth.balances[1] = 10
        #expect(outcome.broken == [balance])
        outcome.truth.balances[1] = -10
        #expect(outcome.broken == [balance])
        outcome.truth.balances[1] = nil
        #expect(outcome.broken == [balance])
        // Charged, and told that the hold was over.
        outcome.truth.balances[1] = 0
        outcome.truth.balances[2] = 0
        #expect(outcome.broken == [balance])
    }

    @Test func whatIsLeft() {
        // All that was held is paid: nobody should have gone home without.
        var outcome = Outcome()
        outcome.tally.seats.holds = [outcome.tally.seats.holds[1]]
        #expect(outcome.broken == ["who went empty-handed left nothing behind"])
        outcome.tally.seats.gaveUp = 0
        #expect(outcome.broken == [])
        outcome.tally.seats.gaveUp = 1
        outcome.truth.letters = ["free", "sold", "sold", "free", "sold", "sold"]
        #expect(!outcome.broken.contains("who went empty-handed left nothing behind"))
    }

    @Test func followedChanges() {
        var outcome = Outcome()
        outcome.truth = SeatTruth(
            performance: "7", seats: 6, options: outcome.truth.options, clockTolerance: 20, points: 0, watchers: 2,
            isFollowed: true)
        var other = ChangeLog()
        outcome.tally.followed.answered(4, askedAt: 40, at: 100)
        outcome.tally.followed.heard(4, at: 90)
        other.heard(4, at: 350)
        outcome.tally.followed.add(other)
        #expect(!outcome.broken.contains("every hold was heard of by every watcher"))
        #expect(outcome.tally.followed.toLast(of: 2).max == 250)
        #expect(outcome.tally.followed.toLast(of: 2, fromAsking: true).max == 310)
        outcome.tally.followed.answered(5, askedAt: 390, at: 400)
        outcome.tally.followed.heard(5, at: 500)
        #expect(outcome.broken.contains("every hold was heard of by every watcher"))
        #expect(outcome.tally.followed.toLast(of: 2).count == 1)
        // Before whoever made it.
        #expect(outcome.tally.followed.toLast(of: 1).count == 2)
    }
}
