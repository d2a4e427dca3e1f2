import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// Random lives of a performance, the same in Redis, in the model, and for whoever knows only what the channel says.
@Suite struct SeatPropertyTests {
    private static let everything = [
        "held", "expired", "released", "paid", "refunded", "refused:seat_taken", "refused:duplicate", "repeated",
        "closing",
        "rebuilt", "expired.pay", "underPayment",
    ]

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func redisDoesWhatTheModelDoes(_ seed: UInt64) async throws {
        try await onLoop {
            let walk = try await SeatWalk(seed: seed)
            // Which way a seed goes differs from run to run: on, if need be, until nothing is left untried.
            var step = 0
            while step < 600 || step < 6000 && !Self.everything.allSatisfy({ walk.counts[$0] ?? 0 > 0 }) {
                step += 1
                try await walk.step()
                let problems = try await walk.problems()
                guard problems.isEmpty else {
                    let steps = walk.trace.suffix(12).joined(separator: "\n")
                    Issue.record("seed \(seed), step \(step):\n\(problems.prefix(8))\n\(steps)")
                    return
                }
            }
            let problems = try await walk.problemsOfLogs()
            #expect(problems.isEmpty, "seed \(seed)")
            // Nothing went untried.
            let counts = walk.counts
            for name in Self.everything { #expect(counts[name] ?? 0 > 0, "seed \(seed): \(name)") }
        }
    }
}

/// A random walk of the performance, the model and a watcher.
@LoopActor
private final class SeatWalk {
    private let fixture: EngineFixture
    private let watch: SeatWatch
    private var model: SeatModel
    private var generator: SeededGenerator
    private var read: [ReservationEvent] = []
    /// Events that left the log, by their entries.
    private var acknowledged: Set<String> = []
    /// When a scheduler would look next: by the last message, or by its own last tick.
    private var planned: Timestamp?
    private var heardMessages = 0
    private var seen: [String: Int64] = [:]
    private var found: [String] = []
    private(set) var trace: [String] = []
    private var performance: PerformanceID { model.definition.id }

    var counts: [String: Int64] { seen.merging(model.counts) { $0 + $1 } }

    init(seed: UInt64) async throws {
        generator = SeededGenerator(seed: seed)
        fixture = try await EngineFixture()
        let definition = EngineFixture.performance(
            seats: Int64.random(in: 15...30, using: &generator), price: 7, hold: 20,
            limit: Int64.random(in: 3...5, using: &generator))
        try await fixture.engine.register(definition, epoch: 1)
        model = SeatModel(definition, now: fixture.clock.now.milliseconds)
        watch = try await SeatWatch(fixture.engine, definition.id)
    }

    private func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }
    private func client() -> String { "c\(Int.random(in: 1...5, using: &generator))" }

    /// Mostly one that is there.
    private func sequence() -> Int64 {
        if chance(25),
            let next = model.records.filter({ !$0.value.isSold }).min(by: {
                ($0.value.look, $0.key) < ($1.value.look, $1.key)
            })
        {
            return next.key
        }
        if chance(85), let sequence = model.records.keys.sorted().randomElement(using: &generator) { return sequence }
        return max(SaleEpoch.base(1), model.sequence - Int64.random(in: -1...30, using: &generator))
    }

    private func expect(_ holds: Bool, _ what: @autoclosure () -> String) {
        if !holds { found.append(what()) }
    }

    func step() async throws {
        switch Int.random(in: 0..<100, using: &generator) {
        case ..<35: try await holdSome()
        case ..<50: moveClock()
        case ..<58: try await release()
        case ..<70: try await pay()
        case ..<74: try await refuse()
        case ..<82: try await settle()
        case ..<90: try await tick()
        case ..<98: try await readLog()
        default: try await rebuild()
        }
    }

    private func wish() -> SeatWish {
        // The same as before, or others, next to each other or not.
        if chance(20), let record = model.records.sorted(by: { $0.key < $1.key }).randomElement(using: &generator) {
            return (chance(80) ? record.value.client : client(), record.value.seats)
        }
        let count = model.definition.layout.count
        let size = Int64.random(in: 1...3, using: &generator)
        if chance(50) {
            let first = Int64.random(in: 1...count - 2, using: &generator)
            return (client(), Array(first..<first + size))
        }
        return (client(), Set((0..<size).map { _ in Int64.random(in: 1...count, using: &generator) }).sorted())
    }

