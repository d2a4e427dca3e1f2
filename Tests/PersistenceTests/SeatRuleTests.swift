import EventLoop
import Model
import Testing

@testable import Persistence

/// The rules of seats and payments hold against SQL that somebody types.
@Suite(.onLoop) struct SeatRuleTests {
    @LoopActor
    private func expectRefused(
        _ constraint: String, by fixture: Fixture, _ sql: StaticString, _ location: SourceLocation = #_sourceLocation
    ) async {
        await #expect(sourceLocation: location) {
            try await fixture.sql(sql)
        } throws: { error in
            guard let error = error as? DatabaseError else { return false }
            if error.constraint != constraint { Issue.record("\(error)", sourceLocation: location) }
            return !error.isTransient
        }
    }

    /// A performance with 10 seats at 5 points, and in it 1 `held` (seats 1, 2), 2 `paid` (3), 3 `expired` (4).
    @LoopActor
    private func fixture() async throws -> Fixture {
        let fixture = try await Fixture()
        let id = try await fixture.performance(seats: 10, price: 5)
        #expect(id == PerformanceID(1))
        try await fixture.give(5, to: "c2")
        _ = try await fixture.store.commit([
            Hold.test(id, 1, seats: [1, 2]).event(), Hold.test(id, 3, seats: [4]).event(.expired),
        ])
        guard case .paid = try await fixture.store.pay(.test(id, 2, seats: [3]), point: 5, key: nil) else {
            throw DatabaseError(sqlstate: "XX000", message: "not paid")
        }
        return fixture
    }

    @Test @LoopActor func seatHasOneHolder() async throws {
        let fixture = try await fixture()
        let sql: StaticString =
            """
            insert into reservation_seats (performance_id, sequence, seat, performance_seats, is_live)
            values (1, 1, 3, 10, true)
            """
        await expectRefused("reservation_seats_one_holder", by: fixture, sql)
        let liveness = "reservation_seats_performance_id_sequence_performance_seat_fkey"
        await expectRefused(liveness, by: fixture, "update reservation_seats set is_live = true where sequence = 3")
        // One that was over cannot come back to a seat that another has by now.
        _ = try await fixture.store.commit([Hold.test(PerformanceID(1), 4, seats: [4]).event()])
        await expectRefused(
            "reservation_seats_one_holder", by: fixture,
            "update reservations set status = 'held', ended_at = null where sequence = 3")
        // Seats live and end with their reservation, which nothing can say otherwise.
        await expectRefused(
            liveness, by: fixture, "update reservation_seats set is_live = false where sequence = 1")
        await expectRefused(liveness, by: fixture, "delete from reservations where sequence = 1")
        await expectRefused(liveness, by: fixture, "update reservation_seats set sequence = 9 where sequence = 1")
        try await fixture.sql("update reservations set status = 'released', ended_at = now() where sequence = 1")
        #expect(
            try await fixture.number("select count(*) from reservation_seats where sequence = 1 and not is_live") == 2)
        try await fixture.expectInOrder(PerformanceID(1))
    }

    @Test @LoopActor func seatsAreThoseOfThePerformance() async throws {
        let fixture = try await fixture()
        for sql: StaticString in [
            "update reservation_seats set seat = 11 where seat = 1",
            "update reservation_seats set seat = 0 where seat = 1",
        ] {
            await expectRefused("reservation_seats_within_seats", by: fixture, sql)
        }
        // Not even by claiming that there are more, or that they cost less.
        await expectRefused(
            "reservation_seats_performance_id_sequence_performance_seat_fkey", by: fixture,
            "update reservation_seats set seat = 11, performance_seats = 11 where seat = 1")
        let copies = "reservations_performance_id_performance_seats_seat_price_fkey"
        await expectRefused(copies, by: fixture, "update reservations set performance_seats = 11 where sequence = 1")
        await expectRefused(copies, by: fixture, "update reservations set seat_price = 4 where sequence = 1")
        await expectRefused(copies, by: fixture, "update performances set price = 4")
        await expectRefused(copies, by: fixture, "update performances set seats = 11")
        await expectRefused(
            "reservations_seat_count_check", by: fixture, "update reservations set seat_count = 1001 where sequence = 1"
        )
        await expectRefused(
            "reservations_seat_count_check", by: fixture, "update reservations set seat_count = 0 where sequence = 1")
    }

    @Test @LoopActor func statusesHaveTheirMoments() async throws {
        let fixture = try await fixture()
        await expectRefused(
            "reservations_status_check", by: fixture,
            "update reservations set status = 'gone' where sequence = 1")
        for sql: StaticString in [
            "update reservations set status = 'paid' where sequence = 1",
            "update reservations set paid_at = now() where sequence = 1",
            "update reservations set paid_at = now() where sequence = 3",
            "update reservations set paid_at = null, settled = true where sequence = 2",
        ] {
            await expectRefused("reservations_paid_at", by: fixture, sql)
        }
        for sql: StaticString in [
            "update reservations set status = 'expired' where sequence = 1",
            "update reservations set status = 'released' where sequence = 2",
            "update reservations set ended_at = now() where sequence = 2",
            "update reservations set ended_at = null where sequence = 3",
        ] {
            await expectRefused("reservations_ended_at", by: fixture, sql)
        }
        await expectRefused(
            "reservations_settled", by: fixture, "update reservations set settled = false where sequence = 1")
        await expectRefused(
            "reservations_cause", by: fixture, "update reservations set cause = 'superseded' where sequence = 2")
        await expectRefused(
            "reservations_cause_check", by: fixture, "update reservations set cause = 'why' where sequence = 3")
        await expectRefused(
            "reservations_check", by: fixture,
            "update reservations set expires_at = held_at - interval '1 second' where sequence = 1")
        await expectRefused(
            "reservations_client_id_check", by: fixture, "update reservations set client_id = '' where sequence = 1")
        await expectRefused(
            "reservations_sequence_check", by: fixture,
            """
            insert into reservations (performance_id, sequence, client_id, status, performance_seats, seat_price,
                seat_count, held_at, expires_at) values (1, 0, 'a', 'held', 10, 5, 1, now(), now())
            """)
    }

    @Test @LoopActor func onePaymentEver() async throws {
        let fixture = try await fixture()
        await expectRefused(
            "payments_performance_id_sequence_key", by: fixture,
            "insert into payments (performance_id, sequence, client_id, amount) values (1, 2, 'c2', 5)")
        await expectRefused(
            "payments_performance_id_sequence_fkey", by: fixture,
            "insert into payments (performance_id, sequence, client_id, amount) values (1, 9, 'c2', 5)")
        await expectRefused("payments_amount_check", by: fixture, "update payments set amount = -1")
        await expectRefused(
            "ledger_entries_kind_reference_key", by: fixture,
            "insert into ledger_entries (client_id, amount, kind, reference) values ('c2', -5, 'payment', '1-2')")
    }

    @Test @LoopActor func everyMovementHasTwoLegs() async throws {
        let fixture = try await fixture()
        let sale = try await fixture.sale(price: 30, limit: 3)
        let store = fixture.store
        _ = try await store.charge(ClientID("c1")!, points: 100, reference: "r")
        _ = try await store.commit([.test(sale, 1), .test(sale, 2, client: "c1", slot: 2)])
        _ = try await store.cancel(OrderID(sale: sale, sequence: 1))
        _ = try await store.refund(ReservationID(performance: PerformanceID(1), sequence: 2))
        let kinds = try await fixture.sql(
            """
            select distinct kind, contra, amount > 0 from ledger_entries order by kind
            """)
        #expect(
            kinds[0].rows.map { "\($0.text(0)) \($0.text(1)) \($0.flag(2))" } == [
                "charge issued true", "order takings false", "payment takings false", "payment_refund takings true",
                "refund takings true",
            ])
        #expect(
            try await fixture.sql(
                """
                select account, sum(amount)::bigint from ledger_legs where is_house or account = 'c1'
                group by account order by account
                """)[0].rows.map { "\($0.text(0)) \($0.integer(1))" } == ["c1 70", "issued -105", "takings 30"])
        try await fixture.expectInOrder(PerformanceID(1))

        for sql: StaticString in [
            "insert into ledger_entries (client_id, amount, kind, reference) values ('c1', 1, 'payment', 'x')",
            "insert into ledger_entries (client_id, amount, kind, reference) values ('c1', -1, 'payment_refund', 'x')",
            "insert into ledger_entries (client_id, amount, kind, reference) values ('c1', -1, 'charge', 'x')",
        ] {
            await expectRefused("ledger_entries_direction_check", by: fixture, sql)
        }
        await expectRefused(
            "ledger_entries_kind_check", by: fixture,
            "insert into ledger_entries (client_id, amount, kind, reference) values ('c1', -1, 'gift', 'x')")
        // Generated: nobody can name another account of the house.
        await #expect {
            try await fixture.sql("update ledger_entries set contra = 'takings'")
        } throws: { ($0 as? DatabaseError)?.sqlstate == "428C9" }
        // Who has the name of an account of the house is a client all the same.
        _ = try await store.charge(ClientID("takings")!, points: 7, reference: "r")
        #expect(
            try await fixture.number(
                "select sum(amount)::bigint from ledger_legs where account = 'takings' and not is_house") == 7)
    }

    @Test @LoopActor func performancesMakeSense() async throws {
        let fixture = try await Fixture()
        let concert = try await fixture.store.insertConcert(name: "a").id
        @LoopActor func refused(
            price: Int64 = 1, room: String = "main", hold: Int64 = 300, limit: Int64? = nil,
            layout: SeatLayout = SeatLayout(numbered: 50)
        ) async -> String? {
            do {
                _ = try await fixture.store.insertPerformance(
                    of: concert, startsAt: .at(0), price: price, room: RoomID(room)!, holdSeconds: hold,
                    perClientLimit: limit, layout: layout)
                return nil
            } catch { return (error as? DatabaseError)?.constraint }
        }
        #expect(await refused() == nil)
        #expect(await refused(price: -1) == "performances_price_check")
        #expect(await refused(price: 1 << 53) == "performances_price_check")
        #expect(await refused(room: "nowhere") == "performances_room_fkey")
        #expect(await refused(hold: 0) == "performances_hold_seconds_check")
        #expect(await refused(limit: 0) == "performances_per_client_limit_check")
        for count in [0, -1, 100_001] as [Int64] {
            #expect(await refused(layout: SeatLayout(numbered: count)) == "performances_seats_check")
        }
        #expect(
            await refused(layout: SeatLayout(sections: [.init(name: "", rows: 1, seatsPerRow: 1)]))
                == "performance_sections_name_check")
        #expect(
            await refused(
                layout: SeatLayout(sections: [
                    .init(name: "a", rows: 1, seatsPerRow: 9), .init(name: "b", rows: -1, seatsPerRow: 2),
                ])) == "performance_sections_rows_check")
        // The refused ones have left nothing.
        #expect(try await fixture.number("select count(*) from performances") == 1)
        #expect(try await fixture.number("select count(*) from performance_sections") == 0)
    }

    /// The dearest seats there can be, in the largest reservation: the price is a number all the same.
    @Test @LoopActor func largestPrice() async throws {
        let fixture = try await Fixture()
        let id = try await fixture.performance(seats: 1000, price: 1 << 53 - 1)
        let hold = Hold.test(id, 1, seats: Array(1...1000))
        #expect(try await fixture.store.pay(hold, point: 1, key: nil) == .wrongPrice((1 << 53 - 1) * 1000))
        #expect(
            try await fixture.store.pay(hold, point: (1 << 53 - 1) * 1000, key: nil) == .insufficientPoints(balance: 0))
    }
}
