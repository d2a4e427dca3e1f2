import Engine
import EventLoop
import Model
import Persistence

/// Finds rooms, makes sure that Redis knows them, and knows which sales each has.
@LoopActor
final class RoomDirectory {
    /// What a claim has to know of its sale before it is decided. A sale never changes it.
    struct SaleRoom {
        let room: RoomID?
        let perClientLimit: Int64
    }

    private let engine: Engine
    private let store: Store
    private let sales: SaleDirectory
    private let log: Log
    /// All rooms by name, as PostgreSQL had them when it was last asked.
    private(set) var rooms: [RoomID: Room] = [:]
    /// Sales that have not ended, by their room.
    private(set) var liveSales: [RoomID: [StoredSale]] = [:]
    /// Performances that have not begun, by their room.
    private(set) var upcoming: [RoomID: [Performance]] = [:]
    private var saleRooms: [SaleID: SaleRoom] = [:]
    private var missing = MissingIDs<RoomID>("room")
    /// What Redis was told last of a room: the version of its limits, and what its sales say.
    private var told: [RoomID: Told] = [:]
    private var telling: Set<RoomID> = []
    private var restoring: [RoomID: SharedAttempt<Void>] = [:]
    /// Whether PostgreSQL was asked once at least.
    private(set) var isLoaded = false
    private var refreshing: Task<Void, Never>?
    private var refreshAgain = false
    private var refreshes = 0
    private var subscriptions: [Subscription] = []
    private let timer = LoopTimer()
    /// Told after each refresh.
    var onRefreshed: [() -> Void] = []
    /// Told when some gateway was given up for dead.
    var onGatewayDied: (() -> Void)?
    /// Whether this process tells Redis of the rooms' sales.
    var isScheduler = false

    private struct Told: Equatable {
        let version: Int64
        let sales: RoomSales
    }

    private static let saleRoomLimit = 100_000
    private static let refreshMilliseconds: Int64 = 5000

    init(engine: Engine, store: Store, sales: SaleDirectory, log: Log) {
        self.engine = engine
        self.store = store
        self.sales = sales
        self.log = log
    }

