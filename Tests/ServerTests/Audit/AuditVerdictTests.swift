import Model
import Testing

@testable import Engine
@testable import Persistence
@testable import Server

/// What is a drift, and what is only on its way.
@Suite struct AuditVerdictTests {
    private func order(_ client: String = "a", ticket: Int64 = 1, isConfirmed: Bool = true) -> LiveOrder {
        LiveOrder(
            order: OrderID(sale: SaleID(1), sequence: 1), client: ClientID(trusted: client), ticket: ticket, slot: 1,
            isConfirmed: isConfirmed)
    }

    private func row(
        _ client: String? = "a", ticket: Int64 = 1, isConfirmed: Bool = true, isReleased: Bool = true,
        isLate: Bool = false, failure: String? = nil
    ) -> AuditedOrder {
        AuditedOrder(
            sequence: 1, client: client.map { ClientID(trusted: $0) }, ticket: ticket, slot: 1,
            isConfirmed: isConfirmed,
            isReleased: isReleased, isLate: isLate, isMispaid: false, failure: failure)
    }

    @Test func ordersOnTheirWayAreNoDrift() {
        func verdict(_ order: LiveOrder?, _ row: AuditedOrder?, isInFlight: Bool = false) -> DriftKind? {
            SaleComparison.verdict(order, isInFlight: isInFlight, before: row, after: row)
        }
        let accepted = order(isConfirmed: false)
        let givenBack = row(isConfirmed: false, isReleased: false)
        // In the stream, whatever either says.
        for row in [nil, row(), givenBack, row(nil, failure: "failed")] {
            #expect(verdict(accepted, row, isInFlight: true) == nil)
        }
        #expect(verdict(nil, row(), isInFlight: true) == nil)
        // PostgreSQL changed while Redis was asked.
        #expect(SaleComparison.verdict(accepted, isInFlight: false, before: nil, after: row()) == nil)
        #expect(SaleComparison.verdict(nil, isInFlight: false, before: row(), after: givenBack) == nil)
        // Cancelled, and Redis is about to hear of it, or has; under retry; right.
        #expect(verdict(order(), givenBack) == nil && verdict(nil, givenBack) == nil)
        #expect(verdict(order(), row(nil, failure: "retrying")) == nil)
        #expect(verdict(order(), row()) == nil && verdict(nil, nil) == nil)
        #expect(verdict(nil, row(isConfirmed: false)) == nil && verdict(nil, row(nil, failure: "failed")) == nil)
    }

    @Test func ordersThatAreWrongAre() {
        func verdict(_ order: LiveOrder?, _ row: AuditedOrder?) -> DriftKind? {
            SaleComparison.verdict(order, isInFlight: false, before: row, after: row)
        }
        #expect(verdict(order(), nil) == .orderMissingInDatabase)
        #expect(verdict(order(isConfirmed: false), nil) == .orderMissingInDatabase)
        #expect(verdict(nil, row()) == .orderMissingInRedis)
        #expect(verdict(order(), row("b")) == .ownerDiffers && verdict(order(), row(ticket: 2)) == .ownerDiffers)
        #expect(verdict(order(isConfirmed: false), row()) == .confirmedState)
        #expect(verdict(order(), row(isConfirmed: false)) == .cancelledNotReturned)
        #expect(verdict(order(), row(nil, failure: "failed")) == .failedNotReturned)
        for order in [order(), nil] {
            #expect(verdict(order, row(isConfirmed: false, isReleased: false, isLate: true)) == .unreleased)
        }
        // The number is another client's: Redis was asked about this one only.
        let other = SaleComparison.verdict(
            nil, isInFlight: false, before: row("b"), after: row("b"), client: ClientID(trusted: "a"))
        #expect(other == nil)
    }

    @Test func reservationsAreJudgedBothWays() {
        func hold(_ client: String = "a", isSold: Bool = false, payments: Int64 = 0, wrong: Bool = false) -> AuditedHold
        {
            let hold = Hold(
                id: ReservationID(performance: PerformanceID(1), sequence: 1), client: ClientID(trusted: client),
                seats: [1, 2], price: 20, heldAt: Timestamp(milliseconds: 0), expiresAt: Timestamp(milliseconds: 1),
                epoch: 0)
            return AuditedHold(
                record: HoldRecord(hold: hold, isSold: isSold, paymentsUnderWay: payments), hasWrongSeats: wrong,
                isUnlisted: false)
        }
        func row(
            _ status: ReservationStatus, isSettled: Bool = true, isSuperseded: Bool = false, wasPaid: Bool = false
        ) -> AuditedReservation {
            AuditedReservation(
                sequence: 1, client: ClientID(trusted: "a"), seats: [1, 2], status: status, isSettled: isSettled,
                isSuperseded: isSuperseded, wasPaid: wasPaid)
        }
        func verdict(_ hold: AuditedHold?, _ row: AuditedReservation?, isInFlight: Bool = false) -> DriftKind? {
            SeatComparison.verdict(hold, isInFlight: isInFlight, before: row, after: row)
        }
        // On their way.
        #expect(verdict(hold(), nil, isInFlight: true) == nil && verdict(nil, row(.held), isInFlight: true) == nil)
        #expect(verdict(hold(), row(.paid, isSettled: false)) == nil)
        #expect(verdict(hold(isSold: true), row(.released, isSettled: false)) == nil)
        #expect(verdict(hold(payments: 1), nil) == nil && verdict(hold(payments: 1), row(.expired)) == nil)
        #expect(verdict(hold(), row(.expired, isSuperseded: true)) == nil)
        #expect(SeatComparison.verdict(hold(), isInFlight: false, before: row(.held), after: row(.paid)) == nil)
        // Right.
        #expect(verdict(hold(), row(.held)) == nil && verdict(hold(isSold: true), row(.paid)) == nil)
        #expect(verdict(nil, row(.expired)) == nil && verdict(nil, nil) == nil)
        // Wrong.
        #expect(verdict(hold(), nil) == .reservationMissingInDatabase)
        #expect(verdict(hold(isSold: true), nil) == .paidMissingInDatabase)
        #expect(verdict(hold(isSold: true), row(.held)) == .paidMissingInDatabase)
        #expect(verdict(nil, row(.held)) == .reservationMissingInRedis)
        #expect(verdict(hold("b"), row(.held)) == .holderDiffers)
        #expect(verdict(hold(), row(.paid)) == .paidState && verdict(hold(), row(.released)) == .holdNotEnded)
        #expect(verdict(hold(isSold: true), row(.released, wasPaid: true)) == .holdNotEnded)
        // Never paid for in PostgreSQL, and its client was told that it paid.
        for status in [ReservationStatus.released, .expired] {
            #expect(verdict(hold(isSold: true), row(status)) == .paidMissingInDatabase)
        }
        #expect(verdict(hold(wrong: true), row(.held), isInFlight: true) == .seatState)
    }

    @Test func everyKindIsCountedAndAHundredOfEachAreNamed() {
        var list = DriftList()
        for sequence in 1...250 {
            list.add(Drift(kind: .ownerDiffers, order: OrderID(sale: SaleID(1), sequence: Int64(sequence))))
        }
        list.add(Drift(kind: .stockSum, sale: SaleID(1), amount: 7))
        #expect(list.sum == 257 && list.counts == [.ownerDiffers: 250, .stockSum: 7])
        #expect(list.drifts.count == 101)
        list.remove(.ownerDiffers)
        #expect(list.sum == 7 && list.drifts.map(\.kind) == [.stockSum])
    }
}
