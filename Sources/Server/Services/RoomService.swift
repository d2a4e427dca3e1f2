import Engine
import EventLoop
import Model
import Persistence

/// What clients and admins do with rooms.
@LoopActor
final class RoomService {
    private let engine: Engine
    private let store: Store
    let directory: RoomDirectory
    /// The passes that this process knows.
    let toldPasses = ToldPasses()
    private let verification: Verification
    private let log: Log
    /// How long a join waits while Redis is compared, in milliseconds.
    private static let patience: Int64 = 5000

    init(engine: Engine, store: Store, directory: RoomDirectory, verification: Verification, log: Log) {
        self.engine = engine
        self.verification = verification
        self.store = store
        self.directory = directory
        self.log = log
    }

    /// Before something is told that is a "no", or may be half of the truth.
    /// - Throws: ``Outage``, or `unavailable`.
    func requireCertainty() async throws { try await verification.requireCertainty() }

    /// Returns when it is known that Redis' lines are what they were.
    func verified() async { await verification.wait() }

    /// Lets a client join, or finds it where it is.
    /// - Throws: `not_found`, `rejected`, ``Outage``.
    func join(
        _ client: ClientID, _ room: RoomID, holder: Int64
    ) async throws -> (standing: RoomStanding, summary: RoomSummary) {
        // Not before those who waited in a line that Redis may have lost.
        guard await verification.wait(atMost: Self.patience) else { throw WireError.unavailable }
        let joined = try await directory.with(room) {
            try await self.engine.join(client, room: room, holder: holder)
        }
        note(joined.standing, of: client, in: room)
        if joined.standing == .rejected { throw WireError(.rejected, "the room lets nobody in") }
        return joined
    }

    /// - Returns: the change of the line as of which the client has left.
    /// - Throws: `not_found`, ``Outage``.
    @discardableResult
    func leave(_ client: ClientID, _ room: RoomID, by connection: UInt64 = 0) async throws -> Int64 {
        toldPasses.forget(client, room)
        return try await directory.with(room) {
            try await self.engine.leave(client, room: room, by: connection)
        }.summary.event
    }

    private func note(_ standing: RoomStanding, of client: ClientID, in room: RoomID) {
        guard case .admitted(let token, let expiresAt) = standing else { return }
        toldPasses.note(client, room, token: token, expiresAt: expiresAt)
    }

    /// - Throws: `not_found`, ``Outage``.
    func standing(
        of client: ClientID, in room: RoomID, asksItself: Bool
    ) async throws -> (standing: RoomStanding, summary: RoomSummary) {
        let found = try await directory.with(room) {
            try await self.engine.standing(of: client, room: room, asksItself: asksItself)
        }
        switch found.standing {
        case .admitted: if asksItself { note(found.standing, of: client, in: room) }
        case .waiting: break
        case .finished, .unknown, .rejected: try await requireCertainty()
        }
        return found
    }

    /// The passes that a client has, for one whose outcomes are no longer in its log.
    /// - Throws: ``Outage``.
    func passes(of client: ClientID) async throws -> [Outcome] {
        var passes: [Outcome] = []
        // All at once: what they ask leaves in one write.
        let rooms = directory.rooms.keys.sorted()
        let questions = rooms.map { room in
            EventLoop.task { () -> Result<(standing: RoomStanding, summary: RoomSummary)?, Outage> in
                do throws(Outage) {
                    return .success(try await self.engine.standing(of: client, room: room, asksItself: false))
                } catch {
                    return .failure(error)
                }
            }
        }
        for (room, question) in zip(rooms, questions) {
            let found = try await question.value.get()
            if case .admitted(let token, let expiresAt)? = found?.standing {
                toldPasses.note(client, room, token: token, expiresAt: expiresAt)
                passes.append(.admitted(room, token: token, expiresAt: expiresAt))
            }
        }
        return passes
    }

    // MARK: passes and claims

    /// Whether a client has this pass. See ``Engine/Engine/check(_:of:room:)``.
    func check(_ token: String, of client: ClientID, room: RoomID) async throws -> (isValid: Bool, isKept: Bool) {
        let check = try await directory.with(room) { try await self.engine.check(token, of: client, room: room) }
        if !check.isValid { try await requireCertainty() }
        return check
    }

