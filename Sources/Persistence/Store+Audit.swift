import EventLoop
import Model

/// What the auditor asks PostgreSQL. Large tables are read in pages, by their keys: `limit 1` in a lateral join has the
/// planner look each row up by the index, also before it has statistics of the table.
extension Store {
    // MARK: Orders

    /// Orders of a sale after a sequence, in their order: those that own a ticket, and those that were given back.
    public func auditOrders(of sale: SaleID, after sequence: Int64, limit: Int) async throws -> [AuditedOrder] {
        let results = try await pool.perform(
            Statement(
                """
                select o.sequence, o.client_id, o.ticket, o.slot, o.status = 'confirmed', o.released,
                    not o.released and coalesce(o.cancelled_at < now() - interval '30 seconds', false),
                    o.price > 0 and (
                        e.client_id is distinct from o.client_id or e.amount is distinct from -o.price
                        or o.status = 'cancelled' and (
                            r.client_id is distinct from o.client_id or r.amount is distinct from o.price))
                    or o.price = 0 and e.id is not null
                    or r.id is not null and (o.price = 0 or o.status <> 'cancelled'),
                    null::text
                from (
                    select * from orders where sale_id = $1 and sequence > $2 order by sequence limit $3) as o
                left join lateral (
                    select id, client_id, amount from ledger_entries
                    where kind = 'order' and reference = o.sale_id || '-' || o.sequence limit 1) as e on true
                left join lateral (
                    select id, client_id, amount from ledger_entries
                    where kind = 'refund' and reference = o.sale_id || '-' || o.sequence limit 1) as r on true
                order by o.sequence
                """, .integer(sale.rawValue), .integer(sequence), .integer(Int64(limit))))
        return results[0].rows.map { AuditedOrder($0) }
    }

    /// What PostgreSQL has under these sequences of a sale, of those under which it has something.
    public func auditOrders(of sale: SaleID, _ sequences: [Int64]) async throws -> [Int64: AuditedOrder] {
        guard !sequences.isEmpty else { return [:] }
        let results = try await pool.perform(
            Statement(
                """
                select a.sequence, o.client_id, o.ticket, o.slot, coalesce(o.status = 'confirmed', false),
                    coalesce(o.released, true),
                    coalesce(not o.released and o.cancelled_at < now() - interval '30 seconds', false), false, f.status
                from unnest($2) as a (sequence)
                left join lateral (
                    select * from orders where sale_id = $1 and sequence = a.sequence limit 1) as o on true
                left join lateral (
                    select * from failed_orders where sale_id = $1 and sequence = a.sequence limit 1) as f on true
                where o.sequence is not null or f.sequence is not null
                """, .integer(sale.rawValue), .integers(sequences)))
        return Dictionary(results[0].rows.map { ($0.integer(0), AuditedOrder($0)) }) { first, _ in first }
    }

    /// Counts confirmed, cancelled and failed orders of a sale anew, by the second in which each became so.
    public func recount(_ sale: SaleID) async throws {
        let id = Parameter.integer(sale.rawValue)
        _ = try await pool.perform(
            Self.withPatience,
            // Nothing is committed meanwhile.
            Statement("select lock_sale($1)", id),
            Statement(
                """
                delete from sale_counts where sale_id = $1 and counter in ('confirmed', 'cancelled', 'failed')
                """, id),
            Statement(
                """
                insert into sale_counts (sale_id, at, counter, value)
                select $1, date_trunc('second', at), counter, count(*)
                from (
                    select confirmed_at as at, 'confirmed' as counter from orders
                    where sale_id = $1 and confirmed_at is not null
                    union all
                    select cancelled_at, 'cancelled' from orders where sale_id = $1 and status = 'cancelled'
                    union all
                    select failed_at, 'failed' from failed_orders where sale_id = $1) as made
                group by 2, 3
                """, id), timeout: Self.patience)
    }

