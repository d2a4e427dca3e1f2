/// What goes wrong in a round, and when: a function of the seed and of what may go wrong, and of nothing else.
public struct Schedule: Sendable, Equatable, CustomStringConvertible {
    /// When a fault begins.
    public enum Start: Sendable, Equatable {
        /// So many milliseconds after the load began.
        case load(Int64)
        /// So many milliseconds after the system was over the one before.
        case recovered(Int64)
        /// So many milliseconds after the one before began.
        case together(Int64)
    }

    /// A fault at its time.
    public struct Step: Sendable, Equatable {
        /// When.
        public let start: Start
        /// What.
        public let fault: Fault
    }

    /// What it was made from.
    public let seed: UInt64
    /// In order.
    public let steps: [Step]

    /// How many instances there are to choose from.
    public static let instances = 3

    /// The schedule of a seed. `kinds` must not be empty.
    public init(seed: UInt64, kinds: [Fault.Kind]) {
        self.seed = seed
        var random = SeededGenerator(seed: seed)
        let first = Self.fault(kinds.randomElement(using: &random) ?? .cut, &random)
        var steps = [Step(start: .load(Int64.random(in: 300...2500, using: &random)), fault: first)]
        let dice = Int.random(in: 0..<100, using: &random)
        let others = kinds.filter { $0.mayOverlap && $0.subject != first.kind.subject }
        if dice < 20, first.kind.mayOverlap, let other = others.randomElement(using: &random) {
            let after = Int64.random(in: 0...max(200, min(first.milliseconds, 2000)), using: &random)
            steps.append(Step(start: .together(after), fault: Self.fault(other, &random)))
        } else if dice < 45 {
            // Losing Redis' data and the process that told, at once, is a double fault that is not promised anything; one
            // after the other it is.
            // Whoever took over is nobody's primary: what is left of Redis after that is not harmed again.
            let all = first.kind == .redisFailover ? kinds.filter { $0.subject != first.kind.subject } : kinds
            let other = Self.fault(all.randomElement(using: &random) ?? .cut, &random)
            steps.append(Step(start: .recovered(Int64.random(in: 0...800, using: &random)), fault: other))
        }
        self.steps = steps
    }

    /// Those faults, one after the other.
    public init(seed: UInt64, faults: [Fault]) {
        self.seed = seed
        steps = faults.enumerated().map {
            Step(start: $0.offset == 0 ? .load(800) : .recovered(200), fault: $0.element)
        }
    }

    private static func fault(_ kind: Fault.Kind, _ random: inout SeededGenerator) -> Fault {
        Fault(
            kind, target: Int.random(in: 0..<instances, using: &random),
            milliseconds: Int64.random(in: kind.durations, using: &random))
    }

    /// A seed for each round: each kind has its turn as the first of a round once in as many rounds as there are kinds,
    /// and each round can be repeated alone by its own seed.
    public static func seeds(_ rounds: Int, from seed: UInt64, kinds: [Fault.Kind]) -> [UInt64] {
        var random = SeededGenerator(seed: seed)
        var deck: [Fault.Kind] = []
        var seeds: [UInt64] = []
        // A single round is that of the seed itself.
        if rounds == 1 { return [seed] }
        while seeds.count < rounds {
            if deck.isEmpty { deck = kinds.shuffled(using: &random) }
            guard let kind = deck.popLast() else { break }
            while true {
                // Short enough to be typed.
                let candidate = random.next() % 1_000_000_000
                if Schedule(seed: candidate, kinds: kinds).steps[0].fault.kind == kind {
                    seeds.append(candidate)
                    break
                }
            }
        }
        return seeds
    }

    /// Whether Redis loses data in it.
    public var losesRedisData: Bool { steps.contains { $0.fault.kind.losesRedisData } }

    /// Whether a process ends in it before Redis may lose data, or at the same time.
    public var endsProcesses: Bool {
        steps.contains { $0.fault.kind == .kill || $0.fault.kind == .rolling }
    }

    /// In words.
    public var description: String {
        steps.map { step in
            switch step.start {
            case .load(let ms): "\(step.fault) at \(ms) ms"
            case .recovered(let ms): "then \(step.fault) after \(ms) ms"
            case .together(let ms): "with \(step.fault) after \(ms) ms"
            }
        }.joined(separator: ", ")
    }
}
