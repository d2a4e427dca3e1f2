import EventLoop
import Model
import TestServices
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

/// Two committers, each of which has read one entry of a hold.
@Suite(.onLoop) struct TwoCommittersTests {
    @Test(arguments: [ReservationStatus.released, .expired]) @LoopActor
    func endComesWhileItsHoldIsWritten(end: ReservationStatus) async throws {
        let fixture = try await Fixture()
        let id = try await fixture.performance()
        let hold = Hold.test(id, 1, seats: [1, 2])
        let other = try Store(
            StoreConfiguration(connectionString: fixture.connectionString, poolSize: 1), log: .none)
        other.start()
        // What the other committer does, stopped before its commit.
        _ = try await other.pool.perform(Statement("begin"))
        _ = try await other.pool.perform(
            Statement(
                """
                select commit_reservations(array[$1], array[1], array['c1'], array['held'], array[$2], array[$3], array[0],
                    array[2], array[$1, $1], array[1, 1], array[1, 2])
                """, .integer(id.rawValue), .moment(hold.heldAt), .moment(hold.expiresAt)))
        let ending = EventLoop.task { try? await fixture.store.commit([hold.event(end)]) }
        try await eventually("the end waits", within: 20_000) {
            try await fixture.number(
                """
                select count(*) from pg_stat_activity
                where datname = current_database() and wait_event_type = 'Lock' and query like '%commit_reservations(%'
                """) == 1
        }
        _ = try await other.pool.perform(Statement("commit"))
        #expect(await ending.value == [])
        #expect(try await fixture.store.status(hold) == end)
        #expect(try await fixture.store.auditPerformances([id]).map(\.held) == [0])
        await other.stop()
        try await fixture.expectInOrder(id)
    }
}

/// Two holds of one seat, of which PostgreSQL hears in any order.
@Suite(.onLoop) struct NewerWinsTests {
    /// Every order of these, one by one and in batches, twice: it comes to the same.
    @Test(arguments: [1, 2, 5]) @LoopActor func anyOrderComesToTheSame(batch: Int) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance(seats: 2000)
        for (number, order) in permutations([0, 1, 2, 3, 4]).enumerated() {
            let base = Int64(number * 10)
            let holds = [
                Hold.test(id, base + 1, seats: [base + 1, base + 2]), .test(id, base + 2, seats: [base + 2, base + 3]),
                .test(id, base + 3, seats: [base + 3]),
            ]
            let log = [
                holds[0].event(), holds[0].event(.expired), holds[1].event(), holds[1].event(.released),
                holds[2].event(),
            ]
            for _ in 0..<2 {
                for events in order.map({ log[$0] }).chunks(of: batch) {
                    #expect(try await store.commit(Array(events)).isEmpty, "\(order)")
                }
                var found: [Reservation] = []
                for hold in holds { found.append(try #require(try await store.reservation(hold.id))) }
                #expect(found.map(\.status) == [.expired, .released, .held], "\(order)")
                #expect(found[0].endedAt == holds[0].expiresAt, "\(order)")
                #expect(found.map(\.seats) == holds.map(\.seats), "\(order)")
                #expect(try await fixture.holder(of: base + 1, id) == nil)
                #expect(try await fixture.holder(of: base + 2, id) == nil)
                #expect(try await fixture.holder(of: base + 3, id) == base + 3)
            }
        }
        try await fixture.expectInOrder(id)
        #expect(try await fixture.number("select count(*) from reservations where cause is not null") == 0)
    }

    @Test @LoopActor func olderOnesEndComesLater() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c2", "c5")
        let (older, newer) = (Hold.test(id, 1, seats: [1, 2]), Hold.test(id, 2, seats: [2, 3]))
        _ = try await store.commit([older.event()])
        // Paid for before anybody heard of the older one's end; the committer has not come to the newer one either.
        guard case .paid = try await store.pay(newer, point: 20, key: nil) else {
            Issue.record("not paid")
            return
        }
        // How it ended is not known yet.
        #expect(try await store.status(older) == .held)
        #expect(try await fixture.holder(of: 1, id) == nil)
        #expect(try await store.commit([newer.event(), older.event(), older.event(.released)]).isEmpty)
        #expect(try await store.status(older) == .released)
        #expect(try await store.status(newer) == .paid)

        // The older hold itself comes later still, and takes nothing back; nor can it be paid for.
        let (late, next) = (Hold.test(id, 4, seats: [5, 6]), Hold.test(id, 5, seats: [6]))
        #expect(try await store.commit([next.event()]).isEmpty)
        #expect(try await store.commit([late.event()]).isEmpty)
        #expect(try await store.status(late) == .held)
        #expect(try await store.pay(late, point: 20, key: nil) == .stale)
        #expect(try await fixture.holder(of: 6, id) == 5)
        #expect(try await store.commit([late.event(.expired), late.event()]).isEmpty)
        #expect(try await store.pay(late, point: 20, key: nil) == .over)
        try await fixture.expectInOrder(id)
    }