    // MARK: Reservations

    /// Reservations of a performance that have seats, after a sequence, in their order.
    public func auditReservations(
        of performance: PerformanceID, after sequence: Int64, limit: Int
    ) async throws -> [AuditedReservation] {
        let results = try await pool.perform(
            Statement(
                """
                select sequence, client_id,
                    array(
                        select s.seat from reservation_seats s
                        where s.performance_id = r.performance_id and s.sequence = r.sequence order by s.seat),
                    status, settled, cause is not distinct from 'superseded', paid_at is not null
                from reservations r
                where performance_id = $1 and sequence > $2 and is_live order by sequence limit $3
                """, .integer(performance.rawValue), .integer(sequence), .integer(Int64(limit))))
        return results[0].rows.map { AuditedReservation($0) }
    }

    /// These reservations of a performance, of those that PostgreSQL has.
    public func auditReservations(
        of performance: PerformanceID, _ sequences: [Int64]
    ) async throws -> [Int64: AuditedReservation] {
        guard !sequences.isEmpty else { return [:] }
        let results = try await pool.perform(
            Statement(
                """
                select sequence, client_id,
                    array(
                        select s.seat from reservation_seats s
                        where s.performance_id = r.performance_id and s.sequence = r.sequence order by s.seat),
                    status, settled, cause is not distinct from 'superseded', paid_at is not null
                from reservations r where performance_id = $1 and sequence = any ($2)
                """, .integer(performance.rawValue), .integers(sequences)))
        return Dictionary(results[0].rows.map { ($0.integer(0), AuditedReservation($0)) }) { first, _ in first }
    }

