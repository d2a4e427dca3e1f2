import FaultKit
import Testing

@Suite struct ScheduleTests {
    @Test func isTheSameForTheSameSeed() {
        for seed in UInt64(0)..<200 {
            let kinds = Fault.Kind.allCases
            #expect(Schedule(seed: seed, kinds: kinds) == Schedule(seed: seed, kinds: kinds))
        }
    }
}
