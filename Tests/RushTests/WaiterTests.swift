import Testing

@testable import RushKit

private let second: UInt64 = 1_000_000_000

/// A buyer in a line, its tally, and a clock that the test sets. Milliseconds since 1970 are those of the clock.
private struct Scene {
    var buyer: Buyer
    var tally = Tally()
    var now: UInt64 = 100 * second
    private var offset = 0
    private var lostAt: Int64 = 0

    init(_ manner: Manner = .stays, claims: Int = 0, limit: Int64 = 1, departAfter: Int64? = nil) {
        let line = Waiter.Plan(
            room: "r", passMilliseconds: 5000, graceMilliseconds: 10_000, wallOffset: 0, clockTolerance: 5,
            departAfter: departAfter)
        let plan = Buyer.Plan(run: "r", sales: ["42"], claims: claims, line: line, limits: [limit])
        buyer = Buyer(index: 7, plan: plan, manner: manner)
        _ = buyer.opened()
        _ = connected()
    }

    /// One whose join is sent.
    static func joining(
        _ manner: Manner = .stays, claims: Int = 0, limit: Int64 = 1, departAfter: Int64? = nil
    ) -> Scene {
        var scene = Scene(manner, claims: claims, limit: limit, departAfter: departAfter)
        #expect(scene.begin() == .join)
        return scene
    }

    mutating func hear(_ text: String) -> Buyer.Action {
        now += 10_000_000
        return buyer.received(Frame(Array(text.utf8))!, at: now, &tally)
    }

    mutating func wait(_ milliseconds: UInt64) { now += milliseconds * 1_000_000 }
    mutating func begin() -> Buyer.Action { buyer.begin(at: now, &tally) }

