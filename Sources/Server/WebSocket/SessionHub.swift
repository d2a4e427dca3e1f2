import Engine
import EventLoop
import Gateway
import Glibc
import Identity
import Model
import Persistence

/// Limits of one WebSocket.
struct SessionLimits {
    /// Whether rates are limited at all.
    let isOn: Bool
    /// Messages of one connection.
    let messages: TokenBucket.Limit?
    /// Those of clients and addresses.
    let rates: RateLimits
    /// Messages over the rate that are answered with an error before the connection is closed. They come one by one,
    /// with a pause after each: this is some 10 seconds of it.
    let refusedMessages = 50
    /// Claims of one connection that wait for Redis.
    let claimsInFlight = 256
    /// Sales that one connection watches.
    let watches = 200
    /// Bytes that one connection is sent as answers to watches of seats: some halls of 100,000 at once.
    let seatBytes = TokenBucket.Limit(perSecond: 500_000, burst: 20_000_000)
    /// Rooms in which one connection waits.
    let rooms = 20
    /// Connections of one client on this process.
    let connectionsPerClient: Int
    /// Milliseconds in which `connect` has to come.
    let connectMilliseconds: Int64
}

/// All WebSockets of this process, by client.
@LoopActor
final class SessionHub {
    let engine: Engine
    let store: Store
    let claims: ClaimService
    let directory: SaleDirectory
    let credentials: CredentialsChecker
    let watches: WatchHub
    let rooms: RoomHub
    let seats: SeatHub
    let seatService: SeatService
    let metrics: Metrics
    let limits: SessionLimits
    let epochs: ResumeEpochs
    private let log: Log
    fileprivate var presences: [ClientID: Presence] = [:]
    /// Sessions that have to send `connect`, oldest first: all have the same time for it.
    private var anonymous: [(session: Session, since: Int64)] = []
    private let sweepTimer = LoopTimer()
    private let renewTimer = LoopTimer()
    private var sweeps = 0
    /// How many have connected, and joined: by now, as of the last look, and when memory was given back last.
    var arrivals = 0
    private var lastArrivals = 0
    private var arrivalsAtTrim = 0
    private static let arrivalsBetweenTrims = 1000
    /// Not before this sweep is memory given back again: nobody shall be able to ask for it all the time.
    private var nextTrim = 0
    private static let sweepsBetweenTrims = 60
    /// `malloc_trim`, of which Swift's module of the C library knows nothing; nil where there is none.
    private static let trim = dlsym(nil, "malloc_trim").map {
        unsafeBitCast($0, to: (@convention(c) (Int) -> Int32).self)
    }
    /// No token ends before this.
    private var nextExpiry = Timestamp(milliseconds: .max)

    init(
        engine: Engine, store: Store, claims: ClaimService, directory: SaleDirectory, credentials: CredentialsChecker,
        watches: WatchHub, rooms: RoomHub, seats: SeatHub, seatService: SeatService, metrics: Metrics,
        limits: SessionLimits, epochs: ResumeEpochs,
        outcomeSeconds: Int64,
        log: Log
    ) {
        self.engine = engine
        self.store = store
        self.claims = claims
        self.directory = directory
        self.credentials = credentials
        self.watches = watches
        self.rooms = rooms
        self.seats = seats
        self.seatService = seatService
        self.metrics = metrics
        self.limits = limits
        self.epochs = epochs
        self.log = log
        sweepTimer.startInStep(every: 500) { [weak self] in self?.sweep() }
        // A quarter of their life: two renewals may fail, and a log still lives for half of it, as a resume is good for.
        let renewal = outcomeSeconds * 250
        renewTimer.start(after: renewal, every: renewal) { [weak self] in self?.renewLogs() }
    }

    /// The moment, by this machine's clock.
    var now: Timestamp { Timestamp(milliseconds: EventLoop.wallMilliseconds) }

