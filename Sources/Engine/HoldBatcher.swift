import EventLoop
import Model

/// Merges the holds of a turn: one call of `dibs_hold` for each performance, and another for every `claimsPerCall` seats
/// more.
@LoopActor
final class HoldBatcher {
    /// A wish to hold seats.
    struct Wish: Sendable {
        let client: ClientID
        let seats: [Int64]
    }

    private typealias Holds = TurnMerger<PerformanceID, Wish, HoldDecision>

    private let router: CommandRouter
    private let calls: SeatCalls
    private let holds: Holds

    init(router: CommandRouter, configuration: EngineConfiguration, calls: SeatCalls) {
        self.router = router
        self.calls = calls
        // By seats, as one hold may have many: a call keeps Redis from everybody else for its time.
        holds = TurnMerger(limit: configuration.claimsPerCall) { $0.seats.count }
        holds.send = { [weak self] in self?.send($0, of: $1) }
    }

    func decide(_ wish: Wish, of performance: PerformanceID) async throws(Outage) -> HoldDecision {
        // As for claims: not sent to a Redis that comes back within the turn.
        guard router.isReady(for: Keys.Performance(performance).state) else { throw Outage(.redis, "not connected") }
        return try await holds.ask(wish, of: performance)
    }

    /// As ``decide(_:of:)``, without a task that waits.
    func decide(
        _ wish: Wish, of performance: PerformanceID,
        _ answer: @escaping @LoopActor @Sendable (Result<HoldDecision, Outage>) -> Void
    ) {
        guard router.isReady(for: Keys.Performance(performance).state) else {
            return answer(.failure(Outage(.redis, "not connected")))
        }
        holds.ask(wish, of: performance, answer)
    }

    private func send(_ batch: ArraySlice<Holds.Waiting>, of performance: PerformanceID) {
        var command = calls.command(.hold, performance, reserving: 512 + 48 * batch.count)
        for waiting in batch { command.append(waiting.wish.client.rawValue) }
        var last: (seats: [Int64], text: String) = ([], "")
        for waiting in batch {
            if waiting.wish.seats != last.seats { last = (waiting.wish.seats, SeatTexts.text(waiting.wish.seats)) }
            command.append(last.text)
        }
        router.call(command, about: Keys.Performance(performance).state) { [calls] result in
            switch result {
            case .failure(let outage): for waiting in batch { waiting.answer(.failure(outage)) }
            case .success(.string("?")): for waiting in batch { waiting.answer(.success(.unknownPerformance)) }
            case .success(let reply):
                let parts = reply.elements
                let words = parts.first?.string?.words ?? []
                if parts.count == 2 { calls.tell(parts[1], of: performance) }
                // The many that want what is taken get the same word, one after the other.
                var refused: (word: Substring, decision: HoldDecision)?
                for (waiting, index) in zip(batch, 0...) {
                    if index < words.count, let refused, refused.word == words[index] {
                        waiting.answer(.success(refused.decision))
                        continue
                    }
                    let decision =
                        index < words.count ? HoldBatcher.decision(words[index], waiting.wish, performance) : nil
                    if case .taken = decision { refused = decision.map { (words[index], $0) } }
                    waiting.answer(decision.map { .success($0) } ?? .failure(Outage(.redis, "no answer to a hold")))
                }
            }
        }
    }

    /// What a word of the function's reply says; nil when it isn't one.
    private static func decision(
        _ word: Substring, _ wish: Wish, _ performance: PerformanceID
    ) -> HoldDecision? {
        let rest = word.dropFirst()
        switch word.first {
        case "t": return SeatTexts.seats(rest).map { .taken($0) }
        case "l": return .overLimit
        case "h", "r":
            let numbers = rest.split(separator: ":").compactMap { Int64($0) }
            guard numbers.count == 4 else { return nil }
            let hold = Hold(
                id: ReservationID(performance: performance, sequence: numbers[0]), client: wish.client,
                seats: wish.seats, price: numbers[3], heldAt: Timestamp(milliseconds: numbers[1]),
                expiresAt: Timestamp(milliseconds: numbers[2]), epoch: SaleEpoch.of(numbers[0]))
            return word.first == "h" ? .held(hold) : .repeated(hold)
        default: return nil
        }
    }
}
