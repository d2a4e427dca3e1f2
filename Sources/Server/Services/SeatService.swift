import Engine
import EventLoop
import Model
import Persistence

/// Sets seats aside, and says what became of reservations. `docs/seats.md` has the whole.
@LoopActor
final class SeatService {
    /// Seats that a client holds.
    struct Held {
        let hold: Hold
        /// Whether it held exactly these already.
        let isRepeated: Bool
    }

    let engine: Engine
    let store: Store
    let directory: PerformanceDirectory
    let rooms: RoomService
    let verification: Verification
    let unconfirmed: Unconfirmed
    let metrics: Metrics
    let log: Log
    /// Made once, as each hold needs it.
    private let isVerified: @LoopActor @Sendable () -> Bool

    init(
        engine: Engine, store: Store, directory: PerformanceDirectory, rooms: RoomService, verification: Verification,
        unconfirmed: Unconfirmed, metrics: Metrics, log: Log
    ) {
        self.engine = engine
        self.unconfirmed = unconfirmed
        self.store = store
        self.directory = directory
        self.rooms = rooms
        self.verification = verification
        self.metrics = metrics
        self.log = log
        isVerified = { verification.isDone }
    }

    /// Sets seats aside for a client that shows a pass: all of them, or none.
    /// - Parameter field: what the client calls the seats, for errors.
    /// - Throws: ``WireError``: `invalid`, `not_found`, `not_admitted`, `seat_taken`, `duplicate`; or ``Outage``.
    func hold(
        _ seats: [Int64], named field: String, for client: ClientID, of id: PerformanceID, pass: String?
    ) async throws -> Held {
        // What is known needs no waiting: this is the way of the many who want the same seat.
        let performance = if let kept = directory.kept(id) { kept } else { try await directory.performance(id) }
        let wanted = try Self.checked(seats, field, performance.layout)
        let room = performance.room
        guard let pass, pass.utf8.count <= 128 else { throw Self.notAdmitted(to: room) }
        guard verification.isDone else { throw WireError.unavailable }
        // One step, and nothing after it that waits: with every function that may wait the task changes hands.
        let answer = try await engine.hold(wanted, for: client, of: id, showing: pass, of: room, while: isVerified)
        switch answer {
        case .notAdmitted:
            try await verification.requireCertainty()
            throw Self.notAdmitted(to: room)
        case .decided(.success(let decision), isKept: false) where decision != .unknownPerformance:
            guard let held = try held(by: decision) else { throw WireError.unavailable }
            FaultPoint.holdTaken.reach()
            return held
        case .decided, .unknownRoom: return try await hold(wanted, client, id, pass, room, after: answer)
        }
    }

    /// Goes on where the performance or the room was not known, or the pass is kept beyond its time.
    private func hold(
        _ seats: [Int64], _ client: ClientID, _ id: PerformanceID, _ pass: String, _ room: RoomID,
        after first: AdmittedHold
    ) async throws -> Held {
        var answer = first
        if case .unknownRoom = answer {
            answer = try await rooms.directory.with(room) {
                let again = try await self.engine.hold(
                    seats, for: client, of: id, showing: pass, of: room, while: self.isVerified)
                return if case .unknownRoom = again { nil } else { again }
            }
        }
        guard case .decided(let decision, let isKept) = answer else {
            try await verification.requireCertainty()
            throw Self.notAdmitted(to: room)
        }
        do {
            let held = try await settled(try decision.get(), seats, client, id)
            FaultPoint.holdTaken.reach()
            if isKept { await rooms.endCheck(pass, of: client, room: room) }
            return held
        } catch {
            if isKept { await rooms.endCheck(pass, of: client, room: room) }
            throw error
        }
    }

    /// What a decision comes to. Where Redis did not know the performance, it is made known, and asked again.
    private func settled(
        _ first: HoldDecision, _ seats: [Int64], _ client: ClientID, _ id: PerformanceID
    ) async throws -> Held {
        if let held = try held(by: first) { return held }
        try await directory.restore(id)
        guard verification.isDone else { throw WireError.unavailable }
        guard let held = try held(by: try await engine.hold(seats, for: client, of: id)) else {
            throw WireError.unavailable
        }
        return held
    }

    /// Nil when Redis did not know the performance.
    private func held(by decision: HoldDecision) throws(WireError) -> Held? {
        switch decision {
        case .held(let hold):
            metrics.holds["held", default: 0] += 1
            unconfirmed.note(hold)
            return Held(hold: hold, isRepeated: false)
        case .repeated(let hold):
            metrics.holds["repeated", default: 0] += 1
            return Held(hold: hold, isRepeated: true)
        case .taken(let taken):
            metrics.holds["seat_taken", default: 0] += 1
            throw WireError(.seatTaken, "not all of these seats are free", seats: taken)
        case .overLimit:
            metrics.holds["duplicate", default: 0] += 1
            throw WireError(.duplicate, "this client has as many seats as it may")
        case .unknownPerformance: return nil
        }
    }

