import Testing

@testable import RushKit

/// A buyer, its tally, and a clock that the test sets.
private struct Scene {
    var buyer: Buyer
    var tally = Tally()
    var now: UInt64 = 1000

    init(claims: Int = 1, sales: [String] = ["42"]) {
        buyer = Buyer(index: 7, plan: Buyer.Plan(run: "r", sales: sales, claims: claims))
    }

    /// One that is connected, and has claimed if `claimed`.
    static func connected(claims: Int = 1, sales: [String] = ["42"], claimed: Bool = true) -> Scene {
        var scene = Scene(claims: claims, sales: sales)
        _ = scene.buyer.opened()
        _ = scene.hear(#"{"type":"connected","epoch":"e","offset":0,"recovered":false}"#)
        if claimed { _ = scene.begin() }
        return scene
    }

    mutating func hear(_ text: String) -> Buyer.Action {
        now += 10
        return buyer.received(Frame(Array(text.utf8))!, at: now, &tally)
    }

    mutating func begin() -> Buyer.Action { buyer.begin(at: now, &tally) }
    mutating func close(_ code: UInt16) -> Buyer.Action { buyer.closed(code, at: now, &tally) }

    mutating func reconnect(offset: Int64, recovered: Bool = true) -> Buyer.Action {
        _ = close(1006)
        _ = buyer.opened()
        return hear(#"{"type":"connected","epoch":"f","offset":\#(offset),"recovered":\#(recovered)}"#)
    }

    mutating func accept(_ more: String = #","offset":1,"id":1"#, order: String = "42-9", ticket: Int = 3)
        -> Buyer.Action
    {
        hear(#"{"type":"result","sale":42,"outcome":"accepted","order":"\#(order)","ticket":\#(ticket)\#(more)}"#)
    }

    mutating func settle(_ status: String, offset: Int? = 2, order: String = "42-9") -> Buyer.Action {
        let offset = offset.map { #","offset":\#($0)"# } ?? ""
        return hear(#"{"type":"order","sale":42,"order":"\#(order)","status":"\#(status)"\#(offset)}"#)
    }
}

extension Buyer.Action {
    fileprivate func isOpeningWithin(_ milliseconds: Int64) -> Bool {
        if case .openAfter(1...milliseconds) = self { true } else { false }
    }
}

private let first = Buyer.Action.claim(Buyer.Claim(number: 1, sale: "42", key: "r-7-1"))

struct BuyerTests {
    @Test func theUsualWay() {
        var scene = Scene()
        #expect(scene.buyer.client == "rush-r-7")
        #expect(scene.buyer.opened() == .connect(resume: nil))
        #expect(scene.hear(#"{"type":"connected","epoch":"e","offset":0,"recovered":false}"#) == .nothing)
        #expect(scene.tally.connected == 1 && scene.tally.unrecovered == 0)
        #expect(scene.begin() == first)
        #expect(scene.buyer.isUnanswered)
        #expect(scene.accept() == .nothing)
        #expect(!scene.buyer.isUnanswered && !scene.buyer.isFinished)
        #expect(scene.settle("confirmed") == .nothing)
        #expect(scene.buyer.isFinished)
        #expect(scene.tally.outcomes == ["accepted": 1])
        #expect(scene.tally.orders == [OrderTold(buyer: 7, sale: "42", order: "42-9", ticket: 3, end: "confirmed")])
        #expect(scene.tally.toResult.max == 10 && scene.tally.toConfirmed.max == 20)
        #expect(scene.tally.settled == 1 && scene.tally.faults.isEmpty)
        #expect(
            scene.tally.firstClaimAt == 1010 && scene.tally.lastResultAt == 1020 && scene.tally.lastSettledAt == 1030)
    }

    @Test func aRefusalIsTheEnd() {
        var scene = Scene.connected()
        #expect(scene.hear(#"{"type":"result","sale":42,"outcome":"sold_out","remaining":0,"id":1}"#) == .nothing)
        #expect(scene.buyer.isFinished)
        #expect(scene.tally.outcomes == ["sold_out": 1] && scene.tally.faults.isEmpty)
    }

    @Test func severalClaimsTakeTheSalesInTurn() {
        var scene = Scene.connected(claims: 3, sales: ["42", "43"])
        #expect(scene.accept() == .claim(Buyer.Claim(number: 2, sale: "43", key: "r-7-2")))
        let sold = #"{"type":"result","sale":43,"outcome":"sold_out","id":2}"#
        #expect(scene.hear(sold) == .claim(Buyer.Claim(number: 3, sale: "42", key: "r-7-3")))
        #expect(scene.hear(#"{"type":"result","sale":42,"outcome":"duplicate","order":"42-9","id":3}"#) == .nothing)
        #expect(!scene.buyer.isFinished)
        _ = scene.settle("confirmed")
        #expect(scene.buyer.isFinished)
        #expect(scene.tally.claims == 3 && scene.tally.decided == 3 && scene.tally.faults.isEmpty)
    }

    @Test func aWatcherWatches() {
        var scene = Scene(claims: 0)
        _ = scene.buyer.opened()
        let connected = #"{"type":"connected","epoch":"e","offset":0,"recovered":false}"#
        #expect(scene.hear(connected) == .watch(sale: "42"))
        #expect(scene.begin() == .nothing)
        #expect(!scene.buyer.isFinished && !scene.buyer.isUnanswered)
    }

    // MARK: Undecided

    @Test(arguments: ["unavailable", "rate_limited"])
    func whatIsUndecidedIsAskedAgain(code: String) {
        var scene = Scene.connected()
        let action = scene.hear(#"{"type":"error","code":"\#(code)","message":"x","id":1}"#)
        guard case .claimAfter(1...200) = action else {
            Issue.record("\(action)")
            return
        }
        // A second error about the same claim is no second pause.
        #expect(scene.hear(#"{"type":"error","code":"\#(code)","message":"x"}"#) == .nothing)
        #expect(scene.buyer.pauseEnded(at: scene.now, &scene.tally) == first)
        #expect(scene.buyer.isUnanswered && scene.tally.claims == 1)
        #expect(scene.tally.retries == [code: 2] && scene.tally.faults.isEmpty)
    }

    @Test func anotherErrorIsAFault() {
        var scene = Scene.connected()
        #expect(scene.hear(#"{"type":"error","code":"bad_request","message":"x","id":1}"#) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.faults.count == 1)
    }

    @Test func connectingIsTriedAgain() {
        var scene = Scene()
        #expect(scene.buyer.couldNotOpen(&scene.tally).isOpeningWithin(500))
        _ = scene.buyer.opened()
        #expect(scene.hear(#"{"type":"error","code":"unavailable","message":"x"}"#).isOpeningWithin(1000))
        #expect(scene.buyer.opened() == .connect(resume: nil))
        #expect(scene.tally.failedConnects == 1 && scene.tally.retries == ["unavailable": 1])
    }

    // MARK: Lost connections

    @Test(arguments: [1001, 1005, 1006, 4001, 4008, 4012, 4029, 4499] as [UInt16])
    func aLostConnectionComesBackAndClaimsAgain(code: UInt16) {
        var scene = Scene.connected()
        #expect(scene.close(code).isOpeningWithin(500))
        #expect(scene.buyer.opened() == .connect(resume: Position(epoch: "e", offset: 0)))
        #expect(scene.hear(#"{"type":"connected","epoch":"f","offset":0,"recovered":true}"#) == first)
        // The replay and the answer to the repeated claim: one order.
        #expect(scene.accept(#","offset":1"#) == .nothing)
        #expect(scene.accept(#","offset":1,"id":1"#) == .nothing)
        #expect(scene.accept(#","id":1"#) == .nothing)
        _ = scene.settle("confirmed")
        #expect(scene.buyer.isFinished)
        #expect(scene.tally.decided == 1 && scene.tally.reconnects == 1 && scene.tally.faults.isEmpty)
    }

    @Test(arguments: [1000, 1009, 4500, 4501, 4509, 4999] as [UInt16])
    func closedForGood(code: UInt16) {
        var scene = Scene.connected()
        #expect(scene.close(code) == .nothing)
        #expect(scene.buyer.isFinished && scene.buyer.isUnanswered && scene.tally.faults.count == 1)
        #expect(scene.close(1006) == .nothing)
    }

    @Test func aConnectionLostInAPauseEndsThePause() {
        var scene = Scene.connected()
        _ = scene.hear(#"{"type":"error","code":"unavailable","message":"x","id":1}"#)
        #expect(scene.reconnect(offset: 0) == first)
    }

    @Test func theTimeToClaimMayComeWhileTheConnectionIsLost() {
        var scene = Scene.connected(claimed: false)
        _ = scene.close(1006)
        #expect(scene.begin() == .nothing)
        #expect(scene.buyer.isUnanswered)
        _ = scene.buyer.opened()
        #expect(scene.hear(#"{"type":"connected","epoch":"e","offset":0,"recovered":true}"#) == first)
    }

    @Test func whatWasMissedIsReplayed() {
        var scene = Scene.connected()
        _ = scene.accept()
        #expect(scene.reconnect(offset: 1) == .nothing)
        _ = scene.settle("confirmed")
        #expect(scene.buyer.isFinished && scene.tally.faults.isEmpty)
    }

    @Test func thePresentTruthInsteadOfAReplay() {
        var scene = Scene.connected()
        _ = scene.accept()
        #expect(scene.reconnect(offset: 5, recovered: false) == .nothing)
        _ = scene.accept("")
        _ = scene.settle("confirmed", offset: nil)
        _ = scene.settle("confirmed", offset: nil)
        #expect(scene.buyer.isFinished)
        #expect(scene.tally.unrecovered == 1 && scene.tally.faults.isEmpty)
    }
}

/// What a server must not do. Each scene ends with one fault.
struct BuyerFaultTests {
    private func fault(_ scene: Scene) -> String? {
        scene.tally.faults.count == 1 ? scene.tally.faults.keys.first : nil
    }

    @Test func skipping() {
        var scene = Scene.connected()
        _ = scene.accept(#","offset":2,"id":1"#)
        #expect(fault(scene) == OffsetLog.Fault.skipped.rawValue)
    }

    @Test func repeating() {
        var scene = Scene.connected()
        _ = scene.accept()
        _ = scene.accept()
        #expect(fault(scene) == OffsetLog.Fault.repeated.rawValue)
    }

    @Test func resumingElsewhere() {
        for (offset, expected) in [(0, OffsetLog.Fault.repeated), (2, .skipped)] {
            var scene = Scene.connected()
            _ = scene.accept()
            _ = scene.reconnect(offset: Int64(offset))
            #expect(fault(scene) == expected.rawValue)
        }
    }

    @Test func changingTheAnswer() {
        var scene = Scene.connected()
        _ = scene.accept()
        _ = scene.hear(#"{"type":"result","sale":42,"outcome":"sold_out","id":1}"#)
        #expect(fault(scene) == "a claim was accepted and then refused")
        scene = Scene.connected()
        _ = scene.accept()
        _ = scene.accept(#","offset":2"#, ticket: 4)
        #expect(fault(scene) == "an order's ticket changed")
        scene = Scene.connected()
        _ = scene.accept()
        _ = scene.accept(#","offset":2,"id":1"#, order: "42-10")
        #expect(fault(scene) == "an acceptance answers no claim")
        scene = Scene.connected(claims: 2)
        _ = scene.accept()
        _ = scene.accept(#","id":2"#)
        #expect(fault(scene) == "one order answers two claims")
    }

    @Test func settlingWrongly() {
        var scene = Scene.connected()
        _ = scene.accept()
        _ = scene.settle("confirmed")
        _ = scene.settle("confirmed", offset: 3)
        #expect(fault(scene) == "an order was told to be confirmed twice")
        scene = Scene.connected()
        _ = scene.accept()
        _ = scene.settle("confirmed")
        _ = scene.settle("failed", offset: 3)
        #expect(fault(scene) == "a confirmed order failed")
        scene = Scene.connected()
        _ = scene.settle("confirmed", offset: 1)
        #expect(fault(scene) == "an order came that no claim got")
        scene = Scene.connected()
        _ = scene.accept()
        _ = scene.settle("confirmed", offset: nil)
        #expect(fault(scene) == "an order came without offset")
        scene = Scene.connected()
        _ = scene.accept(#","id":1"#)
        _ = scene.settle("confirmed", offset: 1)
        #expect(fault(scene) == "an order was settled before its acceptance was told in its place")
    }

    @Test func answeringWhatWasNotAsked() {
        for text in [
            #"{"type":"result","sale":42,"outcome":"sold_out","id":9}"#,
            #"{"type":"result","sale":42,"outcome":"sold_out"}"#,
            #"{"type":"result","sale":42,"id":1}"#, #"{"type":"result","outcome":"accepted","order":"42-1","id":1}"#,
            #"{"type":"connected","epoch":"e","offset":0,"recovered":true}"#,
            #"{"type":"order","order":"42-1","offset":1}"#,
            #"{"type":"error","code":"x","message":"y","id":9}"#,
        ] {
            var scene = Scene.connected()
            #expect(scene.hear(text) == .nothing)
            #expect(scene.buyer.isUnanswered)
            #expect(scene.tally.faults.count == 1, "\(text): \(scene.tally.faults)")
        }
    }
}
