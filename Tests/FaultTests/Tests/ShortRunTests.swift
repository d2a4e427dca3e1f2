import EventLoop
import FaultKit
import Testing

/// The harness itself, for a short time; `make chaos` is the long one.
@Suite struct ShortRunTests {
    @Test func twoRounds() async throws {
        EventLoop.startInBackground()
        let violations = try await EventLoop.task { () async -> Result<[Violation], any Error> in
            do { return .success(try await Self.run()) } catch { return .failure(error) }
        }.value.get()
        #expect(violations.isEmpty, "\(violations.map(\.description).joined(separator: "\n"))")
    }

    @LoopActor private static func run() async throws -> [Violation] {
        var options = Run.Options()
        options.rounds = 2
        options.seed = 5
        options.clients = 300
        options.loadMilliseconds = 2000
        // An instance dies, and Redis: each once.
        options.kinds = [.kill, .redisKill]
        options.say = { print($0) }
        return try await Run(options).run()
    }
}
