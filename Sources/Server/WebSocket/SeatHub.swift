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

    /// Lets a session watch a performance. Its first answer is sent once the seats are known, and then the changes.
    /// - Throws: `not_found`, ``Outage``; then it does not watch.
    func add(_ session: Session, to performance: PerformanceID, _ request: SeatRequest) async throws {
        let watch = watch(performance)
        watch.add(session)
        do {
            try await watch.known()
        } catch {
            watch.remove(session, unlessAnswered: true)
            removeIfEmpty(watch)
            throw error
        }
        watch.answer(session, request)
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

/// What a `watch` of a performance asks for.
struct SeatRequest {
    /// What the answer has to carry.
    let id: MessageID?
    /// Whether one letter a seat is enough.
    let isCompact: Bool
    /// Tells it from other requests of the connection.
    let number: Int64
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
