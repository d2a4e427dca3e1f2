import Engine
import EventLoop
import Model
import TestServices
import Testing

/// Registering, windows, rebuilding, and what the channels say.
@Suite struct SaleTests {
    @Test func whatWasRegisteredComesBack() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let plain = EngineFixture.state(1, quantity: 10, limit: 3, reject: 7)
            let sale = plain.sale
            let roomy = SaleState(
                sale: Sale(
                    id: SaleID(2), name: "with \"a\" room\n", quantity: 1, price: 0, perClientLimit: 1, room: "main",
                    rejectPercent: 0), window: plain.window, remaining: 1)
            try await fixture.engine.register(plain, epoch: 1)
            try await fixture.engine.register(roomy, epoch: 1)
            let states = try await fixture.engine.states(of: [SaleID(1), SaleID(2), SaleID(3)])
            #expect(states == [SaleID(1): plain, SaleID(2): roomy])
            #expect(states[SaleID(1)]?.sale == sale)
            // Again, or as in an older epoch: nothing changes.
            _ = try await fixture.claim("a", on: SaleID(1))
            try await fixture.engine.register(plain, epoch: 1)
            try await fixture.engine.register(plain, epoch: 0)
            #expect(try await fixture.engine.state(of: SaleID(1))?.remaining == 9)
            #expect(try await fixture.engine.states(of: []).isEmpty)
        }
    }

    @Test func watchersHearOfEveryChange() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let other = try await fixture.another()
            let heard = Heard<SaleEvent>()
            let sales = Heard<SalesEvent>()
            let id = SaleID(1)
            let ofSale = try await other.subscribe(sale: id) { heard.hear($0) }
            let ofAll = try await other.subscribeSales { sales.hear($0) }
            let sale = try await fixture.sale(quantity: 2)
            let accepted = try #require(try await fixture.claim("a", on: sale).acceptance)
            _ = try await fixture.claim("a", on: sale)
            try await fixture.engine.release([ReleasedOrder(order: accepted.order, client: ClientID(trusted: "a"))])
            var window = EngineFixture.state(1, quantity: 2).window
            window.version = 2
            _ = try await fixture.engine.setWindow(window, of: sale)
            try await heard.wait(for: 4)
            let base = SaleEpoch.base(1)
            #expect(
                heard.events == [
                    .changed(left: 2, version: 1, event: base), .changed(left: 1, version: 1, event: base + 1),
                    .changed(left: 2, version: 1, event: base + 2), .changed(left: 2, version: 2, event: base + 3),
                ])
            try await sales.wait(for: 2)
            #expect(sales.events == [.changed(id), .changed(id)])
            ofSale.cancel()
            ofAll.cancel()
            await other.stop()
        }
    }

    @Test func rebuiltFromPostgreSQL() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let id = SaleID(1)
            let state = EngineFixture.state(1, quantity: 2000, limit: 2)
            // Every other ticket up to 1,500, two to a client.
            let orders = (0..<750).map { (index: Int) -> LiveOrder in
                LiveOrder(
                    order: OrderID(sale: id, sequence: SaleEpoch.base(1) + Int64(index) + 1),
                    client: ClientID(trusted: "c\(index / 2)"), ticket: Int64(index) * 2 + 2,
                    slot: Int64(index % 2) + 1, key: index == 0 ? IdempotencyKey("k") : nil,
                    isConfirmed: index != 1)
            }
            var counts = Counts()
            counts[.requests] = 900
            counts[.accepted] = 800
            counts[.refused(.soldOut)] = 100
            let first = Timestamp(milliseconds: EngineFixture.opening + 1)
            let snapshot = SaleSnapshot(
                state: state, epoch: 2, lastSequence: SaleEpoch.base(2) + 10, orders: orders, counts: counts,
                firstClaimAt: first)
            let rebuilt = try await fixture.engine.rebuild(id) { snapshot }
            #expect(rebuilt)
            let inspection = try await fixture.balance(id)
            #expect(inspection.epoch == 2)
            #expect(inspection.counts == counts)
            #expect(inspection.firstClaimAt == first)
            #expect(inspection.soldOutAt == nil)
            #expect(inspection.ownedTickets == 750)
            #expect(inspection.returnedTickets == 750)
            #expect(inspection.highestTicket == 1500)
            #expect(inspection.lastSequence == SaleEpoch.base(2) + 10)
            let live = try await fixture.engine.liveOrders(of: ClientID(trusted: "c0"), in: id)
            #expect(live.map(\.ticket) == [2, 4])
            #expect(live.map(\.isConfirmed) == [true, false])
            #expect(
                try await fixture.claim("c0", on: id, key: "k")
                    == .repeated(Acceptance(order: orders[0].order, ticket: 2, remaining: nil)))
            #expect(try await fixture.claim("c0", on: id) == .refused(.duplicate, order: orders[1].order))
            // Everything that is free gets sold: first what lies between, then what is fresh.
            let accepted = try await fixture.claims((1...2000).map { "n\($0)" }, on: id).compactMap(\.acceptance)
            #expect(accepted.count == 1250)
            #expect(accepted.first?.order.sequence == SaleEpoch.base(2) + 11)
            #expect(accepted.prefix(2).map(\.ticket) == [1, 3])
            #expect(Set(accepted.map(\.ticket)).union(orders.map(\.ticket)) == Set(1...2000))
            // Known in this epoch: nobody rebuilds it again.
            let again = try await fixture.engine.rebuild(id, ifOlderThan: 2) { snapshot }
            #expect(!again)
        }
    }

    /// Who rebuilds may take longer than the token lives, while it renews it; and notices when it has lost it.
    @Test func aRebuildIsKept() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 5)
            let key = "dibs:{sale:\(sale)}:rebuild"
            let token = Engine.newToken()
            let rebuilt = try await fixture.engine.rebuild(sale, ifOlderThan: 2, by: token) {
                try await fixture.redis("pexpire", key, "500")
                #expect(try await fixture.engine.keepRebuilding(sale, by: token))
                #expect(try await Int(fixture.redis("pttl", key)) ?? 0 > 20_000)
                #expect(try await !fixture.engine.keepRebuilding(sale, by: "another's"))
                try await fixture.redis("del", key)
                #expect(try await !fixture.engine.keepRebuilding(sale, by: token))
                return nil
            }
            #expect(!rebuilt)
            // It was given up: anybody may.
            #expect(
                try await fixture.engine.rebuild(sale) {
                    SaleSnapshot(state: EngineFixture.state(sale.rawValue, quantity: 5), epoch: 2)
                })
        }
    }

    @Test func onlyOneRebuilds() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let id = SaleID(1)
            let state = EngineFixture.state(1, quantity: 5)
            let sale = try await fixture.sale(quantity: 5)
            let accepted = try #require(try await fixture.claim("a", on: sale).acceptance)
            let other = try await fixture.another()
            let snapshot = SaleSnapshot(state: state, epoch: 2)
            let rebuilt = try await fixture.engine.rebuild(id, ifOlderThan: 2) {
                // Meanwhile nothing is decided, nobody else rebuilds or registers, and what goes back comes again.
                #expect(try await other.rebuild(id, ifOlderThan: 2) { snapshot } == false)
                try await other.register(state, epoch: 2)
                #expect(try await other.state(of: id) == nil)
                #expect(
                    try await other.claim(Claim(client: ClientID(trusted: "b"), roll: 0), on: id) == .unknownSale)
                await #expect(throws: Outage.self) {
                    try await other.release([
                        ReleasedOrder(order: accepted.order, client: ClientID(trusted: "a"))
                    ])
                }
                return snapshot
            }
            #expect(rebuilt)
            // The order of the older epoch is still in the stream, and its settlement returns nothing.
            let old = try await other.readOrders(of: id, consumer: "one", count: 10)
            #expect(old.map(\.epoch) == [1])
            #expect(try await fixture.claim("b", on: id).acceptance?.ticket == 1)
            try await other.settle(old.map { Settlement(order: $0, status: .failed) })
            let inspection = try await fixture.balance(id)
            #expect(inspection.state.remaining == 4)
            #expect(inspection.unsettled == 1)
            await other.stop()
        }
    }

    @Test func aStreamThatOutlivedItsSale() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 5)
            let first = try #require(try await fixture.claim("a", on: sale).acceptance)
            // In the same epoch, as after a PostgreSQL that was made anew.
            try await fixture.redis("DEL", "dibs:{sale:1}", "dibs:{sale:1}:clients")
            _ = try await fixture.sale(quantity: 5)
            let second = try #require(try await fixture.claim("a", on: sale).acceptance)
            #expect(second.order.sequence == first.order.sequence + 1)
        }
    }

    @Test func anOlderEpochsEntriesDoNotTouchARebuiltSale() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let engine = fixture.engine
            let sale = try await fixture.sale(quantity: 8, limit: 2)
            func client(_ name: String) -> ClientID { ClientID(trusted: name) }
            for name in ["alice", "bob", "carol", "dave", "erin"] {
                _ = try await fixture.claim(name, on: sale, key: "k")
            }
            let old = try await engine.readOrders(of: sale, consumer: "one", count: 10)
            // A ticket that came back, and a replayed order that is under way.
            try await engine.settle([Settlement(order: old[4], status: .failed)])
            _ = try await fixture.claim("alice", on: sale)
            guard case .accepted(let replayed, _) = try await engine.retry(old[4].order, client: client("erin")) else {
                Issue.record("not replayed")
                return
            }
            try await engine.release([ReleasedOrder(order: old[3].order, client: client("dave"))])
            let late = try await engine.readOrders(of: sale, consumer: "one", count: 10)
            #expect(late.last == replayed)

            // Redis is known, but behind: PostgreSQL has the orders of Alice and of Carol.
            let kept = [old[0], old[2]].map {
                LiveOrder(
                    order: $0.order, client: $0.client, ticket: $0.ticket, slot: $0.slot, key: $0.key, isConfirmed: true
                )
            }
            var counts = Counts()
            counts[.requests] = 2
            counts[.accepted] = 2
            counts[.confirmed] = 2
            let snapshot = SaleSnapshot(
                state: EngineFixture.state(1, quantity: 8, limit: 2), epoch: 2,
                lastSequence: old[2].order.sequence, orders: kept, counts: counts)
            #expect(try await engine.rebuild(sale, ifOlderThan: 1) { snapshot } == false)
            #expect(try await engine.rebuild(sale, ifOlderThan: 2) { snapshot })

            var inspection = try await fixture.balance(sale)
            #expect(inspection.epoch == 2)
            #expect(inspection.lastSequence == SaleEpoch.base(2))
            #expect(inspection.ownedTickets == 2)
            #expect(inspection.highestTicket == 3)
            #expect(inspection.returnedTickets == 1)
            #expect(inspection.counts == counts)
            #expect(inspection.unsettled == 6)
            #expect(try await fixture.redis("HLEN", "dibs:{sale:1}:clients") == "2")
            #expect(try await fixture.redis("HLEN", "dibs:{sale:1}:keys") == "2")
            #expect(
                try await fixture.claim("alice", on: sale, key: "k")
                    == .repeated(Acceptance(order: old[0].order, ticket: 1, remaining: nil)))
            // A key of an order that was lost is free again, and the order gets a sequence of the new epoch.
            let again = try #require(try await fixture.claim("bob", on: sale, key: "k").acceptance)
            #expect(again.ticket == 2)
            #expect(again.order.sequence == SaleEpoch.base(2) + 1)

            // PostgreSQL failed the orders of Bob and Erin, and they are replayed, with their old sequences, before it
            // is settled. Carol's entry has the sequence of an order that PostgreSQL has, but is another.
            var replays: [AcceptedOrder] = []
            for lost in [old[1], old[4]] {
                guard case .accepted(let order, _) = try await engine.retry(lost.order, client: lost.client) else {
                    Issue.record("not replayed")
                    return
                }
                replays.append(order)
            }
            for _ in 1...2 {
                try await engine.settle([
                    Settlement(order: old[0], status: .confirmed), Settlement(order: old[1], status: .failed),
                    Settlement(order: old[2], status: .failed), Settlement(order: old[3], status: .cancelled),
                    Settlement(order: late[0], status: .failed), Settlement(order: replayed, status: .failed),
                ])
            }
            inspection = try await fixture.balance(sale)
            #expect(inspection.ownedTickets == 5)
            #expect(inspection.state.remaining == 3)
            #expect(inspection.returnedTickets == 0)
            #expect(inspection.unsettled == 3)
            #expect(inspection.counts[.confirmed] == 2)
            #expect(inspection.counts[.failed] == 0)
            for replay in replays { #expect(try await engine.unsettled(replay.order) == replay) }

            // Those of the new epoch are settled as ever.
            let new = try await engine.readOrders(of: sale, consumer: "one", count: 10)
            #expect(new.map(\.epoch) == [2, 2, 2])
            #expect(Array(new.dropFirst()) == replays)
            try await engine.settle([
                Settlement(order: new[0], status: .failed), Settlement(order: new[1], status: .confirmed),
                Settlement(order: new[2], status: .failed),
            ])
            #expect(try await engine.liveOrders(of: client("bob"), in: sale).map(\.order) == [old[1].order])
            #expect(try await engine.liveOrders(of: client("erin"), in: sale).isEmpty)
            inspection = try await fixture.balance(sale)
            #expect(inspection.ownedTickets == 3)
            #expect(inspection.unsettled == 0)
            #expect(inspection.counts[.confirmed] == 3)
            // The replayed one had failed, and was counted, before.
            #expect(inspection.counts[.failed] == 1)
            #expect(try await fixture.redis("EXISTS", "dibs:{sale:1}:replayed") == "0")
        }
    }

    @Test func positions() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let one = try await fixture.sale(1, quantity: 5)
            let two = try await fixture.sale(2, quantity: 5)
            let three = try await fixture.sale(3, quantity: 5)
            let four = SaleID(4)
            _ = try await fixture.claims(["a", "b"], on: one)
            _ = try await fixture.claims(["a", "b", "c"], on: three)
            let orders = try await fixture.engine.readOrders(of: one, consumer: "one", count: 1)
            try await fixture.engine.settle(orders.map { Settlement(order: $0, status: .confirmed) })
            try await fixture.redis("DEL", "dibs:{sale:3}")
            // Read by a committer, and so there, but empty.
            _ = try await fixture.engine.readOrders(of: four, consumer: "one", count: 1)
            let base = SaleEpoch.base(1)
            #expect(
                try await fixture.engine.positions(of: [one, two, three, four, SaleID(5)]) == [
                    one: SalePosition(epoch: 1, lastSequence: base + 2, unsettled: 1),
                    two: SalePosition(epoch: 1, lastSequence: base, unsettled: 0),
                    three: SalePosition(epoch: -1, lastSequence: 0, unsettled: 3),
                ])
            #expect(try await fixture.engine.positions(of: [SaleID]()).isEmpty)
            await fixture.server.kill()
            await #expect(throws: Outage.self) { _ = try await fixture.engine.positions(of: [one]) }
        }
    }

    @Test func tallies() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let sale = try await fixture.sale(quantity: 2, limit: 2)
            let fresh = try #require(try await fixture.engine.tallies(of: sale))
            #expect(fresh == SaleTallies(counts: Counts(), firstClaimAt: nil, soldOutAt: nil, remaining: 2))
            for name in ["a", "b", "c"] {
                _ = try await fixture.claim(name, on: sale)
                fixture.clock.now = Timestamp(milliseconds: fixture.clock.now.milliseconds + 10)
            }
            let tallies = try #require(try await fixture.engine.tallies(of: sale))
            let inspection = try await fixture.balance(sale)
            #expect(tallies.counts == inspection.counts)
            #expect(tallies.counts[.requests] == 3)
            #expect(tallies.firstClaimAt == Timestamp(milliseconds: EngineFixture.opening))
            #expect(tallies.soldOutAt == Timestamp(milliseconds: EngineFixture.opening + 10))
            #expect(tallies.remaining == 0)
            #expect(try await fixture.engine.tallies(of: SaleID(9)) == nil)
            // Under rebuild there are none to tell.
            let snapshot = SaleSnapshot(state: EngineFixture.state(1, quantity: 2, limit: 2), epoch: 2)
            _ = try await fixture.engine.rebuild(sale, ifOlderThan: 2) {
                let none = try await fixture.engine.tallies(of: sale)
                #expect(none == nil)
                return snapshot
            }
            #expect(try await fixture.engine.tallies(of: sale) == fresh)
        }
    }

    @Test func revocations() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let other = try await fixture.another()
            let heard = Heard<RevocationEvent>()
            let subscription = try await other.subscribeRevocations { heard.hear($0) }
            let soon = Timestamp(milliseconds: EngineFixture.opening + 1000)
            let later = Timestamp(milliseconds: EngineFixture.opening + 2000)
            try await fixture.engine.revoke(tokenID: "one two", until: soon)
            try await fixture.engine.revoke(tokenID: "three", until: later)
            try await heard.wait(for: 2)
            #expect(
                heard.events == [
                    .revoked(tokenID: "one two", until: soon), .revoked(tokenID: "three", until: later),
                ])
            #expect(try await other.revokedTokens() == ["one two": soon, "three": later])
            fixture.clock.now = Timestamp(milliseconds: EngineFixture.opening + 1001)
            #expect(try await other.revokedTokens() == ["three": later])
            subscription.cancel()
            await other.stop()
        }
    }
}
