import EventLoop
import Model

/// Merges the outcomes that are told in a turn: one call of `dibs_tell` for many clients, where one server has them
/// all, else one for each slot.
@LoopActor
final class TellBatcher {
    typealias Item = (client: ClientID, outcome: Outcome)

    /// How many outcomes go into one call, so that it doesn't keep Redis from everybody else for long.
    private static let outcomesPerCall = 128

    private struct Waiting {
        let items: [Item]
        let answer: Answer
    }

    /// Whoever told goes on, with the offsets. Called once.
    typealias Answer = @LoopActor (Result<[Int64], Outage>) -> Void

    private let router: CommandRouter
    private let configuration: EngineConfiguration
    /// Which run of Redis this is.
    private let run: () -> String
    private var waiting: [Waiting] = []

    init(router: CommandRouter, configuration: EngineConfiguration, run: @escaping () -> String) {
        self.run = run
        self.router = router
        self.configuration = configuration
    }

    func tell(_ items: [Item]) async throws(Outage) -> [Int64] {
        guard !items.isEmpty else { return [] }
        let result = await withCheckedContinuation { continuation in
            tell(items) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// As ``tell(_:)``, without a task; of one outcome at least.
    func tell(_ items: [Item], _ answer: @escaping Answer) {
        if waiting.isEmpty { Turn.atEnd(.merge) { self.send() } }
        waiting.append(Waiting(items: items, answer: answer))
    }

    private func send() {
        let due = waiting
        waiting.removeAll(keepingCapacity: true)
        let round = Round(due.map { ($0.items.count, $0.answer) })
        let items = due.flatMap(\.items)
        if router.takesSeveralSlots {
            for batch in Array(items.indices).chunks(of: TellBatcher.outcomesPerCall) {
                send(batch, of: items, to: round)
            }
        } else {
            let slots = Dictionary(grouping: items.indices) { HashSlot(of: Keys.client(items[$0].client)) }
            for indices in slots.values {
                for batch in indices.chunks(of: TellBatcher.outcomesPerCall) { send(batch, of: items, to: round) }
            }
        }
    }

    private func send(_ batch: ArraySlice<Int>, of items: [Item], to round: Round) {
        var keys: [String] = []
        var numbers: [ClientID: Int] = [:]
        for index in batch where numbers[items[index].client] == nil {
            keys.append(Keys.client(items[index].client))
            numbers[items[index].client] = keys.count
        }
        var command = RedisCommand(function: .tell, keys: keys, reserving: 256 + 96 * batch.count)
        command.append(configuration.outcomeLimit)
        command.append(configuration.outcomeSeconds)
        command.append(run())
        for index in batch {
            command.append(numbers[items[index].client]!)
            command.append(items[index].outcome.identity)
            command.append(items[index].outcome.encoded)
        }
        router.call(command, about: keys[0]) { result in
            switch result {
            case .failure(let outage): round.failed(outage, batch)
            case .success(let reply):
                let offsets = (reply.string ?? "").numbers
                if offsets.count == batch.count {
                    round.told(zip(batch, offsets))
                } else {
                    round.failed(Outage(.redis, "too few answers to outcomes"), batch)
                }
            }
        }
    }

    /// Collects the answers of a round's calls; a caller goes on when the last of its own has come.
    @LoopActor
    private final class Round {
        private struct Caller {
            let first: Int
            let count: Int
            var missing: Int
            var outage: Outage?
            let answer: Answer
        }

        private var offsets: [Int64]
        private var callers: [Caller] = []
        /// Of each item, whose it is.
        private var owners: [Int] = []

        init(_ waiting: [(count: Int, answer: Answer)]) {
            for (count, answer) in waiting {
                owners += Array(repeating: callers.count, count: count)
                callers.append(
                    Caller(first: owners.count - count, count: count, missing: count, answer: answer))
            }
            offsets = Array(repeating: 0, count: owners.count)
        }

        func told(_ results: some Sequence<(Int, Int64)>) {
            for (item, offset) in results {
                offsets[item] = offset
                answered(item)
            }
        }

        func failed(_ outage: Outage, _ items: ArraySlice<Int>) {
            for item in items {
                callers[owners[item]].outage = outage
                answered(item)
            }
        }

        private func answered(_ item: Int) {
            let owner = owners[item]
            callers[owner].missing -= 1
            let caller = callers[owner]
            guard caller.missing == 0 else { return }
            if let outage = caller.outage {
                caller.answer(.failure(outage))
            } else {
                caller.answer(.success(Array(offsets[caller.first..<caller.first + caller.count])))
            }
        }
    }
}
