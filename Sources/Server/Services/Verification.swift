import Engine
import EventLoop
import Model

/// Whether Redis is known not to be behind PostgreSQL. A Redis that was restarted, or took over from another, may have lost
/// its latest writes: until that is looked into, nothing is decided.
@LoopActor
final class Verification {
    private let engine: Engine
    private let log: Log
    private var task: Task<Void, Never>?
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private var patient: [Waiter] = []

    /// Whether it is known.
    private(set) var isDone = false
    /// What is compared, and mended where Redis is behind; each may be done again. `isNewRun`: nobody has compared this run
    /// of Redis before.
    var steps: [@LoopActor (_ isNewRun: Bool) async throws -> Void] = []

    init(engine: Engine, log: Log) {
        self.engine = engine
        self.log = log
    }

    /// Redis is reached, and is not the one that it was; a first connection counts.
    func redisChanged() {
        isDone = false
        start()
    }

    /// Returns when it is known.
    func wait() async {
        guard !isDone else { return }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Returns when it is known, or after so many milliseconds.
    /// - Returns: whether it is.
    func wait(atMost milliseconds: Int64) async -> Bool {
        guard !isDone else { return true }
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let waiter = Waiter(continuation)
            patient.append(waiter)
            waiter.timer.start(after: milliseconds) { [weak self] in
                self?.patient.removeAll { $0 === waiter }
                waiter.resume()
            }
        }
        return isDone
    }

    /// Who waits, but not for ever.
    @LoopActor
    private final class Waiter {
        let timer = LoopTimer()
        private var continuation: CheckedContinuation<Void, Never>?

        init(_ continuation: CheckedContinuation<Void, Never>) { self.continuation = continuation }

        func resume() {
            timer.stop()
            continuation?.resume()
            continuation = nil
        }
    }

    /// Looks, until that works. What is decided meanwhile goes on, unless Redis is another.
    func start() {
        guard task == nil else { return }
        task = EventLoop.task {
            var backoff = Backoff(base: 20, cap: 500)
            while true {
                do {
                    let run = self.engine.serverRun
                    let identity = self.engine.identity
                    let isNewRun = try await !self.engine.isRunVerified()
                    for step in self.steps { try await step(isNewRun) }
                    if isNewRun, let run { try await self.engine.markRunVerified(run) }
                    // It may have been restarted, or flushed, once more meanwhile.
                    guard identity == self.engine.identity else { continue }
                    self.isDone = true
                    self.log(.info, "redis_compared", ["isNew": .init(isNewRun ? 1 : 0)])
                    for continuation in self.waiting { continuation.resume() }
                    self.waiting = []
                    let patient = self.patient
                    self.patient = []
                    for waiter in patient { waiter.resume() }
                    break
                } catch {
                    self.log(.debug, "verification_waits", ["error": .init("\(error)")])
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            }
            self.task = nil
        }
    }
}
