import EventLoop
import Model

extension Store {
    /// An order, committed or failed; nil when PostgreSQL has neither, or not yet.
    ///
    /// A failed order that is being retried is `accepted`: nothing is known of it for now.
    public func order(_ id: OrderID) async throws -> Order? {
        let results = try await pool.perform(Self.select(id))
        return results[0].first.map { Order($0) }
    }

    /// A client's orders, newest first, failed ones too; of one sale or of all.
    public func orders(of client: ClientID, in sale: SaleID?, limit: Int) async throws -> [Order] {
        // The two branches on `orders` are what its partial indexes by client answer.
        let results = try await pool.perform(
            Statement(
                """
                select sale_id, sequence, client_id, ticket, status, price, null::text, accepted_at, confirmed_at,
                    cancelled_at
                from orders where client_id = $1 and status = 'confirmed' and ($2::bigint is null or sale_id = $2)
                union all
                select sale_id, sequence, client_id, ticket, status, price, null::text, accepted_at, confirmed_at,
                    cancelled_at
                from orders where client_id = $1 and status = 'cancelled' and ($2::bigint is null or sale_id = $2)
                union all
                select sale_id, sequence, client_id, ticket, status, 0, reason, accepted_at, null, null
                from failed_orders
                where client_id = $1 and status <> 'resolved' and ($2::bigint is null or sale_id = $2)
                order by accepted_at desc, sale_id desc, sequence desc limit $3
                """, .text(client.rawValue), .integer(sale?.rawValue), .integer(Int64(limit))))
        return results[0].rows.map { Order($0) }
    }

    /// Gives an order back: its ticket is free again once Redis has it (``unreleased(limit:olderThanMilliseconds:)``),
    /// and its price goes back to the client, both exactly once.
    /// - Parameter accepted: the order as Redis knows it, when PostgreSQL may not have it yet: it is then cancelled
    ///   before it is committed, and never charged. When another client's order has its id, nothing happens.
    public func cancel(_ id: OrderID, ifUnsettled accepted: AcceptedOrder? = nil) async throws -> CancelResult {
        let known = accepted?.order == id ? accepted : nil
        let results = try await pool.perform(
            Statement(
                "select outcome, newly from cancel_order($1, $2, $3, $4, $5, $6, $7)", .integer(id.sale.rawValue),
                .integer(id.sequence), .text(known?.client.rawValue), .integer(known?.ticket), .integer(known?.slot),
                .moment(known?.acceptedAt), .text(known?.key?.rawValue)),
            Self.select(id))
        let answer = results[0].first!
        guard let order = results[1].first.map({ Order($0) }) else { return .notFound }
        switch answer.text(0) {
        case "cancelled": return .cancelled(order, newly: answer.flag(1))
        case "failed": return .failed(order)
        default: return .notFound
        }
    }

    /// Cancelled orders whose ticket Redis may not have back yet, oldest first: whoever cancelled them did not come to
    /// ``markReleased(_:)`` in `olderThanMilliseconds`.
    public func unreleased(limit: Int, olderThanMilliseconds: Int64) async throws -> [Order] {
        let results = try await pool.perform(
            Statement(
                """
                select sale_id, sequence, client_id, ticket, status, price, null::text, accepted_at, confirmed_at,
                    cancelled_at
                from orders where not released and cancelled_at <= now() - $2 * interval '1 millisecond'
                order by cancelled_at limit $1
                """, .integer(Int64(limit)), Self.span(milliseconds: olderThanMilliseconds)))
        return results[0].rows.map { Order($0) }
    }

    /// Notes that Redis has the tickets of these cancelled orders back.
    public func markReleased(_ ids: [OrderID]) async throws {
        guard !ids.isEmpty else { return }
        let sorted = ids.sorted()
        _ = try await pool.perform(
            Statement(
                """
                update orders set released = true
                where (sale_id, sequence) in (
                    select o.sale_id, o.sequence from orders o
                    join unnest($1, $2) as b (sale_id, sequence) using (sale_id, sequence)
                    where not o.released order by o.sale_id, o.sequence for update of o)
                """, .integers(sorted.map(\.sale.rawValue)), .integers(sorted.map(\.sequence))))
    }

