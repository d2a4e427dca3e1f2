import Engine
import EventLoop
import Model
import Persistence

/// Pays for reservations, gives them back, and finishes what a process that died left half done. The steps, and what each
/// crash leaves, are in `docs/seats.md`.
@LoopActor
final class PaymentService {
    /// A payment that was made.
    struct Paid {
        let payment: Int64
        let seats: [Int64]
        /// Whether the same key was answered before.
        let isRepeated: Bool
    }

    private let seats: SeatService
    private let engine: Engine
    private let store: Store
    private let directory: PerformanceDirectory
    private let rooms: RoomService
    private let metrics: Metrics
    private let log: Log

    init(seats: SeatService) {
        self.seats = seats
        engine = seats.engine
        store = seats.store
        directory = seats.directory
        rooms = seats.rooms
        metrics = seats.metrics
        log = seats.log
    }

    // MARK: paying

    /// Pays for a reservation, once.
    /// - Throws: ``WireError``: `not_found`, `forbidden`, `not_admitted`, `hold_expired`, `already_paid`,
    ///   `insufficient_points`, `invalid`; or ``Outage``: then it may have been paid, and paying again with the same key
    ///   tells.
    func pay(
        _ id: ReservationID, by client: ClientID, point: Int64, key: IdempotencyKey?, pass: String?
    ) async throws -> Paid {
        let performance: Performance
        do {
            performance = try await directory.performance(id.performance)
        } catch let error as WireError where error.code == .notFound {
            throw WireError(.notFound, "reservationId: no such reservation")
        }
        let admission: SeatService.Admission
        do {
            admission = try await seats.admit(client, pass, to: performance.room)
        } catch let error as WireError where error.code == .notAdmitted {
            // What was paid stays so when its pass is spent.
            guard pass != nil, let payment = try await store.payment(of: id), payment.client == client else {
                throw error
            }
            return try await answer(payment, key)
        }
        do {
            let paid = try await pay(id, client, point, key, admission, performance.room)
            metrics.payments["paid", default: 0] += 1
            return paid
        } catch {
            let error = WireError(asWire: error)
            metrics.payments[error.code.rawValue, default: 0] += 1
            // What is not known may have been paid: then a scheduler spends the pass.
            if admission.isKept, error.code != .unavailable {
                await rooms.endCheck(admission.pass, of: client, room: performance.room)
            }
            throw error
        }
    }

    private func pay(
        _ id: ReservationID, _ client: ClientID, _ point: Int64, _ key: IdempotencyKey?,
        _ admission: SeatService.Admission, _ room: RoomID
    ) async throws -> Paid {
        for isSecond in [false, true] {
            guard seats.verification.isDone else { throw WireError.unavailable }
            switch try await engine.beginPayment(id, by: client) {
            case .begun(let hold, let epoch):
                FaultPoint.paymentBegun.reach()
                return try await commit(hold.begun(in: epoch), point, key, admission, room)
            case .closing(let hold):
                // An earlier attempt may have been committed: what is not known is not told as a no.
                try await close(hold)
                return try await pastPayment(id, client, key)
            case .notHolder: throw WireError(.forbidden, "the reservation is another client's")
            case .expired: throw Self.expired
            case .sold, .none: return try await pastPayment(id, client, key)
            case .unknownPerformance: if !isSecond { try await directory.restore(id.performance) }
            }
        }
        throw WireError.unavailable
    }

    private static let expired = WireError(.holdExpired, "the hold has run out; its seats are free again")

    private static let givenBack = WireError(.holdExpired, "the reservation was given back")

