import EventLoop
import Model
import Testing

@testable import Persistence

/// Concerts and performances come back as they were registered.
@Suite(.onLoop) struct ConcertTests {
    private static let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)

    @Test @LoopActor func concertsNewestFirst() async throws {
        let store = try await Fixture().store
        #expect(try await store.concert(ConcertID(1)) == nil)
        var made: [Concert] = []
        for name in ["a", "b", "c"] { made.append(try await store.insertConcert(name: name)) }
        #expect(made.map(\.name) == ["a", "b", "c"])
        #expect(try await store.concert(made[1].id) == made[1])
        #expect(try await store.concerts(before: nil, limit: 9) == made.reversed())
        #expect(try await store.concerts(before: made[2].id, limit: 1) == [made[1]])
        #expect(try await store.concerts(before: made[0].id, limit: 9).isEmpty)
        await #expect(throws: DatabaseError.self) { _ = try await store.insertConcert(name: "") }
    }

    @Test @LoopActor func performancesKeepTheirLayout() async throws {
        let store = try await Fixture().store
        let concert = try await store.insertConcert(name: "a").id
        let other = try await store.insertConcert(name: "b").id
        _ = try await store.insertRoom(RoomID("hall")!, limits: RoomLimits())
        let sections = SeatLayout(sections: [
            .init(name: "Parkett", rows: 20, seatsPerRow: 30), .init(name: "Rang", rows: 3, seatsPerRow: 7),
            .init(name: "Parkett", rows: 1, seatsPerRow: 1),
        ])
        let late = try #require(
            try await store.insertPerformance(
                of: concert, startsAt: Self.now + 7_200_000, price: 0, room: RoomID("hall")!, holdSeconds: 5,
                perClientLimit: 4, layout: sections))
        let early = try #require(
            try await store.insertPerformance(
                of: concert, startsAt: Self.now + 3_600_000, price: 100, room: .main, holdSeconds: 300,
                perClientLimit: nil, layout: SeatLayout(numbered: 100_000)))
        let over = try #require(
            try await store.insertPerformance(
                of: other, startsAt: Self.now + -3_600_000, price: 1, room: .main, holdSeconds: 300,
                perClientLimit: nil, layout: SeatLayout(numbered: 1)))
        #expect(late.layout == sections)
        #expect(late.layout.count == 622)
        #expect(early.concert == concert)

        let stored = [late, early, over].map { StoredPerformance(performance: $0, epoch: 0) }
        #expect(try await store.performance(late.id) == stored[0])
        #expect(try await store.performance(early.id) == stored[1])
        #expect(try await store.performance(PerformanceID(99)) == nil)
        #expect(try await store.performances(of: concert) == [stored[1], stored[0]])
        #expect(
            try await store.performances(of: [other, concert, ConcertID(99)]) == [stored[2], stored[1], stored[0]])
        #expect(try await store.performances(of: []).isEmpty)
        #expect(try await store.upcomingPerformances() == [stored[0], stored[1]])
        #expect(try await store.activePerformances() == stored)
        #expect(try await store.activePerformances(startedWithinMilliseconds: 0) == [stored[0], stored[1]])
        #expect(try await store.activePerformances(startedWithinMilliseconds: .max) == stored)

        #expect(
            try await store.insertPerformance(
                of: ConcertID(99), startsAt: Self.now, price: 1, room: .main, holdSeconds: 1, perClientLimit: nil,
                layout: sections) == nil)
        #expect(try await store.activePerformances(startedWithinMilliseconds: .max).count == 3)
    }

    @Test @LoopActor func performanceThatHasWorkIsActive() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1")
        try await fixture.sql("update performances set starts_at = now() - interval '1 year'")
        func isActive() async throws -> Bool { try await !store.activePerformances().isEmpty }
        #expect(try await !isActive())
        let hold = Hold.test(id, 1, seats: [1])
        _ = try await store.commit([hold.event()])
        #expect(try await isActive())
        _ = try await store.pay(hold, point: 10, key: nil)
        #expect(try await isActive())
        try await store.markSettled([hold.id], as: .paid)
        #expect(try await !isActive())
        _ = try await store.refund(hold.id)
        #expect(try await isActive())
        #expect(try await store.upcomingPerformances().isEmpty)
    }

    @Test @LoopActor func lastSequencesSayHowFarItCame() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let (one, two) = (try await fixture.performance(), try await fixture.performance())
        _ = try await store.commit([
            Hold.test(one, 7, seats: [1]).event(), Hold.test(one, 4, seats: [2]).event(.expired),
        ])
        _ = try await store.beginRebuild(two)
        let found = try await store.lastSequences(of: [one, two, PerformanceID(99)])
        #expect(found.count == 2)
        #expect(found[one]?.epoch == 0)
        #expect(found[one]?.lastSequence == 7)
        #expect(found[two]?.epoch == 1)
        #expect(found[two]?.lastSequence == 0)
        #expect(try await store.lastSequences(of: [PerformanceID]()).isEmpty)
    }
}