    private func holdSome() async throws {
        let wishes = (0..<Int.random(in: 1...5, using: &generator)).map { _ in wish() }
        trace.append("hold \(wishes.map { "\($0.client) \($0.seats)" })")
        let expected = model.hold(wishes)
        let decisions = try await fixture.holds(wishes, of: performance)
        for ((wish, decision), expected) in zip(zip(wishes, decisions), expected) {
            if case .taken(let all) = expected, case .taken(let some) = decision {
                expect(!some.isEmpty && some.allSatisfy { all.contains($0) }, "\(wish): taken are \(some), not \(all)")
            } else {
                expect(decision == expected, "\(wish): \(decision), not \(expected)")
                if decision.repeated != nil { seen["repeated", default: 0] += 1 }
            }
        }
    }

    private func moveClock() {
        let due = (model.due ?? model.now) - model.now
        // To the deadlines exactly, around them, and far.
        let by = [1, 500, 3000, due, due - 1, due + 1, 7000, chance(5) ? 60_000 : 100].randomElement(using: &generator)!
        trace.append("\(by) ms pass")
        model.now += max(0, by)
        fixture.clock.now = Timestamp(milliseconds: model.now)
    }

    private func release() async throws {
        let sequence = sequence()
        trace.append("release \(sequence)")
        let expected = model.release(sequence)
        if expected == .underPayment { seen["underPayment", default: 0] += 1 }
        let release = try await fixture.engine.release(model.id(sequence))
        expect(release == expected, "release \(sequence): \(release), not \(expected)")
    }

    private func pay() async throws {
        let sequence = sequence()
        let client = chance(90) ? model.records[sequence]?.client ?? client() : client()
        trace.append("\(client) pays \(sequence)")
        let expected = model.pay(sequence, by: client)
        switch expected {
        case .expired, .closing: seen["expired.pay", default: 0] += 1
        default: break
        }
        let start = try await fixture.engine.beginPayment(model.id(sequence), by: ClientID(trusted: client))
        expect(start == expected, "payment of \(sequence): \(start), not \(expected)")
    }

    private func refuse() async throws {
        let sequence = sequence()
        trace.append("refuse \(sequence)")
        model.refuse(sequence)
        try await fixture.engine.refusePayment(model.id(sequence))
    }