    /// Redis has lost writes: a seat that is paid for was given away again.
    @Test @LoopActor func paidSeatIsNotGivenAway() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1", "c2", "c3", "c4")
        let paid = Hold.test(id, 1, seats: [1, 2])
        guard case .paid = try await store.pay(paid, point: 20, key: nil) else {
            Issue.record("not paid")
            return
        }
        let (stale, other) = (Hold.test(id, 2, seats: [2, 3]), Hold.test(id, 3, seats: [4]))
        for _ in 0..<2 { #expect(try await store.commit([other.event(), stale.event()]) == [stale.id]) }
        #expect(try await store.status(stale) == .expired)
        #expect(try await store.status(other) == .held)
        // So it stays, whatever the log says of it afterwards, and whoever asks.
        #expect(try await store.commit([stale.event(.released), stale.event(.expired)]) == [stale.id])
        #expect(try await store.status(stale) == .expired)
        #expect(try await store.pay(stale, point: 20, key: nil) == .stale)
        #expect(try await store.close(stale) == .expired)
        #expect(try await store.commit([stale.event()]) == [stale.id])
        // The same when the payment comes first.
        let early = Hold.test(id, 4, seats: [1])
        #expect(try await store.pay(early, point: 10, key: nil) == .stale)
        #expect(try await store.commit([early.event()]) == [early.id])
        #expect(try await store.balance(of: ClientID("c4")!) == 100)

        // Refunded, the seat is free for the next one.
        _ = try await store.refund(paid.id)
        #expect(try await store.commit([Hold.test(id, 5, seats: [1, 2]).event()]).isEmpty)
        #expect(try await fixture.holder(of: 2, id) == 5)
        try await fixture.expectInOrder(id)
    }

    /// Several committers at once over one seat: the newest has it, and nobody is refused.
    @Test(.timeLimit(.minutes(patience))) @LoopActor func manyCommittersOverOneSeat() async throws {
        let fixture = try await Fixture(committers: 4)
        let store = fixture.store
        let id = try await fixture.performance()
        var generator = SeededGenerator(seed: 7)
        let holds = (1...80).map { Hold.test(id, Int64($0), seats: [1, Int64($0 % 5) + 2]) }.shuffled(using: &generator)
        let refused = try await concurrently(20) { committer in
            var refused: [ReservationID] = []
            for hold in holds[committer * 4..<committer * 4 + 4] {
                while true {
                    do {
                        refused += try await store.commit([hold.event()])
                        break
                    } catch let error as DatabaseError where error.isTransient {}
                }
            }
            return refused
        }
        #expect(refused.allSatisfy { $0.isEmpty })
        #expect(try await fixture.holder(of: 1, id) == 80)
        #expect(try await store.reservationCounts(of: id) == [.held: 1, .expired: 79])
        try await fixture.expectInOrder(id)
    }
}

