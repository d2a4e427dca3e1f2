import Engine
import EventLoop
import Model
import TestServices
import Testing

@Suite struct ClaimTests {
    @Test func windowEdges() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            for (at, expected) in [
                (EngineFixture.opening - 1, Refusal.notOpen), (EngineFixture.closing, .closed),
                (EngineFixture.closing + 1, .closed),
            ] {
                fixture.clock.now = Timestamp(milliseconds: at)
                #expect(try await fixture.claim("a", on: sale) == .refused(expected, order: nil))
            }
            #expect(try await fixture.engine.inspect(sale)?.firstClaimAt == nil)
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.opening)
            #expect(try await fixture.claim("a", on: sale).acceptance?.ticket == 1)
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.closing - 1)
            #expect(try await fixture.claim("b", on: sale).acceptance?.ticket == 2)
            let inspection = try await fixture.balance(sale)
            #expect(inspection.firstClaimAt == Timestamp(milliseconds: EngineFixture.opening))
            #expect(inspection.counts.refused == [.notOpen: 1, .closed: 2])
            await fixture.engine.stop()
        }
    }

    @Test func redisHasItsOwnClock() async throws {
        try await onLoop {
            let fixture = try await EngineFixture { $0.clock = nil }
            let now = EventLoop.wallMilliseconds
            var state = EngineFixture.state(1, quantity: 1)
            state.window.opensAt = Timestamp(milliseconds: now - 60_000)
            state.window.closesAt = Timestamp(milliseconds: now + 60_000)
            try await fixture.engine.register(state, epoch: 1)
            #expect(try await fixture.claim("a", on: SaleID(1)).acceptance != nil)
            let order = try #require(
                try await fixture.engine.readOrders(of: SaleID(1), consumer: "c", count: 10).first)
            #expect(abs(order.acceptedAt.milliseconds - now) < 30_000)
        }
    }

    @Test func unknownSale() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            #expect(try await fixture.claim("a", on: SaleID(7)) == .unknownSale)
            #expect(try await fixture.engine.state(of: SaleID(7)) == nil)
            #expect(try await fixture.engine.inspect(SaleID(7)) == nil)
            #expect(try await fixture.engine.liveOrders(of: ClientID(trusted: "a"), in: SaleID(7)).isEmpty)
        }
    }

    @Test func duplicateHasItsOrder() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            let first = try #require(try await fixture.claim("a", on: sale).acceptance)
            #expect(first.order.sequence == SaleEpoch.base(1) + 1)
            #expect(first.ticket == 1)
            #expect(first.remaining == 9)
            #expect(try await fixture.claim("a", on: sale) == .refused(.duplicate, order: first.order))
            // Also within one call.
            let both = try await fixture.claims(["b", "b", "c"], on: sale)
            let b = try #require(both[0].acceptance)
            #expect(both[1] == .refused(.duplicate, order: b.order))
            #expect(both[2].acceptance?.ticket == 3)
            _ = try await fixture.balance(sale)
        }
    }

    @Test func limitAndSlots() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10, limit: 3)
            let claims = try await fixture.claims(["a", "a", "a", "a"], on: sale)
            let accepted = claims.compactMap(\.acceptance)
            #expect(accepted.count == 3)
            #expect(claims[3] == .refused(.duplicate, order: accepted[2].order))
            let client = ClientID(trusted: "a")
            #expect(try await fixture.engine.liveOrders(of: client, in: sale).map(\.slot) == [1, 2, 3])
            // The place in the middle becomes free, and is the next one taken.
            try await fixture.engine.release([ReleasedOrder(order: accepted[1].order, client: client)])
            let again = try #require(try await fixture.claim("a", on: sale).acceptance)
            #expect(again.ticket == accepted[1].ticket)
            #expect(again.order.sequence == accepted[2].order.sequence + 1)
            let live = try await fixture.engine.liveOrders(of: client, in: sale)
            #expect(live.map(\.slot) == [1, 3, 2])
            #expect(live.map(\.ticket) == [1, 3, 2])
            _ = try await fixture.balance(sale)
        }
    }

    @Test func theSameKeyIsTheSameAnswer() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 2)
            let first = try #require(try await fixture.claim("a", on: sale, key: "k1").acceptance)
            let repeated = ClaimDecision.repeated(Acceptance(order: first.order, ticket: 1, remaining: nil))
            #expect(try await fixture.claim("a", on: sale, key: "k1") == repeated)
            #expect(try await fixture.claim("a", on: sale, key: "k2") == .refused(.duplicate, order: first.order))
            #expect(try await fixture.claim("a", on: sale) == .refused(.duplicate, order: first.order))
            // Somebody else's key of the same name is another; a refused key may be used again.
            #expect(try await fixture.claim("b", on: sale, key: "k1").acceptance?.ticket == 2)
            #expect(try await fixture.claim("c", on: sale, key: "k") == .refused(.soldOut, order: nil))
            try await fixture.engine.release([ReleasedOrder(order: first.order, client: ClientID(trusted: "a"))])
            #expect(try await fixture.claim("c", on: sale, key: "k").acceptance?.ticket == 1)
            // Also when the sale is over, and the order gone.
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.closing)
            #expect(try await fixture.claim("a", on: sale, key: "k1") == repeated)
            let inspection = try await fixture.balance(sale)
            #expect(inspection.counts[.requests] == 6)
            #expect(inspection.counts[.accepted] == 3)
        }
    }

    @Test func theSameKeyTwiceInOneCall() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 5, limit: 5)
            async let one = fixture.claim("a", on: sale, key: "k")
            async let two = fixture.claim("a", on: sale, key: "k")
            async let other = fixture.claim("a", on: sale)
            let decisions = [try await one, try await two, try await other]
            #expect(decisions.compactMap(\.acceptance).count == 2)
            let repeats = decisions.filter { if case .repeated = $0 { true } else { false } }
            #expect(repeats.count == 1)
            #expect(try await fixture.engine.liveOrders(of: ClientID(trusted: "a"), in: sale).count == 2)
        }
    }

    @Test func rejectedByTheRoll() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10, reject: 20)
            #expect(try await fixture.claim("a", on: sale, roll: 0) == .refused(.rejected, order: nil))
            #expect(try await fixture.claim("a", on: sale, roll: 19) == .refused(.rejected, order: nil))
            #expect(try await fixture.claim("a", on: sale, roll: 20).acceptance != nil)
            #expect(try await fixture.balance(sale).counts.refused == [.rejected: 2])
        }
    }

    @Test func cancelledBeforeAllElse() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            var window = EngineFixture.state(1, quantity: 1).window
            window.isCancelled = true
            window.version = 2
            #expect(try await fixture.engine.setWindow(window, of: sale))
            #expect(try await fixture.claim("a", on: sale) == .refused(.cancelled, order: nil))
            // An older window doesn't bring it back.
            window.isCancelled = false
            window.version = 1
            #expect(try await fixture.engine.setWindow(window, of: sale))
            #expect(try await fixture.claim("a", on: sale) == .refused(.cancelled, order: nil))
            #expect(try await fixture.engine.setWindow(window, of: SaleID(99)) == false)
        }
    }

    /// A claim without a valid pass: a repeated key has its answer, all else is turned down.
    @Test func withoutAPass() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 1, limit: 1, reject: 50)
            #expect(
                try await fixture.claim("a", on: sale, key: "k", mayClaim: false) == .refused(.notAdmitted, order: nil))
            // The refused key is free.
            let first = try #require(try await fixture.claim("a", on: sale, key: "k").acceptance)
            let repeated = ClaimDecision.repeated(Acceptance(order: first.order, ticket: 1, remaining: nil))
            #expect(try await fixture.claim("a", on: sale, key: "k", mayClaim: false) == repeated)
            // Before duplicate, rejected and sold out.
            #expect(try await fixture.claim("a", on: sale, mayClaim: false) == .refused(.notAdmitted, order: nil))
            #expect(
                try await fixture.claim("b", on: sale, roll: 0, mayClaim: false) == .refused(.notAdmitted, order: nil))
            #expect(try await fixture.claim("a", on: sale) == .refused(.duplicate, order: first.order))
            #expect(try await fixture.claim("b", on: sale, roll: 0) == .refused(.rejected, order: nil))
            #expect(try await fixture.claim("b", on: sale) == .refused(.soldOut, order: nil))
            // After cancelled, not open and closed.
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.opening - 1)
            #expect(try await fixture.claim("b", on: sale, mayClaim: false) == .refused(.notOpen, order: nil))
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.closing)
            #expect(try await fixture.claim("b", on: sale, mayClaim: false) == .refused(.closed, order: nil))
            var window = EngineFixture.state(1, quantity: 1).window
            window.isCancelled = true
            window.version = 2
            _ = try await fixture.engine.setWindow(window, of: sale)
            #expect(try await fixture.claim("b", on: sale, mayClaim: false) == .refused(.cancelled, order: nil))
            #expect(try await fixture.claim("a", on: sale, key: "k", mayClaim: false) == repeated)
            let inspection = try await fixture.balance(sale)
            #expect(inspection.counts.refused[.notAdmitted] == 3)
            #expect(inspection.counts[.accepted] == 1)
        }
    }

    @Test func withAndWithoutAPassInOneCall() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            async let one = fixture.claim("a", on: sale, mayClaim: false)
            async let two = fixture.claim("a", on: sale, key: "k")
            async let three = fixture.claim("b", on: sale, key: "k", mayClaim: false)
            async let four = fixture.claim("c", on: sale, roll: 5)
            #expect(try await one == .refused(.notAdmitted, order: nil))
            #expect(try await two.acceptance?.ticket == 1)
            #expect(try await three == .refused(.notAdmitted, order: nil))
            #expect(try await four.acceptance?.ticket == 2)
            _ = try await fixture.balance(sale)
        }
    }

    @Test func howManyMoreTheClientMayOwn() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10, limit: 3)
            let first = try #require(try await fixture.claim("a", on: sale, key: "k").acceptance)
            #expect(first.allowance == 2)
            let both = try await fixture.claims(["a", "b", "a", "a"], on: sale)
            #expect(both.map { $0.acceptance?.allowance } == [1, 2, 0, nil])
            // In a repeated answer it is not known.
            guard case .repeated(let again) = try await fixture.claim("a", on: sale, key: "k") else {
                Issue.record("not repeated")
                return
            }
            #expect(again.allowance == nil)
            try await fixture.engine.release([ReleasedOrder(order: first.order, client: ClientID(trusted: "a"))])
            #expect(try await fixture.claim("a", on: sale).acceptance?.allowance == 0)
        }
    }

    @Test func tenThousandMergedClaims() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 3000)
            let decisions = try await fixture.claims((1...10_000).map { "client-\($0)" }, on: sale)
            let accepted = decisions.compactMap(\.acceptance)
            #expect(accepted.count == 3000)
            #expect(Set(accepted.map(\.ticket)) == Set(1...3000))
            #expect(Set(accepted.map(\.order)).count == 3000)
            #expect(decisions.filter { $0 == .refused(.soldOut, order: nil) }.count == 7000)
            let inspection = try await fixture.balance(sale)
            #expect(inspection.unsettled == 3000)
            #expect(inspection.soldOutAt == fixture.clock.now)
            #expect(inspection.counts[.requests] == 10_000)
            // They were merged: one message for each call that accepted something.
            #expect(inspection.event - SaleEpoch.base(1) == 3000 / 128 + 1)
        }
    }

    @Test func everyReturnedTicketIsSoldAgain() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 100)
            let accepted = try await fixture.claims((1...100).map { "a\($0)" }, on: sale).compactMap(\.acceptance)
            #expect(accepted.count == 100)
            let given = accepted.enumerated().filter { $0.offset % 3 == 0 }
            try await fixture.engine.release(
                given.map { ReleasedOrder(order: $0.element.order, client: ClientID(trusted: "a\($0.offset + 1)")) })
            #expect(try await fixture.balance(sale).returnedTickets == 34)
            let second = try await fixture.claims((1...100).map { "b\($0)" }, on: sale).compactMap(\.acceptance)
            // Oldest first.
            #expect(second.map(\.ticket) == given.map(\.element.ticket))
            #expect(try await fixture.balance(sale).state.remaining == 0)
        }
    }

    @Test func manyEpochsStayExact() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            // Near 2^53, where a double ends being exact, and far above what `%.14g` writes.
            let epoch: Int64 = (1 << 21) - 1
            try await fixture.engine.register(EngineFixture.state(1, quantity: 3), epoch: epoch)
            let decisions = try await fixture.claims(["a", "b"], on: SaleID(1))
            #expect(
                decisions.compactMap(\.acceptance?.order.sequence) == [
                    SaleEpoch.base(epoch) + 1, SaleEpoch.base(epoch) + 2,
                ])
            let orders = try await fixture.engine.readOrders(of: SaleID(1), consumer: "c", count: 10)
            #expect(orders.map(\.order.sequence) == [SaleEpoch.base(epoch) + 1, SaleEpoch.base(epoch) + 2])
            #expect(orders.map(\.epoch) == [epoch, epoch])
            try await fixture.engine.settle(orders.map { Settlement(order: $0, status: .failed) })
            #expect(try await fixture.balance(SaleID(1)).state.remaining == 3)
        }
    }
}
