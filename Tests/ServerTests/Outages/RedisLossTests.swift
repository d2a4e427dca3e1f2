import EventLoop
import Glibc
import TestServices
import Testing

/// Redis loses what only it and the processes knew: what clients were told stays true, as `docs/redis-loss.md` says.
@Suite struct RedisLossTests {
    /// How Redis loses its data.
    enum Loss: String, CaseIterable {
        /// It comes back empty.
        case restarted
        /// Its data are flushed, and no connection breaks.
        case flushed
    }

    private static let persistent: @Sendable (inout Shop.Options) -> Void = { $0.redis.isPersistent = true }
    private static let noCommitter = ["DIBS_ROLES": "gateway,scheduler"]

    // MARK: Claims

    /// No committer has taken the orders to PostgreSQL: those who told them know them.
    @Test(arguments: Loss.allCases)
    func whatWasToldIsConfirmed(loss: Loss) async throws {
        try await withShop(2, Self.noCommitter) { shop in
            let sale = try await shop.sale(30, limit: 2)
            let buyer = try await Buyer.connect(shop, as: "a0", on: 1)
            let first = try await concurrently(20) {
                try await shop.claim(sale, "a\($0 % 15)", key: "k\($0)", on: $0 % 2)
            }
            #expect(first.allSatisfy { $0.status == 201 })
            try await buyer.next("its acceptance") { $0["outcome"] == "accepted" }

            try await lose(loss, shop)
            // A flush is noticed by whoever claims next; it is not told a guess.
            let meanwhile = try await shop.claim(sale, "meanwhile")
            #expect(meanwhile.status == 201 || meanwhile.code == "unavailable", "\(meanwhile.text)")
            try await ready(shop)

            for (index, answer) in first.enumerated() {
                let order = try await shop.call(.get, "/api/orders/\(answer.order ?? "")", as: .service, on: index % 2)
                #expect(order.result["status"] == "confirmed", "\(index): \(order.text)")
                #expect(order.result["ticket"] == answer.result["ticket"])
                let again = try await shop.claim(sale, "a\(index % 15)", key: "k\(index)", on: (index + 1) % 2)
                #expect(again.status == 200 && again.result["order"] == answer.result["order"], "\(again.text)")
            }
            // Whoever was connected is told, on that connection or after it was sent away.
            #expect(try await buyer.closed().code == 1001)
            let back = try await Buyer.connect(shop, as: "a0", on: 0, resume: buyer.position)
            #expect(back.connected["recovered"] == false)
            for answer in [first[0], first[15]] {
                try await back.next("the confirmation") {
                    $0["order"] == answer.result["order"] && $0["status"] == "confirmed"
                }
            }

            try await shop.start(["DIBS_ROLES": "committer"])
            let taken = meanwhile.status == 201 ? 21 : 20
            let rest = try await concurrently(20) { try await shop.claim(sale, "c\($0)", on: $0 % 2) }
            #expect(rest.filter { $0.status == 201 }.count == 30 - taken)
            try await shop.expectBooks(sale, sold: 30)
        }
    }

    /// Redis comes back without its latest claims, which nobody had taken to PostgreSQL: so PostgreSQL knows no more than
    /// Redis does, and only those who told them can say that something is missing.
    @Test func anOlderRedisGivesNoIDTwice() async throws {
        try await withShop(2, Self.noCommitter, options: Self.persistent) { shop in
            let sale = try await shop.sale(12)
            let early = try await concurrently(3) { try await shop.claim(sale, "e\($0)", key: "k", on: $0 % 2) }
            let before = try shop.redis.keepData()
            let late = try await concurrently(4) { try await shop.claim(sale, "l\($0)", key: "k", on: $0 % 2) }
            try await shop.redis.restart(asOf: before)
            try await ready(shop)
            let rest = try await concurrently(10) { try await shop.claim(sale, "r\($0)", on: $0 % 2) }
            let accepted = early + late + rest.filter { $0.status == 201 }
            #expect(accepted.count == 12)
            #expect(Set(accepted.compactMap(\.order)).count == 12 && Set(accepted.compactMap(\.ticket)) == Set(1...12))
            try await shop.start(["DIBS_ROLES": "committer"])
            try await shop.expectBooks(sale, sold: 12)
            for (index, answer) in (early + late).enumerated() {
                let client = index < 3 ? "e\(index)" : "l\(index - 3)"
                let truth = try await shop.truth(sale, client, on: index % 2)
                #expect(truth["status"] == "confirmed" && truth["ticket"] == answer.result["ticket"])
            }
        }
    }

