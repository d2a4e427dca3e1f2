import Engine
import EventLoop
import Gateway
import Model

/// One watched performance: its seats, kept by the engine's events, whose changes are told at most once a tick.
@LoopActor
final class SeatWatch {
    let performance: PerformanceID
    private let engine: Engine
    private let directory: PerformanceDirectory
    /// Who watches, up to which change each was told, nil before its first answer, and what it still has to be answered.
    private struct Watcher {
        let session: Session
        var told: Int64?
        var requests: [(id: MessageID?, isCompact: Bool)] = []
    }

    private var sessions: [ObjectIdentifier: Watcher] = [:]
    private var observers: [ObjectIdentifier: @LoopActor (SeatTally) -> Void] = [:]
    private var picture: SeatPicture?
    /// The number of the last change that was heard of, while the seats are read.
    private var heardLast: Int64 = 0
    private var subscription: Subscription?
    private let starting = SharedAttempt<Void>()
    private var isReading = false
    private var readAgain = false
    private var hasEnded = false
    /// Several changes within a tick come as one.
    private let rounds = Rounds<Session>(tickMilliseconds: 50)
    private var encodedChanges: (after: Int64, event: Int64, bytes: [UInt8])?
    private var answers: [Bool: (event: Int64, at: Int64, body: [UInt8])] = [:]

    /// The whole of more seats than this is encoded at most once a second: who comes in between gets it with the changes
    /// since.
    private static let manySeats = 2000
    private static let answerMilliseconds: Int64 = 1000

    init(performance: PerformanceID, engine: Engine, directory: PerformanceDirectory) {
        self.performance = performance
        self.engine = engine
        self.directory = directory
        rounds.begin = { [unowned self] in
            if let tally = self.picture?.tally { for observer in self.observers.values { observer(tally) } }
            return self.sessions.values.map(\.session)
        }
        rounds.tell = { [unowned self] in for session in $0 { self.tell(session) } }
    }

    var isEmpty: Bool { sessions.isEmpty && observers.isEmpty }

    func observe(_ observation: SeatObservation, _ handler: @escaping @LoopActor (SeatTally) -> Void) {
        observers[ObjectIdentifier(observation)] = handler
    }

    func stopObserving(_ observation: SeatObservation) { observers[ObjectIdentifier(observation)] = nil }

    func add(_ session: Session) {
        let key = ObjectIdentifier(session)
        if sessions[key] == nil { sessions[key] = Watcher(session: session) }
    }

    /// Whether a session was answered, or will be.
    func isAnswering(_ session: Session) -> Bool {
        sessions[ObjectIdentifier(session)].map { $0.told != nil || !$0.requests.isEmpty } ?? false
    }

    func remove(_ session: Session) { sessions[ObjectIdentifier(session)] = nil }

    func end() {
        hasEnded = true
        rounds.stop()
        subscription?.cancel()
        subscription = nil
    }

    // MARK: knowing

    /// What is free, held and sold, once the seats are known; subscribes first, so that no change falls between.
    @discardableResult
    func known() async throws -> SeatTally {
        if subscription == nil || picture == nil || isReading {
            try await starting.run { try await self.start() }
        }
        guard let picture else { throw WireError.unavailable }
        return picture.tally
    }

    private func start() async throws {
        if subscription == nil {
            let new = try await engine.subscribe(performance: performance) { [weak self] event in self?.heard(event) }
            if hasEnded { new.cancel() } else { subscription = new }
        }
        try await read()
    }

    private func read() async throws {
        repeat {
            let known = picture?.event
            let reading = try await directory.with(performance) {
                try await self.engine.seats(of: self.performance, unless: known)
            }
            guard case .seats(let snapshot) = reading else { return }
            if let picture, snapshot.event < picture.event {
                // Redis has lost what was heard before, and is about to be rebuilt with greater numbers.
                throw Outage(.redis, "seats of before")
            } else if picture == nil {
                picture = SeatPicture(letters: snapshot.letters, tally: snapshot.tally, event: snapshot.event)
            } else {
                picture?.replace(letters: snapshot.letters, tally: snapshot.tally, event: snapshot.event)
            }
            // What was heard meanwhile may have come before it could be applied.
        } while heardLast > (picture?.event ?? 0)
    }