/// What PostgreSQL takes from no log.
@Suite(.onLoop) struct RefusedReservationTests {
    @Test @LoopActor func refusedOneHurtsNoOther() async throws {
        let fixture = try await Fixture()
        let id = try await fixture.performance(seats: 500)
        let warnings = Journal<String>()
        let store = try Store(
            StoreConfiguration(connectionString: fixture.connectionString, requestTimeoutMilliseconds: 30_000),
            log: Log { _, event, fields in EventLoop.task { warnings.add("\(event) \(fields)") } })
        store.start()
        var holds = (1...200).map { Hold.test(id, Int64($0), seats: [Int64($0)]) }
        holds[20] = .test(id, 21, seats: [501])
        holds[30] = .test(id, 31, seats: [0, 31])
        holds[40] = .test(id, 41, seats: [41, 41])
        holds[50] = .test(id, 51, seats: [])
        holds[60] = .test(id, 61, seats: Array(400...1400))
        holds[70] = .test(PerformanceID(99), 71, seats: [71])
        let bad = [20, 30, 40, 50, 60, 70].map { holds[$0] }
        #expect(try await store.commit(holds.map { $0.event() }) == bad.map(\.id).sorted())
        #expect(try await store.reservationCounts(of: id) == [.held: 194])
        for hold in bad {
            #expect(try await store.reservation(hold.id) == nil)
            #expect(try await store.commit([hold.event(.expired)]) == [hold.id])
        }
        _ = try await warnings.next("that one is refused") {
            $0.hasPrefix("reservation_refused") && $0.contains("reservation_seats_within_seats")
        }
        try await fixture.expectInOrder(id)
        await store.stop()
    }

    /// Redis lost its latest writes and gives an id out again.
    @Test @LoopActor func idOfAnotherReservation() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1", "other")
        let mine = Hold.test(id, 1, seats: [1, 2])
        _ = try await store.commit([mine.event()])
        let others = [
            Hold.test(id, 1, seats: [1, 2], client: "other"), .test(id, 1, seats: [1]), .test(id, 1, seats: [1, 2, 3]),
            .test(id, 1, seats: [1, 3]),
        ]
        for other in others {
            for status in [ReservationStatus.held, .expired, .released] {
                #expect(try await store.commit([other.event(status)]) == [mine.id])
            }
            #expect(try await store.commit([mine.event(), other.event(.released)]) == [mine.id])
            #expect(try await store.pay(other, point: other.price, key: nil) == .stale)
            #expect(try await store.close(other) == .expired)
        }
        #expect(try await store.reservation(mine.id) == mine.held)
        #expect(try await store.balance(of: ClientID("other")!) == 100)

