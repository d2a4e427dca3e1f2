import EventLoop
import Model

extension Store {
    /// Pays for a hold: charges the price, which is PostgreSQL's own, and gives the client the seats, or does nothing at
    /// all. One transaction; the hold is written before if the committer has not come to it.
    ///
    /// Whether the hold's time is over is not looked at: that is Redis' clock to say. What was closed before is `over`.
    /// - Parameters:
    ///   - hold: with the epoch of the performance in which the payment began.
    ///   - point: what the client means to pay.
    ///   - key: marks repeated attempts as one.
    public func pay(_ hold: Hold, point: Int64, key: IdempotencyKey?) async throws -> PaymentResult {
        let results = try await pool.perform(
            Statement(
                "select outcome, number from pay_reservation($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                .integer(hold.id.performance.rawValue), .integer(hold.id.sequence), .text(hold.client.rawValue),
                .moment(hold.heldAt), .moment(hold.expiresAt), .integer(hold.epoch), .integers(hold.seats.sorted()),
                .integer(point), .text(key?.rawValue)))
        let row = results[0].first!
        switch row.text(0) {
        case "paid": return .paid(payment: row.integer(1))
        case "repeated": return .repeated(payment: row.integer(1))
        case "already_paid": return .alreadyPaid(payment: row.integer(1))
        case "wrong_price": return .wrongPrice(row.integer(1))
        case "insufficient_points": return .insufficientPoints(balance: row.integer(1))
        case "over": return .over
        case "rebuilt": return .rebuilt
        default: return .stale
        }
    }

    /// Cancels a paid reservation: its seats are free again once Redis knows
    /// (``unsettledReservations(limit:olderThanMilliseconds:)``), and its price goes back to the client, exactly once.
    public func refund(_ id: ReservationID) async throws -> RefundResult {
        let results = try await pool.perform(
            Statement(
                "select refund_reservation($1, $2)", .integer(id.performance.rawValue), .integer(id.sequence)),
            Self.select(id))
        guard let reservation = results[1].first.map({ Reservation($0) }) else { return .notFound }
        let newly = results[0].first!.flag(0)
        // It was paid between the two statements.
        if reservation.status == .paid { return try await refund(id) }
        guard reservation.status == .released, reservation.paidAt != nil else { return .notPaid(reservation.status) }
        return .released(reservation, newly: newly)
    }

    /// The payment for a reservation, whether it stands or was given back; nil when it was never paid.
    public func payment(of reservation: ReservationID) async throws -> Payment? {
        let results = try await pool.perform(
            Statement(
                """
                select id, performance_id, sequence, client_id, amount, idempotency_key, paid_at, refunded_at
                from payments where performance_id = $1 and sequence = $2
                """, .integer(reservation.performance.rawValue), .integer(reservation.sequence)))
        return results[0].first.map { Payment($0) }
    }

    /// Counts the seats and reservations of performances themselves, and compares what has to agree.
    public func auditPerformances(_ ids: [PerformanceID]) async throws -> [PerformanceAudit] {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                select p.id, p.seats, l.held, l.sold, r.unsettled, l.misplaced + m.lacking, r.unpaid
                from unnest($1) with ordinality as asked (id, place)
                join performances p using (id)
                cross join lateral (
                    select count(*) filter (where r.status = 'held') as held,
                        count(*) filter (where r.status = 'paid') as sold,
                        count(*) filter (where r.is_live is not true) as misplaced
                    from reservation_seats s left join reservations r using (performance_id, sequence)
                    where s.performance_id = p.id and s.is_live) as l
                cross join lateral (
                    select coalesce(sum(abs(r.seat_count - coalesce(s.live, 0))), 0)::bigint as lacking
                    from reservations r
                    left join (
                        select sequence, count(*) as live from reservation_seats
                        where performance_id = p.id and is_live group by sequence) as s using (sequence)
                    where r.performance_id = p.id and r.is_live) as m
                cross join lateral (
                    select count(*) filter (where not r.settled) as unsettled,
                        count(*) filter (
                            where (r.paid_at is not null) <> (y.id is not null)
                                or (r.paid_at is not null and r.status = 'released') <> (y.refunded_at is not null)
                                or y.client_id <> r.client_id or y.amount <> r.price
                                or (r.paid_at is not null and r.price > 0) <> (c.id is not null)
                                or (y.refunded_at is not null and r.price > 0) <> (b.id is not null)
                                or c.client_id <> r.client_id or c.amount <> -r.price
                                or b.client_id <> r.client_id or b.amount <> r.price) as unpaid
                    from reservations r
                    left join payments y using (performance_id, sequence)
                    left join ledger_entries c
                        on c.kind = 'payment' and c.reference = r.performance_id || '-' || r.sequence
                    left join ledger_entries b
                        on b.kind = 'payment_refund' and b.reference = r.performance_id || '-' || r.sequence
                    where r.performance_id = p.id) as r
                order by asked.place
                """, .integers(ids.map(\.rawValue))), timeout: Self.patience)
        return results[1].rows.map {
            PerformanceAudit(
                performance: PerformanceID($0.integer(0)), seats: $0.integer(1), held: $0.integer(2),
                sold: $0.integer(3), unsettled: $0.integer(4), misplaced: $0.integer(5), unpaid: $0.integer(6))
        }
    }
}

extension Payment {
    /// From the columns that the query of payments names.
    @LoopActor
    init(_ row: Row) {
        self.init(
            id: row.integer(0),
            reservation: ReservationID(performance: PerformanceID(row.integer(1)), sequence: row.integer(2)),
            client: ClientID(trusted: row.text(3)), amount: row.integer(4),
            key: row.optionalText(5).flatMap { IdempotencyKey($0) }, paidAt: row.moment(6),
            refundedAt: row.optionalMoment(7))
    }
}