    mutating func connected() -> Buyer.Action {
        hear(#"{"type":"connected","epoch":"e","offset":\#(offset),"recovered":\#(offset > 0)}"#)
    }

    mutating func reconnect() -> Buyer.Action {
        _ = buyer.opened()
        return connected()
    }

    mutating func joined(_ rank: Int, _ more: String = "") -> Buyer.Action {
        hear(#"{"type":"joined","room":"r","rank":\#(rank),"waiting":900\#(more),"id":0}"#)
    }

    mutating func rank(_ rank: Int, _ more: String = "") -> Buyer.Action {
        hear(#"{"type":"rank","room":"r","rank":\#(rank),"waiting":900\#(more)}"#)
    }

    mutating func admit(_ token: String = "t", more: String = "") -> Buyer.Action {
        offset += 1
        let ends = Int64(now / 1_000_000) + 5000
        lostAt = ends
        return hear(
            #"{"type":"admitted","room":"r","token":"\#(token)","expiresAt":"1970-01-01T00:0\#(ends / 60_000):\#(Scene.seconds(ends))Z","offset":\#(offset)\#(more)}"#
        )
    }

    private static func seconds(_ milliseconds: Int64) -> String {
        let text = String(milliseconds % 60_000 + 100_000)
        return text.dropFirst().prefix(2) + "." + text.suffix(3)
    }

    mutating func expire(_ token: String = "t") -> Buyer.Action {
        offset += 1
        return hear(#"{"type":"expired","room":"r","token":"\#(token)","offset":\#(offset)}"#)
    }

    mutating func accept() -> Buyer.Action {
        offset += 1
        return hear(
            #"{"type":"result","sale":42,"outcome":"accepted","order":"42-9","ticket":3,"offset":\#(offset),"id":1}"#)
    }

    mutating func confirm() -> Buyer.Action {
        offset += 1
        return hear(#"{"type":"order","sale":42,"order":"42-9","status":"confirmed","offset":\#(offset)}"#)
    }

    var stays: [Stay] { buyer.waiter!.allStays }
}

private let claim = Buyer.Action.claim(Buyer.Claim(number: 1, sale: "42", key: "r-7-1", pass: "t"))

struct WaiterTests {
    @Test func theUsualWay() {
        var scene = Scene.joining()
        #expect(scene.joined(3) == .nothing && scene.rank(2) == .nothing && scene.rank(1) == .nothing)
        #expect(!scene.buyer.isFinished)
        #expect(scene.admit() == .nothing)
        scene.wait(5000)
        #expect(scene.expire() == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.faults.isEmpty)
        let line = scene.tally.line
        #expect(line.joins == 1 && line.joined == 1 && line.admitted == 1 && line.atOnce == 0 && line.expired == 1)
        #expect(line.ranks == 2 && line.risen == 0)
        #expect(line.toJoined.max == 10_000_000 && line.toAdmission.max == 40_000_000)
        let stay = scene.stays[0]
        #expect(scene.stays.count == 1 && stay.end == .expired && stay.wasAdmitted)
        #expect(stay.firstRank == 3 && stay.lastRank == 1 && stay.isConnected && stay.isCertain)
        #expect(stay.expires! - stay.issued! == 5000 && stay.done == nil)
    }

    @Test func admittedAtOnce() {
        var scene = Scene.joining()
        #expect(scene.admit(more: #","id":0"#) == .nothing)
        #expect(scene.tally.line.joined == 1 && scene.tally.line.atOnce == 1 && scene.tally.line.toAdmission.count == 0)
        #expect(scene.stays[0].firstRank == nil && scene.stays[0].joinedAt != nil && scene.tally.faults.isEmpty)
    }

    @Test func rejected() {
        var scene = Scene.joining(claims: 1)
        #expect(scene.hear(#"{"type":"error","code":"rejected","message":"no","id":0}"#) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.line.rejected == 1 && scene.tally.faults.isEmpty)
        #expect(scene.stays[0].end == .rejected)
    }

    @Test func anUndecidedJoinIsSentAgain() {
        var scene = Scene.joining()
        let began = scene.now
        guard case .claimAfter(1...200) = scene.hear(#"{"type":"error","code":"unavailable","message":"x","id":0}"#)
        else {
            Issue.record("no pause")
            return
        }
        #expect(scene.buyer.pauseEnded(at: scene.now, &scene.tally) == .join)
        _ = scene.joined(5)
        #expect(scene.stays[0].joinAt == began && scene.tally.line.joins == 1 && scene.tally.faults.isEmpty)
    }

    @Test func theClaimCarriesThePassAndSpendsIt() {
        var scene = Scene.joining(claims: 1)
        _ = scene.joined(3)
        #expect(scene.admit() == claim)
        let sent = Int64(scene.now / 1_000_000)
        #expect(scene.accept() == .nothing)
        #expect(!scene.buyer.isFinished)
        #expect(scene.confirm() == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.faults.isEmpty)
        #expect(scene.stays.count == 1 && scene.stays[0].end == .own && scene.stays[0].done == sent)
        #expect(
            OutgoingFrames(echo: false).claim(Buyer.Claim(number: 1, sale: "42", key: "k", pass: "t"))
                == #"{"type":"claim","sale":42,"key":"k","token":"t","id":1}"#)
    }

    @Test func aPassThatIsNotSpentIsGivenBack() {
        for (limit, refused) in [(1, true), (2, false)] as [(Int64, Bool)] {
            var scene = Scene.joining(claims: 1, limit: limit)
            #expect(scene.admit(more: #","id":0"#) == claim)
            let action =
                refused
                ? scene.hear(#"{"type":"result","sale":42,"outcome":"sold_out","id":1}"#) : scene.accept()
            #expect(action == .leave)
            let sent = Int64(scene.now / 1_000_000)
            if !refused { _ = scene.confirm() }
            #expect(!scene.buyer.isFinished)
            #expect(scene.hear(#"{"type":"left","room":"r","id":-1}"#) == .nothing)
            #expect(scene.buyer.isFinished && scene.tally.faults.isEmpty && scene.tally.line.left == 0)
            #expect(scene.stays[0].end == .own && scene.stays[0].done == sent)
        }
    }

    @Test func aClaimAfterTheEndOfThePassMayBeTurnedDown() {
        for (pause, faults) in [(6000, 0), (1, 1)] as [(UInt64, Int)] {
            var scene = Scene.joining(claims: 1)
            #expect(scene.admit(more: #","id":0"#) == claim)
            scene.wait(pause)
            _ = scene.hear(#"{"type":"result","sale":42,"outcome":"not_admitted","id":1}"#)
            #expect(scene.tally.outcomes == ["not_admitted": 1] && scene.tally.faults.count == faults)
        }
    }

    @Test func whenTimeIsUpNothingIsClaimed() {
        var scene = Scene.joining(claims: 1)
        _ = scene.joined(3)
        scene.buyer.stopClaiming()
        #expect(scene.admit() == .nothing)
        #expect(!scene.buyer.isBusy && scene.tally.claims == 0)
    }

    @Test func estimates() {
        var scene = Scene.joining()
        _ = scene.joined(3, #","estimatedSeconds":null"#)
        _ = scene.rank(2, #","estimatedSeconds":3"#)
        scene.wait(1990)
        _ = scene.admit()
        // Two seconds later instead of three.
        #expect(scene.tally.line.estimateError.count == 1 && scene.tally.line.estimateError.max == second)
        #expect(scene.tally.line.estimateErrorShare.max == 5000)
    }

    @Test func manyEstimatesAreThinnedOut() {
        var scene = Scene.joining()
        _ = scene.joined(900)
        for rank in 0..<800 { _ = scene.rank(900 - rank, #","estimatedSeconds":1"#) }
        _ = scene.admit()
        #expect((100...255).contains(scene.tally.line.estimateError.count))
    }
}

/// Those who go.
struct DepartureTests {
    /// The rank at which it went.
    private func goes(_ scene: inout Scene, from rank: Int) -> (Int, Buyer.Action)? {
        var action = scene.joined(rank)
        for rank in stride(from: rank, to: 0, by: -1) {
            if action != .nothing { return (rank, action) }
            action = scene.rank(rank - 1)
        }
        return nil
    }

    @Test func leaving() throws {
        var scene = Scene.joining(.leaves, claims: 1)
        let (rank, action) = try #require(goes(&scene, from: 100))
        #expect((20...95).contains(rank) && action == .leave)
        #expect(scene.rank(5) == .nothing)
        #expect(scene.hear(#"{"type":"left","room":"r","id":-1}"#) == .nothing)
        #expect(scene.buyer.isFinished && scene.tally.line.left == 1 && scene.tally.faults.isEmpty)
        #expect(scene.stays[0].end == .own && !scene.stays[0].stayed)
    }

    @Test func leavingWhileBeingAdmitted() throws {
        var scene = Scene.joining(.leaves, claims: 1)
        _ = try #require(goes(&scene, from: 100))
        let sent = Int64(scene.now / 1_000_000)
        // The pass was on its way: it is given back, and nothing is claimed.
        #expect(scene.admit() == .nothing)
        _ = scene.hear(#"{"type":"left","room":"r","id":-1}"#)
        #expect(scene.buyer.isFinished && scene.tally.line.left == 0 && scene.tally.line.admitted == 1)
        #expect(scene.stays[0].done! - sent <= 10 && scene.tally.claims == 0 && scene.tally.faults.isEmpty)
    }

    @Test func aPassThatIsToldAfterLeaving() throws {
        for (pause, faults) in [(0, 0), (1000, 1)] as [(UInt64, Int)] {
            var scene = Scene.joining(.leaves, claims: 1)
            _ = try #require(goes(&scene, from: 100))
            _ = scene.hear(#"{"type":"left","room":"r","id":-1}"#)
            scene.wait(pause)
            // Given in the moment of leaving, it is of no use; given later, it is a place that nobody asked for.
            #expect(scene.admit() == .nothing)
            #expect(scene.buyer.isFinished && scene.tally.claims == 0 && scene.tally.faults.count == faults)
            #expect(scene.tally.line.admittedAsTheyLeft == 1 - faults && scene.tally.line.left == 1)
            #expect(scene.stays.count == 1 && scene.stays[0].end == .own)
        }
    }

    @Test func leavingIsSaidAgain() throws {
        var scene = Scene.joining(.leaves)
        _ = try #require(goes(&scene, from: 100))
        guard case .claimAfter = scene.hear(#"{"type":"error","code":"unavailable","message":"","id":-1}"#) else {
            Issue.record("no pause")
            return
        }
        #expect(scene.buyer.pauseEnded(at: scene.now, &scene.tally) == .leave)
        _ = scene.buyer.closed(1006, at: scene.now, &scene.tally)
        #expect(scene.reconnect() == .leave)
    }

    @Test func vanishing() throws {
        var scene = Scene.joining(.vanishes)
        let (_, action) = try #require(goes(&scene, from: 100))
        #expect(action == .hangUp(backAfter: nil))
        #expect(scene.buyer.isFinished && scene.tally.line.vanished == 1 && scene.stays[0].end == .vanished)
        #expect(scene.buyer.closed(1000, at: scene.now, &scene.tally) == .nothing)
        #expect(scene.tally.faults.isEmpty && scene.tally.reconnects == 0)
    }

    @Test func goingByTime() {
        var scene = Scene.joining(.leaves, departAfter: 1500)
        #expect(scene.joined(100) == .departAfter(1500))
        #expect(scene.rank(1) == .nothing)
        #expect(scene.buyer.departureIsDue(at: scene.now, &scene.tally) == .leave)
        var other = Scene.joining(departAfter: 1500)
        #expect(other.joined(100) == .nothing)
    }

    @Test func returning() throws {
        var scene = Scene.joining(.returns)
        let (rank, action) = try #require(goes(&scene, from: 100))
        guard case .hangUp(backAfter: .some(1...8000)) = action else {
            Issue.record("\(action)")
            return
        }
        scene.wait(8000)
        #expect(scene.reconnect() == .join)
        #expect(scene.joined(rank - 2) == .nothing && scene.rank(1) == .nothing)
        let line = scene.tally.line
        #expect(line.returnedInTime == 1 && line.lostPlaces == 0 && line.risen == 0 && scene.tally.faults.isEmpty)
        #expect(scene.stays.count == 1 && scene.stays[0].isCertain && !scene.stays[0].isConnected)
        // It goes once only.
        #expect(line.joins == 1 && !scene.buyer.isFinished)
    }

    @Test func losingThePlaceInTime() throws {
        var scene = Scene.joining(.returns)
        _ = try #require(goes(&scene, from: 100))
        scene.wait(5000)
        _ = scene.reconnect()
        _ = scene.joined(200)
        #expect(scene.tally.line.lostPlaces == 1 && scene.tally.line.risen == 0)
        #expect(scene.stays.map(\.end) == [.lost, nil] && scene.stays[1].firstRank == 200)
    }

    @Test func comingBackTooLate() throws {
        for (rank, isNew) in [(200, true), (2, false)] {
            var scene = Scene.joining(.returns)
            _ = try #require(goes(&scene, from: 100))
            scene.wait(10_000)
            _ = scene.reconnect()
            _ = scene.joined(rank)
            #expect(scene.tally.line.lostPlaces == 0 && scene.tally.line.returnedLate == 1)
            #expect(scene.stays.count == (isNew ? 2 : 1) && scene.stays.last!.isCertain == isNew)
        }
    }

    @Test func admittedWhileAway() throws {
        var scene = Scene.joining(.returns, claims: 1)
        _ = try #require(goes(&scene, from: 100))
        #expect(scene.reconnect() == .join)
        #expect(scene.admit() == claim)
        // The answer to the join that was sent meanwhile.
        let told = scene.stays[0].expires!
        #expect(told > 0)
        let again = #"{"type":"admitted","room":"r","token":"t","expiresAt":"1970-01-01T00:00:00Z","offset":1,"id":0}"#
        #expect(scene.hear(again) == .nothing)
        #expect(scene.tally.faults == ["the end of a pass changed": 1])
        #expect(scene.tally.line.admitted == 1 && scene.tally.line.returnedInTime == 1)
    }

    @Test func admittedAndOverWhileAway() throws {
        var scene = Scene.joining(.returns)
        _ = try #require(goes(&scene, from: 100))
        #expect(scene.reconnect() == .join)
        _ = scene.admit()
        scene.wait(5000)
        _ = scene.expire()
        // The join came after all that: it is a new place, and not over.
        #expect(scene.buyer.isFinished == false)
        #expect(scene.joined(70) == .nothing)
        #expect(scene.stays.map(\.end) == [.expired, nil] && scene.tally.line.risen == 0)
        #expect(scene.tally.faults.isEmpty && scene.tally.line.lostPlaces == 0)
    }

    @Test func anotherPassWhileTheFirstOneIsTurnedDown() throws {
        var scene = Scene.joining(.returns, claims: 1)
        _ = try #require(goes(&scene, from: 100))
        #expect(scene.reconnect() == .join)
        let passed = #"{"type":"admitted","token":"s","expiresAt":"1970-01-01T00:01:40Z","offset":1}"#
        #expect(scene.hear(passed) == .nothing)
        _ = scene.hear(#"{"type":"expired","token":"s","offset":2}"#)
        #expect(!scene.buyer.isFinished)
        // Claims once, with the pass that is alive.
        let ends = #""expiresAt":"1970-01-01T00:01:50Z""#
        #expect(scene.hear(#"{"type":"admitted","token":"t",\#(ends),"offset":3,"id":0}"#) == claim)
        #expect(scene.tally.faults.isEmpty && scene.tally.claims == 1)
        #expect(scene.stays.map(\.end) == [.expired, nil])
    }

    @Test func aConnectionThatOthersEnd() {
        var scene = Scene.joining()
        _ = scene.joined(50)
        _ = scene.buyer.closed(1001, at: scene.now, &scene.tally)
        scene.wait(7000)
        #expect(scene.reconnect() == .join)
        _ = scene.joined(60)
        #expect(scene.tally.line.lostPlaces == 1)
        // Two seconds before the end of the grace nobody can know.
        _ = scene.buyer.closed(1001, at: scene.now, &scene.tally)
        scene.wait(8000)
        _ = scene.reconnect()
        _ = scene.joined(70)
        #expect(scene.tally.line.lostPlaces == 1 && scene.tally.line.returnedLate == 1)
    }

    @Test func toldToGo() {
        var scene = Scene.joining(claims: 1)
        _ = scene.joined(50)
        _ = scene.hear(#"{"type":"left","room":"r","reason":"closed"}"#)
        #expect(scene.buyer.isFinished && scene.tally.line.dismissed == ["closed": 1] && scene.tally.faults.isEmpty)
    }
}

/// What a server must not do.
struct WaiterFaultTests {
    @Test func aRisingRank() {
        var scene = Scene.joining()
        _ = scene.joined(5)
        _ = scene.rank(5)
        #expect(scene.tally.line.risen == 0)
        _ = scene.rank(6)
        #expect(scene.tally.line.risen == 1 && scene.tally.line.examples == ["buyer 7: 5, then 6"])
    }

    @Test func theDrawMayRaiseARankOnce() {
        var scene = Scene.joining()
        _ = scene.joined(5, #","provisional":true"#)
        _ = scene.rank(700)
        #expect(scene.tally.line.risen == 0)
        _ = scene.rank(701)
        #expect(scene.tally.line.risen == 1)
    }

    @Test func nonsense() {
        for (text, fault) in [
            (#"{"type":"rank","rank":0,"waiting":5}"#, "a rank is not within the line"),
            (#"{"type":"rank","rank":6,"waiting":5}"#, "a rank is not within the line"),
            (#"{"type":"rank","rank":1}"#, "a place came without rank or waiting"),
            (#"{"type":"rank","rank":1,"waiting":1,"seq":-1}"#, "ranks came out of order"),
            (#"{"type":"admitted","token":"t"}"#, "a pass came without token or expiresAt"),
            (#"{"type":"expired","token":"t"}"#, "a pass ran out that was never told"),
        ] {
            var scene = Scene.joining()
            _ = scene.joined(5)
            _ = scene.hear(text)
            #expect(Array(scene.tally.faults.keys) == [fault])
        }
    }

    @Test func aRankAfterTheAdmission() {
        var scene = Scene.joining()
        _ = scene.joined(5)
        _ = scene.admit()
        _ = scene.rank(4)
        #expect(scene.tally.faults.count == 1)
    }

    @Test func passesThatEndWrongly() {
        var scene = Scene.joining()
        _ = scene.admit()
        _ = scene.expire()
        #expect(scene.tally.faults == ["a pass was said to have run out before its time": 1])
        scene = Scene.joining()
        _ = scene.admit()
        _ = scene.admit("u")
        #expect(scene.tally.faults == ["a second pass came before the first had ended": 1])
        scene = Scene.joining()
        _ = scene.admit()
        _ = scene.expire("u")
        #expect(scene.tally.faults == ["a pass ran out that was never told": 1])
    }

    @Test func aPlaceThatNobodyAskedFor() {
        var buyer = Buyer(index: 1, plan: Buyer.Plan(run: "r", sales: ["42"], claims: 1))
        var tally = Tally()
        _ = buyer.received(Frame(kind: .rank, rank: 1, waiting: 1), at: 1, &tally)
        #expect(tally.faults.count == 1)
    }
}
