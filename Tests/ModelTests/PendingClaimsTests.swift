import Testing

@testable import Model

@Suite struct PendingClaimsTests {
    private let sale = SaleID(42)
    private func order(_ sequence: Int64) -> OrderID { OrderID(sale: sale, sequence: sequence) }
    private func accepted(_ sequence: Int64, offset: Int64) -> LoggedOutcome {
        LoggedOutcome(offset: offset, outcome: .accepted(order: order(sequence), ticket: sequence, remaining: nil))
    }

    @Test func theOutcomeIsTheAnswer() {
        var claims = PendingClaims<String>()
        let handle = claims.begin(.claim(sale), id: "a")
        claims.granted(handle, .order(order(1)))
        claims.hold(accepted(1, offset: 1))
        let result1 = claims.nextReady()
        #expect(result1?.id == "a")
        let result2 = claims.end(handle)
        #expect(result2)
        #expect(claims.inFlight == 0)
    }

    @Test func anOutcomeThatOvertakesItsReplyWaitsForIt() {
        var claims = PendingClaims<String>()
        let handle = claims.begin(.claim(sale), id: "a")
        claims.hold(accepted(1, offset: 1))
        claims.hold(LoggedOutcome(offset: 2, outcome: .order(order(1), .confirmed, ticket: 1, reason: nil)))
        let result3 = claims.nextReady()
        #expect(result3 == nil)
        claims.granted(handle, .order(order(1)))
        let result4 = claims.nextReady()
        #expect(result4?.id == "a")
        let result5 = claims.nextReady()
        #expect(result5?.outcome.offset == 2)
        let result6 = claims.end(handle)
        #expect(result6)
    }

    /// The reply to the claim came, with offset 2, while 1 is still being read from the log.
    @Test func anAnswerWaitsForOutcomesBeforeItsOwn() {
        var claims = PendingClaims<String>()
        let handle = claims.begin(.claim(sale), id: "a")
        claims.granted(handle, .order(order(2)))
        let isAnswered = claims.end(handle, isToCome: true)
        #expect(isAnswered)
        claims.hold(LoggedOutcome(offset: 1, outcome: .order(order(1), .confirmed, ticket: 1, reason: nil)))
        claims.hold(accepted(2, offset: 2))
        let first = claims.nextReady()
        #expect(first?.outcome.offset == 1 && first?.id == nil)
        let second = claims.nextReady()
        #expect(second?.outcome.offset == 2 && second?.id == "a")
        #expect(claims.inFlight == 0)
    }

    @Test func anOutcomeOfAnotherConnectionPassesWhenTheClaimIsRefused() {
        var claims = PendingClaims<String>()
        let handle = claims.begin(.claim(sale), id: "a")
        claims.hold(accepted(1, offset: 1))
        let result7 = claims.nextReady()
        #expect(result7 == nil)
        let result8 = claims.end(handle)
        #expect(!result8)
        let next = claims.nextReady()
        #expect(next?.outcome.offset == 1)
        #expect(next?.id == nil)
    }

    @Test func claimsOfOtherSalesDoNotWait() {
        var claims = PendingClaims<String>()
        _ = claims.begin(.claim(SaleID(7)), id: "other")
        claims.hold(accepted(1, offset: 1))
        let result9 = claims.nextReady()
        #expect(result9?.outcome.offset == 1)
    }

    @Test func oneKeyManyClaimsOneOutcome() {
        var claims = PendingClaims<String>()
        let first = claims.begin(.claim(sale), id: "a")
        let second = claims.begin(.claim(sale), id: "b")
        claims.granted(first, .order(order(1)))
        claims.granted(second, .order(order(1)))
        claims.hold(accepted(1, offset: 1))
        let result10 = claims.nextReady()
        #expect(result10?.id == "a")
        let result11 = claims.end(first)
        #expect(result11)
        let result12 = claims.end(second)
        #expect(!result12)
        #expect(claims.inFlight == 0)
    }

    @Test func aClaimMayEndWhileItsOutcomeIsHeld() {
        var claims = PendingClaims<String>()
        let slow = claims.begin(.claim(sale), id: "slow")
        let quick = claims.begin(.claim(sale), id: "quick")
        claims.hold(accepted(1, offset: 1))
        claims.granted(quick, .order(order(2)))
        claims.hold(accepted(2, offset: 2))
        let result13 = claims.nextReady()
        #expect(result13 == nil)
        let result14 = claims.end(quick)
        #expect(result14)
        claims.granted(slow, .order(order(1)))
        let result15 = claims.nextReady()
        #expect(result15?.id == "slow")
        let result16 = claims.nextReady()
        #expect(result16?.id == "quick")
        let result17 = claims.end(slow)
        #expect(result17)
        #expect(claims.inFlight == 0)
    }

    @Test func withoutAnOutcomeTheClaimIsAnsweredDirectly() {
        var claims = PendingClaims<String>()
        let handle = claims.begin(.claim(sale), id: "a")
        claims.granted(handle, .order(order(1)))
        let result18 = claims.end(handle)
        #expect(!result18)
        // The committer tells it later: as an outcome without an id.
        claims.hold(accepted(1, offset: 1))
        let next = claims.nextReady()
        #expect(next != nil)
        #expect(next?.id == nil)
    }
}
