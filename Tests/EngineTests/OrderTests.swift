import Engine
import EventLoop
import Model
import TestServices
import Testing

/// The life of an order in Redis: read, taken over, settled, released, replayed.
@Suite struct OrderTests {
    private static let alice = ClientID(trusted: "alice")

    @Test func theStreamCarriesTheOrder() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            let accepted = try #require(try await fixture.claim("alice", on: sale, key: "k-1").acceptance)
            _ = try await fixture.claim("bob", on: sale)
            let unsettled = try #require(try await fixture.engine.unsettled(accepted.order))
            let orders = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
            #expect(orders.count == 2)
            #expect(orders.first == unsettled)
            #expect(
                orders.first
                    == AcceptedOrder(
                        entry: "\(accepted.order.sequence)-0", order: accepted.order, client: OrderTests.alice,
                        ticket: 1, slot: 1, acceptedAt: fixture.clock.now, epoch: 1, key: IdempotencyKey("k-1")))
            #expect(orders.last?.key == nil)
            #expect(try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10).isEmpty)
            #expect(try await fixture.engine.unsettled(OrderID(sale: sale, sequence: 5)) == nil)
            // A sale that nobody registered has no group yet.
            #expect(try await fixture.engine.readOrders(of: SaleID(8), consumer: "one", count: 10).isEmpty)
            #expect(
                try await fixture.engine.takeOverOrders(
                    of: SaleID(9), consumer: "one", idleMilliseconds: 0, count: 10
                ).isEmpty)
        }
    }

    @Test func confirmedOnce() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 10)
            _ = try await fixture.claims((1...10).map { "c\($0)" }, on: sale)
            let orders = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 100)
            let settlements = orders.map { Settlement(order: $0, status: .confirmed) }
            try await fixture.engine.settle(settlements)
            try await fixture.engine.settle(settlements)
            let live = try await fixture.engine.liveOrders(of: orders[0].client, in: sale)
            #expect(live.map(\.isConfirmed) == [true])
            let inspection = try await fixture.balance(sale)
            #expect(inspection.counts[.confirmed] == 10)
            #expect(inspection.unsettled == 0)
            #expect(inspection.ownedTickets == 10)
            #expect(
                try await fixture.engine.takeOverOrders(of: sale, consumer: "two", idleMilliseconds: 0, count: 9)
                    .isEmpty)
        }
    }

    @Test func failedReturnsItsTicketOnce() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 2)
            _ = try await fixture.claims(["a", "b"], on: sale)
            let orders = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 100)
            let settlements = orders.map { Settlement(order: $0, status: .failed, reason: "insufficient_points") }
            for _ in 1...3 { try await fixture.engine.settle(settlements) }
            try await fixture.engine.release(
                orders.map { ReleasedOrder(order: $0.order, client: $0.client) }, status: .failed)
            let inspection = try await fixture.balance(sale)
            #expect(inspection.state.remaining == 2)
            #expect(inspection.counts[.failed] == 2)
            #expect(try await fixture.engine.liveOrders(of: orders[0].client, in: sale).isEmpty)
            // The client may try again, and gets the ticket that came back.
            #expect(try await fixture.claim("a", on: sale).acceptance?.ticket == 1)
        }
    }

    @Test func cancelledBeforeItWasCommitted() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 1)
            let accepted = try #require(try await fixture.claim("alice", on: sale).acceptance)
            let released = [ReleasedOrder(order: accepted.order, client: OrderTests.alice)]
            try await fixture.engine.release(released)
            try await fixture.engine.release(released)
            // Somebody else has the ticket before the committer comes to the first order.
            #expect(try await fixture.claim("bob", on: sale).acceptance?.ticket == 1)
            let orders = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
            #expect(orders.map(\.client.rawValue) == ["alice", "bob"])
            try await fixture.engine.settle([
                Settlement(order: orders[0], status: .cancelled), Settlement(order: orders[1], status: .confirmed),
            ])
            let inspection = try await fixture.balance(sale)
            #expect(inspection.state.remaining == 0)
            #expect(inspection.counts[.cancelled] == 1)
            #expect(inspection.counts[.confirmed] == 1)
            #expect(inspection.unsettled == 0)
        }
    }

    @Test func releasedBeforeItsSettlementCame() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 1)
            let accepted = try #require(try await fixture.claim("alice", on: sale).acceptance)
            let orders = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
            // PostgreSQL has it, the client cancels at once, and only then the settlement arrives.
            try await fixture.engine.release([ReleasedOrder(order: accepted.order, client: OrderTests.alice)])
            try await fixture.engine.settle(orders.map { Settlement(order: $0, status: .confirmed) })
            #expect(try await fixture.engine.liveOrders(of: OrderTests.alice, in: sale).isEmpty)
            #expect(try await fixture.balance(sale).state.remaining == 1)
        }
    }

    @Test func releasingAnUnknownSaleIsAnOutage() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let order = ReleasedOrder(order: OrderID(sale: SaleID(3), sequence: 1), client: OrderTests.alice)
            await #expect(throws: Outage.self) { try await fixture.engine.release([order]) }
        }
    }

    @Test func aDeadCommittersOrdersAreTakenOver() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 500)
            _ = try await fixture.claims((1...500).map { "c\($0)" }, on: sale)
            let read = try await fixture.engine.readOrders(of: sale, consumer: "dead", count: 400)
            // Some are settled by it, or by somebody else, without its acknowledging: their entries are gone.
            try await fixture.engine.settle(read.prefix(100).map { Settlement(order: $0, status: .confirmed) })
            let taken = try await fixture.engine.takeOverOrders(
                of: sale, consumer: "heir", idleMilliseconds: 0, count: 1000)
            #expect(taken == Array(read.dropFirst(100)))
            #expect(
                try await fixture.engine.takeOverOrders(
                    of: sale, consumer: "other", idleMilliseconds: 60_000, count: 1000
                ).isEmpty)
            #expect(
                try await fixture.engine.takeOverOrders(of: sale, consumer: "other", idleMilliseconds: 0, count: 7)
                    .count == 7)
            #expect(try await fixture.engine.readOrders(of: sale, consumer: "heir", count: 1000).count == 100)
        }
    }

    @Test func aFailedOrderIsReplayed() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 2)
            let accepted = try #require(try await fixture.claim("alice", on: sale, key: "k").acceptance)
            let first = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
            let failure = first.map { Settlement(order: $0, status: .failed, reason: "23505") }
            #expect(try await fixture.engine.retry(accepted.order, client: OrderTests.alice) == .alreadyLive)
            try await fixture.engine.settle(failure)
            #expect(try await fixture.claim("bob", on: sale).acceptance?.ticket == 1)

            fixture.clock.now = Timestamp(milliseconds: EngineFixture.closing + 5)
            guard
                case .accepted(let replayed, let remaining) = try await fixture.engine.retry(
                    accepted.order, client: OrderTests.alice, key: IdempotencyKey("k"))
            else {
                Issue.record("not replayed")
                return
            }
            #expect(remaining == 0)
            #expect(replayed.order == accepted.order)
            #expect(replayed.ticket == 2)
            #expect(replayed.entry == "\(accepted.order.sequence + 2)-0")
            #expect(try await fixture.engine.unsettled(accepted.order) == replayed)
            #expect(try await fixture.engine.retry(accepted.order, client: OrderTests.alice) == .alreadyLive)
            // The settlement of its first life, once more, doesn't touch its second.
            try await fixture.engine.settle(failure)
            #expect(try await fixture.engine.liveOrders(of: OrderTests.alice, in: sale).count == 1)

            let second = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
            #expect(second.map(\.client.rawValue) == ["bob", "alice"])
            try await fixture.engine.settle(second.map { Settlement(order: $0, status: .confirmed) })
            #expect(try await fixture.engine.unsettled(accepted.order) == nil)
            let inspection = try await fixture.balance(sale)
            #expect(inspection.state.remaining == 0)
            #expect(inspection.unsettled == 0)
        }
    }

    @Test func aLateFailureOfTheFirstLife() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 2, limit: 2)
            for isConfirmedFirst in [false, true] {
                let accepted = try #require(try await fixture.claim("alice", on: sale).acceptance)
                let first = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
                // Its ticket goes back before its entry is settled, so it can be replayed at once.
                try await fixture.engine.release(
                    [ReleasedOrder(order: accepted.order, client: OrderTests.alice)], status: .failed)
                guard
                    case .accepted(let replayed, _) = try await fixture.engine.retry(
                        accepted.order, client: OrderTests.alice)
                else {
                    Issue.record("not replayed")
                    return
                }
                let failure = first.map { Settlement(order: $0, status: .failed) }
                let confirmation = [Settlement(order: replayed, status: .confirmed)]
                _ = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
                if isConfirmedFirst { try await fixture.engine.settle(confirmation) }
                try await fixture.engine.settle(failure)
                #expect(
                    try await fixture.engine.unsettled(accepted.order) == (isConfirmedFirst ? nil : replayed))
                try await fixture.engine.settle(confirmation)
                let live = try await fixture.engine.liveOrders(of: OrderTests.alice, in: sale)
                #expect(live.last?.order == accepted.order)
                #expect(live.last?.isConfirmed == true)
            }
            let inspection = try await fixture.balance(sale)
            #expect(inspection.state.remaining == 0)
            #expect(inspection.counts[.confirmed] == 2)
            #expect(inspection.unsettled == 0)
        }
    }

    @Test func aReplayIsRefused() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 1)
            let accepted = try #require(try await fixture.claim("alice", on: sale).acceptance)
            let orders = try await fixture.engine.readOrders(of: sale, consumer: "one", count: 10)
            try await fixture.engine.settle(orders.map { Settlement(order: $0, status: .failed) })
            func retry() async throws -> RetryDecision {
                try await fixture.engine.retry(accepted.order, client: OrderTests.alice)
            }
            let again = try #require(try await fixture.claim("alice", on: sale).acceptance)
            #expect(try await retry() == .refused(.duplicate))
            try await fixture.engine.release([ReleasedOrder(order: again.order, client: OrderTests.alice)])
            _ = try await fixture.claim("bob", on: sale)
            #expect(try await retry() == .refused(.soldOut))
            var window = EngineFixture.state(1, quantity: 1).window
            window.isCancelled = true
            window.version = 2
            _ = try await fixture.engine.setWindow(window, of: sale)
            #expect(try await retry() == .refused(.cancelled))
            #expect(
                try await fixture.engine.retry(OrderID(sale: SaleID(9), sequence: 1), client: OrderTests.alice)
                    == .unknownSale)
        }
    }

    @Test func countsPerSecond() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 2)
            _ = try await fixture.claims(["a", "b", "c"], on: sale)
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.opening + 1999)
            _ = try await fixture.claim("d", on: sale)
            let second = EngineFixture.opening / 1000
            let series = try await fixture.engine.series(of: sale)
            #expect(
                series == [
                    SeriesCount(second: second, counter: .accepted, value: 2),
                    SeriesCount(second: second, counter: .refused(.soldOut), value: 1),
                    SeriesCount(second: second, counter: .requests, value: 3),
                    SeriesCount(second: second + 1, counter: .refused(.soldOut), value: 1),
                    SeriesCount(second: second + 1, counter: .requests, value: 1),
                ])
            _ = try await fixture.claim("e", on: sale)
            try await fixture.engine.dropSeries(of: sale, series)
            #expect(
                try await fixture.engine.series(of: sale) == [
                    SeriesCount(second: second + 1, counter: .refused(.soldOut), value: 2),
                    SeriesCount(second: second + 1, counter: .requests, value: 2),
                ])
            try await fixture.engine.dropSeries(of: sale, [])
        }
    }
}
