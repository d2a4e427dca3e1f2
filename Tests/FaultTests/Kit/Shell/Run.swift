import EventLoop
import Foundation
import Glibc

/// Many rounds, one after the other.
@LoopActor
public final class Run {
    /// What is asked for.
    public struct Options: Sendable {
        /// How many rounds.
        public var rounds = 1
        /// What everything random follows from. Of a single round its own.
        public var seed: UInt64 = 1
        /// How many clients a round has.
        public var clients = 2000
        /// What may go wrong.
        public var kinds = Fault.Kind.allCases
        /// How that was asked for: a seed means the same round only with the same.
        public var words = ""
        /// Exactly these, instead of a random choice.
        public var faults: [Fault] = []
        /// Within how many milliseconds clients come.
        public var loadMilliseconds: Int64 = 5000
        /// Where the journals of rounds that fail are kept.
        public var keep = ".data/chaos"
        /// Variables of the server's instances.
        public var environment: [String: String] = [:]
        /// Gets a line about each round.
        public var say: @Sendable (String) -> Void = { _ in }

        /// One round of everything.
        public init() {}

        /// From variables: `ROUNDS`, `SEED`, `CLIENTS`, `FAULTS` (kinds, or groups: `process`, `network`, `redis`, `loss`,
        /// `postgres`; those that begin with `-` are left out), `KEEP`.
        public init(environment: [String: String]) throws {
            rounds = environment["ROUNDS"].flatMap { Int($0) } ?? 1
            seed = environment["SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1_000_000_000)
            clients = environment["CLIENTS"].flatMap { Int($0) } ?? clients
            words = environment["FAULTS"] ?? ""
            kinds = try Self.kinds(words)
            keep = environment["KEEP"] ?? keep
            if let bug = environment["DIBS_BUG"], !bug.isEmpty { self.environment["DIBS_BUG"] = bug }
        }

        /// The kinds that a list of words names.
        public static func kinds(_ words: String) throws -> [Fault.Kind] {
            func meant(_ word: String) throws -> [Fault.Kind] {
                switch word {
                case "all": return Fault.Kind.allCases
                case "process": return Fault.Kind.allCases.filter(\.harmsInstance)
                case "network": return Fault.Kind.allCases.filter(\.isOfNetwork)
                case "loss": return Fault.Kind.allCases.filter(\.losesRedisData)
                case "redis": return Fault.Kind.allCases.filter { $0.rawValue.hasPrefix("redis") }
                case "postgres": return Fault.Kind.allCases.filter { $0.rawValue.hasPrefix("postgres") }
                default:
                    guard let kind = Fault.Kind(rawValue: word) else {
                        throw StageFailure(description: "FAULTS: there is no \(word)")
                    }
                    return [kind]
                }
            }
            let words = words.split { $0 == "," || $0 == " " }.map(String.init)
            var kinds = words.contains { !$0.hasPrefix("-") } ? [] : Fault.Kind.allCases
            for word in words {
                if word.hasPrefix("-") {
                    let without = try meant(String(word.dropFirst()))
                    kinds.removeAll { without.contains($0) }
                } else {
                    kinds += try meant(word).filter { !kinds.contains($0) }
                }
            }
            guard !kinds.isEmpty else { throw StageFailure(description: "FAULTS: nothing is left") }
            return kinds
        }
    }

    private let options: Options
    /// What came of all rounds.
    public private(set) var report: Report
    private var stage: Stage?

    /// Rounds as asked for.
    public init(_ options: Options) {
        self.options = options
        report = Report(seed: options.seed, clients: options.clients)
    }

    /// Runs all rounds.
    /// - Returns: What was violated, in all rounds.
    @discardableResult
    public func run() async throws -> [Violation] {
        Self.raiseDescriptorLimit()
        var violations: [Violation] = []
        for (index, seed) in Schedule.seeds(options.rounds, from: options.seed, kinds: options.kinds).enumerated() {
            let schedule =
                options.faults.isEmpty
                ? Schedule(seed: seed, kinds: options.kinds) : Schedule(seed: seed, faults: options.faults)
            violations += try await round(index + 1, schedule)
        }
        await stage?.close()
        stage = nil
        return violations
    }

    private func round(_ number: Int, _ schedule: Schedule) async throws -> [Violation] {
        let stage: Stage
        if let open = self.stage { stage = open } else { stage = try await Stage.open(options.environment) }
        self.stage = stage
        let round = Round(
            stage: stage, schedule: schedule, clients: options.clients, loadMilliseconds: options.loadMilliseconds,
            name: "c\(number)")
        let result = try await round.run()
        report.add(result)
        let seconds = Double(result.milliseconds / 100) / 10
        let times = result.recoveries.map { "\($0.recovery.decided)/\($0.recovery.told.map(String.init) ?? "–")" }
        options.say(
            "round \(number)/\(options.rounds) seed \(schedule.seed): \(schedule); \(result.outcomes) outcomes, recovered "
                + "\(times.joined(separator: " ")) ms, \(result.violations.count) violations, \(seconds) s")
        guard !result.violations.isEmpty else {
            if stage.isUsedUp {
                await stage.close()
                self.stage = nil
            }
            return []
        }
        for violation in result.violations.prefix(12) { options.say("    \(violation)") }
        let faults = options.words.isEmpty ? "" : " FAULTS='\(options.words)'"
        let path = try keep(number, schedule, result, stage)
        options.say(
            "    journals in \(path); again: SEED=\(schedule.seed) ROUNDS=1 CLIENTS=\(options.clients)\(faults) make chaos"
        )
        // What went wrong must not make the next rounds fail too.
        await stage.close()
        self.stage = nil
        return result.violations
    }

    /// Writes down everything that a round has.
    private func keep(_ number: Int, _ schedule: Schedule, _ result: Round.Result, _ stage: Stage) throws -> String {
        let path = "\(options.keep)/seed-\(schedule.seed)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        func write(_ name: String, _ lines: [String]) throws {
            try (lines.joined(separator: "\n") + "\n").write(
                toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
        }
        try write("violations", ["\(schedule)"] + result.violations.map(\.description))
        try write("journals", result.journals.flatMap { ["# \($0.client)"] + $0.notes.map(\.description) })
        try write("facts", result.facts.orders.map { "\($0)" } + result.facts.reservations.map { "\($0)" })
        for (index, instance) in stage.instances.enumerated() {
            try write("instance-\(index).log", instance.process.log.items.map(\.text) + instance.process.errors)
        }
        return path
    }

    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