    private func commit(
        _ hold: Hold, _ point: Int64, _ key: IdempotencyKey?, _ admission: SeatService.Admission, _ room: RoomID
    ) async throws -> Paid {
        let result: PaymentResult
        do {
            result = try await store.pay(hold, point: point, key: key)
        } catch let error as DatabaseError {
            // PostgreSQL said no, and did nothing. (After an outage nobody knows: the payment counts as under way.)
            await refuse(hold.id)
            throw error
        }
        switch result {
        case .paid(let payment):
            FaultPoint.paymentCommitted.reach()
            let paid = Reservation(hold).with(.paid, paidAt: seats.now, payment: payment)
            await finishOrLeave(paid, admission.pass, room)
            return Paid(payment: payment, seats: hold.seats, isRepeated: false)
        case .repeated(let payment):
            return Paid(payment: payment, seats: hold.seats, isRepeated: true)
        case .alreadyPaid(let payment):
            throw WireError(.alreadyPaid, "the reservation is paid for", payment: payment)
        case .over:
            await over(hold)
            throw Self.expired
        case .rebuilt:
            // Redis' state, in which the payment began, is gone: it has to begin again in the new one.
            throw WireError.unavailable
        case .stale:
            log(.error, "hold_is_stale", ["reservation": .init(hold.id)])
            _ = try? await engine.tell([(client: hold.client, outcome: .reservation(hold.id, .expired))])
            // Without the hold, which PostgreSQL does not have.
            try? await directory.rebuildLost(hold.id.performance, epoch: hold.epoch)
            throw Self.expired
        case .wrongPrice(let price):
            await refuse(hold.id)
            throw WireError(.invalid, "point: must be the price, \(price)")
        case .insufficientPoints(let balance):
            await refuse(hold.id)
            throw WireError(.insufficientPoints, "the price is \(hold.price), and the balance \(balance)")
        }
    }

    /// Answers for a reservation whose hold Redis no longer has.
    private func pastPayment(_ id: ReservationID, _ client: ClientID, _ key: IdempotencyKey?) async throws -> Paid {
        let reservation = try await seats.reservation(id)
        guard reservation.client == client else { throw WireError(.forbidden, "the reservation is another client's") }
        switch reservation.status {
        case .paid:
            guard let payment = try await store.payment(of: id) else { throw WireError.unavailable }
            return try await answer(payment, key)
        case .expired: throw Self.expired
        case .released: throw Self.givenBack
        case .held: throw WireError.unavailable
        }
    }

    private func answer(_ payment: Payment, _ key: IdempotencyKey?) async throws -> Paid {
        guard payment.refundedAt == nil else { throw Self.givenBack }
        guard let key, key == payment.key else {
            throw WireError(.alreadyPaid, "the reservation is paid for", payment: payment.id)
        }
        let seats = try await store.reservation(payment.reservation)?.seats ?? []
        return Paid(payment: payment.id, seats: seats, isRepeated: true)
    }

    private func refuse(_ id: ReservationID) async {
        // What fails here counts as under way until the deadline, when PostgreSQL closes it.
        try? await engine.refusePayment(id)
    }

    /// Tells a client that its hold, of which PostgreSQL says so, is over, and frees its seats. In this order: the record
    /// in Redis is what brings a scheduler back to it when something fails here.
    /// - Throws: ``Outage``.
    private func end(_ hold: Hold) async throws {
        _ = try await engine.tell([(client: hold.client, outcome: .reservation(hold.id, .expired))])
        FaultPoint.expiredTold.reach()
        try await engine.settle([(id: hold.id, as: .over)])
    }

    /// What fails here a scheduler does.
    private func over(_ hold: Hold) async { try? await end(hold) }

    // MARK: giving back

