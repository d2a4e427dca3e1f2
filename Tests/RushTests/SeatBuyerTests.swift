import Testing

@testable import RushKit

private let second: UInt64 = 1_000_000_000

/// A buyer of seats, its tally, and a clock that the test sets: both sides' clocks begin at 0.
private struct Scene {
    var buyer: SeatBuyer
    var tally = Tally()
    var now: UInt64 = 10 * second

    init(index: Int = 7, holds: Int = 1, _ change: (inout SeatOptions) -> Void = { _ in }) {
        var options = SeatOptions()
        options.seats = 4
        change(&options)
        let plan = SeatBuyer.Plan(
            run: "r", options: options, buyers: 10, holds: holds, wallOffset: 0, clockTolerance: 20)
        buyer = SeatBuyer(index: index, plan: plan)
    }

    mutating func told(_ text: String) -> SeatBuyer.Action {
        now += second / 100
        return buyer.received(Frame(Array(text.utf8))!, at: now, &tally)
    }

    mutating func answer(_ request: SeatBuyer.Request, _ text: String, _ status: Int = 200) -> SeatBuyer.Action {
        buyer.asks(request, at: now, &tally)
        now += second / 100
        return buyer.answered(request, status: status, Frame(answer: Array(text.utf8))!, at: now, &tally)
    }

