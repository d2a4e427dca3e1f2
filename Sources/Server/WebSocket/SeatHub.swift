import Engine
import EventLoop
import Gateway
import Model

/// The performances whose seats connections of this process watch: one subscription and one picture for each.
@LoopActor
final class SeatHub {
    private let engine: Engine
    private let directory: PerformanceDirectory
    private var watches: [PerformanceID: SeatWatch] = [:]

    init(engine: Engine, directory: PerformanceDirectory) {
        self.engine = engine
        self.directory = directory
    }

    /// Performances that are watched.
    var count: Int { watches.count }

    /// Lets a session watch a performance. It is told of changes once it was answered.
    func add(_ session: Session, to performance: PerformanceID) { watch(performance).add(session) }

    /// Answers a `watch` of a session that watches, once the seats are known; nothing when it watches no more.
    /// - Throws: `not_found`, `rate_limited`, ``Outage``.
    func answer(_ session: Session, _ performance: PerformanceID, isCompact: Bool, id: MessageID?) async throws {
        guard let watch = watches[performance] else { return }
        try await watch.known()
        try watch.answer(session, isCompact: isCompact, id: id)
    }

    /// Whether a session that watches was answered, or will be.
    func isAnswering(_ session: Session, _ performance: PerformanceID) -> Bool {
        watches[performance]?.isAnswering(session) ?? false
    }

    /// Ends it.
    func remove(_ session: Session, from performance: PerformanceID) {
        guard let watch = watches[performance] else { return }
        watch.remove(session)
        removeIfEmpty(watch)
    }

    /// Calls `handler` whenever it is told what a performance has left, and at first, until the observation is cancelled.
    func observe(
        _ performance: PerformanceID, _ handler: @escaping @LoopActor (SeatTally) -> Void
    ) -> SeatObservation {
        let watch = watch(performance)
        let observation = SeatObservation(performance: performance, hub: self)
        watch.observe(observation, handler)
        EventLoop.task {
            var backoff = Backoff(base: 100, cap: 2000)
            while !observation.hasEnded {
                do {
                    handler(try await watch.known())
                    return
                } catch let error as WireError where error.code == .notFound {
                    return
                } catch {
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            }
        }
        return observation
    }

    fileprivate func end(_ observation: SeatObservation) {
        guard let watch = watches[observation.performance] else { return }
        watch.stopObserving(observation)
        removeIfEmpty(watch)
    }

    private func watch(_ performance: PerformanceID) -> SeatWatch {
        if let watch = watches[performance] { return watch }
        let watch = SeatWatch(performance: performance, engine: engine, directory: directory)
        watches[performance] = watch
        return watch
    }

    private func removeIfEmpty(_ watch: SeatWatch) {
        guard watch.isEmpty, watches[watch.performance] === watch else { return }
        watch.end()
        watches[watch.performance] = nil
    }
}

/// Somebody in this process who follows what a performance has left.
@LoopActor
final class SeatObservation {
    let performance: PerformanceID
    private weak var hub: SeatHub?
    private(set) var hasEnded = false

    fileprivate init(performance: PerformanceID, hub: SeatHub) {
        self.performance = performance
        self.hub = hub
    }

    /// Ends it.
    func cancel() {
        guard !hasEnded else { return }
        hasEnded = true
        hub?.end(self)
    }
}
