import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Who gets which seats.
@Suite struct HoldTests {
    @Test func theFirstGetsThem() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 10, price: 15, hold: 300)
            let hold = try #require(try await fixture.hold("a", 2, 3, 7, of: performance).held)
            let expected = Hold(
                id: ReservationID(performance: performance, sequence: SaleEpoch.base(1) + 1),
                client: ClientID(trusted: "a"), seats: [2, 3, 7], price: 45, heldAt: fixture.clock.now,
                expiresAt: fixture.clock.now + 300_000, epoch: 1)
            #expect(hold == expected)
            #expect(try await fixture.seats(of: performance) == "fhhfffhfff")
            // All or none: what is free of these stays so.
            #expect(try await fixture.hold("b", 1, 2, 3, 4, of: performance) == .taken([2, 3]))
            #expect(try await fixture.seats(of: performance) == "fhhfffhfff")
            let second = try #require(try await fixture.hold("b", 1, 4, of: performance).held)
            #expect(second.id.sequence == hold.id.sequence + 1)
            #expect(try await fixture.seats(of: performance) == "hhhhffhfff")
            let found = try await fixture.seatBalance(performance)
            #expect(found.tally == SeatTally(free: 5, held: 5, sold: 0))
            #expect(found.counts == ["requests": 3, "held": 2, "refused:seat_taken": 1])
            #expect(found.lastSequence == second.id.sequence)
            #expect((found.heldRecords, found.unsettled) == (2, 2))
        }
    }

    @Test func byRedisOwnClock() async throws {
        try await onLoop {
            let fixture = try await EngineFixture { $0.clock = nil }
            let performance = try await fixture.performance(seats: 2, hold: 1)
            let hold = try #require(try await fixture.hold("a", 1, of: performance).held)
            #expect(abs(hold.heldAt.milliseconds - EventLoop.wallMilliseconds) < 30_000)
            #expect(hold.expiresAt == hold.heldAt + 1000)
            // It ends by itself, without anybody's ticking.
            try await eventually("the hold is over") {
                try await fixture.hold("b", 1, of: performance).held != nil
            }
            #expect(try await fixture.toldOfSeats("a") == [.reservation(hold.id, .expired)])
        }
    }

    @Test func unknownPerformance() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let (id, engine) = (PerformanceID(9), fixture.engine)
            let reservation = ReservationID(performance: id, sequence: 1)
            #expect(try await fixture.hold("a", 1, of: id) == .unknownPerformance)
            #expect(
                try await fixture.holds([("a", [1]), ("b", [2])], of: id) == [.unknownPerformance, .unknownPerformance])
            #expect(try await engine.release(reservation) == .unknownPerformance)
            #expect(
                try await engine.beginPayment(reservation, by: ClientID(trusted: "a")) == .unknownPerformance)
            try await engine.refusePayment(reservation)
            await #expect(throws: Outage.self) { try await engine.settle([(id: reservation, as: .sold)]) }
            #expect(try await engine.tickSeats(of: id) == nil)
            #expect(try await engine.seats(of: id, unless: 5) == nil)
            #expect(try await engine.inspect(id) == nil)
            #expect(try await engine.tallies(of: [id]).isEmpty)
            #expect(try await engine.holds([reservation]).isEmpty)
            #expect(try await engine.holds(of: ClientID(trusted: "a"), in: [id]).isEmpty)
            #expect(try await engine.positions(of: [id]).isEmpty)
        }
    }

    @Test func theSameAgainIsTheSameHold() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 10, hold: 60)
            let first = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            fixture.wait(59_999)
            // The deadline stays, however often it is asked for.
            for _ in 1...3 { #expect(try await fixture.hold("a", 1, 2, of: performance) == .repeated(first)) }
            // Not the same: part of them, more of them, somebody else.
            #expect(try await fixture.hold("a", 1, of: performance) == .taken([1]))
            #expect(try await fixture.hold("a", 1, 2, 3, of: performance) == .taken([1, 2]))
            #expect(try await fixture.hold("b", 1, 2, of: performance) == .taken([1, 2]))
            #expect(try await fixture.seatBalance(performance).counts["requests"] == 4)
            fixture.wait(1)
            // Its time is over: this is another one.
            let second = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            #expect(second.id != first.id)
            #expect(second.expiresAt == first.expiresAt + 60_000)
            // One that was paid is not held again.
            _ = try await fixture.pay(second)
            #expect(try await fixture.hold("a", 1, 2, of: performance) == .repeated(second))
            try await fixture.engine.settle([(id: second.id, as: .sold)])
            #expect(try await fixture.hold("a", 1, 2, of: performance) == .taken([1, 2]))
            try await fixture.seatBalance(performance)
        }
    }

    @Test func holdsOfOneCallSeeEachOther() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 10, limit: 3)
            let watch = try await SeatWatch(fixture.engine, performance)
            let decisions = try await fixture.holds(
                [
                    ("a", [1, 2]), ("b", [2, 3]), ("a", [1, 2]), ("a", [3, 4]), ("a", [4]), ("a", [5]), ("b", [3]),
                    ("c", [6, 7, 8, 9]), ("b", [2, 3]), ("a", [4]),
                ], of: performance)
            let first = try #require(decisions[0].held)
            #expect(decisions[1] == .taken([2]))
            #expect(decisions[2] == .repeated(first))
            #expect(decisions[3] == .overLimit)
            let second = try #require(decisions[4].held)
            #expect(decisions[5] == .overLimit)
            #expect(decisions[6].held?.seats == [3])
            #expect(decisions[7] == .overLimit)
            // As it was found the first time: 3 is taken as well by now, which nobody looked at again.
            #expect(decisions[8] == .taken([2]))
            #expect(decisions[9] == .repeated(second))
            let found = try await fixture.seatBalance(performance)
            #expect(found.counts == ["requests": 8, "held": 3, "refused:seat_taken": 2, "refused:duplicate": 3])
            // One call, one message.
            try await watch.follow()
            #expect(watch.messages.count == 1)
        }
    }

    @Test func theLimitCountsWhatIsHeldAndWhatIsPaid() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 10, limit: 3)
            let first = try #require(try await fixture.hold("a", 1, 2, of: performance).held)
            _ = try await fixture.pay(first)
            try await fixture.engine.settle([(id: first.id, as: .sold)])
            let second = try #require(try await fixture.hold("a", 5, of: performance).held)
            #expect(try await fixture.hold("a", 6, of: performance) == .overLimit)
            // What is not free comes first, and what it has already is no more.
            #expect(try await fixture.hold("a", 5, 6, of: performance) == .taken([5]))
            #expect(try await fixture.hold("a", 5, of: performance) == .repeated(second))
            _ = try await fixture.engine.release(second.id)
            #expect(try await fixture.hold("a", 6, 7, of: performance) == .overLimit)
            let third = try #require(try await fixture.hold("a", 6, of: performance).held)
            // What runs out counts no more, in the very call.
            fixture.clock.now = third.expiresAt
            #expect(try await fixture.hold("a", 8, of: performance).held != nil)
            try await fixture.engine.settle([(id: first.id, as: .refunded)])
            #expect(try await fixture.hold("a", 9, 10, of: performance).held != nil)
            try await fixture.seatBalance(performance)
        }
    }

    @Test func whatIsNoSeatIsTaken() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 5)
            let before = try await fixture.seats(of: performance)
            for seats in [[0], [6], [-1], [1, 6], [2, 2], [3, 2], [.max], [.min], []] as [[Int64]] {
                let decision = try await fixture.holds([("a", seats)], of: performance)[0]
                guard case .taken(let taken) = decision else {
                    Issue.record("\(seats): \(decision)")
                    continue
                }
                #expect(taken.isEmpty == seats.isEmpty)
                #expect(taken.allSatisfy { seats.contains($0) })
            }
            #expect(try await fixture.seats(of: performance) == before)
            #expect(try await fixture.redis("STRLEN", "dibs:{performance:7}:seats") == "5")
            try await fixture.seatBalance(performance)
            // Together with others that can be had.
            let decisions = try await fixture.holds([("a", [2, 2]), ("a", [2]), ("b", [6])], of: performance)
            #expect(decisions[0] == .taken([2]))
            #expect(decisions[1].held != nil)
            #expect(decisions[2] == .taken([6]))
            try await fixture.seatBalance(performance)
        }
    }

    @Test func aThousandWantOneSeat() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let other = try await fixture.another()
            let performance = try await fixture.performance(seats: 50)
            let tasks = (1...1000).map { number in
                EventLoop.task { () async -> HoldDecision? in
                    let engine = number.isMultiple(of: 2) ? fixture.engine : other
                    return try? await engine.hold([17], for: ClientID(trusted: "c\(number)"), of: performance)
                }
            }
            var decisions: [HoldDecision?] = []
            for task in tasks { decisions.append(await task.value) }
            #expect(decisions.count { $0?.held != nil } == 1)
            #expect(decisions.count { $0 == .taken([17]) } == 999)
            let found = try await fixture.seatBalance(performance)
            #expect(found.tally == SeatTally(free: 49, held: 1, sold: 0))
            #expect(found.counts == ["requests": 1000, "held": 1, "refused:seat_taken": 999])
            await other.stop()
        }
    }

    @Test func pairsAreNeverSplit() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 50)
            let watch = try await SeatWatch(fixture.engine, performance)
            var generator = SeededGenerator(seed: 50)
            let wishes: [SeatWish] = (1...500).map { number in
                let first = Int64.random(in: 1...49, using: &generator)
                let second = Int64.random(in: first + 1...50, using: &generator)
                return ("c\(number)", [first, second])
            }
            let decisions = try await fixture.holds(wishes, of: performance)
            var owners: [Int64: String] = [:]
            for (wish, decision) in zip(wishes, decisions) {
                switch decision {
                case .held(let hold):
                    #expect(hold.seats == wish.seats)
                    for seat in wish.seats {
                        #expect(owners[seat] == nil)
                        owners[seat] = wish.client
                    }
                case .taken(let seats):
                    // Refused for a seat that somebody had by then.
                    #expect(!seats.isEmpty && seats.allSatisfy { owners[$0] != nil && wish.seats.contains($0) })
                default: Issue.record("\(decision)")
                }
            }
            #expect(Set(owners.values).count * 2 == owners.count)
            let letters = try await fixture.seats(of: performance)
            #expect(letters == String((1...50).map { owners[$0] == nil ? "f" : "h" }))
            try await fixture.seatBalance(performance)
            try await watch.follow()
        }
    }

    /// 100,000 seats, and reservations of 1,000 that lie far apart.
    @Test func theLargestHall() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let performance = try await fixture.performance(seats: 100_000, price: 1_000_000)
            let watch = try await SeatWatch(fixture.engine, performance)
            let far = Array(stride(from: Int64(100), through: 100_000, by: 100))
            let block = Array(Int64(1023)...2022).filter { $0 % 100 != 0 }
            let decisions = try await fixture.holds(
                [("a", far), ("b", block), ("c", [99_999]), ("d", [100_000])], of: performance)
            #expect(decisions[0].held?.price == 1_000_000_000)
            #expect(decisions[1].held?.seats == block)
            #expect(decisions[2].held != nil)
            #expect(decisions[3] == .taken([100_000]))
            try await watch.follow()
            let held = try #require(decisions[0].held)
            #expect(try await fixture.engine.release(held.id) == .released(held))
            try await watch.follow()
            #expect(try await fixture.seatBalance(performance).tally.held == Int64(block.count) + 1)
            #expect(try await fixture.engine.readReservations(of: performance, consumer: "c", count: 9)[0].hold == held)
        }
    }

    /// Calls stay short: so many seats go into one at most.
    @Test func manyHoldsAreMerged() async throws {
        try await onLoop {
            let fixture = try await EngineFixture { $0.claimsPerCall = 10 }
            let performance = try await fixture.performance(seats: 100)
            let watch = try await SeatWatch(fixture.engine, performance)
            // 4 + 4, 4 + 4, then one of 20 alone, and 10 of one.
            var wishes: [SeatWish] = stride(from: Int64(1), to: 17, by: 4).map {
                ("a\($0)", [$0, $0 + 1, $0 + 2, $0 + 3])
            }
            wishes.append(("b", Array(21...40)))
            wishes += (51...60).map { ("c\($0)", [$0]) }
            let decisions = try await fixture.holds(wishes, of: performance)
            #expect(decisions.allSatisfy { $0.held != nil })
            #expect(decisions.compactMap(\.held?.id.sequence) == (1...15).map { SaleEpoch.base(1) + $0 })
            try await watch.follow()
            #expect(watch.messages.map { $0.changes.map(\.range) } == [[1...8], [9...16], [21...40], [51...60]])
        }
    }

    @Test func manyEpochsStayExact() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let epoch: Int64 = (1 << 21) - 1
            try await fixture.engine.register(EngineFixture.performance(seats: 5), epoch: epoch)
            let decisions = try await fixture.holds([("a", [1]), ("b", [2])], of: PerformanceID(7))
            #expect(
                decisions.map { $0.held?.id.sequence } == [SaleEpoch.base(epoch) + 1, SaleEpoch.base(epoch) + 2])
            #expect(decisions.map { $0.held?.epoch } == [epoch, epoch])
            let events = try await fixture.engine.readReservations(of: PerformanceID(7), consumer: "c", count: 9)
            #expect(events.map(\.hold) == decisions.compactMap(\.held))
            let found = try await fixture.seatBalance(PerformanceID(7))
            #expect((found.epoch, found.event) == (epoch, SaleEpoch.base(epoch) + 1))
        }
    }
}