    /// Whether a client has this pass now. Counts as a sign of life.
    /// - Throws: ``Outage``.
    func hasPass(_ client: ClientID, _ pass: String, of room: RoomID) async throws -> Bool {
        let found = try await standing(of: client, in: room, asksItself: true)
        if case .admitted(pass, _) = found.standing { return true }
        try await requireCertainty()
        return false
    }

    /// Who has this pass now; nil when nobody has.
    /// - Throws: ``Outage``.
    func owner(of pass: String, room: RoomID) async throws -> ClientID? {
        let owner = try await directory.with(room) { () -> PassOwner? in
            let owner = try await self.engine.owner(of: pass, room: room)
            return if case .unknownRoom = owner { nil } else { owner }
        }
        if case .client(let client) = owner { return client }
        try await requireCertainty()
        return nil
    }

    /// What a pass that is kept beyond its time was shown for is decided, and has not spent it.
    func endCheck(_ token: String, of client: ClientID, room: RoomID) async {
        // What fails here ends by itself five seconds later.
        try? await engine.endCheck(token, of: client, room: room)
    }

    /// Spends a pass. What fails here the committer does, or it ends by its time.
    func spend(_ token: String, of client: ClientID, room: RoomID) async {
        toldPasses.forget(client, room)
        do {
            try await engine.spend([(client, token, Timestamp(milliseconds: .max / 2))], room: room)
        } catch {
            log(.debug, "pass_not_spent_yet", ["room": .init(room), "error": .init("\(error)")])
        }
    }

    /// Spends the passes by which these orders were claimed, unless that has happened: whoever accepted the claim may
    /// have died before.
    /// - Throws: ``Outage``.
    func spendPasses(of orders: [AcceptedOrder]) async throws {
        var spent: [RoomID: [(client: ClientID, token: String?, before: Timestamp)]] = [:]
        for order in orders {
            let sale = try await directory.room(of: order.order.sale)
            guard let room = sale.room, order.slot == sale.perClientLimit else { continue }
            spent[room, default: []].append((order.client, nil, order.acceptedAt))
        }
        for (room, passes) in spent { try await engine.spend(passes, room: room) }
    }

    // MARK: admins

    /// - Throws: `in_use`, ``Outage``.
    func create(_ id: RoomID, _ limits: RoomLimits) async throws -> Room {
        guard let room = try await store.insertRoom(id, limits: limits) else {
            throw WireError(.inUse, "id: there is a room of this name")
        }
        directory.add(room)
        do {
            try await engine.define(room, sales: .none)
        } catch {
            log(.warning, "room_not_in_redis_yet", ["room": .init(id), "error": .init("\(error)")])
        }
        return room
    }

    /// Changes limits; they hold from the next decision on.
    /// - Throws: `not_found`, ``Outage``, what `change` throws.
    func update(_ id: RoomID, _ change: (inout RoomLimits) throws -> Void) async throws -> Room {
        // Another admin may change it at the same time: the version in PostgreSQL decides who was first.
        for _ in 0..<20 {
            guard let room = try await store.room(id) else { throw WireError(.notFound, "no such room") }
            var limits = room.limits
            try change(&limits)
            guard let updated = try await store.updateRoom(id, from: room.version, limits: limits) else { continue }
            try await directory.limitsChanged(updated)
            // More may be admitted now.
            _ = try await engine.tick(id, admissible: limits.maxActive - room.limits.maxActive)
            log(.info, "room_changed", ["room": .init(id), "version": .init(updated.version)])
            return updated
        }
        throw WireError.unavailable
    }

    /// A room, and its line as it stands.
    /// - Throws: `not_found`, ``Outage``.
    func inspect(_ id: RoomID) async throws -> (room: Room, live: RoomInspection) {
        guard let room = try await store.room(id) else { throw WireError(.notFound, "no such room") }
        return (room, try await directory.with(id) { try await self.engine.inspect(room: id) })
    }
}
