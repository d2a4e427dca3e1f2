import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Registering, rebuilding, reading, the log, and what the channels say.
@Suite struct SeatRebuildTests {
    private static let base = SaleEpoch.base(1)

    @Test func oneThatIsKnownIsLeftAlone() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let other = try await fixture.another()
            let heard = Heard<PerformancesEvent>()
            let subscription = try await other.subscribePerformances { heard.hear($0) }
            let performance = try await fixture.performance(seats: 5)
            try await fixture.hold("a", 2, of: performance)
            for epoch in [0, 1, 2] as [Int64] {
                try await fixture.engine.register(EngineFixture.performance(seats: 5), epoch: epoch)
            }
            #expect(try await fixture.seats(of: performance) == "fhfff")
            _ = try await fixture.performance(8, seats: 3)
            try await heard.wait(for: 2)
            #expect(heard.events == [.changed(performance), .changed(PerformanceID(8))])
            #expect(
                try await other.tallies(of: [performance, PerformanceID(9), PerformanceID(8)]) == [
                    performance: SeatTally(free: 4, held: 1, sold: 0),
                    PerformanceID(8): SeatTally(free: 3, held: 0, sold: 0),
                ])
            subscription.cancel()
            await other.stop()
        }
    }

    /// What an earlier life left behind is not mixed with a new one.
    @Test func whatIsNewIsEmpty() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 5)
            try await fixture.hold("a", 2, of: performance)
            try await fixture.redis("DEL", "dibs:{performance:7}")
            #expect(
                try await fixture.engine.positions(of: [performance, PerformanceID(8)])
                    == [performance: SalePosition(epoch: -1, lastSequence: 0, unsettled: 1)])
            _ = try await fixture.performance(seats: 5)
            #expect(try await fixture.seats(of: performance) == "fffff")
            #expect(try await fixture.tickSeats(performance).due == nil)
            #expect(
                try await fixture.engine.positions(of: [performance])
                    == [performance: SalePosition(epoch: 1, lastSequence: Self.base, unsettled: 1)])
            try await fixture.seatBalance(performance, isFirstEpoch: false)
        }
    }

    @Test func readingUnlessNothingHasChanged() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let (engine, performance) = (fixture.engine, try await fixture.performance(seats: 5))
            #expect(
                try await engine.seats(of: performance, unless: nil)
                    == .seats(
                        SeatsSnapshot(
                            event: Self.base, tally: SeatTally(free: 5, held: 0, sold: 0), due: nil,
                            letters: Array("fffff".utf8))))
            #expect(try await engine.seats(of: performance, unless: Self.base) == .unchanged)
            let hold = try #require(try await fixture.hold("a", 2, 3, of: performance).held)
            let expected = SeatsSnapshot(
                event: Self.base + 1, tally: SeatTally(free: 3, held: 2, sold: 0), due: hold.expiresAt,
                letters: Array("fhhff".utf8))
            #expect(try await engine.seats(of: performance, unless: Self.base) == .seats(expected))
            #expect(try await engine.seats(of: performance, unless: Self.base + 1) == .unchanged)
            // A refusal changes nothing.
            try await fixture.hold("b", 2, of: performance)
            #expect(try await engine.seats(of: performance, unless: Self.base + 1) == .unchanged)
        }
    }

    @Test func recordsOfReservations() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let (engine, a) = (fixture.engine, ClientID(trusted: "a"))
            let (one, two) = (try await fixture.performance(1, seats: 9), try await fixture.performance(2, seats: 9))
            let first = try #require(try await fixture.hold("a", 1, 2, of: one).held)
            let second = try #require(try await fixture.hold("a", 3, of: one).held)
            let third = try #require(try await fixture.hold("a", 3, of: two).held)
            let fourth = try #require(try await fixture.hold("b", 4, of: two).held)
            _ = try await fixture.pay(second)
            _ = try await fixture.pay(third)
            try await engine.settle([(id: third.id, as: .sold)])
            let records = [
                HoldRecord(hold: first, isSold: false, paymentsUnderWay: 0),
                HoldRecord(hold: second, isSold: false, paymentsUnderWay: 1),
                HoldRecord(hold: third, isSold: true, paymentsUnderWay: 0),
            ]
            #expect(try await engine.holds(of: a, in: [one, PerformanceID(3), two]) == records)
            #expect(try await engine.holds(of: a, in: []).isEmpty)
            #expect(try await engine.holds(of: ClientID(trusted: "c"), in: [one, two]).isEmpty)
            let never = ReservationID(performance: one, sequence: 5)
            let found = try await engine.holds([third.id, fourth.id, first.id, never])
            #expect(found.count == 3)
            #expect(found[third.id] == records[2])
            #expect(found[first.id] == records[0])
            #expect(found[fourth.id]?.hold == fourth)
            #expect(try await engine.holds([]).isEmpty)
        }
    }

    @Test func theLog() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let (engine, performance) = (fixture.engine, try await fixture.performance(seats: 9))
            var holds: [Hold] = []
            for seat in 1...4 as ClosedRange<Int64> {
                holds.append(try #require(try await fixture.hold("a", seat, of: performance).held))
            }
            let first = try await engine.readReservations(of: performance, consumer: "one", count: 3)
            #expect(first.map(\.hold) == Array(holds.prefix(3)))
            #expect(first.allSatisfy { $0.status == .held })
            _ = try await engine.release(holds[0].id)
            // Each is read once.
            let second = try await engine.readReservations(of: performance, consumer: "two", count: 10)
            #expect(second.map(\.hold) == [holds[3], holds[0]])
            #expect(second.map(\.status) == [.held, .released])
            #expect(try await engine.readReservations(of: performance, consumer: "one", count: 10).isEmpty)
            try await engine.acknowledge([first[0], second[0]])
            try await engine.acknowledge([first[0]])
            #expect(try await fixture.seatBalance(performance).unsettled == 3)
            // Those that were not acknowledged are another's when it asks for them, and only once.
            #expect(
                try await engine.takeOverReservations(
                    of: performance, consumer: "heir", idleMilliseconds: 3_600_000, count: 10
                ).isEmpty)
            let taken = try await engine.takeOverReservations(
                of: performance, consumer: "heir", idleMilliseconds: 0, count: 2)
            #expect(taken == Array(first[1...2]))
            let rest = try await engine.takeOverReservations(
                of: performance, consumer: "heir", idleMilliseconds: 0, count: 10)
            #expect(rest == [first[1], first[2], second[1]])
            try await engine.acknowledge(rest)
            #expect(try await fixture.seatBalance(performance).unsettled == 0)
            #expect(
                try await engine.takeOverReservations(
                    of: performance, consumer: "heir", idleMilliseconds: 0, count: 10
                ).isEmpty)
            #expect(try await fixture.redis("XPENDING", "dibs:{performance:7}:log", "committers") == "")
            // An acknowledgement that was cut in half leaves nothing behind either.
            let last = try #require(try await fixture.hold("b", 8, of: performance).held)
            let read = try await engine.readReservations(of: performance, consumer: "one", count: 10)
            try await fixture.redis("XDEL", "dibs:{performance:7}:log", read[0].entry)
            #expect(read.map(\.hold) == [last])
            #expect(
                try await engine.takeOverReservations(
                    of: performance, consumer: "heir", idleMilliseconds: 0, count: 10
                ).isEmpty)
            // Of two performances at once.
            let other = try await fixture.performance(8, seats: 2)
            try await fixture.hold("c", 1, of: other)
            try await fixture.hold("c", 1, of: performance)
            let both =
                try await engine.readReservations(of: other, consumer: "one", count: 10)
                + engine.readReservations(of: performance, consumer: "one", count: 10)
            #expect(both.count == 2)
            try await engine.acknowledge(both)
            #expect(try await engine.positions(of: [other, performance]).values.allSatisfy { $0.unsettled == 0 })
        }
    }

    private static func snapshot(
        _ performance: Performance, epoch: Int64, _ reservations: [Reservation]
    ) -> PerformanceSnapshot {
        PerformanceSnapshot(
            performance: performance, epoch: epoch, lastSequence: reservations.map(\.id.sequence).max() ?? 0,
            reservations: reservations)
    }

    private static func paid(_ hold: Hold) -> Reservation {
        Reservation(
            id: hold.id, client: hold.client, seats: hold.seats, status: .paid, price: hold.price, heldAt: hold.heldAt,
            expiresAt: hold.expiresAt, paidAt: hold.heldAt)
    }

    @Test func aRebuild() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let engine = fixture.engine
            let definition = EngineFixture.performance(seats: 9, limit: 4)
            try await engine.register(definition, epoch: 1)
            let performance = definition.id
            let held = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            fixture.wait(1000)
            let sold = try #require(try await fixture.hold("a", 5, 7, of: performance).held)
            let lost = try #require(try await fixture.hold("b", 9, of: performance).held)
            _ = try await fixture.pay(held)
            _ = try await fixture.pay(sold)
            try await engine.settle([(id: sold.id, as: .sold)])
            let watch = try await SeatWatch(engine, performance)
            let snapshot = Self.snapshot(definition, epoch: 2, [Reservation(held), Self.paid(sold)])

            // Known in this epoch: left alone.
            #expect(try await engine.rebuild(performance, ifOlderThan: 1) { snapshot } == false)
            #expect(try await engine.rebuild(performance) { snapshot } == false)
            #expect(try await engine.rebuild(performance, ifOlderThan: 2) { snapshot })

            #expect(try await fixture.seats(of: performance) == "hhffsfsff")
            let records = try await engine.holds(of: ClientID(trusted: "a"), in: [performance])
            #expect(
                records == [
                    // Which payments are under way is not known any more.
                    HoldRecord(hold: held, isSold: false, paymentsUnderWay: 0),
                    HoldRecord(hold: sold, isSold: true, paymentsUnderWay: 0),
                ])
            var found = try await fixture.seatBalance(performance, isFirstEpoch: false)
            #expect((found.epoch, found.lastSequence, found.event) == (2, SaleEpoch.base(2), SaleEpoch.base(2)))
            // The log is as it was.
            #expect(found.unsettled == 3)
            // Whoever watches hears that it has to read all.
            try await watch.readAll()
            try await watch.follow()

            // The limit, the deadline and the same hold again are as they were.
            #expect(try await fixture.hold("a", 9, of: performance) == .overLimit)
            #expect(try await fixture.hold("a", 1, 2, of: performance) == .repeated(held))
            let new = try #require(try await fixture.hold("c", 9, of: performance).held)
            #expect((new.id.sequence, new.epoch) == (SaleEpoch.base(2) + 1, 2))
            // What is no longer there gives nothing back.
            #expect(try await engine.release(lost.id) == .none)
            try await engine.settle([(id: lost.id, as: .over)])
            #expect(try await fixture.seats(of: performance) == "hhffsfsfh")
            fixture.clock.now = held.expiresAt
            #expect(try await fixture.tickSeats(performance).due == new.expiresAt)
            #expect(try await fixture.toldOfSeats("a") == [.reservation(held.id, .expired)])
            try await engine.settle([(id: sold.id, as: .refunded)])
            found = try await fixture.seatBalance(performance, isFirstEpoch: false)
            #expect(found.tally == SeatTally(free: 8, held: 1, sold: 0))
            // Entries say in which epoch the hold was taken.
            let log = try await engine.readReservations(of: performance, consumer: "c", count: 20)
            #expect(log.map(\.hold) == [held, sold, lost, new, held])
            #expect(log.map(\.status) == [.held, .held, .held, .held, .expired])
            #expect(log.map(\.hold.epoch) == [1, 1, 1, 2, 1])
            try await watch.follow()
        }
    }

    @Test func onlyOneRebuilds() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let other = try await fixture.another()
            let definition = EngineFixture.performance(seats: 5)
            let performance = definition.id
            try await fixture.engine.register(definition, epoch: 1)
            let hold = try #require(try await fixture.hold("a", 1, of: performance).held)
            let snapshot = Self.snapshot(definition, epoch: 2, [])
            let rebuilt = try await fixture.engine.rebuild(performance, ifOlderThan: 2) {
                // Meanwhile nothing is decided, nobody else rebuilds or registers, and what goes back comes again.
                #expect(try await other.rebuild(performance, ifOlderThan: 2) { snapshot } == false)
                try await other.register(definition, epoch: 2)
                #expect(try await other.tallies(of: [performance]).isEmpty)
                #expect(try await other.hold([2], for: ClientID(trusted: "b"), of: performance) == .unknownPerformance)
                #expect(try await other.release(hold.id) == .unknownPerformance)
                await #expect(throws: Outage.self) { try await other.settle([(id: hold.id, as: .sold)]) }
                return snapshot
            }
            #expect(rebuilt)
            #expect(try await fixture.seats(of: performance) == "fffff")
            // One that fails, or finds nothing, leaves it to the next.
            try await fixture.redis("DEL", "dibs:{performance:7}")
            await #expect(throws: Outage.self) {
                _ = try await fixture.engine.rebuild(performance) { throw Outage(.postgres, "away") }
            }
            #expect(try await fixture.engine.rebuild(performance) { nil } == false)
            #expect(try await fixture.engine.tallies(of: [performance]).isEmpty)
            #expect(try await other.rebuild(performance) { snapshot })
            // One whose time was over writes nothing.
            try await fixture.redis("DEL", "dibs:{performance:7}")
            let late = Self.snapshot(definition, epoch: 3, [Reservation(hold)])
            let isLate = try await fixture.engine.rebuild(performance) {
                try await fixture.redis("DEL", "dibs:{performance:7}:rebuild")
                #expect(try await other.rebuild(performance) { snapshot })
                return late
            }
            #expect(!isLate)
            #expect(try await fixture.seats(of: performance) == "fffff")
            #expect(try await fixture.seatBalance(performance, isFirstEpoch: false).epoch == 2)
            await other.stop()
        }
    }

    /// So many that they take several calls.
    @Test func aLargeRebuild() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let definition = EngineFixture.performance(seats: 20_000)
            let now = fixture.clock.now
            var reservations: [Reservation] = []
            var letters = Array(repeating: UInt8(ascii: "f"), count: 20_000)
            // Of one, two … and now and then of a thousand that lie apart.
            var seat: Int64 = 1
            while seat < 19_000 {
                let index = Int64(reservations.count)
                let size: Int64 = index % 100 == 50 ? 1000 : index % 4 + 1
                let seats = Array(seat..<min(seat + size, 19_000))
                let status: ReservationStatus = index % 3 == 0 ? .paid : .held
                reservations.append(
                    Reservation(
                        id: ReservationID(performance: definition.id, sequence: index + 1),
                        client: ClientID(trusted: "c\(index % 700)"), seats: seats, status: status, price: 7,
                        heldAt: now, expiresAt: now + (index + 1)))
                for seat in seats { letters[Int(seat) - 1] = UInt8(ascii: status == .paid ? "s" : "h") }
                seat += size + 1
            }
            let snapshot = Self.snapshot(definition, epoch: 4, reservations)
            #expect(try await fixture.engine.rebuild(definition.id) { snapshot })
            #expect(try await fixture.seats(of: definition.id) == String(decoding: letters, as: UTF8.self))
            let found = try await fixture.seatBalance(definition.id, isFirstEpoch: false)
            #expect(found.heldRecords + found.soldRecords == Int64(reservations.count))
            let records = try await fixture.engine.holds(of: ClientID(trusted: "c699"), in: [definition.id])
            #expect(records.map(\.hold.id) == reservations.filter { $0.client.rawValue == "c699" }.map(\.id))
            #expect(try await fixture.tickSeats(definition.id).due == reservations[1].expiresAt)
        }
    }
}