        // Both in one batch, neither known before: the first gets it.
        let (first, second) = (Hold.test(id, 2, seats: [5]), Hold.test(id, 2, seats: [6], client: "other"))
        #expect(try await store.commit([first.event(), second.event(), second.event(.released)]) == [first.id])
        #expect(try await store.reservation(first.id) == first.held)
        try await fixture.expectInOrder(id)
    }

    @Test @LoopActor func olderEpochIsTooLate() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1", "c2", "c3", "c4", "c5")
        let known = (1...3).map { Hold.test(id, $0, seats: [$0]) }
        _ = try await store.commit(known.map { $0.event() })
        #expect(try await store.beginRebuild(id)?.epoch == 1)
        // What PostgreSQL knew goes on as it was.
        // But a payment that began before it has to begin anew: Redis does not keep the seats for it any more.
        #expect(try await store.pay(known[0], point: 10, key: nil) == .rebuilt)
        guard case .paid = try await store.pay(known[0].begun(in: 1), point: 10, key: nil) else {
            Issue.record("not paid")
            return
        }
        #expect(
            try await store.commit([known[0].event(.expired), known[1].event(.expired), known[2].event()])
                == [known[0].id])
        #expect(try await store.close(known[2]) == .expired)

        // A hold that it did not know is expired, whatever is heard of it later; an end that it hears of is one.
        let late = [Hold.test(id, 4, seats: [4]), .test(id, 5, seats: [5]), .test(id, 6, seats: [6])]
        #expect(try await store.pay(late[0], point: 10, key: nil) == .rebuilt)
        #expect(try await store.commit([late[1].event(.released)]).isEmpty)
        #expect(try await store.close(late[2]) == .expired)
        for status in [ReservationStatus.held, .released, .expired] {
            #expect(try await store.commit(late.map { $0.event(status) }) == [late[0].id])
            #expect(try await store.reservationCounts(of: id) == [.paid: 1, .expired: 4, .released: 1])
        }
        #expect(try await store.balance(of: ClientID("c4")!) == 100)

        // The new epoch's holds are taken, and have the seats.
        let fresh = Hold.test(id, SaleEpoch.base(1) + 1, seats: [2, 3, 4, 5], client: "c5", epoch: 1)
        #expect(try await store.commit([fresh.event()]).isEmpty)
        #expect(try await store.status(fresh) == .held)
        try await fixture.expectInOrder(id)
    }

    /// A log that says that a paid one has ended is of a Redis that has lost the payment.
    @Test(arguments: [ReservationStatus.expired, .released])
    @LoopActor func whatIsPaidDoesNotEndByTheLog(status: ReservationStatus) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1")
        let (paid, other) = (Hold.test(id, 1, seats: [1]), Hold.test(id, 2, seats: [2]))
        _ = try await store.commit([paid.event(), other.event()])
        _ = try await store.pay(paid, point: 10, key: nil)
        for _ in 0..<2 {
            #expect(try await store.commit([paid.event(status), other.event(status)]) == [paid.id])
            #expect(try await store.status(paid) == .paid)
            #expect(try await store.status(other) == status)
        }
        // One that was refunded has ended.
        _ = try await store.refund(paid.id)
        #expect(try await store.commit([paid.event(status)]).isEmpty)
        #expect(try await store.status(paid) == .released)
    }

    @Test @LoopActor func snapshotHasWhatIsLive() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance()
        try await fixture.give(100, to: "c1", "c2")
        #expect(try await store.beginRebuild(PerformanceID(99)) == nil)
        let holds = (1...5).map { Hold.test(id, $0, seats: [$0 * 2, $0 * 2 + 1], client: "c\($0 % 2 + 1)") }
        _ = try await store.commit(holds.map { $0.event() } + [holds[4].event(.released)])
        _ = try await store.pay(holds[0], point: 20, key: nil)
        _ = try await store.pay(holds[1], point: 20, key: nil)
        _ = try await store.refund(holds[1].id)
        let snapshot = try #require(try await store.beginRebuild(id))
        let performance = try await store.performance(id)?.performance
        #expect(snapshot.performance == performance)
        #expect(snapshot.epoch == 1)
        #expect(snapshot.lastSequence == 5)
        #expect(snapshot.reservations.map(\.status) == [.paid, .held, .held])
        #expect(snapshot.reservations[1] == holds[2].held)
        let paid = try await store.reservation(holds[0].id)
        #expect(snapshot.reservations[0] == paid)
        #expect(try await store.beginRebuild(id)?.epoch == 2)
        #expect(try await store.performance(id)?.epoch == 2)
    }

    /// A rebuild reads when nobody is writing; who comes meanwhile waits for it.
    @Test @LoopActor func rebuildWaitsForWriters() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let id = try await fixture.performance(price: 0)
        let other = try Store(
            StoreConfiguration(connectionString: fixture.connectionString, poolSize: 1), log: .none)
        other.start()
        @LoopActor func ask(_ sql: StaticString) async throws {
            _ = try await other.pool.perform(Statement(sql, .integer(id.rawValue)))
        }
        func waiting() async throws -> Int64 {
            try await fixture.number("select count(*) from pg_locks where locktype = 'advisory' and not granted")
        }
        try await ask("select pg_advisory_lock_shared(performance_lock($1))")
        let rebuilding = EventLoop.task { try? await fixture.store.beginRebuild(id) }
        try await eventually("it waits", within: 20_000) { try await waiting() > 0 }
        try await ask("select pg_advisory_unlock_shared(performance_lock($1))")
        #expect(await rebuilding.value?.epoch == 1)

        let holds = (1...4).map { Hold.test(id, SaleEpoch.base(1) + $0, seats: [$0], epoch: 1) }
        _ = try await store.pay(holds[3], point: 0, key: nil)
        let writers: [@Sendable @LoopActor () async throws -> Void] = [
            { _ = try await store.commit([holds[0].event()]) },
            { _ = try await store.pay(holds[1], point: 0, key: nil) },
            { _ = try await store.close(holds[2]) }, { _ = try await store.refund(holds[3].id) },
        ]
        for (number, write) in writers.enumerated() {
            try await ask("select pg_advisory_lock(performance_lock($1))")
            let writing = EventLoop.task { (try? await write()) != nil }
            try await eventually("it waits", within: 20_000) { try await waiting() > 0 }
            try await ask("select pg_advisory_unlock(performance_lock($1))")
            #expect(await writing.value, "\(number)")
        }
        var statuses: [ReservationStatus?] = []
        for hold in holds { statuses.append(try await store.status(hold)) }
        #expect(statuses == [.held, .paid, .expired, .released])
        await other.stop()
    }
}