    /// Which of a performance's reservations have a payment, or entries in the ledger, that do not fit.
    public func mispaidReservations(of performance: PerformanceID, limit: Int) async throws -> [Int64] {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                select r.sequence
                from reservations r
                left join payments y using (performance_id, sequence)
                left join ledger_entries c
                    on c.kind = 'payment' and c.reference = r.performance_id || '-' || r.sequence
                left join ledger_entries b
                    on b.kind = 'payment_refund' and b.reference = r.performance_id || '-' || r.sequence
                where r.performance_id = $1 and (
                    (r.paid_at is not null) <> (y.id is not null)
                    or (r.paid_at is not null and r.status = 'released') <> (y.refunded_at is not null)
                    or y.client_id <> r.client_id or y.amount <> r.price
                    or (r.paid_at is not null and r.price > 0) <> (c.id is not null)
                    or (y.refunded_at is not null and r.price > 0) <> (b.id is not null)
                    or c.client_id <> r.client_id or c.amount <> -r.price
                    or b.client_id <> r.client_id or b.amount <> r.price)
                order by r.sequence limit $2
                """, .integer(performance.rawValue), .integer(Int64(limit))), timeout: Self.patience)
        return results[1].rows.map { $0.integer(0) }
    }

    /// Seats of a performance that PostgreSQL misplaces: live without a live reservation, or lacking to one.
    public func misplacedReservations(of performance: PerformanceID, limit: Int) async throws -> [Int64] {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                select sequence from reservations r
                where performance_id = $1 and (case when is_live then seat_count else 0 end) <> (
                    select count(*) from reservation_seats s
                    where s.performance_id = r.performance_id and s.sequence = r.sequence and s.is_live)
                union
                select s.sequence from reservation_seats s left join reservations r using (performance_id, sequence)
                where s.performance_id = $1 and s.is_live and r.sequence is null
                order by 1 limit $2
                """, .integer(performance.rawValue), .integer(Int64(limit))), timeout: Self.patience)
        return results[1].rows.map { $0.integer(0) }
    }

    // MARK: Accounts

    /// Accounts whose balance is not the sum of their ledger, by client, and how many there are.
    public func auditAccounts(limit: Int) async throws -> (accounts: [AuditedAccount], count: Int64) {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                select client_id, balance, coalesce(total, 0)::bigint, count(*) over ()
                from accounts
                left join (
                    select client_id, sum(amount) as total from ledger_entries group by client_id) as l using (client_id)
                where balance <> coalesce(total, 0) order by client_id limit $1
                """, .integer(Int64(limit))), timeout: Self.patience)
        let rows = results[1].rows
        return (rows.map { AuditedAccount($0) }, rows.first?.integer(3) ?? 0)
    }

    /// One client's account, if its balance is not the sum of its ledger.
    public func auditAccount(of client: ClientID) async throws -> AuditedAccount? {
        let results = try await pool.perform(
            Statement(
                """
                select client_id, balance, coalesce(total, 0)::bigint
                from accounts a
                cross join lateral (
                    select sum(amount) as total from ledger_entries l where l.client_id = a.client_id) as l
                where client_id = $1 and balance <> coalesce(total, 0)
                """, .text(client.rawValue)))
        return results[0].first.map { AuditedAccount($0) }
    }

    /// A page of accounts by client, after one: those whose balance is not the sum of their ledger.
    /// - Returns: also how many the page had, and its last client, nil at the end.
    public func auditAccounts(
        after client: String, limit: Int
    ) async throws -> (accounts: [AuditedAccount], count: Int, last: String?) {
        let results = try await pool.perform(
            Statement(
                """
                select client_id, balance, coalesce(total, 0)::bigint
                from (select client_id, balance from accounts where client_id > $1 order by client_id limit $2) as a
                cross join lateral (
                    select sum(amount) as total from ledger_entries l where l.client_id = a.client_id) as l
                order by client_id
                """, .text(client), .integer(Int64(limit))))
        let all = results[0].rows.map { AuditedAccount($0) }
        let last = all.count < limit ? nil : all.last?.client.rawValue
        return (all.filter { $0.balance != $0.ledger }, all.count, last)
    }

    /// Makes a balance the sum of its ledger, which is what it is by definition, unless that is below 0.
    /// - Returns: the balance; nil when nothing was changed.
    public func mendBalance(of client: ClientID) async throws -> Int64? {
        let id = Parameter.text(client.rawValue)
        let results = try await pool.perform(
            // Whoever writes the ledger has this lock: the sum is read after it was taken.
            Statement("select from accounts where client_id = $1 for update", id),
            Statement(
                """
                update accounts a set balance = l.total
                from (
                    select coalesce(sum(amount), 0)::bigint as total from ledger_entries where client_id = $1) as l
                where a.client_id = $1 and a.balance <> l.total and l.total >= 0
                returning a.balance
                """, id))
        return results[1].first?.integer(0)
    }
}

extension AuditedOrder {
    /// From the columns that the auditor's queries of orders name.
    @LoopActor
    init(_ row: Row) {
        let client = row.optionalText(1)
        self.init(
            sequence: row.integer(0), client: client.map { ClientID(trusted: $0) },
            ticket: row.optionalInteger(2) ?? 0, slot: row.optionalInteger(3) ?? 0,
            isConfirmed: row.flag(4), isReleased: row.flag(5),
            isLate: row.flag(6), isMispaid: row.flag(7), failure: row.optionalText(8))
    }
}

extension AuditedReservation {
    /// From the columns that the auditor's queries of reservations name.
    @LoopActor
    init(_ row: Row) {
        self.init(
            sequence: row.integer(0), client: ClientID(trusted: row.text(1)), seats: row.integers(2),
            status: ReservationStatus(rawValue: row.text(3))!, isSettled: row.flag(4), isSuperseded: row.flag(5),
            wasPaid: row.flag(6))
    }
}

extension AuditedAccount {
    /// From the columns that the auditor's queries of accounts name.
    @LoopActor
    init(_ row: Row) {
        self.init(client: ClientID(trusted: row.text(0)), balance: row.integer(1), ledger: row.integer(2))
    }
}
