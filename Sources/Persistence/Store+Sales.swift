import EventLoop
import Model

extension Store {
    /// Registers a sale.
    /// - Returns: the sale as it stands, with everything left.
    public func insertSale(
        name: String, quantity: Int64, price: Int64, perClientLimit: Int64, room: String?, rejectPercent: Int64,
        window: SaleWindow
    ) async throws -> SaleState {
        let results = try await pool.perform(
            Statement(
                """
                insert into sales (
                    name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at, cancelled,
                    window_version)
                values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                returning id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at,
                    cancelled, window_version, epoch
                """, .text(name), .integer(quantity), .integer(price), .integer(perClientLimit), .text(room),
                .integer(rejectPercent), .moment(window.opensAt), .moment(window.closesAt), .flag(window.isCancelled),
                .integer(window.version)))
        let stored = StoredSale(results[0].first!)
        return SaleState(sale: stored.sale, window: stored.window, remaining: quantity)
    }

    /// A sale; nil when there is none with this id.
    public func sale(_ id: SaleID) async throws -> StoredSale? {
        let results = try await pool.perform(
            Statement(
                """
                select id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at,
                    cancelled, window_version, epoch
                from sales where id = $1
                """, .integer(id.rawValue)))
        return results[0].first.map { StoredSale($0) }
    }

    /// Sales, newest first; those with a smaller id than `before` when it is given.
    public func sales(before: SaleID? = nil, limit: Int) async throws -> [StoredSale] {
        let results = try await pool.perform(
            Statement(
                """
                select id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at,
                    cancelled, window_version, epoch
                from sales where id < $1 order by id desc limit $2
                """, .integer(before?.rawValue ?? .max), .integer(Int64(limit))))
        return results[0].rows.map { StoredSale($0) }
    }

    /// The sales that may still have work, by id: those not over for longer than `endedWithinMilliseconds`, and those
    /// with tickets that Redis has to get back, or with orders under retry.
    ///
    /// PostgreSQL does not know whether accepted orders of a sale that ended long ago still wait in Redis. Who starts
    /// after a long outage asks with a longer time; with `.max`, for all sales.
    public func activeSales(endedWithinMilliseconds: Int64 = 3_600_000) async throws -> [StoredSale] {
        let results = try await pool.perform(
            Statement(
                """
                select id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at,
                    cancelled, window_version, epoch
                from sales
                where not cancelled and closes_at > now() - $1 * interval '1 millisecond'
                    or cancelled and window_changed_at > now() - $1 * interval '1 millisecond'
                    or id in (select sale_id from orders where not released)
                    or id in (select sale_id from failed_orders where status = 'retrying')
                order by id
                """, Self.span(milliseconds: endedWithinMilliseconds)))
        return results[0].rows.map { StoredSale($0) }
    }

    /// The epoch of each sale, and the largest sequence of its orders, failed ones too; 0 when there are none. Sales
    /// that do not exist are left out.
    ///
    /// A state in Redis that has not come as far has lost writes.
    public func lastSequences(
        of sales: [SaleID]
    ) async throws -> [SaleID: (epoch: Int64, lastSequence: Int64)] {
        guard !sales.isEmpty else { return [:] }
        let results = try await pool.perform(
            Statement(
                """
                select s.id, s.epoch, greatest(
                    (select coalesce(max(sequence), 0) from orders where sale_id = s.id),
                    (select coalesce(max(sequence), 0) from failed_orders where sale_id = s.id))
                from sales s where s.id = any ($1)
                """, .integers(sales.map(\.rawValue))))
        var found: [SaleID: (epoch: Int64, lastSequence: Int64)] = [:]
        for row in results[0].rows { found[SaleID(row.integer(0))] = (row.integer(1), row.integer(2)) }
        return found
    }

    /// Changes when a sale takes claims, if `window` is newer than what is stored.
    /// - Returns: what is stored after it, which is another's when that was newer; nil when there is no such sale.
    public func setWindow(_ window: SaleWindow, of id: SaleID) async throws -> SaleWindow? {
        let results = try await pool.perform(
            Statement(
                """
                update sales
                set opens_at = $2, closes_at = $3, cancelled = $4, window_version = $5, window_changed_at = now()
                where id = $1 and window_version < $5
                """, .integer(id.rawValue), .moment(window.opensAt), .moment(window.closesAt),
                .flag(window.isCancelled), .integer(window.version)),
            Statement(
                """
                select id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at,
                    cancelled, window_version, epoch
                from sales where id = $1
                """, .integer(id.rawValue)))
        return results[1].first.map { StoredSale($0).window }
    }

    /// Begins a new epoch of a sale, and reads all that Redis' state is rebuilt from.
    ///
    /// No commit and no cancellation of the sale happens between the two. Orders of an older epoch that are not
    /// committed by now never will be: ``commit(_:)`` fails them.
    public func beginRebuild(_ id: SaleID) async throws -> SaleSnapshot? {
        let sale = Parameter.integer(id.rawValue)
        let results = try await pool.perform(
            Self.withPatience,
            Statement("select lock_sale($1)", sale),
            Statement(
                """
                update sales set epoch = epoch + 1 where id = $1
                returning id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at,
                    cancelled, window_version, epoch
                """, sale),
            Statement(
                """
                select greatest(
                    (select coalesce(max(sequence), 0) from orders where sale_id = $1),
                    (select coalesce(max(sequence), 0) from failed_orders where sale_id = $1))
                """, sale),
            Statement(
                """
                select sequence, client_id, ticket, slot, idempotency_key
                from orders where sale_id = $1 and status = 'confirmed' order by sequence
                """, sale),
            Statement(
                "select counter, sum(value)::bigint from sale_counts where sale_id = $1 group by counter", sale),
            Statement("select first_claim_at, sold_out_at from sale_moments where sale_id = $1", sale),
            Statement(
                """
                select extract(epoch from at)::bigint, counter, value from sale_counts
                where sale_id = $1 and at > now() - interval '10 seconds'
                """, sale),
            timeout: Self.patience)
        guard let row = results[2].first else { return nil }
        let stored = StoredSale(row)
        let orders = results[4].rows.map {
            LiveOrder(
                order: OrderID(sale: id, sequence: $0.integer(0)), client: ClientID(trusted: $0.text(1)),
                ticket: $0.integer(2), slot: $0.integer(3),
                key: $0.optionalText(4).flatMap { IdempotencyKey($0) }, isConfirmed: true)
        }
        let statistics = SaleStatistics(counters: results[5], moments: results[6])
        return SaleSnapshot(
            state: SaleState(
                sale: stored.sale, window: stored.window, remaining: stored.sale.quantity - Int64(orders.count)),
            epoch: stored.epoch, lastSequence: results[3].first!.integer(0), orders: orders,
            counts: statistics.counts,
            series: results[7].rows.compactMap { row in
                Counter(name: row.text(1)).map {
                    SeriesCount(second: row.integer(0), counter: $0, value: row.integer(2))
                }
            }, firstClaimAt: statistics.firstClaimAt, soldOutAt: statistics.soldOutAt)
    }
}

extension StoredSale {
    /// From the columns that every query of sales names.
    @LoopActor
    init(_ row: Row) {
        self.init(
            sale: Sale(
                id: SaleID(row.integer(0)), name: row.text(1), quantity: row.integer(2), price: row.integer(3),
                perClientLimit: row.integer(4), room: row.optionalText(5), rejectPercent: row.integer(6)),
            window: SaleWindow(
                opensAt: row.moment(7), closesAt: row.moment(8), isCancelled: row.flag(9), version: row.integer(10)),
            epoch: row.integer(11))
    }
}
