import Engine
import EventLoop
import Gateway
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
        watch.add(session.connection)
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
        watch.remove(session.connection)
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
    /// Who watches, and where each stands in it: a round goes through one piece of memory.
    private var connections: [WebSocketConnection] = []
    private var places: [ObjectIdentifier: Int] = [:]
    /// Whether anybody has stopped watching since the round began.
    private var hasLost = false
    private var observers: [ObjectIdentifier: @LoopActor (SaleState) -> Void] = [:]
    private var state: SaleState?
    private var subscription: Subscription?
    private let starting = SharedAttempt<SaleState>()
    private var isReading = false
    private var readAgain = false
    private var hasEnded = false
    /// Several changes within a tick come as one.
    private let rounds = Rounds<WebSocketConnection>(tickMilliseconds: 50)
    private let clock = LoopTimer()
    private var encoded: (state: SaleState, status: SaleStatus, bytes: [UInt8])?
    private let text = TextFrame()

    /// The clock is looked at this often at least: it may be set.
    private static let clockMilliseconds: Int64 = 60_000

    init(sale: SaleID, engine: Engine, directory: SaleDirectory) {
        self.sale = sale
        self.engine = engine
        self.directory = directory
        rounds.begin = { [unowned self] in
            if let state = self.state { for observer in self.observers.values { observer(state) } }
            self.hasLost = false
            return self.connections
        }
        rounds.tell = { [unowned self] in self.tell($0) }
    }

    var isEmpty: Bool { connections.isEmpty && observers.isEmpty }

    func observe(_ observation: SaleObservation, _ handler: @escaping @LoopActor (SaleState) -> Void) {
        observers[ObjectIdentifier(observation)] = handler
    }

    func stopObserving(_ observation: SaleObservation) { observers[ObjectIdentifier(observation)] = nil }

    func add(_ connection: WebSocketConnection) {
        guard places[connection.id] == nil else { return }
        places[connection.id] = connections.count
        connections.append(connection)
    }

    /// The last one takes its place.
    func remove(_ connection: WebSocketConnection) {
        guard let place = places.removeValue(forKey: connection.id) else { return }
        hasLost = true
        let last = connections.removeLast()
        guard place < connections.count else { return }
        connections[place] = last
        places[last.id] = place
    }

    func end() {
        hasEnded = true
        rounds.stop()
        clock.stop()
        subscription?.cancel()
        subscription = nil
    }

    /// The state; subscribes first, so that no change falls between.
    func current() async throws -> SaleState {
        if let state, subscription != nil, !isReading { return state }
        return try await starting.run { try await self.start() }
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

    private func changed() {
        if !hasEnded { rounds.changed() }
    }

    private func tell(_ part: ArraySlice<WebSocketConnection>) {
        guard let bytes = frame() else { return }
        text.clear()
        text.append(bytes)
        let key = Session.key(of: sale)
        part.withUnsafeBufferPointer { part in
            for index in part.indices {
                prefetch(part, before: index)
                if hasLost && places[part[index].id] == nil { continue }
                if part[index].sendAtOnce(text) { continue }
                // Encoded when the socket can take it, with what is true then.
                part[index].markChanged(key) { [weak self] in self?.frame() }
            }
        }
    }

    /// A connection, and what the library has of it.
    private func prefetch(_ connections: UnsafeBufferPointer<WebSocketConnection>, before index: Int) {
        let (near, far) = (index + Prefetch.steps, index + 2 * Prefetch.steps)
        // An array of objects is one of their addresses: read as such, none of them is touched.
        if far < connections.count {
            let addresses = UnsafeRawBufferPointer(connections)
            Prefetch.object(
                at: addresses.load(
                    fromByteOffset: far * MemoryLayout<WebSocketConnection>.stride, as: UnsafeRawPointer.self))
        }
        if near < connections.count { Prefetch.socket(of: connections[near]) }
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