    /// A ticket was given back, in Redis as well, and Redis has lost that: nobody but PostgreSQL says that it is free.
    @Test func aLostReturnLeaksNoTicket() async throws {
        try await withShop(2, options: Self.persistent) { shop in
            let sale = try await shop.sale(3)
            let first = try await concurrently(3) { try await shop.claim(sale, "a\($0)", on: $0 % 2) }
            try await shop.settled(sale)
            let before = try shop.redis.keepData()
            let gone = try await shop.call(.delete, "/api/orders/\(first[1].order ?? "")", as: .service)
            #expect(gone.status == 200)
            #expect(try await shop.show(sale)["remaining"] == 1)
            try await shop.redis.restart(asOf: before)
            try await ready(shop)
            #expect(try await shop.show(sale, on: 1)["remaining"] == 1)
            #expect(try await shop.claim(sale, "b").ticket == first[1].ticket)
            try await shop.expectBooks(sale, sold: 3)
        }
    }

    /// An orders' stream that outlives a restart is taken to PostgreSQL by whoever compares, where no committer runs.
    @Test func theStreamIsTakenAlong() async throws {
        try await withShop(1, Self.noCommitter, options: Self.persistent) { shop in
            let sale = try await shop.sale(5)
            let told = try await concurrently(3) { try await shop.claim(sale, "a\($0)") }
            shop.instances[0].signal(SIGKILL)
            _ = try await shop.instances[0].waitForExit()
            try await shop.redis.restart(keepingData: true)
            try await shop.restart(0)
            try await ready(shop)
            for (index, answer) in told.enumerated() {
                let truth = try await shop.truth(sale, "a\(index)")
                #expect(truth["status"] == "confirmed" && truth["ticket"] == answer.result["ticket"], "\(truth)")
            }
        }
    }

    // MARK: Outcomes

    /// A Redis that has lost the end of a client's log gives its offsets again: they must not be taken for what was told.
    @Test func offsetsThatWereLostAreNotResumedFrom() async throws {
        try await withShop(1, options: Self.persistent) { shop in
            let sales = [try await shop.sale(5), try await shop.sale(5), try await shop.sale(5)]
            let buyer = try await Buyer.connect(shop, as: "a")
            for sale in sales.prefix(1) { _ = try await buyer.claim(sale) }
            try await buyer.next("the confirmation") { $0["offset"] == 2 }
            let early = buyer.position
            let before = try shop.redis.keepData()
            _ = try await buyer.claim(sales[1])
            try await buyer.next("the confirmation") { $0["offset"] == 4 }
            let late = buyer.position
            try await buyer.close()

            try await shop.redis.restart(asOf: before)
            try await ready(shop)
            // The log grows beyond what the client was told, with something else.
            #expect(try await shop.claim(sales[2], "a").status == 201)
            try await shop.settled(sales[2])
            let back = try await Buyer.connect(shop, as: "a", resume: late)
            #expect(back.connected["recovered"] == false, "\(back.connected)")
            for sale in sales { try await back.order("confirmed", in: sale) }
            // What the log still had is good.
            let other = try await Buyer.connect(shop, as: "a", resume: early)
            #expect(other.connected["recovered"] == true, "\(other.connected)")
            try await other.order("confirmed", in: sales[2])
        }
    }

    // MARK: Lines

