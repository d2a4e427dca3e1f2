import EventLoop
import Model

/// Giving a database back what it has lost of reservations; ``Store/restoreSale(_:epoch:)`` begins the same for orders.
extension Store {
    /// Brings a performance's epoch to the one in Redis, where that is newer.
    public func restoreEpoch(_ epoch: Int64, of performance: PerformanceID) async throws {
        _ = try await pool.perform(
            Statement(
                "update performances set epoch = $2 where id = $1 and epoch < $2", .integer(performance.rawValue),
                .integer(epoch)))
    }

    /// Reservations of a performance that have their seats, held or paid, by sequence, from the one after `sequence` on.
    public func liveReservations(
        of performance: PerformanceID, after sequence: Int64, limit: Int
    ) async throws -> [(id: ReservationID, isPaid: Bool)] {
        let results = try await pool.perform(
            Statement(
                """
                select sequence, status = 'paid' from reservations
                where performance_id = $1 and sequence > $2 and is_live order by sequence limit $3
                """, .integer(performance.rawValue), .integer(sequence), .integer(Int64(limit))))
        return results[0].rows.map {
            (id: ReservationID(performance: performance, sequence: $0.integer(0)), isPaid: $0.flag(1))
        }
    }

    /// Writes holds, and ends of holds, that the database has lost, as ``commit(_:)-([ReservationEvent])`` does.
    /// - Returns: those that it refuses.
    public func restore(_ events: [ReservationEvent]) async throws -> [ReservationID] {
        try await commit(events, by: pool)
    }

    /// Writes a payment again that the database has lost, and the hold with it. As with orders, what the balance lacks was
    /// charged by something that was lost too.
    /// - Parameter hold: with the performance's epoch.
    /// - Returns: whether it is paid now.
    public func restorePayment(of hold: Hold) async throws -> Bool {
        let id = hold.id
        let results = try await pool.perform(
            Statement(
                "insert into accounts (client_id) values ($1) on conflict (client_id) do nothing",
                .text(hold.client.rawValue)),
            Statement("select from accounts where client_id = $1 for update", .text(hold.client.rawValue)),
            Statement(
                """
                with owed as (
                    select a.client_id, $2 - a.balance as points from accounts a
                    where a.client_id = $1 and a.balance < $2 and not exists (
                        select from payments p where p.performance_id = $3 and p.sequence = $4)
                ), booked as (
                    insert into ledger_entries (client_id, amount, kind, reference)
                    select client_id, points, 'charge', client_id || ' restored ' || $3::text || '-' || $4::text
                    from owed
                )
                update accounts a set balance = balance + owed.points from owed where a.client_id = owed.client_id
                """, .text(hold.client.rawValue), .integer(hold.price), .integer(id.performance.rawValue),
                .integer(id.sequence)),
            Statement(
                "select outcome, number from pay_reservation($1, $2, $3, $4, $5, $6, $7, $8, null)",
                .integer(id.performance.rawValue), .integer(id.sequence), .text(hold.client.rawValue),
                .moment(hold.heldAt), .moment(hold.expiresAt), .integer(hold.epoch), .integers(hold.seats.sorted()),
                .integer(hold.price)))
        return ["paid", "repeated", "already_paid"].contains(results[3].first!.text(0))
    }
}
