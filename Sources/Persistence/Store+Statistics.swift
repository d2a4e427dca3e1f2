import EventLoop
import Model

extension Store {
    /// Stores what was counted in Redis, as absolute values: writing them again changes nothing, and a smaller value
    /// never replaces a larger.
    public func storeSeries(_ entries: [SeriesEntry]) async throws {
        // One value for each key, in the order in which rows are locked.
        var largest: [SeriesKey: Int64] = [:]
        for entry in entries {
            let key = SeriesKey(sale: entry.sale.rawValue, second: entry.second, counter: entry.counter.name)
            largest[key] = max(largest[key] ?? 0, entry.value)
        }
        guard !largest.isEmpty else { return }
        let sorted = largest.sorted { $0.key < $1.key }
        _ = try await pool.perform(
            Statement(
                """
                insert into sale_counts (sale_id, at, counter, value)
                select * from unnest($1, $2, $3, $4) as e (sale_id, at, counter, value)
                order by sale_id, at, counter collate "C"
                on conflict (sale_id, at, counter) do update set value = excluded.value
                where sale_counts.value < excluded.value
                """, .integers(sorted.map(\.key.sale)), .moments(sorted.map { Timestamp(second: $0.key.second) }),
                .texts(sorted.map(\.key.counter)), .integers(sorted.map(\.value))))
    }

    /// Stores the moments that Redis noted of a sale: the first claim's earliest, and the latest of selling out.
    public func storeMoments(_ sale: SaleID, firstClaimAt: Timestamp?, soldOutAt: Timestamp?) async throws {
        _ = try await pool.perform(
            Statement(
                """
                insert into sale_moments (sale_id, first_claim_at, sold_out_at) values ($1, $2, $3)
                on conflict (sale_id) do update set
                    first_claim_at = least(sale_moments.first_claim_at, excluded.first_claim_at),
                    sold_out_at = greatest(sale_moments.sold_out_at, excluded.sold_out_at)
                """, .integer(sale.rawValue), .moment(firstClaimAt), .moment(soldOutAt)))
    }

    /// The counts of a sale, or of all; with one sale its moments too, with all the first claim of any.
    ///
    /// Adds up every second of it, so that nothing has to keep totals while orders are committed: of all sales, that
    /// takes longer the longer the history is. Who shows it often keeps it for a while.
    public func statistics(of sale: SaleID?) async throws -> SaleStatistics {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                select counter, sum(value)::bigint from sale_counts where $1::bigint is null or sale_id = $1
                group by counter
                """, .integer(sale?.rawValue)),
            Statement(
                """
                select min(first_claim_at), case when $1::bigint is not null then max(sold_out_at) end
                from sale_moments where $1::bigint is null or sale_id = $1
                """, .integer(sale?.rawValue)), timeout: Self.patience)
        return SaleStatistics(counters: results[1], moments: results[2])
    }

    /// The newest `limit` intervals in which anything was counted, oldest first; of a sale, or of all.
    ///
    /// They are found one by one from the newest, by index, and nothing older is read.
    public func series(of sale: SaleID?, interval: SeriesInterval, limit: Int) async throws -> [SeriesPoint] {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                with recursive newest (begins, place) as (
                    (
                        select date_trunc($2, at), 1::bigint from sale_counts
                        where ($1::bigint is null or sale_id = $1) and $3 > 0
                        order by at desc limit 1)
                    union all
                    select (
                        select date_trunc($2, c.at) from sale_counts c
                        where ($1::bigint is null or c.sale_id = $1) and c.at < n.begins
                        order by c.at desc limit 1), n.place + 1
                    from newest n where n.begins is not null and n.place < $3)
                select date_trunc($2, at) as begins, counter, sum(value)::bigint
                from sale_counts
                where ($1::bigint is null or sale_id = $1) and at >= (select min(begins) from newest)
                group by begins, counter order by begins
                """, .integer(sale?.rawValue), .text(interval.rawValue), .integer(Int64(limit))),
            timeout: Self.patience)
        var points: [SeriesPoint] = []
        var at: Timestamp?
        var counts = Counts()
        for row in results[1].rows {
            if let previous = at, previous != row.moment(0) {
                points.append(SeriesPoint(at: previous, counts: counts))
                counts = Counts()
            }
            at = row.moment(0)
            if let counter = Counter(name: row.text(1)) { counts[counter] += row.integer(2) }
        }
        if let at { points.append(SeriesPoint(at: at, counts: counts)) }
        return points
    }

    /// Counts the orders themselves, and compares what has to agree.
    public func audit(sales: [SaleID]) async throws -> StoreAudit {
        StoreAudit(sales: try await auditSums(of: sales), ledgerDrift: try await auditAccounts(limit: 1).count)
    }

    /// Counts the orders of sales themselves, and compares them with the statistics.
    public func auditSums(of sales: [SaleID]) async throws -> [SaleAudit] {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                select s.id, s.quantity, o.live, o.given_back, f.listed, o.unreleased,
                    abs(coalesce(c.confirmed, 0) - o.ever_confirmed) + abs(coalesce(c.cancelled, 0) - o.given_back)
                        + abs(coalesce(c.failed, 0) - f.ever_failed)
                from unnest($1) with ordinality as asked (id, place)
                join sales s using (id)
                cross join lateral (
                    select count(*) filter (where status = 'confirmed') as live,
                        count(*) filter (where status = 'cancelled') as given_back,
                        count(*) filter (where not released) as unreleased,
                        count(confirmed_at) as ever_confirmed
                    from orders where sale_id = s.id) as o
                cross join lateral (
                    select count(*) filter (where status <> 'resolved') as listed, count(*) as ever_failed
                    from failed_orders where sale_id = s.id) as f
                cross join lateral (
                    select sum(value) filter (where counter = 'confirmed')::bigint as confirmed,
                        sum(value) filter (where counter = 'cancelled')::bigint as cancelled,
                        sum(value) filter (where counter = 'failed')::bigint as failed
                    from sale_counts where sale_id = s.id) as c
                order by asked.place
                """, .integers(sales.map(\.rawValue))), timeout: Self.patience)
        return results[1].rows.map {
            SaleAudit(
                sale: SaleID($0.integer(0)), quantity: $0.integer(1), confirmed: $0.integer(2),
                cancelled: $0.integer(3), failed: $0.integer(4), unreleased: $0.integer(5), countDrift: $0.integer(6))
        }
    }
}

extension SaleStatistics {
    @LoopActor
    init(counters: QueryResult, moments: QueryResult) {
        self.init(firstClaimAt: moments.first?.optionalMoment(0), soldOutAt: moments.first?.optionalMoment(1))
        for row in counters.rows {
            if let counter = Counter(name: row.text(0)) { counts[counter] += row.integer(1) }
        }
    }
}

/// The primary key of `sale_counts`, in the order of its index.
private struct SeriesKey: Hashable, Comparable {
    let sale: Int64
    let second: Int64
    let counter: String

    static func < (left: SeriesKey, right: SeriesKey) -> Bool {
        (left.sale, left.second, left.counter) < (right.sale, right.second, right.counter)
    }
}

extension Timestamp {
    fileprivate init(second: Int64) {
        let (milliseconds, overflow) = second.multipliedReportingOverflow(by: 1000)
        self.init(milliseconds: overflow ? .max : milliseconds)
    }
}
