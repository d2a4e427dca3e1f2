import EventLoop
import Foundation
import Glibc
import TestServices
import Testing

/// Every rank that is told is the exact one, whatever happens to the line.
@Suite struct RoomRanksTests {
    /// Many clients join, leave, vanish, come back, open second tabs and are admitted, on two instances, by chance;
    /// others poll. Each rank that anybody is told is compared with the exact one after that very change of the line.
    /// The second time connections to Redis break all the while, and with them what is announced. `ROOM_SEED` in the
    /// environment makes it another chance.
    @Test(arguments: [false, true])
    func everyRankIsExact(whileConnectionsBreak: Bool) async throws {
        let given = ProcessInfo.processInfo.environment["ROOM_SEED"].flatMap { UInt64($0) }
        let seed = given ?? (whileConnectionsBreak ? 411 : 20_261_120)
        try await withShop(2) { shop in
            let places: Int64 = 5
            try await shop.room("r", maxActive: places, passSeconds: 2, graceSeconds: 2)
            let witness = try await LineWitness.watch("r", of: shop)
            let crowd = Crowd(shop, "r", witness)
            let wanderers = (0..<120).map { index in
                EventLoop.task { try? await crowd.wander(index, SeededGenerator(seed: seed &+ UInt64(index))) }
            }
            let pollers = (0..<15).map { index in
                EventLoop.task { try? await crowd.poll(index, SeededGenerator(seed: seed &- UInt64(index) &- 1)) }
            }
            // Until enough has happened.
            let deadline = EventLoop.monotonicMilliseconds + 20_000
            var random = SeededGenerator(seed: seed ^ 1)
            while witness.event < 700 && EventLoop.monotonicMilliseconds < deadline {
                await EventLoop.sleep(milliseconds: .random(in: 50..<500, using: &random))
                if whileConnectionsBreak {
                    try await shop.cutConnections(Int.random(in: 0..<4, using: &random) == 0)
                }
            }
            #expect(witness.event > 200, "only \(witness.event) changes of the line")
            #expect(witness.changes.values.allSatisfy { $0.active <= $0.maxActive && $0.maxActive == places })
            // Nobody is admitted any more, nobody goes or comes: the line comes to rest.
            try await eventually("the room is closed") {
                try await shop.call(.patch, "/api/rooms/r", as: .admin, ["maxActive": 0]).status == 200
            }
            crowd.isOver = true
            for task in wanderers { _ = await task.value }
            for task in pollers { _ = await task.value }
            #expect(crowd.problems.isEmpty, "\(crowd.problems)")
            try await eventually("whoever has vanished is let go") {
                let waiting = crowd.tabs.filter { tabs in
                    tabs.value.first.map { witness.place(of: $0, "r") != nil } == true
                }.count
                return try await shop.inspect("r")["waiting"].integer == Int64(waiting)
            }
            let last = try #require(try await Int64(shop.redis("hget", "dibs:{room:r}", "event")))
            try await witness.sees(last)
            var atRest = 0
            for (client, tabs) in crowd.tabs {
                let standing = try await shop.standing(client, "r").json["result"]
                guard standing["status"] == "WAITING" else {
                    for tab in tabs {
                        try await eventually("\(client) knows that it doesn't wait") {
                            witness.place(of: tab, "r") == nil
                        }
                    }
                    continue
                }
                atRest += 1
                #expect(standing["rank"].integer == witness.rank(of: client, at: last), "\(client): \(standing)")
                for tab in tabs {
                    try await eventually("\(client) is told its last rank, \(standing)") {
                        witness.place(of: tab, "r")?["rank"] == standing["rank"]
                    }
                }
            }
            #expect(atRest > 5)

            var checked = 0
            for buyer in crowd.all { checked += witness.check(buyer, "r") }
            #expect(checked > 2000)
            // In the order of joining, whoever it was.
            let order = witness.admissions.map(\.number)
            #expect(order == order.sorted() && Set(order).count == order.count && order.count > 30)
            // Pollers hear nothing but what was true in between.
            for answer in crowd.polled {
                let exact = witness.ranks(of: answer.client, from: answer.askedAt, to: answer.heardAt)
                #expect(exact.contains(answer.rank), "\(answer), exactly \(exact)")
            }
            #expect(crowd.polled.count > 50)
            // Whoever is there was told each pass that it got, on one connection or another.
            for (client, tabs) in crowd.tabs where !tabs.isEmpty {
                let given = Set(witness.admissions.filter { $0.client == client }.map(\.pass))
                try await eventually("\(client) was told its passes") {
                    let heard = crowd.all.filter { $0.client == client }.flatMap(\.heard)
                        .filter { $0["type"] == "admitted" }
                    return Set(heard.compactMap { $0["token"].text }) == given
                }
            }
            witness.stop()
        }
    }

