import EventLoop
import Model

/// What waits for replies on a connection, oldest first: Redis answers in the order of the questions.
///
/// Time is counted in ticks of the connection's timer, not read from a clock: while this process itself stands still no
/// ticks pass, and between two ticks the loop has always read what came. So a busy or suspended process doesn't take
/// its own silence for Redis'.
struct ReplyQueue {
    typealias Completion = @LoopActor (Result<RedisReply, Outage>) -> Void

    private struct Waiting {
        let since: Int64
        let completion: Completion?
    }

    private var waiting: [Waiting?] = []
    private var head = 0

    /// How many wait.
    var count: Int { waiting.count - head }

    /// The tick at which the oldest began to wait; nil when none waits.
    var oldest: Int64? { head < waiting.count ? waiting[head]?.since : nil }

    /// Adds one; without completion nobody cares for the reply, but it is waited for.
    mutating func append(at tick: Int64, _ completion: Completion?) {
        waiting.append(Waiting(since: tick, completion: completion))
    }

    /// Takes the oldest; nil when none waits.
    mutating func next() -> Completion?? {
        guard head < waiting.count else { return nil }
        let completion = waiting[head]?.completion
        waiting[head] = nil
        head += 1
        if head == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.count <= 4096)
            head = 0
        } else if head >= 4096 && head * 2 >= waiting.count {
            waiting.removeFirst(head)
            head = 0
        }
        return .some(completion)
    }

    /// Takes them all.
    mutating func removeAll() -> [Completion] {
        let all = waiting[head...].compactMap { $0?.completion }
        waiting = []
        head = 0
        return all
    }
}
