import EventLoop
import Glibc
import Model
import TestServices
import Testing

@testable import Server

/// A process is killed between any two steps of hold, payment and commit. No seat is lost, none sold twice, no point lost,
/// and the client's view is right when it comes back.
@Suite struct SeatFaultTests {
    /// The gateway dies while it holds or pays; others, which also do the scheduler's and the committer's work, go on.
    @Test(arguments: [
        FaultPoint.holdTaken, .paymentBegun, .paymentCommitted, .seatsSold, .paidTold, .passSpent,
    ])
    func aGatewayDies(at point: FaultPoint) async throws {
        try await withShop(1) { shop in
            try await shop.start(["DIBS_FAULT": point.rawValue, "DIBS_ROLES": "gateway"])
            let date = try await shop.hall(20, price: 10, holdSeconds: 3)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 30)
            let before = try await Buyer.connect(shop, as: "ada", on: 1)
            let isHolding = point == .holdTaken
            let first = isHolding ? "" : try await shop.held(date, [3, 4], ada)
            let dying = EventLoop.task {
                _ =
                    isHolding
                    ? try? await shop.hold(date, [3, 4], ada, on: 1)
                    : try? await shop.pay(first, 20, ada, key: "k", on: 1)
            }
            try await shop.instances[1].waitForExit()
            await dying.value
            try await before.closed()

            // She comes back elsewhere, and asks again: she gets what she had, or the same answer.
            let after = try await Buyer.connect(shop, as: "ada", on: 0, resume: before.position)
            #expect(after.connected["recovered"] == true)
            var id = first
            if isHolding {
                let again = try await shop.hold(date, [3, 4], ada)
                #expect(again.status == 200, "\(again.text)")
                id = try #require(again.result["reservationId"].text)
                #expect(try await shop.pay(id, 20, ada, key: "k").status == 201)
            } else {
                let again = try await shop.pay(id, 20, ada, key: "k")
                #expect(again.status == (point == .paymentBegun ? 201 : 200), "\(again.text)")
            }
            if !before.heard.contains(where: { $0["type"] == "reservation" }) {
                try await after.reservation(id, "paid")
            }
            #expect(try await shop.balance("ada") == 10)
            try await shop.expectSeatBooks(date, sold: 2)
            let mine = try await shop.reservations("ada")
            #expect(mine.count == 1 && mine[0].includes(["status": "paid", "seatIds": [3, 4]]), "\(mine)")
            // Told once, on whichever connection; and the pass is spent, whoever did it.
            let told = (before.heard + after.heard).filter { $0["type"] == "reservation" }
            #expect(told.count == 1 && told[0]["status"] == "paid", "\(told)")
            try await eventually("the pass is spent") {
                try await shop.standing("ada", "hall").result["status"] == "FINISHED"
            }
        }
    }

    /// Nobody comes back: what was begun ends by itself.
    @Test func aPaymentThatNobodyMakesEndsWithTheHold() async throws {
        try await withShop(1) { shop in
            try await shop.start(["DIBS_FAULT": "payment_begun", "DIBS_ROLES": "gateway"])
            let date = try await shop.hall(20, price: 10, holdSeconds: 2)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 30)
            let buyer = try await Buyer.connect(shop, as: "ada")
            let id = try await shop.held(date, [3, 4], ada)
            let dying = EventLoop.task { _ = try? await shop.pay(id, 20, ada, on: 1) }
            try await shop.instances[1].waitForExit()
            await dying.value
            // A payment is under way as far as anybody knows: she can't give it back, and nobody else gets the seats.
            let eve = try await shop.enter("eve")
            #expect(try await shop.hold(date, [3], eve).code == "seat_taken")
            #expect(try await shop.giveBack(id, "ada").code == "in_use")
            try await buyer.reservation(id, "expired")
            #expect(try await shop.balance("ada") == 30)
            #expect(try await shop.hold(date, [3], eve).status == 201)
            #expect(try await shop.pay(id, 20, ada).code == "hold_expired")
            try await shop.expectSeatBooks(date, sold: 0, held: 1)
        }
    }

    /// The scheduler that closes such a reservation dies before Redis knows; another does it.
    @Test func aSchedulerDiesWhileItCloses() async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway"]) { shop in
            try await shop.start(["DIBS_FAULT": "payment_begun", "DIBS_ROLES": "gateway"])
            try await shop.start(["DIBS_FAULT": "reservation_closed", "DIBS_ROLES": "scheduler,committer"])
            let date = try await shop.hall(20, price: 10, holdSeconds: 1)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 30)
            let buyer = try await Buyer.connect(shop, as: "ada")
            let id = try await shop.held(date, [3], ada)
            let dying = EventLoop.task { _ = try? await shop.pay(id, 10, ada, on: 1) }
            try await shop.instances[1].waitForExit()
            await dying.value
            try await shop.instances[2].waitForExit()
            try await shop.start(["DIBS_ROLES": "scheduler,committer"])
            try await buyer.reservation(id, "expired")
            try await shop.expectSeatBooks(date, sold: 0)
            #expect(try await shop.balance("ada") == 30)
            #expect(try await shop.reservations("ada").map { $0["status"] } == ["expired"])
        }
    }

    @Test(arguments: [FaultPoint.refundCommitted, .holdReleased])
    func aGatewayDiesWhileItGivesBack(at point: FaultPoint) async throws {
        try await withShop(1) { shop in
            try await shop.start(["DIBS_FAULT": point.rawValue, "DIBS_ROLES": "gateway"])
            let date = try await shop.hall(20, price: 10)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 10)
            let buyer = try await Buyer.connect(shop, as: "ada")
            let id = try await shop.held(date, [3], ada)
            if point == .refundCommitted {
                #expect(try await shop.pay(id, 10, ada).status == 201)
                try await buyer.reservation(id, "paid")
            }
            let dying = EventLoop.task { _ = try? await shop.giveBack(id, "ada", on: 1) }
            try await shop.instances[1].waitForExit()
            await dying.value
            try await buyer.reservation(id, "released")
            #expect(try await shop.giveBack(id, "ada").result["status"] == "released")
            #expect(try await shop.balance("ada") == 10)
            try await shop.expectSeatBooks(date, sold: 0)
        }
    }

    /// Committers die with the log in their hands.
    @Test(arguments: [FaultPoint.logRead, .logCommitted, .logTold])
    func aCommitterDies(at point: FaultPoint) async throws {
        try await withShop(1, ["DIBS_ROLES": "gateway,scheduler"]) { shop in
            try await shop.start(["DIBS_FAULT": "\(point.rawValue):3", "DIBS_ROLES": "committer"])
            let date = try await shop.hall(60, price: 10, holdSeconds: 2)
            let visitors = try await concurrently(20) { try await shop.enter("c\($0)") }
            let buyers = try await concurrently(20) { try await Buyer.connect(shop, as: "c\($0)") }
            var ids: [String] = []
            var ends = Array(repeating: "expired", count: 20)
            for (index, visitor) in visitors.enumerated() {
                ids.append(try await shop.held(date, [Int64(index + 1)], visitor))
                guard index % 3 == 0 else { continue }
                let answer = try await shop.giveBack(ids[index], visitor.client)
                // On a busy machine it may have run out before.
                #expect(answer.status == 200 || answer.code == "hold_expired", "\(answer.text)")
                if answer.status == 200 { ends[index] = "released" }
            }
            try await shop.instances[1].waitForExit()
            // Nobody commits for a while; holds run out all the same, and their clients are told.
            for (index, buyer) in buyers.enumerated() {
                try await buyer.reservation(ids[index], ends[index])
            }
            try await shop.start(["DIBS_ROLES": "committer"])
            try await shop.expectSeatBooks(date, sold: 0)
            for (index, buyer) in buyers.enumerated() {
                let mine = try await shop.reservations(buyer.client)
                #expect(mine.map { $0["status"] } == [.text(ends[index])], "\(mine)")
                #expect(buyer.heard.filter { $0["type"] == "reservation" }.count == 1)
            }
        }
    }

    /// Redis loses everything in the middle of a sale: what PostgreSQL knows comes back.
    @Test func redisIsLost() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(20, price: 10)
            let ada = try await shop.enter("ada")
            try await shop.charge("ada", 100)
            let paid = try await shop.held(date, [1, 2], ada)
            let held = try await shop.hold(date, [3], ada)
            let id = try #require(held.result["reservationId"].text)
            #expect(try await shop.pay(paid, 20, ada).status == 201)
            try await shop.expectSeatBooks(date, sold: 2, held: 1)
            try await shop.redis("flushall")
            // She has paid by her pass, which is spent.
            try await eventually("it is noticed") { try await shop.join("ada", "hall", on: 1).status == 200 }
            let again = try await shop.enter("ada", on: 1)
            #expect(again.pass != ada.pass)
            let eve = try await shop.enter("eve")
            for seat: Int64 in [1, 2, 3] { #expect(try await shop.hold(date, [seat], eve, on: 1).code == "seat_taken") }
            let repeated = try await shop.hold(date, [3], again)
            #expect(
                repeated.status == 200 && repeated.result["expiresAt"] == held.result["expiresAt"], "\(repeated.text)")
            #expect(try await shop.pay(id, 10, again, on: 1).status == 201)
            let other = try await shop.held(date, [4], eve)
            #expect(other != id && other != paid)
            try await shop.expectSeatBooks(date, sold: 3, held: 1)
        }
    }
}