    /// Whoever admits may die before it tells. When the client leaves before a scheduler tells it instead, and joins again,
    /// it hears of the old pass while it waits: outcomes are told late, but told. Its ranks go on.
    @Test func aPassThatIsToldLateTakesNoPlaceAway() async throws {
        // Nobody looks for what was not told, until a scheduler is there.
        try await withShop(2, ["DIBS_ROLES": "gateway,committer"]) { shop in
            try await shop.room("r", maxActive: 1)
            let witness = try await LineWitness.watch("r", of: shop)
            let buyers = try await concurrently(4) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("r") }
            let pass = UUID().uuidString
            try await shop.callRedis("dibs_room_leave", "r", passes: [pass], ["c0"])
            #expect(try await buyers[1].leave("r")["type"] == "left")
            try await buyers[2].admitted("r")
            #expect(try await buyers[1].join("r")["rank"] == 2)
            try await shop.start(["DIBS_ROLES": "scheduler"])
            #expect(try await buyers[1].admitted("r")["token"] == .text(pass))
            try await buyers[3].leave("r")
            try await buyers[1].ranked(1, "r")
            try await witness.sees(try #require(buyers[1].place("r")?["seq"].integer))
            #expect(witness.place(of: buyers[1], "r")?["rank"] == 1)
            for buyer in buyers { _ = witness.check(buyer, "r") }
            // The pass that it waits for is another.
            try await buyers[2].leave("r")
            #expect(try await buyers[1].admitted("r")["token"] != .text(pass))
            witness.stop()
        }
    }

    /// A change of which nobody was told is noticed by the next one, and the line is read anew.
    @Test func aLostAnnouncementIsMadeUpFor() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            let witness = try await LineWitness.watch("r", of: shop)
            let buyers = try await concurrently(30) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("r") }
            for index in [3, 4, 11] {
                try await shop.callRedis("dibs_room_leave", "r", channel: "nowhere", ["c\(index)"])
            }
            try await shop.callRedis("dibs_room_join", "r", channel: "nowhere", ["nobody", "0"])
            // Nobody knows; then something is heard.
            try await buyers[7].leave("r")
            let rest = buyers.filter { !["c3", "c4", "c11", "c7"].contains($0.client) }
            for (index, buyer) in rest.enumerated() {
                try await eventually("\(buyer.client) is told its rank") {
                    buyer.place("r")?["rank"] == .integer(Int64(index + 1))
                }
            }
            for index in [3, 4, 11] { try await buyers[index].left("r") }
            for buyer in buyers { _ = witness.check(buyer, "r") }
            witness.stop()
        }
    }

    /// The connections by which the instances hear of the line are cut while it changes.
    @Test func connectionsToRedisThatBreakHideNothing() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            let witness = try await LineWitness.watch("r", of: shop)
            let buyers = try await concurrently(40) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            for buyer in buyers { try await buyer.join("r") }
            var gone: Set<Int> = []
            for round in 0..<4 {
                // Before they are back, some go, behind their backs as well, and one passes the head.
                let leaving = [round, 38 - round * 5, 20 + round]
                gone.formUnion(leaving)
                try await eventually("both instances listen") {
                    try await shop.redis("pubsub", "numsub", "dibs:{room:r}:events").hasSuffix("\n2")
                }
                async let killed = shop.redis("client", "kill", "type", "pubsub")
                for index in leaving {
                    try await shop.callRedis("dibs_room_leave", "r", ["c\(index)"])
                }
                #expect(try await Int64(killed) ?? 0 >= 2)
                // Calls fail, too, and whoever waits is not hurt by it.
                if round == 2 { try await shop.cutConnections(true) }
            }
            let rest = buyers.indices.filter { !gone.contains($0) }
            for (index, buyer) in rest.enumerated() {
                try await eventually("c\(buyer) is told its rank") {
                    buyers[buyer].place("r")?["rank"] == .integer(Int64(index + 1))
                }
                try await eventually("the instances answer") {
                    let standing = try await shop.standing("c\(buyer)", "r", on: index % 2)
                    return standing.result["rank"] == .integer(Int64(index + 1))
                }
            }
            for buyer in buyers { _ = witness.check(buyer, "r") }
            // What is told to single clients is lost as little.
            async let killed = shop.cutConnections(false)
            try await shop.change("r", ["maxActive": 100])
            try await killed
            for index in rest {
                try await buyers[index].admitted("r")
                #expect(buyers[index].offsets == [1])
            }
            for index in gone { #expect(buyers[index].offsets.isEmpty) }
            witness.stop()
        }
    }
}