    /// Clients with at least one connection here.
    var clientCount: Int { presences.count }

    /// Claims, joins and holds of WebSockets that wait for a decision.
    var awaited = 0
    /// With more than so many under way, another one would only wait longer: who sends much is not read.
    private static let mostAwaited = 32

    /// Whether enough is under way as it is.
    var isBusy: Bool { awaited > Self.mostAwaited }

    /// A WebSocket was opened.
    func opened(_ connection: WebSocketConnection) -> Session {
        let session = Session(connection: connection, hub: self)
        anonymous.append((session, EventLoop.monotonicMilliseconds))
        return session
    }

    /// Gives a session its time to send `connect` once more.
    func expectConnect(_ session: Session) {
        anonymous.removeAll { $0.session === session }
        anonymous.append((session, EventLoop.monotonicMilliseconds))
    }

    /// A client's presence on this process; made when it is the first connection.
    func presence(of client: ClientID) -> Presence {
        if let presence = presences[client] { return presence }
        let presence = Presence(client: client, hub: self)
        presences[client] = presence
        return presence
    }

    func forget(_ presence: Presence) {
        if presences[presence.client] === presence { presences[presence.client] = nil }
    }

    /// Keeps the logs of those who are connected: one that expires begins anew, and its client would not notice.
    private func renewLogs() {
        let clients = Array(presences.keys)
        EventLoop.task {
            do {
                try await self.engine.renewLogs(of: clients)
            } catch {
                self.log(.warning, "logs_not_renewed", ["error": .init("\(error)")])
            }
        }
    }

    /// Ends the sessions of a token that was logged out.
    func revoked(_ tokenID: String) {
        let mark = Session.mark(of: tokenID)
        for presence in presences.values {
            for session in presence.sessions where session.isOf(tokenMark: mark) {
                session.close(.badToken, "logged out")
            }
        }
    }

    /// What is true now of a client's claims, for one whose outcomes are no longer in the log.
    /// - Throws: ``Outage``: a part of the truth would be taken for all of it.
    func presentTruth(of client: ClientID) async throws -> [Outcome] {
        try await rooms.rooms.requireCertainty()
        var truth: [OrderID: [Outcome]] = [:]
        var reservations: [ReservationID: [Outcome]] = [:]
        // What the log still has knows of orders that PostgreSQL does not have yet.
        for kept in try await engine.outcomes(of: client, after: 0).outcomes {
            switch kept.outcome {
            case .accepted(let order, _, _), .order(let order, _, _, _): truth[order, default: []].append(kept.outcome)
            case .reservation(let reservation, _): reservations[reservation, default: []].append(kept.outcome)
            case .admitted, .expired: break
            }
        }
        for order in try await store.orders(of: client, in: nil, limit: 200) {
            truth[order.id] = [
                order.status == .accepted
                    ? .accepted(order: order.id, ticket: order.ticket, remaining: nil)
                    : .order(order.id, order.status, ticket: order.ticket, reason: order.reason)
            ]
        }
        for reservation in try await seatService.reservations(of: client, limit: 200) {
            if !reservation.outcomes.isEmpty { reservations[reservation.id] = reservation.outcomes }
        }
        let passes = try await rooms.rooms.passes(of: client)
        try await rooms.rooms.requireCertainty()
        return truth.sorted { $0.key < $1.key }.flatMap { $0.value }
            + reservations.sorted { $0.key < $1.key }.flatMap { $0.value }
            + passes
    }

    private func sweep() {
        let now = EventLoop.monotonicMilliseconds
        let late = anonymous.prefix { now - $0.since >= limits.connectMilliseconds }
        if !late.isEmpty {
            anonymous.removeFirst(late.count)
            for (session, _) in late where session.state == .anonymous || session.state == .connecting {
                session.close(.connectTimeout, "connect did not come in time")
            }
        }
        // Those that have connected or gone need not be remembered until their time is up.
        if sweeps % 2 == 0 { anonymous.removeAll { $0.session.state == .connected || $0.session.state == .ended } }
        if anonymous.isEmpty { anonymous = [] }
        giveBackMemory()
        if sweeps % 10 == 0, nextExpiry <= self.now { endExpired() }
        sweeps += 1
    }

