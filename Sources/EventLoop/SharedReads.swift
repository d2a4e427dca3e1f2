/// Lets all who want to read the same thing at the same time share one reading of it.
///
/// A reading that has begun may miss what happened meanwhile. So who comes while one is under way shares the next, which
/// begins when that is over: whoever reads sees all that was done before they asked, and of one thing there are never more
/// than two readings at a time, the second of which only waits.
@LoopActor
public final class SharedReads<Key: Hashable & Sendable, Value: Sendable> {
    private final class Reading {
        var task: Task<Result<Value, any Error>, Never>?
        var hasBegun = false
    }

    private var latest: [Key: Reading] = [:]

    /// Nothing is under way.
    public init() {}

    /// Reads what `key` stands for, by `body` or that of another who asked for the same.
    /// - Throws: what the reading throws, to all who share it.
    public func read(_ key: Key, _ body: @escaping @LoopActor () async throws -> Value) async throws -> Value {
        let before = latest[key]
        if let before, !before.hasBegun, let task = before.task { return try await task.value.get() }
        let reading = Reading()
        latest[key] = reading
        let task = EventLoop.task {
            _ = await before?.task?.value
            reading.hasBegun = true
            defer { if self.latest[key] === reading { self.latest[key] = nil } }
            do {
                return Result<Value, any Error>.success(try await body())
            } catch {
                return .failure(error)
            }
        }
        reading.task = task
        return try await task.value.get()
    }
}
