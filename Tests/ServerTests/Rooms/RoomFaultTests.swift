import EventLoop
import Glibc
import TestServices
import Testing

/// Processes die, freeze and come back; whoever waits keeps the place, and whoever is gone is let go in time.
@Suite struct RoomFaultTests {
    // MARK: Gateways

    /// A gateway is killed with half of those who wait. Some come back elsewhere in time, some never.
    @Test func aKilledGatewayTakesNobodyWithItWhoComesBack() async throws {
        try await withShop(2) { shop in
            let grace: Int64 = 4
            try await shop.room("r", maxActive: 0, graceSeconds: grace)
            let witness = try await LineWitness.watch("r", of: shop)
            var line = try await line(of: shop, "r", 40)
            let before = try #require(try await Int64(shop.redis("hget", "dibs:{room:r}", "event")))
            try await witness.sees(before)
            // The last beat was 300 ms ago, at most, unless the machine is busy.
            let killedAt = EventLoop.wallMilliseconds
            shop.instances[1].signal(SIGKILL)
            for buyer in line where buyer.number % 2 == 1 { try await buyer.closed() }
            let returning = line.filter { $0.number % 4 == 1 }
            let back = try await concurrently(returning.count) { index in
                let buyer = returning[index]
                let back = try await Buyer.connect(shop, as: buyer.client, on: 0, resume: buyer.position)
                #expect(back.connected["recovered"] == true)
                #expect(try await back.join("r")["rank"] == .integer(Int64(buyer.number + 1)))
                return back
            }
            for buyer in back { line[buyer.number] = buyer }
            let rest = line.filter { $0.number % 4 != 3 }
            try await Self.areTold(rest, shop, "r", on: [0])
            let room = try await shop.inspect("r")
            #expect(room.includes(["vanished": 10, "waiting": 30, "joined": 40]), "\(room)")
            // All in one go, not before the grace was over; and at most a second after it, on a machine with time.
            let after = witness.changes.values.filter { $0.event > before }
            let lettingGo = try #require(after.filter { $0.waiting < 40 }.map(\.moment).min())
            let letGo = try #require(after.filter { $0.waiting == 30 }.map(\.moment).min())
            #expect(lettingGo >= killedAt + grace * 1000 - 1000, "after \(lettingGo - killedAt) ms")
            #expect(letGo <= killedAt + grace * 1000 + 1000 + 5000, "after \(letGo - killedAt) ms")
            for buyer in line { _ = witness.check(buyer, "r") }
            // It comes back, and so do those who were away for too long: at the end.
            _ = try await shop.instances[1].waitForExit()
            try await shop.restart(1)
            let late = try await Buyer.connect(shop, as: "c3", on: 1, resume: line[3].position)
            #expect(try await late.join("r")["rank"] == 31)
            witness.stop()
        }
    }