    private func heard(_ event: SeatsEvent) {
        switch event {
        case .changed(let number, let tally, _, let changes):
            heardLast = number
            switch picture?.apply(number, tally, changes) {
            case .applied: changed()
            case .read: readAnew()
            case .known, nil: break
            }
        case .renewed: readAnew()
        }
    }

    /// Reads the seats again, until that works.
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
                    let before = self.picture?.event
                    try await self.read()
                    backoff.reset()
                    if self.picture?.event != before { self.changed() }
                } catch let error as WireError where error.code == .notFound {
                    // There is no such performance any more.
                } catch {
                    self.readAgain = true
                    await EventLoop.sleep(milliseconds: backoff.next())
                }
            } while self.readAgain && !self.hasEnded
            self.isReading = false
        }
    }

    private func changed() {
        if !hasEnded { rounds.changed() }
    }

    // MARK: telling

    /// Answers a `watch`, when the socket can take it.
    /// - Throws: `rate_limited` when the connection has asked for too much.
    func answer(_ session: Session, isCompact: Bool, id: MessageID?) throws(WireError) {
        guard let watcher = sessions[ObjectIdentifier(session)], let picture else { return }
        guard watcher.requests.count < Self.openRequests, session.maySend(picture.letters.count * (isCompact ? 1 : 36))
        else { throw WireError(.rateLimited, "all seats were asked for too often") }
        sessions[ObjectIdentifier(session)]?.requests.append((id, isCompact))
        if watcher.requests.isEmpty { markAnswer(session) }
    }

    private func markAnswer(_ session: Session) {
        session.seatsAnswer(performance) { [weak self, weak session] in
            guard let self, let session else { return nil }
            return self.nextAnswer(session)
        }
    }

    private func nextAnswer(_ session: Session) -> LongText? {
        let key = ObjectIdentifier(session)
        guard var watcher = sessions[key], !watcher.requests.isEmpty else { return nil }
        let request = watcher.requests.removeFirst()
        let (event, body) = whole(isCompact: request.isCompact)
        watcher.told = event
        sessions[key] = watcher
        if event != picture?.event { changed() }
        // After this one: the socket takes one state after the other.
        if !watcher.requests.isEmpty { Turn.atEnd(.merge) { self.markAnswer(session) } }
        return LongText([ServerFrame.seatsHead(id: request.id), body])
    }

    /// Answers of one connection that wait for its socket.
    private static let openRequests = 4

    private func whole(isCompact: Bool) -> (event: Int64, body: [UInt8]) {
        guard let picture else { return (0, []) }
        let now = EventLoop.monotonicMilliseconds
        if let known = answers[isCompact] {
            let isYoung = picture.letters.count > Self.manySeats && now - known.at < Self.answerMilliseconds
            if known.event == picture.event || isYoung && picture.changes(after: known.event) != nil {
                return (known.event, known.body)
            }
        }
        let body = ServerFrame.seatsBody(performance, picture, isCompact: isCompact)
        answers[isCompact] = (picture.event, now, body)
        return (picture.event, body)
    }

    private func tell(_ session: Session) {
        guard let entry = sessions[ObjectIdentifier(session)], entry.told != nil, entry.told != picture?.event else {
            return
        }
        session.seatsChanged(performance) { [weak self, weak session] in
            guard let self, let session else { return nil }
            return self.changes(for: session)
        }
    }

    /// What changed since a session was told last; nil when nothing did.
    private func changes(for session: Session) -> LongText? {
        guard let picture, let told = sessions[ObjectIdentifier(session)]?.told, told != picture.event else {
            return nil
        }
        sessions[ObjectIdentifier(session)]?.told = picture.event
        if let encoded = encodedChanges, encoded.after == told, encoded.event == picture.event {
            return LongText([encoded.bytes])
        }
        let seats = picture.changes(after: told) ?? Array(1...max(1, picture.letters.count))
        // What went and came back is no change, but what is left is told.
        let bytes = ServerFrame.seatsChanged(performance, picture, seats)
        encodedChanges = (told, picture.event, bytes)
        return LongText([bytes])
    }
}