    private func settle() async throws {
        var settlements: [(id: ReservationID, as: SeatSettlement)] = []
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
            let (sequence, roll) = (sequence(), Int.random(in: 0..<10, using: &generator))
            let settlement: SeatSettlement = roll < 4 ? .sold : roll < 7 ? .over : .refunded
            settlements.append((model.id(sequence), settlement))
            model.settle(sequence, settlement)
        }
        trace.append("settle \(settlements.map { "\($0.id.sequence) \($0.as)" })")
        try await fixture.engine.settle(settlements)
        if chance(30) {
            // Again: as far as it said what is true by now, nothing happens.
            let last = settlements[settlements.count - 1]
            model.settle(last.id.sequence, last.as)
            try await fixture.engine.settle([last])
        }
    }

    private func tick() async throws {
        trace.append("tick")
        let expected = model.tick()
        let tick = try await fixture.tickSeats(performance)
        if !expected.isEmpty { seen["closing", default: 0] += 1 }
        expect(tick.closing == expected, "closing are \(tick.closing), not \(expected)")
        expect(tick.due?.milliseconds == model.due && !tick.isMore, "\(tick), not due at \(model.due ?? 0)")
        try await hear()
        planned = tick.due
    }

    private func readLog() async throws {
        let engine = fixture.engine
        read +=
            chance(70)
            ? try await engine.readReservations(
                of: performance, consumer: "c\(Int.random(in: 0...2, using: &generator))",
                count: Int.random(in: 1...6, using: &generator))
            : try await engine.takeOverReservations(
                of: performance, consumer: "heir", idleMilliseconds: 0, count: 5)
        // Some of them were acknowledged before.
        let chosen = (0..<Int.random(in: 0...6, using: &generator)).compactMap { _ in
            read.randomElement(using: &generator)
        }
        trace.append("acknowledge \(chosen.map(\.entry))")
        try await engine.acknowledge(chosen)
        acknowledged.formUnion(chosen.map(\.entry))
    }

    private func rebuild() async throws {
        // PostgreSQL knows all that is paid, and most of what is held.
        let kept = model.records.filter { $0.value.isSold || chance(80) }.map(\.key)
        trace.append("rebuild with \(kept.sorted())")
        try await watch.follow()
        let snapshot = model.rebuild(keeping: Set(kept))
        if chance(50) { try await fixture.redis("DEL", "dibs:{performance:7}", "dibs:{performance:7}:holds") }
        let isRebuilt = try await fixture.engine.rebuild(performance, ifOlderThan: snapshot.epoch) { snapshot }
        expect(isRebuilt, "not rebuilt")
        seen["rebuilt", default: 0] += 1
        try await watch.readAll()
        try await hear()
        // Whoever reads all learns when to look.
        planned = model.due.map { Timestamp(milliseconds: $0) }
    }

    /// What schedulers hear.
    private func hear() async throws {
        try await watch.follow()
        for message in watch.messages[heardMessages...] { planned = message.due }
        heardMessages = watch.messages.count
    }

    /// What is not as the model says, or not with itself.
    func problems() async throws -> [String] {
        let letters = try await fixture.seats(of: performance)
        expect(letters == model.letters, "seats are \(letters), not \(model.letters)")
        try await hear()
        if let due = model.due {
            expect(
                planned.map { $0.milliseconds <= due } ?? false,
                "a scheduler looks at \(planned?.milliseconds ?? 0), too late for \(due)")
        }
        let inspection = try await fixture.seatBalance(performance, isFirstEpoch: model.epoch == 1)
        expect(inspection.tally == model.tally, "\(inspection.tally)")
        expect(inspection.lastSequence == model.sequence, "the last sequence is \(inspection.lastSequence)")
        expect(inspection.counts == model.counts, "\(inspection.counts), not \(model.counts)")
        let unsettled = Int64(model.log.count - acknowledged.count)
        expect(inspection.unsettled == unsettled, "the log has \(inspection.unsettled), not \(unsettled)")

        var expected: [ReservationID: HoldRecord] = [:]
        for (sequence, record) in model.records {
            expected[model.id(sequence)] = HoldRecord(
                hold: model.hold(sequence, record), isSold: record.isSold, paymentsUnderWay: record.paying)
        }
        let ids = (0...60).map { model.id(model.sequence - $0) } + model.records.keys.map { model.id($0) }
        let records = try await fixture.engine.holds(ids)
        expect(records == expected, "records are \(records), not \(expected)")
        var owned: [HoldRecord] = []
        for number in 1...5 {
            let mine = try await fixture.engine.holds(of: ClientID(trusted: "c\(number)"), in: [performance])
            expect(mine.allSatisfy { $0.hold.client.rawValue == "c\(number)" }, "c\(number) has \(mine)")
            expect(mine.map(\.hold.id) == mine.map(\.hold.id).sorted(), "c\(number): not in order")
            owned += mine
        }
        expect(
            owned.map(\.hold.id).sorted() == expected.keys.sorted(), "clients own \(owned.map(\.hold.id))")

        let key = Keys.Performance(performance).deadlines
        let members = try await fixture.engine.router.ask(
            RedisCommand("ZRANGE", key, "0", "-1", "WITHSCORES"), about: key
        ).fields
        let looks = model.records.filter { !$0.value.isSold }.map { ("\($0.key)", "\($0.value.look)") }
        expect(members == Dictionary(uniqueKeysWithValues: looks), "deadlines are \(members), not \(looks)")
        defer { found = [] }
        return found
    }

    /// The log, and the clients' logs, as a whole.
    func problemsOfLogs() async throws -> [String] {
        let engine = fixture.engine
        let fresh = try await engine.readReservations(of: performance, consumer: "c0", count: 10_000)
        let pending = try await engine.takeOverReservations(
            of: performance, consumer: "heir", idleMilliseconds: 0, count: 10_000)
        let all = (read + fresh + pending).reduce(into: [String: ReservationEvent]()) { $0[$1.entry] = $1 }
        func key(_ entry: String) -> [Int] { entry.split(separator: "-").map { Int($0)! } }
        let events = all.values.sorted { key($0.entry).lexicographicallyPrecedes(key($1.entry)) }.map { event in
            SeatModel.Event(
                status: event.status, sequence: event.hold.id.sequence, client: event.hold.client.rawValue,
                seats: event.hold.seats)
        }
        expect(events == model.log, "logged \(events.count), not \(model.log.count)")
        for number in 1...5 {
            let told = try await fixture.toldOfSeats("c\(number)")
            let expected = model.told["c\(number)"] ?? []
            expect(told == expected.suffix(128), "c\(number) was told \(told.count), not \(expected.count)")
        }
        defer { found = [] }
        return found
    }
}
