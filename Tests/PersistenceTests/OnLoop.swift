import EventLoop
import Testing

@testable import Persistence

/// Sees to it that the event loop runs before a test asks for it.
struct OnLoop: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        EventLoop.startInBackground()
        let stores = await OpenStores()
        defer { EventLoop.task { stores.stop() } }
        try await OpenStores.$current.withValue(stores) { try await function() }
    }
}

extension Trait where Self == OnLoop {
    /// Runs with the event loop running.
    static var onLoop: OnLoop { OnLoop() }
}

/// The stores that a test has opened: they are stopped at its end, so that a run needs no more connections than its tests
/// have at the same time.
@LoopActor
final class OpenStores {
    @TaskLocal static var current: OpenStores?

    private var stores: [Store] = []

    func add(_ store: Store) { stores.append(store) }

    /// Nobody waits for it: a test may have left its PostgreSQL frozen.
    func stop() {
        for store in stores { EventLoop.task { await store.stop() } }
        stores = []
    }
}