/// What happens while an instance does not hear of it is found out afterwards.
@Suite struct RoomDeafnessTests {
    /// Instance 1 is frozen, and its connections are cut; so nothing that happens meanwhile comes to it.
    @LoopActor
    private func whileDeaf(_ shop: Shop, _ body: @LoopActor () async throws -> Void) async throws {
        shop.instances[1].signal(SIGSTOP)
        try await shop.cutConnections(false)
        do {
            try await body()
            shop.instances[1].signal(SIGCONT)
        } catch {
            shop.instances[1].signal(SIGCONT)
            throw error
        }
    }

    /// Who has left by the other instance is not put into the line again; neither is who was admitted there, and bought.
    @Test func whoWentIsNotPutInLineAgain() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 0)
            let sale = try await shop.sale(10, in: "r")
            let line = try await concurrently(8) { try await Buyer.connect(shop, as: "c\($0)", on: 1) }
            for buyer in line { try await buyer.join("r") }
            let here = try await Buyer.connect(shop, as: "here", on: 0)
            #expect(try await here.join("r")["rank"] == 9)
            try await self.whileDeaf(shop) {
                #expect(try await shop.leave("c3", "r").status == 204)
                try await shop.change("r", ["maxActive": 1])
                let pass = try await shop.standing("c0", "r").result.pass()
                #expect(try await shop.claim(sale, "c0", pass: pass).status == 201)
                #expect(try await shop.standing("c1", "r").result["status"] == "IN_PROGRESS")
                try await here.ranked(6, "r")
            }
            try await line[3].left("r")
            try await line[0].admitted("r")
            try await line[1].admitted("r")
            for (index, buyer) in ([2, 4, 5, 6, 7].map { line[$0] } + [here]).enumerated() {
                try await eventually("\(buyer.client) is told its rank") {
                    buyer.place("r")?["rank"] == .integer(Int64(index + 1))
                }
            }
            #expect(try await shop.inspect("r").includes(["waiting": 6, "active": 1, "joined": 9, "left": 1]))
            // But of its own accord it may come back.
            #expect(try await line[3].join("r")["rank"] == 7)
        }
    }

    /// The sale ends, and the line with it: nobody is let in, or stands in line again, because nobody is there to say so.
    @Test func theEndOfTheSaleIsFoundOut() async throws {
        try await withShop(2) { shop in
            try await shop.room("r", maxActive: 1)
            let sale = try await shop.sale(10, in: "r")
            #expect(try await shop.join("front", "r").result["status"] == "IN_PROGRESS")
            let line = try await concurrently(6) { try await Buyer.connect(shop, as: "c\($0)", on: 1) }
            for buyer in line { try await buyer.join("r") }
            try await self.whileDeaf(shop) {
                try await shop.end(sale, "close")
                let room = try await shop.inspect("r")
                #expect(room["waiting"] == 0, "\(room)")
            }
            for buyer in line { try await buyer.left("r") }
            _ = try await shop.leave("front", "r")
            let room = try await shop.inspect("r", on: 1)
            #expect(room.includes(["waiting": 0, "active": 0, "joined": 7, "admitted": 1, "closed": 6]), "\(room)")
        }
    }
}

/// Clients that come and go by chance.
@LoopActor
private final class Crowd {
    struct Polled {
        let client: String
        let rank: Int64
        let askedAt, heardAt: Int64
    }

    let shop: Shop
    let room: String
    let witness: LineWitness
    /// Every connection that there was.
    private(set) var all: [Buyer] = []
    /// The connections that each client has now.
    private(set) var tabs: [String: [Buyer]] = [:]
    private(set) var polled: [Polled] = []
    private(set) var problems: [String] = []
    var isOver = false

    init(_ shop: Shop, _ room: String, _ witness: LineWitness) {
        self.shop = shop
        self.room = room
        self.witness = witness
    }

    private func connect(_ client: String, _ instance: Int, after: Buyer? = nil) async throws -> Buyer {
        let buyer = try await Buyer.connectAtLast(shop, as: client, on: instance, resume: after?.position)
        all.append(buyer)
        return buyer
    }