    private static func checked(_ seats: [Int64], _ field: String, _ layout: SeatLayout) throws(WireError) -> [Int64] {
        guard (1...Performance.seatsPerReservation).contains(seats.count) else {
            throw WireError(.invalid, "\(field): 1 to \(Performance.seatsPerReservation) seats")
        }
        let sorted = seats.sorted()
        guard zip(sorted, sorted.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw WireError(.invalid, "\(field): a seat is named twice")
        }
        guard sorted[0] >= 1, sorted[sorted.count - 1] <= layout.count else {
            throw WireError(.invalid, "\(field): the seats are 1 to \(layout.count)")
        }
        return sorted
    }

    /// A pass that was checked.
    struct Admission {
        let pass: String
        /// Whether its place is kept beyond its time until somebody says that this is over.
        let isKept: Bool
    }

    /// Lets in who has a pass of a room, and keeps the place while what it is shown for is decided.
    /// - Throws: `not_admitted`, ``Outage``.
    func admit(_ client: ClientID, _ pass: String?, to room: RoomID) async throws -> Admission {
        guard let pass, pass.utf8.count <= 128 else { throw Self.notAdmitted(to: room) }
        let check = try await rooms.check(pass, of: client, room: room)
        guard check.isValid else { throw Self.notAdmitted(to: room) }
        return Admission(pass: pass, isKept: check.isKept)
    }

    static func notAdmitted(to room: RoomID) -> WireError {
        WireError(.notAdmitted, "token: this needs a valid pass of the room \(room)")
    }

    // MARK: the truth

    /// A reservation, wherever it is on its way.
    /// - Throws: `not_found`, ``Outage``.
    func reservation(_ id: ReservationID) async throws -> Reservation {
        let missing = WireError(.notFound, "no such reservation")
        do {
            _ = try await directory.performance(id.performance)
        } catch let error as WireError where error.code == .notFound {
            throw missing
        }
        // What is written is final, unless it is held: then Redis knows more. It may move on between the looks.
        for _ in 0..<3 {
            let stored = try await store.reservation(id)
            if let stored, stored.status != .held { return stored }
            if let record = try await engine.holds([id])[id] {
                if record.isSold { continue }
                return Reservation(record.hold)
            }
            // A performance that Redis does not know has no holds, and yet none of them has ended.
            if try await engine.tallies(of: [id.performance]).isEmpty {
                try await directory.restore(id.performance)
                continue
            }
            // It has ended, or never was: the log has what PostgreSQL doesn't.
            let (event, isWhole) = try await engine.unwritten(id)
            if let event, event.status != .held {
                return Reservation(event.hold).with(event.status, endedAt: min(now, event.hold.expiresAt))
            }
            guard isWhole else { throw WireError.unavailable }
            if stored == nil, event == nil, try await store.reservation(id) == nil {
                try await verification.requireCertainty()
                throw missing
            }
        }
        throw WireError.unavailable
    }

    /// A client's reservations, newest first.
    /// - Throws: ``Outage``.
    func reservations(of client: ClientID, limit: Int) async throws -> [Reservation] {
        var found: [ReservationID: Reservation] = [:]
        for stored in try await store.reservations(of: client, limit: limit) { found[stored.id] = stored }
        for record in try await engine.holds(of: client, in: directory.activeIDs()) where found[record.hold.id] == nil {
            // A sold one that PostgreSQL did not list is older than all that it listed, or was paid in this moment.
            if record.isSold {
                if let paid = try await store.reservation(record.hold.id) { found[paid.id] = paid }
            } else {
                found[record.hold.id] = Reservation(record.hold)
            }
        }
        let held = found.values.filter { $0.status == .held }.map(\.id)
        let records = try await engine.holds(held)
        for id in held where records[id].map(\.isSold) ?? true { found[id] = try await reservation(id) }
        return Array(found.values.sorted { ($0.heldAt, $0.id) > ($1.heldAt, $1.id) }.prefix(limit))
    }

    var now: Timestamp { Timestamp(milliseconds: EventLoop.wallMilliseconds) }
}

extension Reservation {
    /// The same reservation with another status.
    func with(_ status: ReservationStatus, paidAt: Timestamp? = nil, endedAt: Timestamp? = nil, payment: Int64? = nil)
        -> Reservation
    {
        Reservation(
            id: id, client: client, seats: seats, status: status, price: price, heldAt: heldAt, expiresAt: expiresAt,
            paidAt: paidAt ?? self.paidAt, endedAt: endedAt ?? self.endedAt, payment: payment ?? self.payment)
    }
}