    /// Two gateways know a part of the line each: together they know its order.
    @Test(arguments: Loss.allCases)
    func theLineKeepsItsOrder(loss: Loss) async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 60)
            // Not in turns: a whole run at one gateway, so that it matters which comes first.
            let buyers = try await concurrently(24) { try await Buyer.connect(shop, as: "c\($0)", on: $0 / 3 % 2) }
            for buyer in buyers { _ = try await buyer.join("r") }
            try await buyers[5].leave("r")
            try await lose(loss, shop)
            let late = try await self.joined(shop, "late", "r")
            #expect(late == 24)
            let left = buyers.enumerated().filter { $0.offset != 5 }.map(\.element)
            for (index, buyer) in left.enumerated() {
                let standing = try await shop.standing(buyer.client, "r", on: index % 2)
                #expect(standing.result["rank"] == .integer(Int64(index + 1)), "\(buyer.client): \(standing.text)")
            }
            try await shop.change("r", ["maxActive": 100])
            for buyer in try await self.reconnected(left, shop, "r") { try await buyer.admitted("r") }
            try await eventually("all are admitted") { try await shop.inspect("r")["active"] == 24 }
        }
    }

    /// Who joined within the lost moments stands behind those who joined before, in order.
    @Test func lostJoinsComeBackInOrder() async throws {
        try await withShop(2, options: Self.persistent) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 60)
            let buyers = try await concurrently(16) { try await Buyer.connect(shop, as: "c\($0)", on: $0 / 2 % 2) }
            for buyer in buyers.prefix(6) { _ = try await buyer.join("r") }
            let before = try shop.redis.keepData()
            for buyer in buyers.dropFirst(6) { _ = try await buyer.join("r") }
            try await shop.redis.restart(asOf: before)
            #expect(try await self.joined(shop, "late", "r") == 17)
            for (index, buyer) in buyers.enumerated() {
                let standing = try await shop.standing(buyer.client, "r", on: index % 2)
                #expect(standing.result["rank"] == .integer(Int64(index + 1)), "\(buyer.client): \(standing.text)")
            }
        }
    }

    /// A pass that was told is good until its time is over, and no more are admitted than may be.
    @Test(arguments: Loss.allCases)
    func passesStayGood(loss: Loss) async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 4, passSeconds: 600)
            let sale = try await shop.sale(10, in: "r")
            let buyers = try await concurrently(8) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            var passes: [String] = []
            for buyer in buyers.prefix(3) { passes.append(try #require(try await buyer.join("r")["token"].text)) }
            // One that came by polling.
            let visitor = try await shop.enter("polled", "r", on: 1)
            for buyer in buyers.dropFirst(3) { #expect(try await buyer.join("r")["type"] == "joined") }
            #expect(try await shop.claim(sale, "c0", pass: passes[0]).status == 201)
            try await buyers[3].admitted("r")
            try await shop.settled(sale)

            try await lose(loss, shop)
            try await ready(shop)
            let room = try await shop.inspect("r")
            #expect(room["active"] == 4, "\(room)")
            #expect(try await shop.claim(sale, "c1", pass: passes[1], on: 1).status == 201)
            #expect(try await shop.claim(sale, "polled", pass: visitor.pass).status == 201)
            #expect(try await shop.claim(sale, "c0", pass: passes[0]).code == "not_admitted")
            try await eventually("the places are given on") { try await shop.inspect("r")["active"] == 4 }
            try await shop.expectBooks(sale, sold: 3)
        }
    }

    // MARK: Seats

    /// Holds that no committer has written down keep their seats and their deadline.
    @Test(arguments: Loss.allCases)
    func holdsStayHeld(loss: Loss) async throws {
        try await withShop(2, Self.noCommitter) { shop in
            let performance = try await shop.hall(20, holdSeconds: 120)
            let ada = try await shop.enter("ada")
            let bob = try await shop.enter("bob", on: 1)
            let first = try await shop.hold(performance, [1, 2], ada)
            let reservation = try await shop.held(performance, [5], bob, on: 1)
            let back = try await shop.held(performance, [9], bob, on: 1)
            #expect(try await shop.giveBack(back, "bob").status == 200)
            try await shop.charge("bob", 10)

            try await lose(loss, shop)
            try await ready(shop)
            let kept = try await shop.reservations("ada", on: 1)
            #expect(kept.first?["status"] == "held" && kept.first?["expiresAt"] == first.result["expiresAt"], "\(kept)")
            #expect(try await shop.hold(performance, [2], bob).code == "seat_taken")
            let again = try await shop.hold(performance, [1, 2], ada, on: 1)
            #expect(
                again.status == 200 && again.result["reservationId"] == first.result["reservationId"], "\(again.text)")
            let paid = try await shop.pay(reservation, 10, bob)
            #expect(paid.status == 201, "\(paid.text)")
            try await shop.start(["DIBS_ROLES": "committer"])
            try await shop.expectSeatBooks(performance, sold: 1, held: 2)
        }
    }

    // MARK: helpers

    @LoopActor
    private func lose(_ loss: Loss, _ shop: Shop) async throws {
        let compared = shop.instances.map { $0.log.items.count { $0.event == "redis_compared" } }
        switch loss {
        case .restarted: try await shop.redis.restart(keepingData: false)
        case .flushed: _ = try await shop.redis("flushall")
        }
        for (instance, before) in zip(shop.instances, compared) {
            try await eventually("the loss is noticed, and dealt with") {
                instance.log.items.count { $0.event == "redis_compared" } > before
            }
        }
    }

    @LoopActor
    private func ready(_ shop: Shop) async throws {
        for instance in shop.instances.indices {
            try await eventually("it is ready again") {
                try await shop.call(.get, "/readyz", on: instance).status == 200
            }
        }
    }

    /// The rank that a newcomer gets, as soon as it can join.
    @LoopActor
    private func joined(_ shop: Shop, _ client: String, _ room: String) async throws -> Int64? {
        try await eventually("it can join") { try await shop.join(client, room).status == 200 }
        return try await shop.standing(client, room).result["rank"].integer
    }

    /// The same clients, on new connections where theirs were closed.
    @LoopActor
    private func reconnected(_ buyers: [Buyer], _ shop: Shop, _ room: String) async throws -> [Buyer] {
        var connected: [Buyer] = []
        for (index, buyer) in buyers.enumerated() {
            if (try? await buyer.ask(["type": "ping"])) != nil {
                connected.append(buyer)
            } else {
                connected.append(try await Buyer.connect(shop, as: buyer.client, on: index % 2, resume: buyer.position))
            }
        }
        return connected
    }
}