    /// A client with a WebSocket, or two.
    func wander(_ index: Int, _ seeded: SeededGenerator) async throws {
        var random = seeded
        let client = "c\(index)"
        do {
            await EventLoop.sleep(milliseconds: .random(in: 0..<1500, using: &random))
            var buyer = try await connect(client, index % 2)
            tabs[client] = [buyer]
            while !isOver {
                let answer = try await buyer.join(room)
                if answer["code"] == "unavailable" {
                    await EventLoop.sleep(milliseconds: 50)
                    continue
                }
                try #require(answer["type"] == "joined" || answer["type"] == "admitted", "\(answer)")
                if try await isAdmitted(buyer, within: .random(in: 200..<2500, using: &random)) {
                    // Some are slow, and one pass in ten runs out.
                    if Int.random(in: 0..<10, using: &random) == 0 {
                        try await buyer.expired(room)
                    } else {
                        await EventLoop.sleep(milliseconds: .random(in: 0..<200, using: &random))
                        try await buyer.leave(room)
                    }
                    if Int.random(in: 0..<3, using: &random) == 0 { return }
                    continue
                }
                guard !isOver else { return }
                switch Int.random(in: 0..<20, using: &random) {
                case 0..<4: try await buyer.leave(room)
                case 4..<10:
                    // Away for a moment, or for longer than the grace; back on either instance.
                    let before = buyer
                    tabs[client] = []
                    before.abort()
                    try await before.closed()
                    await EventLoop.sleep(milliseconds: .random(in: 0..<600, using: &random))
                    buyer = try await connect(client, .random(in: 0..<2, using: &random), after: before)
                    tabs[client] = [buyer]
                    // Else it never waits again, and does not know its place.
                    try await buyer.join(room)
                case 10:
                    tabs[client] = []
                    buyer.abort()
                    return
                case 11..<14:
                    // A second tab, of which one is closed.
                    let tab = try await connect(client, .random(in: 0..<2, using: &random), after: buyer)
                    try await tab.join(room)
                    let closes = Bool.random(using: &random) ? tab : buyer
                    if closes === buyer { buyer = tab }
                    tabs[client] = [buyer]
                    try await closes.close()
                default: break
                }
            }
        } catch {
            problems.append("\(client): \(error)")
        }
    }

    /// Whether the pass comes in some time.
    private func isAdmitted(_ buyer: Buyer, within milliseconds: Int64) async throws -> Bool {
        // What comes of a call is told to the client and to the witness by ways of their own.
        let told = buyer.heard.last { $0["room"] == .text(room) && !$0["seq"].isNull }
        if let event = told?["seq"].integer { try await witness.sees(event) }
        if witness.place(of: buyer, room) == nil { return true }
        let end = try? await buyer.next("the end of waiting", within: milliseconds) {
            ["admitted", "left"].contains($0["type"])
        }
        guard let end else { return false }
        if let pass = end["token"].text {
            try await eventually("the pass \(pass) was given") { self.witness.admissions.contains { $0.pass == pass } }
        }
        return witness.place(of: buyer, room) == nil
    }

    /// A client that polls, and sometimes has enough of it.
    func poll(_ index: Int, _ seeded: SeededGenerator) async throws {
        var random = seeded
        let client = "poller\(index)"
        do {
            await EventLoop.sleep(milliseconds: .random(in: 0..<1500, using: &random))
            while !isOver {
                let askedAt = EventLoop.wallMilliseconds
                let answer = try await shop.join(client, room, on: .random(in: 0..<2, using: &random))
                let heardAt = EventLoop.wallMilliseconds
                if answer.code == "unavailable" { continue }
                if let rank = answer.result["rank"].integer {
                    polled.append(Polled(client: client, rank: rank, askedAt: askedAt, heardAt: heardAt))
                    if Int.random(in: 0..<20, using: &random) == 0 { _ = try await shop.leave(client, room) }
                } else {
                    try #require(answer.result["token"].text != nil, "\(answer.text)")
                    _ = try await shop.leave(client, room)
                }
                await EventLoop.sleep(milliseconds: .random(in: 50..<400, using: &random))
            }
            // At rest nobody polls.
            try await eventually("\(client) leaves") { try await self.shop.leave(client, self.room).status == 204 }
        } catch {
            problems.append("\(client): \(error)")
        }
    }
}

/// The same numbers for the same seed (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