    mutating func refuse(_ request: SeatBuyer.Request, _ code: String, _ status: Int) -> SeatBuyer.Action {
        answer(request, #"{"result":null,"error":{"code":"\#(code)","message":"x"}}"#, status)
    }

    /// Connected, admitted: what it asks for first.
    mutating func enter() -> SeatBuyer.Action {
        #expect(buyer.opened() == .connect(resume: nil))
        let action = told(#"{"type":"connected","epoch":"e","offset":0,"recovered":false}"#)
        if action == .watch { #expect(buyer.afterWatch() == .join) } else { #expect(action == .join) }
        #expect(tally.connected == 0)
        #expect(
            told(#"{"type":"admitted","token":"p","expiresAt":"2099-01-01T00:00:00Z","id":0,"offset":1}"#) == .nothing)
        #expect(tally.connected == 1)
        return buyer.begin(at: now, &tally)
    }

    /// Held until 40 s.
    mutating func hold(_ seats: String, number: Int = 1, id: String = "7-1", until: Int = 40) -> SeatBuyer.Action {
        told(
            #"{"type":"held","reservationId":"\#(id)","seats":[\#(seats)],"expiresAt":"1970-01-01T00:00:\#(until)Z","#
                + #""price":3,"id":\#(number)}"#)
    }

    mutating func take(_ seats: String, number: Int) -> SeatBuyer.Action {
        told(#"{"type":"error","code":"seat_taken","message":"x","seats":[\#(seats)],"id":\#(number)}"#)
    }

    mutating func end(_ status: String, offset: Int, id: String = "7-1") -> SeatBuyer.Action {
        told(#"{"type":"reservation","reservationId":"\#(id)","status":"\#(status)","offset":\#(offset)}"#)
    }
}

private func hold(_ number: Int64, _ seats: Int64...) -> SeatBuyer.Action {
    .hold(SeatBuyer.Hold(number: number, seats: seats, pass: "p"))
}
/// What is asked, after whatever pause.
private func request(_ action: SeatBuyer.Action) -> SeatBuyer.Request? {
    if case .ask(let request, _) = action { request } else { nil }
}
private let pay = SeatBuyer.Request.pay(reservation: "7-1", points: 3, pass: "p")

struct SeatBuyerTests {
    @Test func theUsualWay() {
        var scene = Scene { $0.want = .one }
        #expect(scene.enter() == hold(1, 1))
        #expect(scene.buyer.isUnanswered)
        #expect(scene.hold("1") == .ask(pay, after: 0))
        #expect(!scene.buyer.isUnanswered && scene.buyer.isBusy)
        #expect(scene.answer(pay, #"{"result":{"status":"SUCCESS","paymentId":1},"error":null}"#, 201) == .nothing)
        #expect(scene.end("paid", offset: 2) == .nothing)
        #expect(scene.buyer.isFinished && !scene.buyer.isBusy && scene.tally.faults == [:])
        let told = scene.tally.seats.holds
        #expect(told.map(\.end) == ["paid"] && told[0].heldAt == 10_000 && told[0].expiresAt == 40_000)
        #expect(scene.tally.seats.payments == ["paid": 1] && scene.tally.outcomes == ["held": 1])
    }

    @Test func itGoesOnUntilItHasAPairOrNoneIsLeft() {
        var scene = Scene { $0.want = .pair }
        guard case .hold(let first) = scene.enter() else { return #expect(Bool(false)) }
        #expect(first.seats.count == 2 && first.seats[1] == first.seats[0] + 1)
        // The pairs among four seats are 1-2, 2-3, 3-4: without 2 there is 3-4 only.
        let taken = first.seats.contains(2) ? 2 : 3
        let rest: [Int64] = taken == 2 ? [3, 4] : [1, 2]
        #expect(scene.take("\(taken)", number: 1) == hold(2, rest[0], rest[1]))
        #expect(scene.take("\(rest[0])", number: 2) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.seats.gaveUp == 1)
        #expect(scene.tally.outcomes == ["seat_taken": 2] && scene.tally.faults == [:])
    }

    @Test func whoWatchesKnowsMore() {
        var scene = Scene { ($0.want, $0.watch) = (.any, 100) }
        #expect(scene.buyer.watches)
        _ = scene.told("{}")
        #expect(scene.buyer.opened() == .connect(resume: nil))
        #expect(scene.told(#"{"type":"connected","epoch":"e","offset":0,"recovered":false}"#) == .watch)
        #expect(scene.buyer.afterWatch() == .join)
        #expect(scene.told(#"{"type":"seats","letters":"shhf"}"#) == .nothing)
        #expect(
            scene.told(
                #"{"type":"seats","changes":[{"seatId":4,"status":"held"},{"seatId":2,"status":"free"}]}"#) == .nothing)
        // Told to begin before it has its pass, it begins when it has it.
        #expect(scene.buyer.begin(at: scene.now, &scene.tally) == .nothing)
        #expect(scene.told(#"{"type":"admitted","token":"p","expiresAt":"2099-01-01T00:00:00Z","id":0}"#) == hold(1, 2))
    }

    @Test func manyHoldsInARow() {
        var scene = Scene(index: 0, holds: 2) { ($0.want, $0.seats, $0.pay, $0.unpaid) = (.own, 20, 0, .keep) }
        #expect(scene.enter() == hold(1, 1))
        #expect(scene.hold("1") == hold(2, 11))
        #expect(scene.hold("11", number: 2, id: "7-2") == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.seats.holds.allSatisfy(\.isKept))
        var all = Scene(index: 3, holds: 2) { $0.want = .one }
        #expect(all.enter() == hold(1, 1))
        #expect(all.take("1", number: 1) == hold(2, 1))
        #expect(all.take("1", number: 2) == .nothing)
        #expect(all.buyer.isFinished && all.tally.faults == [:])
    }

    @Test func theSameHoldAgain() {
        var scene = Scene(holds: 3) { $0.want = .one }
        #expect(scene.enter() == hold(1, 1))
        #expect(scene.hold("1") == hold(2, 1))
        #expect(scene.hold("1", number: 2) == hold(3, 1))
        #expect(scene.tally.seats.holds.count == 1 && scene.tally.faults == [:])
        #expect(scene.hold("1", number: 3, until: 41) == .ask(pay, after: 0))
        #expect(scene.tally.faults == ["a hold's deadline moved": 1])
    }

    @Test func givingBackAndRunningOut() {
        var scene = Scene { ($0.want, $0.pay, $0.unpaid) = (.one, 0, .release) }
        _ = scene.enter()
        #expect(scene.hold("1") == .ask(.giveBack("7-1"), after: 0))
        #expect(request(scene.refuse(.giveBack("7-1"), "in_use", 409)) == .giveBack("7-1"))
        let asked = scene.tally.seats.holds[0].releaseAskedAt
        #expect(scene.answer(.giveBack("7-1"), #"{"result":{"status":"released"},"error":null}"#) == .nothing)
        #expect(scene.end("released", offset: 2) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.seats.holds[0].releaseAskedAt == asked && asked != nil)

        scene = Scene { ($0.want, $0.pay, $0.unpaid) = (.one, 0, .expire) }
        _ = scene.enter()
        #expect(scene.hold("1") == .nothing && !scene.buyer.isFinished)
        scene.now = 40 * second
        #expect(scene.end("expired", offset: 2) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.faults == [:] && scene.tally.seats.toExpired.count == 1)
    }

    @Test func paymentsThatComeTooLate() {
        var scene = Scene { $0.want = .one }
        _ = scene.enter()
        _ = scene.hold("1")
        scene.now = 41 * second
        #expect(scene.refuse(pay, "hold_expired", 409) == .nothing)
        #expect(!scene.buyer.isFinished)
        #expect(scene.end("expired", offset: 2) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.faults == [:])
        // Before its time it is a fault; and what was paid can't have run out.
        scene = Scene { $0.want = .one }
        _ = scene.enter()
        _ = scene.hold("1")
        _ = scene.refuse(pay, "hold_expired", 409)
        #expect(scene.tally.faults == ["a payment was answered by an error: hold_expired x": 1])
        _ = scene.end("paid", offset: 2)
        _ = scene.end("expired", offset: 3)
        #expect(scene.tally.faults["a hold was told to be paid, then expired"] == 1)
        #expect(scene.tally.faults["a hold was said to have run out before its time"] == 1)
    }

    @Test func overREST() {
        var scene = Scene { ($0.want, $0.poll, $0.pay, $0.unpaid) = (.one, 100, 0, .expire) }
        #expect(scene.buyer.polls)
        #expect(scene.buyer.begin(at: scene.now, &scene.tally) == .ask(.join, after: 0))
        #expect(scene.answer(.join, #"{"result":{"token":"p"},"error":null}"#, 201) == .ask(.look, after: 0))
        #expect(scene.answer(.look, #"{"result":{"status":"WAITING"},"error":null}"#) == .ask(.look, after: 200))
        let first = SeatBuyer.Request.hold(SeatBuyer.Hold(number: 1, seats: [1], pass: "p"))
        #expect(
            scene.answer(.look, #"{"result":{"status":"IN_PROGRESS","token":"p"},"error":null}"#)
                == .ask(first, after: 0))
        #expect(request(scene.refuse(first, "unavailable", 503)) == first)
        let held =
            #"{"result":{"reservationId":"7-1","seatIds":[1],"expiresAt":"1970-01-01T00:00:40Z","price":3},"error":null}"#
        guard case .ask(.reservation("7-1"), let pause) = scene.answer(first, held, 201) else {
            return #expect(Bool(false))
        }
        // Nobody tells it: it looks when the time is over.
        #expect((29_000...30_100).contains(pause))
        scene.now = 41 * second
        let over = #"{"result":{"reservationId":"7-1","status":"expired"},"error":null}"#
        #expect(scene.answer(.reservation("7-1"), over) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.faults == [:])
    }

    @Test func whatMustNotBe() {
        var scene = Scene { $0.want = .one }
        _ = scene.enter()
        _ = scene.hold("2")
        #expect(scene.tally.faults["other seats are held than were asked for"] == 1)
        _ = scene.end("paid", offset: 4)
        #expect(scene.tally.faults["an offset was skipped"] == 1)
        _ = scene.end("paid", offset: 5, id: "7-9")
        #expect(scene.tally.faults["a reservation ended that was never told"] == 1)
        scene = Scene { $0.want = .one }
        _ = scene.enter()
        _ = scene.take("3", number: 1)
        #expect(scene.tally.faults["seats are taken that were not asked for, or none"] == 1)
        _ = scene.told(#"{"type":"error","code":"not_admitted","message":"x","id":1}"#)
        #expect(scene.tally.faults["an error came: not_admitted x"] == 1)
    }

    @Test func aConnectionThatBreaks() {
        var scene = Scene { $0.want = .one }
        #expect(scene.enter() == hold(1, 1))
        guard case .openAfter = scene.buyer.closed(1006, &scene.tally) else { return #expect(Bool(false)) }
        #expect(scene.buyer.opened() == .connect(resume: Position(epoch: "e", offset: 1)))
        // The hold that has no answer is asked for again.
        #expect(scene.told(#"{"type":"connected","epoch":"f","offset":1,"recovered":true}"#) == hold(1, 1))
        guard case .pause = scene.told(#"{"type":"error","code":"unavailable","message":"x","id":1}"#) else {
            return #expect(Bool(false))
        }
        #expect(scene.buyer.pauseEnded() == hold(1, 1))
        #expect(scene.hold("1") == .ask(pay, after: 0))
        #expect(scene.tally.faults == [:] && scene.tally.claims == 1)
        #expect(scene.buyer.closed(4501, &scene.tally) == .nothing && scene.buyer.isFinished)
    }
}
