import EventLoop
import Model

extension Store {
    /// Writes what the performances' logs say. Any order and any repetition come to the same: what has ended stays so,
    /// what was paid is not ended by the log, and of two holds of a seat the newer one has it.
    ///
    /// All go in one transaction, but for a hold whose seat another one of the same batch has too: it comes after it.
    /// When the database refuses that, the batch is halved until each refused event stands alone, and the rest goes
    /// through.
    /// - Returns: the holds that PostgreSQL refuses, now or before: those of an older epoch that it did not know, those
    ///   with a seat that an older one has paid for, those whose id is another's, and what the database refuses. Redis has
    ///   lost writes, or was rebuilt without them. Those of the first two kinds are written as `expired`. The caller frees
    ///   them in Redis and tells their clients that they are `expired`. And those that the log says have ended although
    ///   they are paid: Redis has lost the payment, and what the log says of them is not true.
    /// - Throws: ``Outage``, or a ``DatabaseError`` that is the database's fault: some may be written, and the caller
    ///   tries all again.
    public func commit(_ events: [ReservationEvent]) async throws -> [ReservationID] {
        try await commit(events, by: committer)
    }

    func commit(_ events: [ReservationEvent], by pool: PostgresPool) async throws -> [ReservationID] {
        var stale: [ReservationID] = []
        for round in ReservationRounds(events).rounds {
            let refused = try await halving(round) { stale += try await commitTogether($0, by: pool) }
            for (event, error) in refused {
                log(
                    .warning, "reservation_refused",
                    ["reservation": LogValue(event.hold.id), "reason": .text(error.reason)])
                stale.append(event.hold.id)
            }
        }
        return Array(Set(stale)).sorted()
    }

    private func commitTogether(
        _ events: [ReservationEvent], by pool: PostgresPool
    ) async throws -> [ReservationID] {
        let holds = events.map(\.hold)
        let seated = holds.flatMap { hold in hold.seats.map { (hold.id, $0) } }
        let results = try await pool.perform(
            Statement(
                "select refused_place from commit_reservations($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                .integers(holds.map(\.id.performance.rawValue)), .integers(holds.map(\.id.sequence)),
                .texts(holds.map(\.client.rawValue)), .texts(events.map(\.status.rawValue)),
                .moments(holds.map(\.heldAt)), .moments(holds.map(\.expiresAt)), .integers(holds.map(\.epoch)),
                .integers(holds.map { Int64($0.seats.count) }), .integers(seated.map(\.0.performance.rawValue)),
                .integers(seated.map(\.0.sequence)), .integers(seated.map(\.1))))
        return results[0].rows.map { holds[Int($0.integer(0)) - 1].id }
    }

    /// Ends a hold at its deadline: one that is held, or that was never written, is `expired` from now on. One that was
    /// paid stays so, which is what the deadline and a payment under way race for.
    /// - Returns: what the reservation is now. `expired` also when PostgreSQL has another one with its id.
    public func close(_ hold: Hold) async throws -> ReservationStatus {
        let results = try await pool.perform(
            Statement(
                "select close_reservation($1, $2, $3, $4, $5, $6, $7)", .integer(hold.id.performance.rawValue),
                .integer(hold.id.sequence), .text(hold.client.rawValue), .moment(hold.heldAt),
                .moment(hold.expiresAt), .integer(hold.epoch), .integers(hold.seats.sorted())))
        return ReservationStatus(rawValue: results[0].first!.text(0))!
    }

    /// What PostgreSQL says of these reservations of a performance, of those that it has.
    public func statuses(
        of sequences: [Int64], in id: PerformanceID
    ) async throws -> [ReservationID: ReservationStatus] {
        guard !sequences.isEmpty else { return [:] }
        let results = try await pool.perform(
            Statement(
                "select sequence, status from reservations where performance_id = $1 and sequence = any ($2)",
                .integer(id.rawValue), .integers(sequences)))
        var statuses: [ReservationID: ReservationStatus] = [:]
        for row in results[0].rows {
            statuses[ReservationID(performance: id, sequence: row.integer(0))] = ReservationStatus(
                rawValue: row.text(1))
        }
        return statuses
    }

