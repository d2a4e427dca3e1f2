import Testing

@testable import RushKit

private let second: UInt64 = 1_000_000_000

/// A buyer that asks, its tally, and a clock that the test sets.
private struct Scene {
    var poller: Poller
    var tally = Tally()
    var now: UInt64 = 10 * second

    init(claims: Int = 1, limit: Int64 = 1) {
        let line = Waiter.Plan(
            room: "r", passMilliseconds: 5000, graceMilliseconds: 10_000, wallOffset: 0, clockTolerance: 5,
            departAfter: nil)
        poller = Poller(
            index: 7, plan: Buyer.Plan(run: "r", sales: ["42"], claims: claims, line: line, limits: [limit]))!
        #expect(poller.begin(at: now, &tally) == .ask(.join))
    }

    mutating func answer(_ request: Poller.Request, _ text: String, _ status: Int = 200) -> Poller.Action {
        poller.asks(request, at: now)
        now += second / 100
        return poller.answered(request, status: status, Frame(answer: Array(text.utf8))!, at: now, &tally)
    }

    mutating func join(_ token: String = "null") -> Poller.Action {
        answer(.join, #"{"result":{"token":\#(token)},"error":null}"#)
    }

    mutating func wait(rank: Int) -> Poller.Action {
        answer(
            .look,
            #"{"result":{"rank":\#(rank),"token":null,"status":"WAITING","waiting":900,"estimatedSeconds":null,"expiresAt":null,"refreshSeconds":2},"error":null}"#
        )
    }

    /// Its pass ends at 15 s.
    mutating func admit() -> Poller.Action {
        answer(
            .look,
            #"{"result":{"rank":null,"token":"t","status":"IN_PROGRESS","waiting":9,"expiresAt":"1970-01-01T00:00:15Z","refreshSeconds":2},"error":null}"#
        )
    }

    mutating func finished() -> Poller.Action {
        answer(.look, #"{"result":{"rank":null,"token":null,"status":"FINISHED","refreshSeconds":2},"error":null}"#)
    }

    mutating func refuse(_ request: Poller.Request, _ code: String, _ status: Int) -> Poller.Action {
        answer(request, #"{"result":null,"error":{"code":"\#(code)","message":"x"}}"#, status)
    }
}

private let claim = Poller.Request.claim(Buyer.Claim(number: 1, sale: "42", key: "r-7-1", pass: "t"))

struct PollerTests {
    @Test func theUsualWay() {
        var scene = Scene()
        #expect(scene.join() == .ask(.look))
        #expect(scene.wait(rank: 3) == .askAfter(2000, .look))
        #expect(scene.wait(rank: 1) == .askAfter(2000, .look))
        #expect(scene.admit() == .ask(claim))
        let accepted = #"{"result":{"order":"42-9","sale":42,"ticket":3,"status":"accepted"},"error":null}"#
        #expect(scene.answer(claim, accepted, 201) == .ask(.order("42-9")))
        #expect(scene.poller.isBusy && !scene.poller.isUnanswered)
        guard case .askAfter(1...100, .order("42-9")) = scene.refuse(.order("42-9"), "not_found", 404) else {
            Issue.record("an order that is not committed yet")
            return
        }
        let confirmed = #"{"result":{"order":"42-9","status":"confirmed"},"error":null}"#
        #expect(scene.answer(.order("42-9"), confirmed) == .nothing)
        #expect(scene.poller.isFinished && scene.tally.faults.isEmpty)
        #expect(scene.tally.orders == [OrderTold(buyer: 7, sale: "42", order: "42-9", ticket: 3, end: "confirmed")])
        #expect(scene.tally.line.polls == 3 && scene.tally.line.admitted == 1 && scene.tally.confirmed == 1)
        let stay = scene.poller.waiter.allStays[0]
        #expect(stay.issued == 10_000 && stay.end == .own && stay.firstRank == 3 && !stay.isConnected && stay.isCertain)
    }

    @Test func aPassThatIsNotSpentIsGivenBack() {
        var scene = Scene()
        #expect(scene.join(#""t""#) == .ask(.look))
        #expect(scene.admit() == .ask(claim))
        #expect(scene.refuse(claim, "sold_out", 409) == .ask(.leave))
        scene.poller.asks(.leave, at: scene.now)
        #expect(scene.poller.answered(.leave, status: 204, Frame(), at: scene.now, &scene.tally) == .nothing)
        #expect(scene.poller.isFinished && scene.tally.outcomes == ["sold_out": 1] && scene.tally.faults.isEmpty)
        #expect(scene.tally.line.atOnce == 1 && scene.tally.line.left == 0)
    }

    @Test func holdingThePass() {
        var scene = Scene(claims: 0)
        _ = scene.join(#""t""#)
        #expect(scene.admit() == .askAfter(2000, .look))
        scene.now = 14 * second
        guard case .askAfter(900...1050, .look) = scene.admit() else {
            Issue.record("asks when the pass ends")
            return
        }
        scene.now = 15 * second + 20
        #expect(scene.finished() == .nothing)
        #expect(scene.poller.isFinished && scene.tally.line.expired == 1 && scene.tally.faults.isEmpty)
    }

    @Test func whatIsUndecidedIsAskedAgain() {
        var scene = Scene()
        guard case .askAfter(1...200, .join) = scene.refuse(.join, "unavailable", 503) else {
            Issue.record("no pause")
            return
        }
        guard case .askAfter(1...400, .join) = scene.poller.failed(.join, "no answer", &scene.tally) else {
            Issue.record("no pause")
            return
        }
        #expect(scene.tally.retries == ["unavailable": 1, "no answer": 1] && scene.tally.faults.isEmpty)
    }

    @Test func rejected() {
        var scene = Scene()
        #expect(scene.refuse(.join, "rejected", 409) == .nothing)
        #expect(scene.poller.isFinished && scene.tally.line.rejected == 1)
    }

    @Test func thePlaceIsLostByAskingTooLate() {
        var scene = Scene()
        _ = scene.join()
        _ = scene.wait(rank: 3)
        scene.now += 10 * second
        #expect(scene.finished() == .ask(.join))
        _ = scene.join()
        _ = scene.wait(rank: 8)
        #expect(scene.poller.waiter.allStays.map(\.end) == [.lost, nil])
        #expect(scene.tally.line.returnedLate == 1 && scene.tally.line.risen == 0 && scene.tally.faults.isEmpty)
    }

    @Test func thePlaceIsGoneInTime() {
        var scene = Scene()
        _ = scene.join()
        _ = scene.wait(rank: 3)
        #expect(scene.finished() == .nothing)
        #expect(scene.poller.isFinished && scene.tally.line.dismissed == ["FINISHED": 1])
    }

    @Test func aPassThatNobodySaw() {
        var scene = Scene()
        _ = scene.join()
        _ = scene.wait(rank: 3)
        // A pass lives for 5 s.
        scene.now += 5 * second
        #expect(scene.finished() == .nothing)
        #expect(scene.tally.line.missed == 1 && scene.tally.line.dismissed.isEmpty)
        #expect(scene.poller.waiter.allStays.map(\.end) == [.missed] && scene.tally.faults.isEmpty)
    }

    @Test func faults() {
        var scene = Scene()
        _ = scene.join()
        _ = scene.admit()
        #expect(scene.refuse(claim, "not_admitted", 403) == .ask(.leave))
        #expect(scene.tally.faults == ["a claim with a valid pass was not admitted": 1])
        scene = Scene()
        #expect(scene.refuse(.join, "forbidden", 403) == .nothing)
        #expect(scene.poller.isFinished && scene.tally.faults.count == 1)
        scene = Scene(claims: 0)
        _ = scene.join()
        _ = scene.admit()
        _ = scene.finished()
        #expect(scene.tally.faults == ["a pass was finished before its time": 1])
    }
}
