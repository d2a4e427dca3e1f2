import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Deadlines, giving back, and what payments make of holds.
@Suite struct SeatPaymentTests {
    @Test func aHoldEndsAtItsDeadline() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 6, hold: 60)
            let watch = try await SeatWatch(fixture.engine, performance)
            let first = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            fixture.wait(10)
            let second = try #require(try await fixture.hold("b", 4, of: performance).held)
            try await watch.follow()
            #expect(watch.messages.map(\.due) == [first.expiresAt, first.expiresAt])
            fixture.clock.now = first.expiresAt + -1
            #expect(
                try await fixture.tickSeats(performance) == SeatTick(due: first.expiresAt, closing: [], isMore: false))
            #expect(try await fixture.seats(of: performance) == "hhfhff")
            fixture.clock.now = first.expiresAt
            #expect(
                try await fixture.tickSeats(performance) == SeatTick(due: second.expiresAt, closing: [], isMore: false))
            #expect(try await fixture.seats(of: performance) == "fffhff")
            #expect(try await fixture.toldOfSeats("a") == [.reservation(first.id, .expired)])
            // Without a tick, by whoever comes.
            fixture.clock.now = second.expiresAt
            #expect(try await fixture.pay(second) == .expired)
            #expect(try await fixture.pay(second) == .none)
            #expect(try await fixture.toldOfSeats("b") == [.reservation(second.id, .expired)])
            #expect(try await fixture.engine.release(first.id) == .none)
            let snapshot = try await watch.follow()
            #expect(snapshot.due == nil)
            #expect(watch.messages.last?.due == nil)
            #expect(try await fixture.tickSeats(performance).due == nil)
            let found = try await fixture.seatBalance(performance)
            #expect(found.counts == ["requests": 2, "held": 2, "expired": 2])
            let log = try await fixture.engine.readReservations(of: performance, consumer: "c", count: 10)
            #expect(log.map(\.status) == [.held, .held, .expired, .expired])
            #expect(log.map(\.hold) == [first, second, first, second])
        }
    }

    @Test func seatsThatRanOutAreTakenInTheSameCall() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 4)
            let watch = try await SeatWatch(fixture.engine, performance)
            let first = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            fixture.clock.now = first.expiresAt
            let second = try #require(try await fixture.hold("b", 2, 3, of: performance).held)
            #expect(second.expiresAt == first.expiresAt + 60_000)
            try await watch.follow()
            // Seat 2 was held, and is: nothing for a watcher.
            #expect(watch.messages.last?.changes.map(\.range) == [1...1, 3...3])
            #expect(watch.messages.last?.changes.map(\.status) == [.free, .held])
            #expect(watch.messages.last?.due == second.expiresAt)
            #expect(try await fixture.toldOfSeats("a") == [.reservation(first.id, .expired)])
            // Exactly the same seats: no seat changes, but who has them does.
            fixture.clock.now = second.expiresAt
            #expect(try await fixture.hold("c", 2, 3, of: performance).held != nil)
            try await watch.follow()
            #expect(watch.messages.last?.changes.isEmpty == true)
            try await fixture.seatBalance(performance)
        }
    }

    @Test func givingBack() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 4)
            let first = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            let second = try #require(try await fixture.hold("a", 3, of: performance).held)
            #expect(try await fixture.pay(second) == .begun(second, epoch: second.epoch))
            #expect(try await fixture.engine.release(second.id) == .underPayment)
            try await fixture.engine.settle([(id: second.id, as: .sold)])
            #expect(try await fixture.engine.release(second.id) == .sold)
            #expect(try await fixture.engine.release(first.id) == .released(first))
            #expect(try await fixture.engine.release(first.id) == .none)
            #expect(try await fixture.toldOfSeats("a") == [.reservation(first.id, .released)])
            #expect(try await fixture.seats(of: performance) == "ffsf")
            // Twice in one turn: once.
            let third = try #require(try await fixture.hold("b", 1, of: performance).held)
            async let one = fixture.engine.release(third.id)
            async let two = fixture.engine.release(third.id)
            let both = [try await one, try await two]
            #expect(both.filter { $0 == .released(third) }.count == 1 && both.contains(.none))
            let found = try await fixture.seatBalance(performance)
            #expect(found.counts["released"] == 2)
            let log = try await fixture.engine.readReservations(of: performance, consumer: "c", count: 10)
            #expect(log.map(\.status) == [.held, .held, .released, .held, .released])
        }
    }

    @Test func onlyTheHolderPaysAndOnlyInTime() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 4)
            let hold = try #require(try await fixture.hold("a", 1, of: performance).held)
            #expect(try await fixture.pay(hold, by: "b") == .notHolder)
            let never = ReservationID(performance: performance, sequence: hold.id.sequence + 1)
            #expect(try await fixture.engine.beginPayment(never, by: ClientID(trusted: "a")) == .none)
            // A million payments that begin and are refused leave the deadline where it is.
            fixture.clock.now = hold.expiresAt + -1
            for _ in 1...5 {
                #expect(try await fixture.pay(hold) == .begun(hold, epoch: hold.epoch))
                try await fixture.engine.refusePayment(hold.id)
            }
            #expect(try await fixture.engine.holds([hold.id])[hold.id]?.hold == hold)
            fixture.clock.now = hold.expiresAt
            #expect(try await fixture.pay(hold, by: "b") == .notHolder)
            #expect(try await fixture.pay(hold) == .none)
            #expect(try await fixture.seats(of: performance) == "ffff")
            // Refused once more: nothing there.
            try await fixture.engine.refusePayment(hold.id)
            try await fixture.seatBalance(performance)
        }
    }

    @Test func aPaymentUnderWayAtTheDeadline() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 4)
            let watch = try await SeatWatch(fixture.engine, performance)
            let hold = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            fixture.clock.now = hold.expiresAt + -1000
            let begun = fixture.clock.now
            #expect(try await fixture.pay(hold) == .begun(hold, epoch: hold.epoch))
            let kept = begun + SeatLease.milliseconds
            // The deadline is over: no other payment begins, but the seats are kept.
            fixture.clock.now = hold.expiresAt
            #expect(try await fixture.tickSeats(performance) == SeatTick(due: kept, closing: [], isMore: false))
            #expect(try await fixture.pay(hold) == .closing(hold))
            #expect(try await fixture.hold("b", 1, of: performance) == .taken([1]))
            #expect(try await fixture.hold("a", 1, 2, of: performance) == .repeated(hold))
            #expect(try await fixture.engine.release(hold.id) == .underPayment)
            // Then PostgreSQL has to decide, and is asked again until it has.
            fixture.clock.now = kept
            #expect(try await fixture.hold("b", 1, of: performance) == .taken([1]))
            #expect(
                try await fixture.tickSeats(performance) == SeatTick(due: kept + 2000, closing: [hold], isMore: false))
            #expect(try await fixture.tickSeats(performance) == SeatTick(due: kept + 2000, closing: [], isMore: false))
            fixture.clock.now = kept + 2000
            #expect(try await fixture.tickSeats(performance).closing == [hold])
            // Paid, however late.
            try await fixture.engine.settle([(id: hold.id, as: .sold)])
            #expect(try await fixture.seats(of: performance) == "ssff")
            #expect(try await fixture.pay(hold) == .sold)
            #expect(try await fixture.tickSeats(performance).due == nil)
            try await watch.follow()
            #expect(try await fixture.toldOfSeats("a").isEmpty)
            #expect(try await fixture.seatBalance(performance).unsettled == 1)
        }
    }

    @Test func closedByPostgres() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 4)
            let hold = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            #expect(try await fixture.pay(hold) == .begun(hold, epoch: hold.epoch))
            fixture.clock.now = hold.expiresAt
            #expect(try await fixture.tickSeats(performance).closing == [hold])
            for _ in 1...2 { try await fixture.engine.settle([(id: hold.id, as: .over)]) }
            #expect(try await fixture.seats(of: performance) == "ffff")
            #expect(try await fixture.pay(hold) == .none)
            // Whoever settles tells.
            #expect(try await fixture.toldOfSeats("a").isEmpty)
            // A sale that comes afterwards finds nothing.
            try await fixture.engine.settle([(id: hold.id, as: .sold), (id: hold.id, as: .refunded)])
            #expect(try await fixture.seats(of: performance) == "ffff")
            let found = try await fixture.seatBalance(performance)
            #expect(found.counts == ["requests": 1, "held": 1, "expired": 1])
            #expect(found.unsettled == 1)
        }
    }

    /// Schedulers sleep until the deadline that they know of.
    @Test func aRefusalAfterTheDeadline() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 4)
            let watch = try await SeatWatch(fixture.engine, performance)
            let hold = try #require(try await fixture.hold("a", 1, of: performance).held)
            fixture.clock.now = hold.expiresAt + -1
            #expect(try await fixture.pay(hold) == .begun(hold, epoch: hold.epoch))
            #expect(try await fixture.pay(hold) == .begun(hold, epoch: hold.epoch))
            fixture.wait(10)
            #expect(try await fixture.tickSeats(performance).due == hold.expiresAt + (SeatLease.milliseconds - 1))
            // Two were under way.
            try await fixture.engine.refusePayment(hold.id)
            #expect(try await fixture.engine.holds([hold.id])[hold.id]?.paymentsUnderWay == 1)
            #expect(try await fixture.tickSeats(performance).due == hold.expiresAt + (SeatLease.milliseconds - 1))
            #expect(watch.messages.count == 1)
            try await fixture.engine.refusePayment(hold.id)
            try await watch.follow()
            #expect(watch.messages.last?.due == hold.expiresAt)
            #expect(watch.messages.last?.changes.isEmpty == true)
            #expect(try await fixture.tickSeats(performance).due == nil)
            #expect(try await fixture.toldOfSeats("a") == [.reservation(hold.id, .expired)])
            try await watch.follow()
            try await fixture.seatBalance(performance)
        }
    }

    /// A payment long before the deadline changes nothing of when to look.
    @Test func aRefusalInTimeTellsNobody() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 4)
            let watch = try await SeatWatch(fixture.engine, performance)
            let hold = try #require(try await fixture.hold("a", 1, of: performance).held)
            #expect(try await fixture.pay(hold) == .begun(hold, epoch: hold.epoch))
            #expect(try await fixture.tickSeats(performance).due == hold.expiresAt)
            try await fixture.engine.refusePayment(hold.id)
            try await fixture.engine.refusePayment(hold.id)
            #expect(try await fixture.engine.holds([hold.id])[hold.id]?.paymentsUnderWay == 0)
            try await watch.follow()
            #expect(watch.messages.count == 1)
        }
    }

    @Test func settlingTwice() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 9)
            let watch = try await SeatWatch(fixture.engine, performance)
            var holds: [Hold] = []
            for seat in 1...4 as ClosedRange<Int64> {
                holds.append(try #require(try await fixture.hold("a", seat, seat + 5, of: performance).held))
            }
            let settlements: [(id: ReservationID, as: SeatSettlement)] = [
                (holds[0].id, .sold), (holds[1].id, .over), (holds[2].id, .refunded), (holds[0].id, .over),
                (holds[3].id, .sold), (holds[3].id, .refunded), (holds[0].id, .sold),
            ]
            for _ in 1...2 { try await fixture.engine.settle(settlements) }
            #expect(try await fixture.seats(of: performance) == "sffffsfff")
            var found = try await fixture.seatBalance(performance)
            // One that is refunded was paid, also where Redis had not heard it.
            #expect(found.counts == ["requests": 4, "held": 4, "paid": 3, "refunded": 2, "expired": 1])
            for _ in 1...2 { try await fixture.engine.settle([(id: holds[0].id, as: .refunded)]) }
            #expect(try await fixture.seats(of: performance) == "fffffffff")
            found = try await fixture.seatBalance(performance)
            #expect(found.counts["refunded"] == 3)
            #expect((found.heldRecords, found.soldRecords, found.unsettled) == (0, 0, 4))
            #expect(try await fixture.tickSeats(performance).due == nil)
            #expect(try await fixture.engine.holds(of: ClientID(trusted: "a"), in: [performance]).isEmpty)
            try await watch.follow()
            #expect(watch.messages.count == 6)
            // Two performances, one of which is not known.
            await #expect(throws: Outage.self) {
                try await fixture.engine.settle([
                    (id: holds[0].id, as: .sold),
                    (id: ReservationID(performance: PerformanceID(99), sequence: 1), as: .sold),
                ])
            }
        }
    }

    /// More holds than one call ends: it stays short, and says that there is more.
    @Test func manyRunOutAtOnce() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 400)
            let watch = try await SeatWatch(fixture.engine, performance)
            let wishes: [SeatWish] = (1...350).map { ("c\($0)", [$0]) }
            let holds = try await fixture.holds(wishes, of: performance).compactMap(\.held)
            #expect(holds.count == 350)
            fixture.clock.now = holds[0].expiresAt
            // Each call ends a hundred; one that is over and not ended yet is over nonetheless.
            #expect(try await fixture.hold("x", 350, of: performance) == .taken([350]))
            #expect(try await fixture.hold("c350", 350, of: performance) == .taken([350]))
            #expect(try await fixture.pay(holds[349]) == .expired)
            #expect(try await fixture.seatBalance(performance).tally.held == 50)
            #expect(try await fixture.tickSeats(performance) == SeatTick(due: nil, closing: [], isMore: false))
            #expect(try await fixture.seatBalance(performance).tally.free == 400)
            try await watch.follow()
            let again = try await fixture.holds(wishes, of: performance).compactMap(\.held)
            fixture.clock.now = again[0].expiresAt
            for _ in 1...2 { #expect(try await fixture.tickSeats(performance).isMore) }
            // The last one, of which the sweep is not done, is not given back any more, but over.
            #expect(try await fixture.engine.release(again[349].id) == .none)
            #expect(try await fixture.toldOfSeats("c350").last == .reservation(again[349].id, .expired))
            #expect(try await fixture.tickSeats(performance) == SeatTick(due: nil, closing: [], isMore: false))
            for number in [1, 128, 350] {
                let told = try await fixture.toldOfSeats("c\(number)")
                #expect(
                    told == [
                        .reservation(holds[number - 1].id, .expired), .reservation(again[number - 1].id, .expired),
                    ])
            }
            try await fixture.seatBalance(performance)
            try await watch.follow()
        }
    }

    /// Where memory has run out nobody gets seats, but all else goes on.
    @Test func withoutMemory() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 9)
            var holds: [Hold] = []
            for seat in 1...4 as ClosedRange<Int64> {
                holds.append(try #require(try await fixture.hold("a\(seat)", seat, of: performance).held))
            }
            for hold in holds[0...1] { #expect(try await fixture.pay(hold) == .begun(hold, epoch: hold.epoch)) }
            try await fixture.redis("CONFIG", "SET", "maxmemory", "1")
            await #expect(throws: Outage.self) { _ = try await fixture.hold("b", 9, of: performance) }
            await #expect(throws: Outage.self) { _ = try await fixture.pay(holds[2]) }
            try await fixture.engine.settle([(id: holds[0].id, as: .sold)])
            try await fixture.engine.refusePayment(holds[1].id)
            #expect(try await fixture.engine.release(holds[1].id) == .released(holds[1]))
            #expect(try await fixture.engine.release(holds[2].id) == .released(holds[2]))
            fixture.clock.now = holds[3].expiresAt
            #expect(try await fixture.tickSeats(performance).due == nil)
            #expect(try await fixture.seats(of: performance) == "sffffffff")
            let log = try await fixture.engine.readReservations(of: performance, consumer: "c", count: 20)
            try await fixture.engine.acknowledge(log)
            #expect(try await fixture.seatBalance(performance).unsettled == 0)
        }
    }
}