    /// A gateway is frozen for so long that it is given up for dead, and goes on before the grace is over.
    @Test func aFrozenGatewayHoldsItsClientsAgain() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 60)
            let line = try await line(of: shop, "r", 30)
            let number = shop.instances[1].log.items.last { $0.event == "gateway_numbered" }?.json["number"]
            shop.instances[1].signal(SIGSTOP)
            try await shop.instances[0].log.first("the other one is given up for dead") {
                $0.event == "gateway_let_go" && $0.json["number"] == number
            }
            // On the other one nothing has changed.
            for (index, isHeld) in try await self.held("r", 30, of: shop).enumerated() {
                #expect(isHeld == (index % 2 == 0), "\(index)")
            }
            try await line[0].leave("r")
            shop.instances[1].signal(SIGCONT)
            try await shop.instances[1].log.first("another number") {
                $0.event == "gateway_numbered" && $0.json["level"] == "warning"
            }
            try await eventually("all places are held again") {
                try await self.held("r", 30, of: shop).dropFirst().allSatisfy { $0 }
            }
            let room = try await shop.inspect("r")
            #expect(room.includes(["waiting": 29, "vanished": 0, "left": 1, "joined": 30]), "\(room)")
            let rest = Array(line[1...])
            try await Self.areTold(rest, shop, "r")
            for buyer in rest { #expect(!buyer.heard.contains { $0["type"] == "left" }) }
            // Its connections are its own again: when one closes, that place is held no more.
            try await line[29].close()
            try await eventually("whoever closed is only waited for") {
                try await self.held("r", 30, of: shop).last == false
            }
            #expect(try await shop.inspect("r")["waiting"] == 29)
        }
    }

    /// Which of the first numbers of a room some gateway holds, by what Redis knows of each.
    @LoopActor
    private func held(_ room: String, _ count: Int, of shop: Shop) async throws -> [Bool] {
        let script = """
            local held = {}
            for at = 0, 4 * (ARGV[1] - 1), 4 do
                held[#held + 1] = struct.unpack('<I4', redis.call('GETRANGE', KEYS[1], at, at + 3)) >= 2147483648 and 1 or 0
            end
            return table.concat(held)
            """
        return try await shop.redis("eval", script, "1", "dibs:{room:\(room)}:presence", String(count)).map {
            $0 == "1"
        }
    }

    /// A gateway is frozen beyond the grace. Its clients have lost their places; as they are still there when it goes on,
    /// they stand in line again, behind the others, or are told that they don't: which, depends on whether it hears first
    /// that they are gone, or that it was given up for dead.
    @Test(arguments: ["fifo", "reject"])
    func aGatewayThatWasFrozenForTooLongBeginsAnew(ordering: String) async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0, graceSeconds: 1)
            let line = try await line(of: shop, "r", 20)
            shop.instances[1].signal(SIGSTOP)
            let (stay, frozen) = (line.filter { $0.number % 2 == 0 }, line.filter { $0.number % 2 == 1 })
            try await Self.areTold(stay, shop, "r", on: [0])
            #expect(try await shop.inspect("r").includes(["waiting": 10, "vanished": 10]))
            try await shop.change("r", ["ordering": .text(ordering)])
            shop.instances[1].signal(SIGCONT)
            for buyer in frozen {
                try await eventually("\(buyer.client) waits again or knows that it doesn't") {
                    if buyer.heard.contains(where: { $0["type"] == "left" }) { return true }
                    let standing = try await shop.standing(buyer.client, "r", as: .service)
                    return ordering == "fifo" && standing.result["status"] == "WAITING"
                }
                guard buyer.place("r") == nil else { continue }
                let answer = try await buyer.join("r")
                #expect(ordering == "fifo" ? answer["type"] == "joined" : answer["code"] == "rejected", "\(answer)")
            }
            let waiting = ordering == "fifo" ? line : stay
            #expect(try await shop.inspect("r")["waiting"] == .integer(Int64(waiting.count)))
            try await self.restingRanksAreTold(waiting, shop, "r")
            for (index, buyer) in stay.enumerated() {
                #expect(buyer.place("r")?["rank"] == .integer(Int64(index + 1)))
            }
            // Both instances still follow.
            try await stay[0].leave("r")
            try await self.restingRanksAreTold(waiting.filter { $0 !== stay[0] }, shop, "r")
        }
    }

    /// Both instances are replaced, one after the other.
    @Test func aRollingRestartKeepsEveryPlace() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 2, graceSeconds: 20)
            let admitted = try await concurrently(2) { try await Buyer.connect(shop, as: "a\($0)", on: $0) }
            var passes: [JSON] = []
            for buyer in admitted { passes.append(try await buyer.join("r")["token"]) }
            var line = try await line(of: shop, "r", 30)
            for instance in 0..<2 {
                let other = 1 - instance
                let moving = instance == 0 ? line.filter { $0.number % 2 == 0 } : line
                shop.instances[instance].signal(SIGTERM)
                for buyer in moving {
                    #expect(try await buyer.closed().code == 1001)
                    let back = try await Buyer.connect(shop, as: buyer.client, on: other, resume: buyer.position)
                    let joined = try await back.join("r")
                    #expect(back.connected["recovered"] == true && joined["rank"] == .integer(Int64(buyer.number + 1)))
                    line[buyer.number] = back
                }
                let exit = try await shop.instances[instance].waitForExit()
                #expect(exit == ChildProcess.Exit(status: 0, signal: 0))
                try await shop.restart(instance)
            }
            for (index, pass) in passes.enumerated() {
                let back = try await Buyer.connect(
                    shop, as: "a\(index)", on: 1 - index, resume: admitted[index].position)
                #expect(try await back.join("r")["token"] == pass)
            }
            let room = try await shop.inspect("r", on: 1)
            #expect(room.includes(["waiting": 30, "active": 2, "vanished": 0, "joined": 32, "left": 0]), "\(room)")
            try await line[0].leave("r")
            try await Self.areTold(Array(line[1...]), shop, "r")
        }
    }

    /// A gateway dies with claims in its hands: every pass by which something was bought is spent all the same, and the
    /// places are given on.
    @Test func claimsOfAKilledGatewaySpendTheirPasses() async throws {
        try await withShop(2) { shop in
            let count = 24
            try await shop.room("r", maxActive: Int64(count))
            let sale = try await shop.sale(1000, in: "r")
            let buyers = try await concurrently(count) { try await Buyer.connect(shop, as: "c\($0)", on: 1) }
            let passes = try await concurrently(count) { try await buyers[$0].join("r").pass() }
            let waiters = try await concurrently(count) { try await Buyer.connect(shop, as: "w\($0)", on: 0) }
            for waiter in waiters { try await waiter.join("r") }
            for (buyer, pass) in zip(buyers, passes) {
                buyer.send(["type": "claim", "sale": .integer(sale), "token": .text(pass), "key": "k"])
            }
            try await buyers[0].next("a result") { $0["type"] == "result" }
            shop.instances[1].signal(SIGKILL)
            for buyer in buyers { try await buyer.closed() }
            // Whatever was not decided is decided now; whatever was, is not decided again.
            for (buyer, pass) in zip(buyers, passes) {
                let answer = try await shop.claim(sale, buyer.client, pass: pass, key: "k", on: 0)
                #expect([200, 201].contains(answer.status), "\(answer.text)")
            }
            for waiter in waiters { try await waiter.admitted("r") }
            for buyer in buyers {
                #expect(try await shop.standing(buyer.client, "r").result["status"] == "FINISHED")
            }
            let room = try await shop.inspect("r")
            let all = JSON.integer(Int64(count))
            #expect(room.includes(["spent": all, "active": all, "waiting": 0, "expired": 0]), "\(room)")
            try await shop.expectBooks(sale, sold: Int64(count))
        }
    }

    // MARK: Redis

    @Test func redisComesBackWithItsFile() async throws {
        try await withShop(2, options: { $0.redis.isPersistent = true }) { shop in
            try await shop.room("r", maxActive: 3, graceSeconds: 30)
            let holders = try await concurrently(3) { try await Buyer.connect(shop, as: "h\($0)", on: $0 % 2) }
            var passes: [String] = []
            for holder in holders { passes.append(try await holder.join("r").pass()) }
            let line = try await line(of: shop, "r", 30)
            _ = try await shop.join("poller", "r")
            let away = try await Buyer.connect(shop, as: "away")
            #expect(try await away.join("r")["rank"] == 32)
            try await away.close()
            try await line[5].leave("r")

            await shop.redis.kill()
            let late = try await Buyer.open(shop, as: "late")
            let refused = try await late.tryToConnect(token: shop.token("late"))
            #expect(refused["type"] == "error" && refused["code"] == "unavailable", "\(refused)")
            let join = try await line[0].join("r")
            #expect(join["type"] == "error" && join["code"] == "unavailable", "\(join)")
            #expect(try await shop.join("late", "r").code == "unavailable")
            // Somebody goes whose place nobody can give up now.
            try await line[9].close()
            try await shop.redis.restart(keepingData: true)

            try await eventually("both instances answer") {
                for instance in 0..<2 where try await shop.standing("poller", "r", on: instance).status != 200 {
                    return false
                }
                return true
            }
            #expect(try await shop.standing("poller", "r").result["rank"] == 30)
            for (index, holder) in holders.enumerated() {
                let standing = try await shop.standing("h\(index)", "r", on: index % 2)
                #expect(standing.result["token"] == .text(passes[index]))
                #expect(!holder.heard.contains { $0["type"] == "expired" })
            }
            // One instance may take a moment longer to hear what is said to its clients.
            var back: [Buyer] = []
            for (name, instance) in [("away", 1), ("c9", 0)] {
                back.append(try await Buyer.connectAtLast(shop, as: name, on: instance))
            }
            #expect(try await back[0].join("r")["rank"] == 31)
            #expect(try await back[1].join("r")["rank"] == 9)
            // And it goes on: all hear of it, whose connection never broke.
            try await line[0].leave("r")
            let rest = line[1...].filter { ![5, 9].contains($0.number) }
            for buyer in rest {
                let rank = Int64(buyer.number > 5 ? buyer.number - 1 : buyer.number)
                try await eventually("\(buyer.client) is told \(rank)") { buyer.place("r")?["rank"] == .integer(rank) }
            }
            try await holders[0].leave("r")
            try await line[1].admitted("r")
            let room = try await shop.inspect("r")
            #expect(room.includes(["active": 3, "vanished": 0, "left": 3]), "\(room)")
        }
    }

    /// Nothing of it is left: everybody is sent to come back, and the line forms anew.
    @Test func redisComesBackEmpty() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            // So that changes are counted from 0 again, far below where they were.
            for index in 0..<30 { _ = try await shop.join("p\(index)", "r") }
            let line = try await line(of: shop, "r", 20, after: 30)
            await shop.redis.kill()
            try await shop.redis.restart(keepingData: false)
            let back = try await concurrently(line.count) { index in
                #expect(try await line[index].closed().code == 1001)
                let buyer = try await Buyer.connectAtLast(shop, as: line[index].client, on: index % 2)
                try await eventually("\(buyer.client) waits again") { try await buyer.join("r")["type"] == "joined" }
                return buyer
            }
            try await self.restingRanksAreTold(back, shop, "r")
            #expect(try await shop.inspect("r")["waiting"] == 20)
            let front = try #require(back.first { $0.place("r")?["rank"] == 1 })
            try await front.leave("r")
            try await self.restingRanksAreTold(back.filter { $0 !== front }, shop, "r")
        }
    }

    /// The machine of Redis dies, and what was decided last is lost with it: those who are connected keep waiting, and
    /// hear the ranks that they have now.
    @Test func redisComesBackWithoutItsLastWrites() async throws {
        try await withShop(2, options: { $0.redis.isPersistent = true }) { shop in
            try await shop.room("r", maxActive: 0)
            let line = try await line(of: shop, "r", 20)
            let copy = try shop.redis.keepData()
            for index in [2, 7, 11] { try await line[index].leave("r") }
            let late = try await concurrently(6) { try await Buyer.connect(shop, as: "late\($0)", on: $0 % 2) }
            for (index, buyer) in late.enumerated() {
                #expect(try await buyer.join("r")["rank"] == .integer(Int64(index + 18)))
            }
            try await shop.redis.restart(asOf: copy)
            // Those who had joined stand there as before, the others behind them.
            try await eventually("all wait again") {
                let room = try await shop.call(.get, "/api/rooms/r", as: .admin)
                return room.status == 200 && room.result["waiting"] == 26
            }
            let waiting = line.filter { ![2, 7, 11].contains($0.number) } + late
            try await self.restingRanksAreTold(waiting, shop, "r")
            for buyer in line where ![2, 7, 11].contains(buyer.number) {
                #expect(buyer.place("r")?["rank"] == .integer(Int64(buyer.number + 1)), "\(buyer.client)")
            }
            // And those that they have later.
            try await line[0].leave("r")
            try await late[0].leave("r")
            try await self.restingRanksAreTold(waiting.filter { $0 !== line[0] && $0 !== late[0] }, shop, "r")
        }
    }

    // MARK: Schedulers

    /// A pass runs out and the next client is admitted by a scheduler that dies before it has told anybody. The next
    /// scheduler tells both.
    @Test func whatADeadSchedulerDecidedIsTold() async throws {
        try await withShop(2, ["DIBS_ROLES": "gateway,committer"]) { shop in
            let scheduler = try await shop.start(["DIBS_ROLES": "scheduler"])
            try await shop.room("r", maxActive: 1, passSeconds: 2)
            try await shop.room("s", maxActive: 1, passSeconds: 2)
            let ada = try await Buyer.connect(shop, as: "ada", on: 0)
            let bob = try await Buyer.connect(shop, as: "bob", on: 1)
            let eve = try await Buyer.connect(shop, as: "eve", on: 0)
            // It works while it lives; frozen, it does nothing.
            for buyer in [ada, bob] { try await buyer.join("s") }
            try await ada.expired("s")
            try await bob.admitted("s")
            shop.instances[scheduler].signal(SIGSTOP)
            for (index, buyer) in [ada, bob, eve].enumerated() {
                let answer = try await buyer.join("r")
                #expect(index == 0 ? answer["type"] == "admitted" : answer["rank"] == .integer(Int64(index)))
            }
            let passes = (1...3).map { "00000000-0000-4000-8000-00000000000\($0)" }
            var decided = ""
            try await eventually("the pass has run out") {
                decided = try await shop.callRedis("dibs_room_tick", "r", passes: passes)
                return decided.contains("g bob")
            }
            #expect(decided.contains("t ada"), "\(decided)")
            #expect(try await shop.redis("zcard", "dibs:{room:r}:outbox") == "2")
            shop.instances[scheduler].signal(SIGKILL)
            _ = try await shop.instances[scheduler].waitForExit()
            // The line has moved, which is told to whoever still waits; the pass is not known to anybody.
            try await eve.ranked(1, "r")
            for buyer in [ada, bob] {
                _ = try await buyer.ask(["type": "ping"])
                #expect(!buyer.heard.contains { $0["room"] == "r" && ["expired"].contains($0["type"]) })
            }
            #expect(!bob.heard.contains { $0["token"] == .text(passes[0]) })

            try await shop.restart(scheduler, ["DIBS_ROLES": "scheduler"])
            let told = try await bob.admitted("r")
            #expect(told["token"] == .text(passes[0]) && told["offset"].integer != nil, "\(told)")
            try await ada.expired("r")
            try await eventually("nothing is left to be told") {
                try await shop.redis("zcard", "dibs:{room:r}:outbox") == "0"
            }
            // Once each, and in order; and the line goes on.
            try await bob.expired("r")
            try await eve.admitted("r")
            for buyer in [ada, bob, eve] {
                #expect(buyer.offsets == Array(1...Int64(buyer.offsets.count)), "\(buyer.heard)")
                let told = buyer.heard.filter { $0["room"] == "r" && $0["type"] == "admitted" }
                #expect(told.count == 1, "\(told)")
            }
        }
    }

    /// Two schedulers are killed and started again while a line moves by the clock: never more than the room allows,
    /// nobody is forgotten, and the order is that of joining.
    @Test func schedulersDieAndTheLineGoesOn() async throws {
        try await withShop(2, ["DIBS_ROLES": "gateway,committer"]) { shop in
            let schedulers = [
                try await shop.start(["DIBS_ROLES": "scheduler"]), try await shop.start(["DIBS_ROLES": "scheduler"]),
            ]
            try await shop.room("r", maxActive: 3, passSeconds: 1)
            let witness = try await LineWitness.watch("r", of: shop)
            let line = try await concurrently(18) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in line { try await buyer.join("r") }
            for round in 0..<4 {
                let victim = schedulers[round % 2]
                // Not at once: the clock has to do something in between.
                let before = witness.admissions.count
                try await eventually("somebody is admitted") {
                    witness.admissions.count > before || witness.admissions.count == line.count
                }
                shop.instances[victim].signal(SIGKILL)
                _ = try await shop.instances[victim].waitForExit()
                try await shop.restart(victim, ["DIBS_ROLES": "scheduler"])
            }
            for buyer in line {
                try await buyer.expired("r")
                #expect(buyer.offsets == [1, 2], "\(buyer.heard)")
            }
            #expect(witness.admissions.map(\.client) == line.map(\.client))
            #expect(witness.changes.values.allSatisfy { $0.active <= 3 })
            for buyer in line { _ = witness.check(buyer, "r") }
            witness.stop()
        }
    }

    // MARK: Help

    /// So many clients `c0`, `c1`, … who wait in this order, on one instance and the other by turns.
    @LoopActor
    private func line(of shop: Shop, _ room: String, _ count: Int, after others: Int = 0) async throws -> [Buyer] {
        let buyers = try await concurrently(count) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
        for (index, buyer) in buyers.enumerated() {
            #expect(try await buyer.join(room)["rank"] == .integer(Int64(others + index + 1)))
        }
        return buyers
    }

    /// Waits until everybody was told last what Redis says, wherever the line was counted anew.
    @LoopActor
    private func restingRanksAreTold(_ buyers: [Buyer], _ shop: Shop, _ room: String) async throws {
        for (index, buyer) in buyers.enumerated() {
            try await eventually("\(buyer.client) is told its rank", within: 20_000) {
                let standing = try await shop.standing(buyer.client, room, on: index % 2)
                let rank = standing.result["rank"]
                return rank.integer != nil && buyer.place(room)?["rank"] == rank
            }
        }
    }

    /// Waits until those who wait, in this order, have been told their ranks, and Redis says the same.
    @LoopActor
    private static func areTold(
        _ line: [Buyer], _ shop: Shop, _ room: String, on instances: [Int] = [0, 1]
    ) async throws {
        for (index, buyer) in line.enumerated() {
            let rank = JSON.integer(Int64(index + 1))
            try await eventually("\(buyer.client) is told \(rank)") { buyer.place(room)?["rank"] == rank }
            let standing = try await shop.standing(buyer.client, room, on: instances[index % instances.count])
            #expect(standing.result["rank"] == rank, "\(buyer.client): \(standing.text)")
        }
    }
}

extension Buyer {
    /// The number in a name like `c17`.
    fileprivate var number: Int { Int(client.dropFirst()) ?? -1 }
}