    /// Follows what happens to rooms and to their sales. Returns once all is known.
    func start() async {
        var backoff = Backoff(base: 50, cap: 1000)
        while subscriptions.isEmpty {
            do {
                subscriptions = [
                    try await engine.subscribeRooms { [weak self] event in
                        if case .gatewayDied = event { self?.onGatewayDied?() } else { self?.refreshSoon() }
                    },
                    try await engine.subscribeSales { [weak self] _ in self?.refreshSoon() },
                ]
            } catch {
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
        refreshSoon()
        await refreshing?.value
    }

    func stop() {
        timer.stop()
        for subscription in subscriptions { subscription.cancel() }
        subscriptions = []
    }

    /// Redis may be another than before: it is told anew of everything.
    func redisChanged() {
        told = [:]
        refreshSoon()
    }

    /// Asks PostgreSQL again; calls while it is asked lead to one more question.
    func refreshSoon() {
        guard refreshing == nil else {
            refreshAgain = true
            return
        }
        refreshing = EventLoop.task {
            repeat {
                self.refreshAgain = false
                do {
                    try await self.refresh()
                } catch {
                    self.log(.debug, "rooms_wait", ["error": .init("\(error)")])
                }
            } while self.refreshAgain
            self.refreshing = nil
            self.timer.start(after: self.untilNextChange()) { [weak self] in self?.refreshSoon() }
        }
    }

    private func refresh() async throws {
        let stored = try await store.rooms()
        let versions = try await store.roomSalesVersions()
        let live = try await store.activeRoomSales()
        let performances = try await store.upcomingPerformances().map(\.performance)
        rooms = Dictionary(stored.map { ($0.id, $0) }) { first, _ in first }
        var byRoom: [RoomID: [StoredSale]] = [:]
        for sale in live {
            if let room = sale.sale.room.map(RoomID.init(trusted:)) { byRoom[room, default: []].append(sale) }
        }
        liveSales = byRoom
        upcoming = Dictionary(grouping: performances, by: \.room)
        isLoaded = true
        refreshes += 1
        // Another process may have told what it read before.
        if refreshes % 6 == 0 { told = [:] }
        for handler in onRefreshed { handler() }
        guard isScheduler else { return }
        for room in stored {
            let sales = Self.sales(byRoom[room.id] ?? [], upcoming[room.id] ?? [], version: versions[room.id] ?? 0)
            guard told[room.id] != Told(version: room.version, sales: sales), !telling.contains(room.id) else {
                continue
            }
            telling.insert(room.id)
            // The others don't wait for one in which lots are drawn.
            EventLoop.task {
                defer { self.telling.remove(room.id) }
                do {
                    try await self.tell(room, sales)
                } catch {
                    self.log(.debug, "room_waits", ["room": .init(room.id), "error": .init("\(error)")])
                }
            }
        }
    }

    /// What is told of these, which were read after the version. Not of what is known otherwise: another reading that began
    /// earlier may end in the middle, and older sales under a newer version would be believed for good.
    private static func sales(_ live: [StoredSale], _ upcoming: [Performance], version: Int64) -> RoomSales {
        // A sale that opens before another has ended keeps the room open. Seats can be held from the first day on.
        guard upcoming.isEmpty else { return RoomSales(opensAt: nil, isLive: true, version: version) }
        return RoomSales(opensAt: live.map(\.window.opensAt).min(), isLive: !live.isEmpty, version: version)
    }

    /// A sale's end is a moment at which its room may have to be emptied.
    private func untilNextChange() -> Int64 {
        let now = EventLoop.wallMilliseconds
        let ends = liveSales.values.joined().map(\.window.closesAt) + upcoming.values.joined().map(\.startsAt)
        let next = ends.map(\.milliseconds).filter { $0 > now }.min()
        // A little later: PostgreSQL's clock may be behind ours.
        return min(Self.refreshMilliseconds, max(20, (next ?? .max / 2) - now + 20))
    }

    /// Tells Redis a room's limits, which it may have missed, and what its sales say.
    private func tell(_ room: Room, _ sales: RoomSales) async throws {
        let news = Told(version: room.version, sales: sales)
        guard told[room.id] != news else { return }
        if told[room.id]?.version != room.version { try await engine.define(room, sales: sales) }
        guard let sentHome = try await engine.setSales(of: room.id, sales) else { return }
        told[room.id] = news
        if sentHome > 0 { log(.info, "room_closed", ["room": .init(room.id), "sentHome": .init(sentHome)]) }
    }

    /// A room's limits have changed: Redis hears of them before the caller goes on. What it doesn't hear now, a scheduler
    /// tells it later.
    func limitsChanged(_ room: Room) async throws {
        add(room)
        // Its sales are as they were: those who wait are not to wait for PostgreSQL to say so.
        guard isScheduler, let sales = told[room.id]?.sales else { return try await salesChanged(of: room.id) }
        try await engine.define(room, sales: sales)
        told[room.id] = Told(version: room.version, sales: sales)
    }

    /// A sale of this room was registered, or its window changed here: Redis hears of it before the caller goes on.
    func salesChanged(of id: RoomID) async throws {
        guard let room = try await store.room(id) else { return }
        let sales = try await read(id)
        told[id] = nil
        try await tell(room, sales)
        for handler in onRefreshed { handler() }
    }

    private func read(_ room: RoomID) async throws -> RoomSales {
        let version = try await store.roomSalesVersions()[room] ?? 0
        let live = try await store.activeRoomSales().filter { $0.sale.room == room.rawValue }
        let performances = try await store.upcomingPerformances().map(\.performance).filter { $0.room == room }
        liveSales[room] = live.isEmpty ? nil : live
        upcoming[room] = performances.isEmpty ? nil : performances
        return Self.sales(live, performances, version: version)
    }

    /// Looks whether there is such a room, before anything is kept in its name.
    /// - Throws: `not_found`, ``Outage``.
    func require(_ room: RoomID) async throws {
        if rooms[room] == nil { try await restore(room) }
    }

    /// Does something with a room that Redis has to know; makes it known first when it doesn't.
    /// - Throws: `not_found` when there is no such room; what `call` throws.
    @discardableResult
    func with<Result>(_ room: RoomID, _ call: @LoopActor () async throws -> Result?) async throws -> Result {
        if let result = try await call() { return result }
        try await restore(room)
        guard let result = try await call() else { throw WireError.unavailable }
        return result
    }

    private func restore(_ id: RoomID) async throws {
        try missing.check(id)
        try await engine.requireSameData()
        let attempt = restoring[id] ?? SharedAttempt()
        restoring[id] = attempt
        defer { if !attempt.isUnderWay { restoring[id] = nil } }
        try await attempt.run { try await self.define(id) }
    }

    private func define(_ id: RoomID) async throws {
        guard let room = try await store.room(id) else {
            missing.insert(id)
            throw missing.notFound
        }
        rooms[id] = room
        try await engine.define(room, sales: try await read(id))
        log(.info, "room_known", ["room": .init(id)])
    }

    /// A room was made here: it is no longer missing.
    func add(_ room: Room) {
        missing.remove(room.id)
        rooms[room.id] = room
        for handler in onRefreshed { handler() }
    }

    /// A sale's room, where it has been asked for before.
    func knownRoom(of sale: SaleID) -> SaleRoom? { saleRooms[sale] }

    /// A sale's room.
    /// - Throws: `not_found` when there is no such sale; ``Outage``.
    func room(of sale: SaleID) async throws -> SaleRoom {
        if let known = saleRooms[sale] { return known }
        let state = try await sales.state(of: sale)
        let found = SaleRoom(
            room: state.sale.room.map(RoomID.init(trusted:)), perClientLimit: state.sale.perClientLimit)
        if saleRooms.count >= Self.saleRoomLimit { saleRooms.removeAll() }
        saleRooms[sale] = found
        return found
    }
}
