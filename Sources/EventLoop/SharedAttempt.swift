/// Lets all who want the same thing at the same time share one attempt at it: who comes while it is under way waits for
/// its end, who comes later begins a new one.
@LoopActor
public final class SharedAttempt<Success: Sendable> {
    private var task: Task<Result<Success, any Error>, Never>?

    /// Nothing is under way.
    public init() {}

    /// Whether an attempt is under way.
    public var isUnderWay: Bool { task != nil }

    /// Joins the attempt that is under way, or begins one.
    /// - Throws: what the attempt throws, to all who share it.
    public func run(_ body: @escaping @LoopActor () async throws -> Success) async throws -> Success {
        let shared =
            task
            ?? EventLoop.task {
                // Ended by itself, not by who waits for it: the last of these may wake up when the next is under way.
                defer { self.task = nil }
                do {
                    return .success(try await body())
                } catch {
                    return .failure(error)
                }
            }
        task = shared
        return try await shared.value.get()
    }
}
