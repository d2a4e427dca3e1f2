import Testing

@testable import FaultKit

@Suite struct ScheduleTests {
    private static let all = Fault.Kind.allCases

    @Test func isTheSameForTheSameSeed() {
        for seed in UInt64(0)..<200 {
            #expect(Schedule(seed: seed, kinds: Self.all) == Schedule(seed: seed, kinds: Self.all))
        }
        #expect(Set((0..<200).map { Schedule(seed: $0, kinds: Self.all).description }).count > 190)
    }

    /// Losing Redis' data while a process that told is gone is not promised anything; two faults of one thing are one.
    @Test func combinesOnlyWhatMayCome() {
        var together = 0
        for seed in UInt64(0)..<3000 {
            let schedule = Schedule(seed: seed, kinds: Self.all)
            #expect((1...2).contains(schedule.steps.count))
            for (first, second) in zip(schedule.steps, schedule.steps.dropFirst()) {
                guard case .together = second.start else { continue }
                together += 1
                #expect(first.fault.kind.mayOverlap && second.fault.kind.mayOverlap, "\(schedule)")
                #expect(first.fault.kind.subject != second.fault.kind.subject, "\(schedule)")
                #expect(!schedule.losesRedisData, "\(schedule)")
            }
            for step in schedule.steps {
                #expect(step.fault.kind.durations.contains(step.fault.milliseconds))
                if step.fault.kind == .redisFailover {
                    #expect(step == schedule.steps.last || schedule.steps[1].fault.kind.subject != 2)
                }
                #expect((0..<Schedule.instances).contains(step.fault.target))
            }
        }
        #expect(together > 200)
    }

    @Test func eachKindHasItsTurn() {
        let seeds = Schedule.seeds(Self.all.count * 2, from: 5, kinds: Self.all)
        #expect(Set(seeds).count == seeds.count)
        let first = seeds.map { Schedule(seed: $0, kinds: Self.all).steps[0].fault.kind }
        #expect(Set(first[..<Self.all.count]) == Set(Self.all))
        #expect(Set(first[Self.all.count...]) == Set(Self.all))
        #expect(Schedule.seeds(1, from: seeds[3], kinds: Self.all) == [seeds[3]])
    }

    @Test func words() throws {
        #expect(try Run.Options.kinds("") == Self.all)
        #expect(try Run.Options.kinds("kill,cut") == [.kill, .cut])
        #expect(try Run.Options.kinds("loss") == [.redisOlder, .redisEmpty, .redisFlush, .redisFailover])
        #expect(try !Run.Options.kinds("-loss").contains(.redisOlder))
        #expect(try Run.Options.kinds("redis -loss -network") == [.redisKill, .redisPause])
        #expect(throws: (any Error).self) { try Run.Options.kinds("nonsense") }
        #expect(throws: (any Error).self) { try Run.Options.kinds("kill,-kill") }
    }

    @Test func timesOfRecovery() {
        var times = Times()
        #expect(times.words == "–")
        for value in [Int64(30), 10, 20, 90] { times.add(value) }
        #expect(times.words == "20 / 90")
        var journal = ClientJournal(
            "ada",
            notes: [
                Note(at: 10, .accepted(order: "1-1", ticket: 1)), Note(at: 12, .accepted(order: "1-2", ticket: 2)),
                Note(at: 15, .order("1-2", status: "confirmed", ticket: 2)),
                Note(at: 50, .order("1-1", status: "confirmed", ticket: 1)),
                Note(at: 55, .accepted(order: "1-3", ticket: 3)),
                Note(at: 90, .order("1-3", status: "confirmed", ticket: 3)),
            ])
        journal.isConnected = true
        #expect(Recovery.lastTold([journal], faultEnd: 20) == 30)
        #expect(Recovery.lastTold([journal], faultEnd: 60) == 30)
        #expect(Recovery.lastTold([journal], faultEnd: 95) == nil)
    }

    @Test func flatMessages() throws {
        let text =
            #"{"type":"held","id":4,"seats":[1, 2],"result":{"order":"1-2","deep":{"type":"x"}},"error":null,"a":"b\"c"}"#
        let message = try #require(FlatMessage(Array(text.utf8)))
        #expect(message["type"] == "held")
        #expect(message.integer("id") == 4)
        #expect(message.integers("seats") == [1, 2])
        #expect(message["order"] == "1-2")
        #expect(message["error"] == nil)
        #expect(message["a"] == "b\"c")
        for broken in ["", "[]", "{", "{\"a\"}", "{\"a\":\"b", "{\"a\":1,}"] {
            #expect(FlatMessage(Array(broken.utf8)) == nil, "\(broken)")
        }
    }
}
