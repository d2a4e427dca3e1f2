import Engine
import EventLoop
import Model

/// The sales that connections of this process watch: one subscription and one state for each sale.
@LoopActor
final class WatchHub {
    private let engine: Engine
    private let directory: SaleDirectory
    private var watches: [SaleID: Watch] = [:]

    init(engine: Engine, directory: SaleDirectory) {
        self.engine = engine
        self.directory = directory
    }

    /// Sales that are watched.
    var count: Int { watches.count }

    /// Lets a session watch a sale: from now on it is told of changes.
    func add(_ session: Session, to sale: SaleID) {
        let watch = watches[sale] ?? Watch(sale: sale, engine: engine, directory: directory)
        watches[sale] = watch
        watch.add(session)
    }

    /// A sale as it stands; by whoever watches it, so that no change falls between the answer and the first push.
    func state(of sale: SaleID) async throws -> SaleState {
        guard let watch = watches[sale] else { return try await directory.state(of: sale) }
        return try await watch.current()
    }

    /// Calls `handler` whenever a sale's state is told to its watchers, until the observation is let go.
    func observe(_ sale: SaleID, _ handler: @escaping @LoopActor (SaleState) -> Void) -> SaleObservation {
        let watch = watches[sale] ?? Watch(sale: sale, engine: engine, directory: directory)
        watches[sale] = watch
        let observation = SaleObservation(sale: sale, hub: self)
        watch.observe(observation, handler)
        // Starts it, where nobody watches yet.
        EventLoop.task {
            var backoff = Backoff(base: 100, cap: 2000)
            while !observation.hasEnded {
                do {
                    handler(try await watch.current())
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

    fileprivate func end(_ observation: SaleObservation) {
        guard let watch = watches[observation.sale] else { return }
        watch.stopObserving(observation)
        if watch.isEmpty {
            watch.end()
            watches[observation.sale] = nil
        }
    }

    /// Ends it.
    func remove(_ session: Session, from sale: SaleID) {
        guard let watch = watches[sale] else { return }
        watch.remove(session)
        if watch.isEmpty {
            watch.end()
            watches[sale] = nil
        }
    }
}

/// Somebody in this process who follows a sale.
@LoopActor
final class SaleObservation {
    let sale: SaleID
    private weak var hub: WatchHub?
    private(set) var hasEnded = false

    fileprivate init(sale: SaleID, hub: WatchHub) {
        self.sale = sale
        self.hub = hub
    }

    /// Ends it.
    func cancel() {
        guard !hasEnded else { return }
        hasEnded = true
        hub?.end(self)
    }
}

/// One watched sale: its state, kept by the engine's events and by the clock, told at most once a tick.
@LoopActor
private final class Watch {
    private let sale: SaleID
    private let engine: Engine
    private let directory: SaleDirectory
    private var sessions: [ObjectIdentifier: Session] = [:]
    private var observers: [ObjectIdentifier: @LoopActor (SaleState) -> Void] = [:]
    private var state: SaleState?
    private var subscription: Subscription?
    private var starting: Task<Result<SaleState, any Error>, Never>?
    private var isReading = false
    private var readAgain = false
    private var hasEnded = false
    private let tick = LoopTimer()
    private let clock = LoopTimer()
    private var toldAt: Int64 = .min
    /// Whom this round of telling is for, and how far it has come.
    private var round: [Session] = []
    private var position = 0
    /// Whether something changed since the round began.
    private var changedMeanwhile = false
    private var encoded: (state: SaleState, status: SaleStatus, bytes: [UInt8])?

    /// How many are told in one turn of the loop.
    private static let sessionsPerTurn = 500
    /// Several changes within a tick come as one.
    private static let tickMilliseconds: Int64 = 50
    /// The clock is looked at this often at least: it may be set.
    private static let clockMilliseconds: Int64 = 60_000

    init(sale: SaleID, engine: Engine, directory: SaleDirectory) {
        self.sale = sale
        self.engine = engine
        self.directory = directory
    }

    var isEmpty: Bool { sessions.isEmpty && observers.isEmpty }

    func observe(_ observation: SaleObservation, _ handler: @escaping @LoopActor (SaleState) -> Void) {
        observers[ObjectIdentifier(observation)] = handler
    }

    func stopObserving(_ observation: SaleObservation) { observers[ObjectIdentifier(observation)] = nil }

    func add(_ session: Session) { sessions[ObjectIdentifier(session)] = session }
    func remove(_ session: Session) { sessions[ObjectIdentifier(session)] = nil }

    func end() {
        hasEnded = true
        tick.stop()
        clock.stop()
        subscription?.cancel()
        subscription = nil
    }

    /// The state; subscribes first, so that no change falls between.
    func current() async throws -> SaleState {
        if let state, subscription != nil, !isReading { return state }
        let task =
            starting
            ?? EventLoop.task {
                do {
                    return .success(try await self.start())
                } catch {
                    return .failure(error)
                }
            }
        starting = task
        let result = await task.value
        starting = nil
        return try result.get()
    }

    private func start() async throws -> SaleState {
        let before = subscription
        if before == nil {
            let subscription = try await engine.subscribe(sale: sale) { [weak self] event in self?.heard(event) }
            guard !hasEnded else {
                // Nobody watches any more; whoever asked still gets an answer.
                subscription.cancel()
                return try await directory.state(of: sale)
            }
            self.subscription = subscription
        }
        do {
            let state = try await directory.state(of: sale)
            self.state = state
            watchClock()
            return state
        } catch {
            // One that others live by stays.
            if before == nil {
                subscription?.cancel()
                subscription = nil
            }
            throw error
        }
    }

    private func heard(_ event: SaleEvent) {
        switch event {
        case .changed(let left, let version, _):
            if var known = state, known.window.version == version {
                guard known.remaining != left else { return }
                known.remaining = left
                state = known
                changed()
            } else {
                readAnew()
            }
        case .renewed: readAnew()
        }
    }

    /// Reads the state again, until that works; meanwhile it is not known.
    private func readAnew() {
        guard !isReading else {
            readAgain = true
            return
        }
        isReading = true
        EventLoop.task {
            var backoff = Backoff(base: 100, cap: 2000)
            repeat {
                self.readAgain = false
                do {
                    let state = try await self.directory.state(of: self.sale)
                    backoff.reset()
                    guard state != self.state else { continue }
                    self.state = state
                    self.watchClock()
                    self.changed()
                } catch let error as WireError where error.code == .notFound {
                    // There is no such sale any more.
                } catch {
                    self.readAgain = true
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            } while self.readAgain && !self.hasEnded
            self.isReading = false
        }
    }

    /// The status may change by the clock alone.
    private func watchClock() {
        guard !hasEnded, let state else { return }
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        guard let next = state.nextChange(after: now) else { return clock.stop() }
        wait(for: next)
    }

    /// Tells the change when its moment has come, by the clock that the status is told by: a timer may be early, and what
    /// is told then would be the status of before.
    private func wait(for moment: Timestamp) {
        let pause = moment.milliseconds - EventLoop.wallMilliseconds
        guard pause > 0 else {
            changed()
            return watchClock()
        }
        clock.start(after: min(pause, Self.clockMilliseconds)) { [weak self] in self?.wait(for: moment) }
    }

    /// Tells the watchers: at once when the last time is a tick ago, else at the end of the tick.
    private func changed() {
        guard !hasEnded else { return }
        guard position == 0 else {
            changedMeanwhile = true
            return
        }
        guard !tick.isRunning else { return }
        let wait = toldAt == .min ? 0 : toldAt + Self.tickMilliseconds - EventLoop.monotonicMilliseconds
        if wait <= 0 { tell() } else { tick.start(after: wait) { [weak self] in self?.tell() } }
    }

    /// A part of a round: tells the next watchers, some hundred in a turn of the loop, so that others get theirs.
    private func tell() {
        if position == 0 {
            toldAt = EventLoop.monotonicMilliseconds
            round = Array(sessions.values)
            if let state { for observer in observers.values { observer(state) } }
        }
        // Encoded when a socket can take it, and once for all that take the same.
        let frame: @LoopActor () -> [UInt8]? = { [weak self] in self?.frame() }
        let end = min(round.count, position + Self.sessionsPerTurn)
        for session in round[position..<end] where sessions[ObjectIdentifier(session)] != nil {
            session.saleChanged(sale, frame: frame)
        }
        position = end
        if position < round.count {
            tick.start(after: 0) { [weak self] in self?.tell() }
            return
        }
        position = 0
        round = []
        if changedMeanwhile {
            changedMeanwhile = false
            changed()
        }
    }

    private func frame() -> [UInt8]? {
        guard let state else { return nil }
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        let status = state.status(at: now)
        if let encoded, encoded.state == state, encoded.status == status { return encoded.bytes }
        let bytes = ServerFrame.sale(state, at: now)
        encoded = (state, status, bytes)
        return bytes
    }
}
