import EventLoop
import Testing

/// Sees to it that the event loop runs before a test asks for it.
struct OnLoop: SuiteTrait, TestTrait, TestScoping {
    var isRecursive: Bool { true }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        EventLoop.startInBackground()
        try await function()
    }
}

extension Trait where Self == OnLoop {
    /// Runs with the event loop running.
    static var onLoop: OnLoop { OnLoop() }
}
