import Engine
import EventLoop
import Model
import Persistence

/// The same for seats: Redis has each reservation as long as it has its seats.
extension DatabaseVerifier {
    func giveBackSeats() async throws {
        var positions: [PerformanceID: SalePosition] = [:]
        for stored in try await store.activePerformances(startedWithinMilliseconds: .max) {
            let id = stored.performance.id
            guard let position = try await engine.positions(of: [id])[id], position.epoch >= 0 else { continue }
            positions[id] = position
            try await store.restoreEpoch(position.epoch, of: id)
            try await endAgain(id, position)
        }
        for (id, position) in positions.sorted(by: { $0.key < $1.key }) { try await writeAgain(id, position) }
    }

    /// A reservation that has its seats in PostgreSQL and not in Redis has ended: refunded, if it was paid.
    private func endAgain(_ id: PerformanceID, _ position: SalePosition) async throws {
        // Redis may be what is behind: then it is rebuilt from PostgreSQL, and does not tell what has ended.
        guard let last = try await store.lastSequences(of: [id])[id],
            (last.epoch, last.lastSequence) <= (position.epoch, position.lastSequence)
        else { return }
        var after: Int64 = 0
        while true {
            let live = try await store.liveReservations(of: id, after: after, limit: Self.ordersPerStep)
            guard let newest = live.last else { return }
            after = newest.id.sequence
            let records = try await engine.holds(live.map(\.id))
            let gone = live.filter { records[$0.id] == nil }
            guard !gone.isEmpty else { continue }
            // While it is rebuilt nothing is held.
            guard try await engine.positions(of: [id])[id]?.epoch == position.epoch else {
                throw WireError.unavailable
            }
            for reservation in gone { try await endAgain(reservation.id, isPaid: reservation.isPaid) }
        }
    }

    private func endAgain(_ id: ReservationID, isPaid: Bool) async throws {
        if isPaid {
            guard case .released(_, newly: true) = try await store.refund(id) else { return }
        } else {
            // If the log has its end still, a committer comes to it, and knows which it was.
            let unwritten = try await engine.unwritten(id)
            guard unwritten.event == nil, let stored = try await store.reservation(id), stored.status == .held else {
                return
            }
            let hold = Hold(
                id: id, client: stored.client, seats: stored.seats, price: stored.price, heldAt: stored.heldAt,
                expiresAt: stored.expiresAt, epoch: SaleEpoch.of(id.sequence))
            let isOver = stored.expiresAt.milliseconds <= EventLoop.wallMilliseconds
            _ = try await store.restore([
                ReservationEvent(entry: "0-0", hold: hold, status: isOver ? .expired : .released)
            ])
        }
        reservations += 1
        log(.warning, "reservation_ended_again", ["reservation": .init(id), "wasPaid": .init(isPaid ? 1 : 0)])
    }

    /// A reservation that Redis has, and PostgreSQL does not, or not as paid.
    private func writeAgain(_ id: PerformanceID, _ position: SalePosition) async throws {
        try await engine.records(of: id) { records in
            let statuses = try await self.store.statuses(of: records.map(\.hold.id.sequence), in: id)
            for record in records {
                let hold = record.hold
                let isWritten: Bool
                switch (record.isSold, statuses[hold.id]) {
                case (true, .paid), (false, .some): continue
                case (true, _): isWritten = try await self.store.restorePayment(of: hold.begun(in: position.epoch))
                case (false, nil):
                    // The log may have it still.
                    guard try await self.engine.unwritten(hold.id).event == nil else { continue }
                    let event = ReservationEvent(entry: "0-0", hold: hold.begun(in: position.epoch), status: .held)
                    isWritten = try await self.store.restore([event]).isEmpty
                }
                if isWritten {
                    self.reservations += 1
                    self.log(.warning, "reservation_given_back", ["reservation": .init(hold.id)])
                } else {
                    self.log(.error, "reservation_not_given_back", ["reservation": .init(hold.id)])
                }
            }
        }
    }
}