    /// The dead-letter list, newest first: of one sale or of all, those with a smaller number than `before`. Resolved
    /// ones are not on it.
    public func failedOrders(sale: SaleID?, before: Int64? = nil, limit: Int) async throws -> [FailedOrder] {
        let results = try await pool.perform(
            Statement(
                """
                select number, sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, reason,
                    message, attempts, status, failed_at, entry
                from failed_orders
                where status <> 'resolved' and ($1::bigint is null or sale_id = $1) and number < $2
                order by number desc limit $3
                """, .integer(sale?.rawValue), .integer(before ?? .max), .integer(Int64(limit))))
        return results[0].rows.map { FailedOrder($0) }
    }

    /// Takes a failed order up again: until ``endRetry(_:failed:)`` or its commit it is no longer failed.
    ///
    /// To be called again when it is not known whether the engine took the order: one under retry stays so, and the
    /// engine takes it once.
    /// - Returns: the order; nil when it is not on the list.
    public func beginRetry(_ id: OrderID) async throws -> FailedOrder? {
        let results = try await pool.perform(
            Statement("select begin_retry($1, $2)", .integer(id.sale.rawValue), .integer(id.sequence)),
            Statement(
                """
                select number, sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, reason,
                    message, attempts, status, failed_at, entry
                from failed_orders where sale_id = $1 and sequence = $2
                """, .integer(id.sale.rawValue), .integer(id.sequence)))
        guard results[0].first!.flag(0) else { return nil }
        return results[1].first.map { FailedOrder($0) }
    }

    /// The engine did not take the order back: it has failed again, for `reason`. Nothing when it was settled meanwhile.
    public func endRetry(_ id: OrderID, failed reason: String) async throws {
        _ = try await pool.perform(
            Statement(
                "select end_retry($1, $2, $3)", .integer(id.sale.rawValue), .integer(id.sequence), .text(reason)))
    }

    /// Orders under retry, longest first, of which nothing was heard in `olderThanMilliseconds` since
    /// ``beginRetry(_:)`` was called last: the engine may not have them. Whoever finds them begins again.
    public func stalledRetries(olderThanMilliseconds: Int64, limit: Int) async throws -> [FailedOrder] {
        let results = try await pool.perform(
            Statement(
                """
                select number, sale_id, sequence, client_id, ticket, slot, accepted_at, epoch, idempotency_key, reason,
                    message, attempts, status, failed_at, entry
                from failed_orders
                where status = 'retrying' and retried_at <= now() - $1 * interval '1 millisecond'
                order by retried_at, number limit $2
                """, Self.span(milliseconds: olderThanMilliseconds), .integer(Int64(limit))))
        return results[0].rows.map { FailedOrder($0) }
    }

    private static func select(_ id: OrderID) -> Statement {
        Statement(
            """
            select sale_id, sequence, client_id, ticket, status, price, null::text, accepted_at, confirmed_at,
                cancelled_at
            from orders where sale_id = $1 and sequence = $2
            union all
            select sale_id, sequence, client_id, ticket, status, 0, reason, accepted_at, null, null
            from failed_orders f
            where sale_id = $1 and sequence = $2 and status <> 'resolved'
                and not exists (select from orders x where x.sale_id = f.sale_id and x.sequence = f.sequence)
            """, .integer(id.sale.rawValue), .integer(id.sequence))
    }
}

extension Order {
    /// From the columns that every query of orders names.
    @LoopActor
    init(_ row: Row) {
        let status: OrderStatus =
            switch row.text(4) {
            case "confirmed": .confirmed
            case "cancelled": .cancelled
            case "retrying": .accepted
            default: .failed
            }
        self.init(
            id: OrderID(sale: SaleID(row.integer(0)), sequence: row.integer(1)), client: ClientID(trusted: row.text(2)),
            ticket: row.integer(3), status: status, price: row.integer(5),
            reason: status == .failed ? row.optionalText(6) : nil, acceptedAt: row.moment(7),
            confirmedAt: row.optionalMoment(8), cancelledAt: row.optionalMoment(9))
    }
}

extension FailedOrder {
    /// From the columns that every query of the dead-letter list names.
    @LoopActor
    init(_ row: Row) {
        self.init(
            number: row.integer(0),
            order: AcceptedOrder(
                entry: "\(row.integer(14))-0", order: OrderID(sale: SaleID(row.integer(1)), sequence: row.integer(2)),
                client: ClientID(trusted: row.text(3)), ticket: row.integer(4), slot: row.integer(5),
                acceptedAt: row.moment(6), epoch: row.integer(7),
                key: row.optionalText(8).flatMap { IdempotencyKey($0) }),
            reason: row.text(9), message: row.text(10), attempts: row.integer(11),
            status: Status(rawValue: row.text(12))!, failedAt: row.moment(13))
    }
}
