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
    private var patient: [ObjectIdentifier: Waiter] = [:]

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

    /// To be called before something is told that is a "no": Redis may have forgotten the "yes" a moment ago.
    /// - Throws: ``Outage``, or `unavailable`.
    func requireCertainty() async throws {
        guard isDone else { throw WireError.unavailable }
        try await engine.requireSameData()
        guard isDone else { throw WireError.unavailable }
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
            patient[ObjectIdentifier(waiter)] = waiter
            waiter.timer.start(after: milliseconds) { [weak self] in
                self?.patient[ObjectIdentifier(waiter)] = nil
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
                    guard let identity = self.engine.identity else { throw Outage(.redis, "not connected") }
                    let isNewRun = try await !self.engine.isVerified(identity)
                    for step in self.steps {
                        try await step(isNewRun)
                        // It may have been restarted, or flushed, once more meanwhile.
                        guard identity == self.engine.identity else { throw Outage(.redis, "it is another again") }
                    }
                    if isNewRun { try await self.engine.markVerified(identity) }
                    try await self.engine.requireSameData()
                    guard identity == self.engine.identity else { continue }
                    self.isDone = true
                    self.log(.info, "redis_compared", ["isNew": .init(isNewRun ? 1 : 0)])
                    for continuation in self.waiting { continuation.resume() }
                    self.waiting = []
                    let patient = self.patient
                    self.patient = [:]
                    for waiter in patient.values { waiter.resume() }
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
