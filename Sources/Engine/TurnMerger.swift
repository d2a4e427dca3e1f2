import EventLoop
import Model

/// Merges what one turn of the loop asks of the same subject into few calls.
@LoopActor
final class TurnMerger<Subject: Hashable & Sendable, Wish: Sendable, Answer: Sendable> {
    /// A wish, and whoever waits for its answer.
    struct Waiting: Sendable {
        let wish: Wish
        /// Whoever asked goes on. To be called once.
        let answer: @LoopActor @Sendable (Result<Answer, Outage>) -> Void
    }

    private let limit: Int
    private let weigh: @LoopActor (Wish) -> Int
    private var waiting: [Subject: [Waiting]] = [:]
    /// Sends one call, and sees to it that each of its wishes is answered. Set before the first wish.
    var send: (@LoopActor (ArraySlice<Waiting>, Subject) -> Void)?

    /// - Parameters:
    ///   - limit: how much goes into one call, in the unit of `weigh`; a wish that weighs more goes alone.
    ///   - weigh: what a wish weighs; by default each is one.
    init(limit: Int, weigh: @escaping @LoopActor (Wish) -> Int = { _ in 1 }) {
        self.limit = limit
        self.weigh = weigh
    }

    /// Asks at the end of this turn, together with what else is asked of the subject, in the order of asking.
    func ask(_ wish: Wish, of subject: Subject) async throws(Outage) -> Answer {
        let result = await withCheckedContinuation { continuation in
            ask(wish, of: subject) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// As ``ask(_:of:)``, for whoever has more to ask when the answer comes: going on as a task costs more than what it
    /// does then.
    func ask(
        _ wish: Wish, of subject: Subject, _ answer: @escaping @LoopActor @Sendable (Result<Answer, Outage>) -> Void
    ) {
        if waiting.isEmpty { Turn.atEnd(.merge) { self.sendAll() } }
        waiting[subject, default: []].append(Waiting(wish: wish, answer: answer))
    }

    /// Sends what was asked of a subject now, not at the end of the turn: what the caller sends next must come after it.
    func sendNow(_ subject: Subject) {
        // Not removed: there is something to be done at the end of the turn as long as there are subjects.
        guard let wishes = waiting[subject] else { return }
        waiting[subject] = []
        send(wishes, subject)
    }

    private func sendAll() {
        let due = waiting
        waiting.removeAll(keepingCapacity: true)
        for (subject, wishes) in due { send(wishes, subject) }
    }

    private func send(_ wishes: [Waiting], _ subject: Subject) {
        guard !wishes.isEmpty else { return }
        var (first, weight) = (0, 0)
        for (index, waiting) in wishes.enumerated() {
            let added = weigh(waiting.wish)
            if index > first, weight + added > limit {
                send?(wishes[first..<index], subject)
                (first, weight) = (index, 0)
            }
            weight += added
        }
        send?(wishes[first...], subject)
    }
}