    /// A reservation; nil when PostgreSQL does not have it, or does not have it yet.
    public func reservation(_ id: ReservationID) async throws -> Reservation? {
        let results = try await pool.perform(Self.select(id))
        return results[0].first.map { Reservation($0) }
    }

    /// A client's reservations, those that were held last first.
    public func reservations(of client: ClientID, limit: Int) async throws -> [Reservation] {
        let results = try await pool.perform(
            Statement(
                """
                select performance_id, sequence, client_id, seats, status, price, held_at, expires_at, paid_at,
                    ended_at, payment_id
                from stored_reservations where client_id = $1
                order by held_at desc, performance_id desc, sequence desc limit $2
                """, .text(client.rawValue), .integer(Int64(limit))))
        return results[0].rows.map { Reservation($0) }
    }

    /// Reservations that were paid, or refunded, and of which Redis may not know that yet, oldest first: whoever did it
    /// did not come to ``markSettled(_:as:)`` in `olderThanMilliseconds`.
    public func unsettledReservations(limit: Int, olderThanMilliseconds: Int64) async throws -> [Reservation] {
        let results = try await pool.perform(
            Statement(
                """
                select performance_id, sequence, client_id, seats, status, price, held_at, expires_at, paid_at,
                    ended_at, payment_id
                from stored_reservations
                where not settled and coalesce(ended_at, paid_at) <= now() - $2 * interval '1 millisecond'
                order by coalesce(ended_at, paid_at), performance_id, sequence limit $1
                """, .integer(Int64(limit)), Self.span(milliseconds: olderThanMilliseconds)))
        return results[0].rows.map { Reservation($0) }
    }

    /// Notes that Redis knows that these are `status`, and that their clients were told. One that has another status by
    /// now is left alone: a refund may have come between.
    public func markSettled(_ ids: [ReservationID], as status: ReservationStatus) async throws {
        guard !ids.isEmpty else { return }
        let sorted = ids.sorted()
        _ = try await pool.perform(
            Statement(
                """
                update reservations set settled = true
                where (performance_id, sequence) in (
                    select r.performance_id, r.sequence from reservations r
                    join unnest($1, $2) as b (performance_id, sequence) using (performance_id, sequence)
                    where not r.settled and r.status = $3 order by r.performance_id, r.sequence for update of r)
                """, .integers(sorted.map(\.performance.rawValue)), .integers(sorted.map(\.sequence)),
                .text(status.rawValue)))
    }

    /// How many reservations of a performance are in each status; none of those that no reservation has.
    public func reservationCounts(of id: PerformanceID) async throws -> [ReservationStatus: Int64] {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                "select status, count(*) from reservations where performance_id = $1 group by status",
                .integer(id.rawValue)), timeout: Self.patience)
        var counts: [ReservationStatus: Int64] = [:]
        for row in results[1].rows { counts[ReservationStatus(rawValue: row.text(0))!] = row.integer(1) }
        return counts
    }

    static func select(_ id: ReservationID) -> Statement {
        Statement(
            """
            select performance_id, sequence, client_id, seats, status, price, held_at, expires_at, paid_at,
                ended_at, payment_id
            from stored_reservations where performance_id = $1 and sequence = $2
            """, .integer(id.performance.rawValue), .integer(id.sequence))
    }
}

extension Reservation {
    /// From the columns that every query of reservations names.
    @LoopActor
    init(_ row: Row) {
        self.init(
            id: ReservationID(performance: PerformanceID(row.integer(0)), sequence: row.integer(1)),
            client: ClientID(trusted: row.text(2)), seats: row.integers(3),
            status: ReservationStatus(rawValue: row.text(4))!, price: row.integer(5), heldAt: row.moment(6),
            expiresAt: row.moment(7), paidAt: row.optionalMoment(8), endedAt: row.optionalMoment(9),
            payment: row.optionalInteger(10))
    }
}