    /// Gives a hold back, or cancels a paid reservation and refunds it; the same answer again when that was done before.
    /// - Throws: `not_found`, `hold_expired`, `in_use` while a payment is under way; ``Outage``.
    func giveBack(_ reservation: Reservation) async throws -> Reservation {
        let id = reservation.id
        switch reservation.status {
        case .released: return reservation
        case .expired: throw Self.expired
        case .paid: return try await refund(id)
        case .held: break
        }
        for isSecond in [false, true] {
            guard seats.verification.isDone else { throw WireError.unavailable }
            switch try await engine.release(id) {
            case .released(let hold):
                FaultPoint.holdReleased.reach()
                seats.unconfirmed.noteReleased(hold)
                return Reservation(hold).with(.released, endedAt: seats.now)
            case .underPayment:
                throw WireError(.inUse, "a payment of the reservation is under way", retryAfter: 1)
            case .sold: return try await refund(id)
            case .none:
                // It ended in this moment.
                let now = try await seats.reservation(id)
                guard now.status != .held else { throw WireError.unavailable }
                return try await giveBack(now)
            case .unknownPerformance: if !isSecond { try await directory.restore(id.performance) }
            }
        }
        throw WireError.unavailable
    }

    private func refund(_ id: ReservationID) async throws -> Reservation {
        switch try await store.refund(id) {
        case .released(let reservation, newly: let newly):
            FaultPoint.refundCommitted.reach()
            if newly { log(.info, "reservation_refunded", ["reservation": .init(id)]) }
            // Done again where it was done before: a crash may have come between.
            await finishOrLeave(reservation, nil, try await directory.performance(id.performance).room)
            return reservation
        case .notPaid(.expired): throw Self.expired
        case .notPaid, .notFound: throw WireError.unavailable
        }
    }

    // MARK: finishing

    /// What follows a payment or a refund. What fails here a scheduler does.
    private func finishOrLeave(_ reservation: Reservation, _ pass: String?, _ room: RoomID) async {
        do {
            try await finish(reservation, pass, room)
        } catch {
            log(
                .warning, "reservation_waits",
                ["reservation": .init(reservation.id), "error": .init("\(error)")])
        }
    }

    /// What follows a payment or a refund, each part of which may be done again: Redis learns of it, the client is told,
    /// the pass is spent, and PostgreSQL notes that this is done.
    private func finish(_ reservation: Reservation, _ pass: String?, _ room: RoomID) async throws {
        let isPaid = reservation.status == .paid
        try await engine.settle([(id: reservation.id, as: isPaid ? .sold : .refunded)])
        FaultPoint.seatsSold.reach()
        // With what came before: whoever paid may have died before telling it.
        _ = try await engine.tell(reservation.outcomes.map { (client: reservation.client, outcome: $0) })
        FaultPoint.paidTold.reach()
        // Also of one that was refunded before anybody came to this.
        if let paidAt = reservation.paidAt {
            // The pass that was shown, or whichever the client had when it paid.
            let before = pass == nil ? paidAt : Timestamp(milliseconds: .max / 2)
            rooms.toldPasses.forget(reservation.client, room)
            try await engine.spend([(reservation.client, pass, before)], room: room)
        }
        FaultPoint.passSpent.reach()
        try await store.markSettled([reservation.id], as: reservation.status)
    }

    /// Finishes what processes that died have left: payments and refunds of which not all followed.
    /// - Throws: ``Outage``.
    func finishLeftOver() async throws {
        for reservation in try await store.unsettledReservations(limit: 500, olderThanMilliseconds: 3000) {
            let room = try await directory.performance(reservation.id.performance).room
            // Whoever paid has told it meanwhile: the same again changes nothing.
            await finishOrLeave(reservation, nil, room)
            log(.warning, "reservation_finished_late", ["reservation": .init(reservation.id)])
        }
    }

    /// A hold's time is over while a payment of it is under way: PostgreSQL decides which of both it is.
    /// - Throws: ``Outage``; then it is asked again.
    func close(_ hold: Hold) async throws {
        let status = try await store.close(hold)
        FaultPoint.reservationClosed.reach()
        log(
            .info, "reservation_closed",
            ["reservation": .init(hold.id), "status": .init(status.rawValue)])
        switch status {
        case .paid: try await engine.settle([(id: hold.id, as: .sold)])
        case .released: try await engine.settle([(id: hold.id, as: .refunded)])
        case .expired, .held: try await end(hold)
        }
    }
}
