import EventLoop
import Model
import Testing

@testable import Persistence

/// What the log says is written once, in whatever order it is heard.
@Suite(.onLoop) struct ReservationTests {
    @Test @LoopActor func lifeOfAHold() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        let holds = [
            Hold.test(id, 1, seats: [1, 2]), .test(id, 2, seats: [3]), .test(id, 3, seats: [50, 7], client: "c1"),
        ]
        #expect(try await store.commit(holds.map { $0.event() }).isEmpty)
        #expect(try await store.commit([ReservationEvent]()).isEmpty)
        #expect(try await store.reservation(holds[0].id) == holds[0].held)
        #expect(try await store.reservation(ReservationID(performance: id, sequence: 9)) == nil)
        #expect(try await store.reservations(of: ClientID("c1")!, limit: 9).map(\.id) == [holds[2].id, holds[0].id])
        #expect(try await store.reservations(of: ClientID("c1")!, limit: 1).map(\.seats) == [[7, 50]])
        #expect(try await store.reservationCounts(of: id) == [.held: 3])
        var audit = try await store.auditPerformances([id, PerformanceID(99)])
        #expect(
            audit == [
                PerformanceAudit(performance: id, seats: 50, held: 5, sold: 0, unsettled: 0, misplaced: 0, unpaid: 0)
            ])

        #expect(try await store.commit([holds[0].event(.expired), holds[1].event(.released)]).isEmpty)
        let expired = try #require(try await store.reservation(holds[0].id))
        #expect(expired.status == .expired)
        #expect(expired.endedAt == holds[0].expiresAt)
        #expect(expired.seats == [1, 2])
        let released = try #require(try await store.reservation(holds[1].id))
        #expect(released.status == .released)
        #expect(released.endedAt != nil)
        #expect(released.paidAt == nil)
        #expect(try await store.reservationCounts(of: id) == [.held: 1, .expired: 1, .released: 1])
        audit = try await store.auditPerformances([id])
        #expect(audit.map(\.held) == [2])
        try await fixture.expectInOrder(id)
        // Their seats are another's.
        #expect(try await store.commit([Hold.test(id, 4, seats: [1, 2, 3]).event()]).isEmpty)
        #expect(try await fixture.holder(of: 1, id) == 4)
    }
}
