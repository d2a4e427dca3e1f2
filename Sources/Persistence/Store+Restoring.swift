import EventLoop
import Model

/// Giving a database back what it has lost: a standby that lagged took over, or an older copy was brought back.
///
/// Redis has what was told. Everything here can be done again, and by several processes at once.
extension Store {
    /// Makes a sale known that the database has forgotten, and brings its epoch and window to those in Redis where these
    /// are newer.
    public func restoreSale(_ state: SaleState, epoch: Int64) async throws {
        let sale = state.sale
        let window = state.window
        _ = try await pool.perform(
            Statement(
                """
                insert into sales (
                    id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at, cancelled,
                    window_version, epoch)
                overriding system value values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                on conflict (id) do nothing
                """, .integer(sale.id.rawValue), .text(sale.name), .integer(sale.quantity), .integer(sale.price),
                .integer(sale.perClientLimit), .text(sale.room), .integer(sale.rejectPercent),
                .moment(window.opensAt), .moment(window.closesAt), .flag(window.isCancelled),
                .integer(window.version), .integer(epoch)),
            // Ids that were given out are not given out again.
            Statement(
                """
                select setval(pg_get_serial_sequence('sales', 'id'), $1)
                where $1 > (select last_value from sales_id_seq)
                """, .integer(sale.id.rawValue)),
            Statement(
                "update sales set epoch = $2 where id = $1 and epoch < $2", .integer(sale.id.rawValue),
                .integer(epoch)))
        _ = try await setWindow(window, of: sale.id)
    }

    /// Confirmed orders of a sale, by sequence, from the one after `sequence` on.
    public func confirmedOrders(
        of sale: SaleID, after sequence: Int64, limit: Int
    ) async throws -> [(order: OrderID, client: ClientID)] {
        let results = try await pool.perform(
            Statement(
                """
                select sequence, client_id from orders
                where sale_id = $1 and sequence > $2 and status = 'confirmed' order by sequence limit $3
                """, .integer(sale.rawValue), .integer(sequence), .integer(Int64(limit))))
        return results[0].rows.map {
            (order: OrderID(sale: sale, sequence: $0.integer(0)), client: ClientID(trusted: $0.text(1)))
        }
    }

    /// Those of the orders that the database has no row of.
    public func unknown(_ orders: [LiveOrder], of sale: SaleID) async throws -> [LiveOrder] {
        guard !orders.isEmpty else { return [] }
        let results = try await pool.perform(
            Statement(
                "select sequence from orders where sale_id = $1 and sequence = any ($2)", .integer(sale.rawValue),
                .integers(orders.map(\.order.sequence))))
        let known = Set(results[0].rows.map { $0.integer(0) })
        return orders.filter { !known.contains($0.order.sequence) }
    }

    /// Writes confirmed orders of one sale again that the database has lost.
    ///
    /// They were paid once. Where a balance no longer covers the price, at least the difference was charged by something
    /// that was lost too, so that much is charged again, under the order's name.
    /// - Parameters:
    ///   - state: the sale's epoch, and the last sequence that was given out in it.
    /// - Returns: the orders that the database refuses, each with its error.
    public func restore(
        _ orders: [LiveOrder], of sale: SaleID, epoch: Int64, lastSequence: Int64, at moment: Timestamp
    ) async throws -> [(order: LiveOrder, reason: String)] {
        var refused: [(order: LiveOrder, reason: String)] = []
        let errors = try await halving(orders) { orders in
            let results = try await pool.perform(
                Self.withPatience,
                Statement("select lock_sale($1)", .integer(sale.rawValue)),
                // One that had failed and was replayed since, which was lost as well.
                Statement(
                    """
                    update failed_orders f set status = 'retrying', retried_at = now()
                    from unnest($2::bigint[], $3::text[]) as b (sequence, client_id)
                    where f.sale_id = $1 and f.sequence = b.sequence and f.client_id = b.client_id
                        and f.status in ('failed', 'retrying')
                    """, .integer(sale.rawValue), .integers(orders.map(\.order.sequence)),
                    .texts(orders.map(\.client.rawValue))),
                Statement(
                    """
                    insert into accounts (client_id)
                    select distinct b.client_id from unnest($2::text[]) as b (client_id)
                    where exists (select from sales where id = $1 and price > 0)
                    order by b.client_id on conflict (client_id) do nothing
                    """, .integer(sale.rawValue), .texts(orders.map(\.client.rawValue))),
                Statement(
                    "select from accounts where client_id = any ($1) order by client_id for update",
                    .texts(orders.map(\.client.rawValue))),
                Statement(
                    """
                    with owed as (
                        select b.client_id, (s.price * count(*))::bigint - a.balance as points, min(b.sequence) as sequence
                        from unnest($2::bigint[], $3::text[]) as b (sequence, client_id)
                        join sales s on s.id = $1 and s.price > 0
                        join accounts a on a.client_id = b.client_id
                        where not exists (select from orders x where x.sale_id = $1 and x.sequence = b.sequence)
                        group by b.client_id, s.price, a.balance
                        having s.price * count(*) > a.balance
                    ), booked as (
                        insert into ledger_entries (client_id, amount, kind, reference)
                        select client_id, points, 'charge', client_id || ' restored ' || $1::text || '-' || sequence
                        from owed
                    )
                    update accounts a set balance = balance + owed.points from owed where a.client_id = owed.client_id
                    """, .integer(sale.rawValue), .integers(orders.map(\.order.sequence)),
                    .texts(orders.map(\.client.rawValue))),
                Statement(
                    """
                    select answered_place, answered_status, answered_reason
                    from commit_orders($1, $2, $3, $4, $5, $6, $7, $8, $9)
                    """, .integers(orders.map { _ in sale.rawValue }), .integers(orders.map(\.order.sequence)),
                    .texts(orders.map(\.client.rawValue)), .integers(orders.map(\.ticket)),
                    .integers(orders.map(\.slot)), .moments(orders.map { _ in moment }),
                    .integers(orders.map { _ in epoch }), .texts(orders.map(\.key?.rawValue)),
                    .integers(orders.map { _ in lastSequence })), timeout: Self.patience)
            for row in results[6].rows where row.optionalText(1) != "cancelled" {
                refused.append((orders[Int(row.integer(0)) - 1], row.optionalText(2) ?? "unsettled"))
            }
        }
        return refused + errors.map { (order: $0.item, reason: $0.error.reason) }
    }
}
