import EventLoop
import Glibc

/// Something that a test waited for and that did not come.
public struct NotInTime: Error, CustomStringConvertible {
    /// What was waited for, why it can no longer come, and what came instead.
    public let description: String
}

/// How many times as long tests wait as they do else: `DIBS_TEST_PATIENCE`, for programs that are slower
/// (`make test-sanitized`).
public let patience = max(1, getenv("DIBS_TEST_PATIENCE").flatMap { Int(String(cString: $0)) } ?? 1)

/// How long a test waits for what has to come: far longer than it takes, so that a busy machine fails nobody.
public let patienceMilliseconds = Int64(60_000 * patience)

/// What happens, in order; a test waits for what it expects, and takes it out.
@LoopActor
public final class Journal<Item: Sendable> {
    /// Everything that has happened, taken or not.
    public private(set) var items: [Item] = []
    private var isTaken: [Bool] = []
    private var waiters: [Waiter] = []
    private var ending: String?

    @LoopActor
    private final class Waiter {
        let matches: @LoopActor (Item) -> Bool
        let takes: Bool
        let timer = LoopTimer()
        var continuation: CheckedContinuation<Item?, Never>?

        init(_ matches: @escaping @LoopActor (Item) -> Bool, takes: Bool) {
            self.matches = matches
            self.takes = takes
        }

        func finish(_ item: Item?) {
            timer.stop()
            continuation?.resume(returning: item)
            continuation = nil
        }
    }

    /// An empty one.
    public init() {}

    /// Adds what has happened.
    public func add(_ item: Item) {
        items.append(item)
        isTaken.append(false)
        // Whoever only looks sees it as well; of those who take, the first gets it.
        for (index, waiter) in waiters.enumerated().reversed() where !waiter.takes && waiter.matches(item) {
            waiters.remove(at: index)
            waiter.finish(item)
        }
        if let index = waiters.firstIndex(where: { $0.takes && $0.matches(item) }) {
            isTaken[items.count - 1] = true
            waiters.remove(at: index).finish(item)
        }
    }

    /// Nothing more will happen: whoever waits has waited in vain.
    public func finish(_ reason: String) {
        guard ending == nil else { return }
        ending = reason
        let vain = waiters
        waiters = []
        for waiter in vain { waiter.finish(nil) }
    }

    /// Takes the first that matches and was not taken before; waits for it.
    /// - Throws: ``NotInTime``.
    @discardableResult
    public func next(
        _ what: String, within milliseconds: Int64 = patienceMilliseconds,
        where matches: @escaping @LoopActor (Item) -> Bool = { _ in true }
    ) async throws -> Item {
        for index in items.indices where !isTaken[index] && matches(items[index]) {
            isTaken[index] = true
            return items[index]
        }
        return try await wait(what, milliseconds, Waiter(matches, takes: true))
    }

    /// Looks at the first that matches, without taking it; waits for it.
    /// - Throws: ``NotInTime``.
    @discardableResult
    public func first(
        _ what: String, within milliseconds: Int64 = patienceMilliseconds,
        where matches: @escaping @LoopActor (Item) -> Bool
    ) async throws -> Item {
        if let item = items.first(where: matches) { return item }
        return try await wait(what, milliseconds, Waiter(matches, takes: false))
    }

    private func wait(_ what: String, _ milliseconds: Int64, _ waiter: Waiter) async throws -> Item {
        if ending == nil {
            waiters.append(waiter)
            let item = await withCheckedContinuation { continuation in
                waiter.continuation = continuation
                // In parts, so that the time for which all processes of a test stand still is one of them, and no more.
                var parts = 20
                waiter.timer.start(after: milliseconds / 20, every: max(1, milliseconds / 20)) { [weak self] in
                    parts -= 1
                    guard parts == 0 else { return }
                    self?.waiters.removeAll { $0 === waiter }
                    waiter.finish(nil)
                }
            }
            if let item { return item }
        }
        let why = ending ?? "within \(milliseconds) ms"
        let last = items.suffix(8).map { "\($0)" }.joined(separator: "\n  ")
        throw NotInTime(description: "\(what): not \(why); of \(items.count), the last were\n  \(last)")
    }
}

/// Asks again and again until the answer is yes: for what nothing tells of when it happens.
/// - Throws: ``NotInTime``, or what `condition` throws.
@LoopActor
public func eventually(
    _ what: String, within milliseconds: Int64 = patienceMilliseconds,
    _ condition: @LoopActor () async throws -> Bool
) async throws {
    // Of the time for which all processes of a test stand still, only a part counts.
    var (left, last) = (milliseconds, EventLoop.monotonicMilliseconds)
    while !(try await condition()) {
        let now = EventLoop.monotonicMilliseconds
        left -= min(now - last, max(25, milliseconds / 20))
        last = now
        guard left > 0 else { throw NotInTime(description: "\(what): not within \(milliseconds) ms") }
        await EventLoop.sleep(milliseconds: 25)
    }
}