    /// Gives the system back what a rush of arrivals took, once it is over.
    ///
    /// Ten thousand who join at the same moment take some kilobytes each until they are answered, in between of what stays,
    /// and the allocator gives back nothing by itself but what lies at its end. To ask it for more stops the loop for some
    /// milliseconds: that is done when nobody came for a while and nothing waits for a decision.
    private func giveBackMemory() {
        defer { lastArrivals = arrivals }
        guard arrivals == lastArrivals, arrivals - arrivalsAtTrim >= Self.arrivalsBetweenTrims, awaited == 0,
            sweeps >= nextTrim
        else { return }
        (arrivalsAtTrim, nextTrim) = (arrivals, sweeps + Self.sweepsBetweenTrims)
        let began = EventLoop.nanoseconds
        _ = Self.trim?(0)
        log(.debug, "memory_given_back", ["microseconds": .init(Int64(EventLoop.nanoseconds - began) / 1000)])
    }

    /// A session's token ends at this moment.
    func expires(at moment: Timestamp) { nextExpiry = min(nextExpiry, moment) }

    private func endExpired() {
        let wall = now
        nextExpiry = Timestamp(milliseconds: .max)
        for presence in presences.values {
            for session in presence.sessions {
                if session.expiresAt <= wall {
                    session.close(.badToken, "the token has expired")
                } else {
                    expires(at: session.expiresAt)
                }
            }
        }
    }
}

/// One client on this process: its connections, and the subscription to its outcomes that they share.
@LoopActor
final class Presence {
    let client: ClientID
    private unowned let hub: SessionHub
    private(set) var sessions = Few<Session>()
    /// Only while it is under way: there are many presences.
    private var subscribing: SharedAttempt<Subscription>?
    private var subscription: Subscription?

    init(client: ClientID, hub: SessionHub) {
        self.client = client
        self.hub = hub
    }

    func add(_ session: Session) {
        sessions.append(session)
        if sessions.count > hub.limits.connectionsPerClient, let oldest = sessions.first {
            oldest.close(.replaced, "too many connections of this client")
        }
    }

    func remove(_ session: Session) {
        sessions.removeAll { $0 === session }
        guard sessions.isEmpty else { return }
        subscription?.cancel()
        subscription = nil
        hub.forget(self)
    }

    /// Returns when Redis sends this client's outcomes here.
    func subscribed() async throws {
        guard subscription == nil else { return }
        let attempt = subscribing ?? SharedAttempt()
        subscribing = attempt
        defer { if !attempt.isUnderWay { subscribing = nil } }
        let (hub, client) = (hub, client)
        let new = try await attempt.run {
            // There is one for each client: to refer to this weakly would take as much again as it does.
            try await hub.engine.subscribe(client: client) { [weak hub] in hub?.presences[client]?.heard($0) }
        }
        if sessions.isEmpty {
            new.cancel()
        } else if subscription == nil {
            subscription = new
        }
    }

    /// An outcome of the client, by whatever way.
    fileprivate func heard(_ event: ClientEvent) {
        switch event {
        case .outcome(let outcome):
            if case .admitted(let room, _, _) = outcome.outcome { hub.rooms.admitted(client, room) }
            for session in sessions { session.received(outcome) }
        case .renewed: for session in sessions { session.mayHaveMissed() }
        case .away(let room): hub.rooms.away(client, room)
        case .left(let room, let connection, let event):
            hub.rooms.rooms.toldPasses.forget(client, room)
            for session in sessions { session.gaveBack(room, by: connection, asOf: event) }
        }
    }
}
