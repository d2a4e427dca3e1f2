import EventLoop
import Model

extension Store {
    // MARK: Concerts

    /// Registers a concert.
    public func insertConcert(name: String) async throws -> Concert {
        let results = try await pool.perform(
            Statement("insert into concerts (name) values ($1) returning id", .text(name)))
        return Concert(id: ConcertID(results[0].first!.integer(0)), name: name)
    }

    /// A concert; nil when there is none with this id.
    public func concert(_ id: ConcertID) async throws -> Concert? {
        let results = try await pool.perform(
            Statement("select id, name from concerts where id = $1", .integer(id.rawValue)))
        return results[0].first.map { Concert($0) }
    }

    /// Concerts, newest first; those with a smaller id than `before` when it is given.
    public func concerts(before: ConcertID? = nil, limit: Int) async throws -> [Concert] {
        let results = try await pool.perform(
            Statement(
                "select id, name from concerts where id < $1 order by id desc limit $2",
                .integer(before?.rawValue ?? .max), .integer(Int64(limit))))
        return results[0].rows.map { Concert($0) }
    }

    // MARK: Performances

    /// Registers a date of a concert.
    /// - Parameter price: of one seat, in points.
    /// - Returns: the performance; nil when there is no such concert.
    /// - Throws: ``DatabaseError`` when there is no such room, or a value is one that no performance has.
    public func insertPerformance(
        of concert: ConcertID, startsAt: Timestamp, price: Int64, room: RoomID, holdSeconds: Int64,
        perClientLimit: Int64?, layout: SeatLayout
    ) async throws -> Performance? {
        let results = try await pool.perform(
            Statement(
                """
                with made as (
                    insert into performances (
                        concert_id, starts_at, price, room, hold_seconds, seats, per_client_limit)
                    select id, $2, $3, $4, $5, $6, $7 from concerts where id = $1
                    returning id
                ), arranged as (
                    insert into performance_sections (performance_id, position, name, rows, seats_per_row)
                    select made.id, s.position, s.name, s.rows, s.seats_per_row
                    from made, unnest($8, $9, $10) with ordinality as s (name, rows, seats_per_row, position)
                )
                select id from made
                """, .integer(concert.rawValue), .moment(startsAt), .integer(price), .text(room.rawValue),
                .integer(holdSeconds), .integer(layout.count), .integer(perClientLimit),
                .texts(layout.sections.map(\.name)), .integers(layout.sections.map(\.rows)),
                .integers(layout.sections.map(\.seatsPerRow))))
        return results[0].first.map {
            Performance(
                id: PerformanceID($0.integer(0)), concert: concert, startsAt: startsAt, price: price, room: room,
                holdSeconds: holdSeconds, perClientLimit: perClientLimit, layout: layout)
        }
    }

    /// A performance; nil when there is none with this id.
    public func performance(_ id: PerformanceID) async throws -> StoredPerformance? {
        let results = try await pool.perform(
            Statement(
                """
                select id, concert_id, starts_at, price, room, hold_seconds, per_client_limit, seats, epoch,
                    section, rows, seats_per_row
                from performance_parts where id = $1 order by position
                """, .integer(id.rawValue)))
        return StoredPerformance.all(results[0]).first
    }

    /// The performances of a concert, by when they begin, then by id.
    public func performances(of concert: ConcertID) async throws -> [StoredPerformance] {
        try await performances(of: [concert])
    }

    /// The performances of some concerts, by when they begin, then by id.
    public func performances(of concerts: [ConcertID]) async throws -> [StoredPerformance] {
        let results = try await pool.perform(
            Statement(
                """
                select id, concert_id, starts_at, price, room, hold_seconds, per_client_limit, seats, epoch,
                    section, rows, seats_per_row
                from performance_parts where concert_id = any ($1) order by starts_at, id, position
                """, .integers(concerts.map(\.rawValue))))
        return StoredPerformance.all(results[0])
    }

    /// The performances that may still have work, by id: those that have not begun, or not longer ago than
    /// `startedWithinMilliseconds`, and those with holds, or with payments or refunds that are not settled.
    public func activePerformances(startedWithinMilliseconds: Int64 = 86_400_000) async throws -> [StoredPerformance] {
        let results = try await pool.perform(
            Statement(
                """
                select id, concert_id, starts_at, price, room, hold_seconds, per_client_limit, seats, epoch,
                    section, rows, seats_per_row
                from performance_parts
                where starts_at > now() - $1 * interval '1 millisecond'
                    or id in (select performance_id from reservations where status = 'held')
                    or id in (select performance_id from reservations where not settled)
                order by id, position
                """, Self.span(milliseconds: startedWithinMilliseconds)))
        return StoredPerformance.all(results[0])
    }

    /// The performances that have not begun yet, by id: they keep their rooms open.
    public func upcomingPerformances() async throws -> [StoredPerformance] {
        let results = try await pool.perform(
            Statement(
                """
                select id, concert_id, starts_at, price, room, hold_seconds, per_client_limit, seats, epoch,
                    section, rows, seats_per_row
                from performance_parts where starts_at > now() order by id, position
                """))
        return StoredPerformance.all(results[0])
    }

    /// The epoch of each performance, and the largest sequence of its reservations; 0 when there are none. Performances
    /// that do not exist are left out.
    ///
    /// A state in Redis that has not come as far has lost writes.
    public func lastSequences(
        of performances: [PerformanceID]
    ) async throws -> [PerformanceID: (epoch: Int64, lastSequence: Int64)] {
        guard !performances.isEmpty else { return [:] }
        let results = try await pool.perform(
            Statement(
                """
                select p.id, p.epoch,
                    (select coalesce(max(sequence), 0) from reservations where performance_id = p.id)
                from performances p where p.id = any ($1)
                """, .integers(performances.map(\.rawValue))))
        var found: [PerformanceID: (epoch: Int64, lastSequence: Int64)] = [:]
        for row in results[0].rows { found[PerformanceID(row.integer(0))] = (row.integer(1), row.integer(2)) }
        return found
    }

    /// Begins a new epoch of a performance, and reads all that Redis' state is rebuilt from; nil when there is no such
    /// performance.
    ///
    /// No reservation of the performance is written between the two. Holds of an older epoch that are not written by now
    /// never will be: ``commit(_:)-(_)`` and ``pay(_:point:key:)`` refuse them.
    public func beginRebuild(_ id: PerformanceID) async throws -> PerformanceSnapshot? {
        let performance = Parameter.integer(id.rawValue)
        let results = try await pool.perform(
            Self.withPatience,
            Statement("select lock_performance($1)", performance),
            Statement("update performances set epoch = epoch + 1 where id = $1", performance),
            Statement(
                """
                select id, concert_id, starts_at, price, room, hold_seconds, per_client_limit, seats, epoch,
                    section, rows, seats_per_row
                from performance_parts where id = $1 order by position
                """, performance),
            Statement(
                "select coalesce(max(sequence), 0) from reservations where performance_id = $1", performance),
            Statement(
                """
                select performance_id, sequence, client_id, seats, status, price, held_at, expires_at, paid_at,
                    ended_at, payment_id
                from stored_reservations where performance_id = $1 and is_live order by sequence
                """, performance),
            // How these ended is not to be heard any more, or it comes too late.
            Statement(
                "update reservations set cause = null where performance_id = $1 and cause = 'superseded'", performance),
            timeout: Self.patience)
        guard let stored = StoredPerformance.all(results[3]).first else { return nil }
        return PerformanceSnapshot(
            performance: stored.performance, epoch: stored.epoch, lastSequence: results[4].first!.integer(0),
            reservations: results[5].rows.map { Reservation($0) })
    }
}

extension Concert {
    /// From the columns that every query of concerts names.
    @LoopActor
    init(_ row: Row) { self.init(id: ConcertID(row.integer(0)), name: row.text(1)) }
}

extension StoredPerformance {
    /// From the columns that every query of performances names, one row for each section, or one where there is none.
    @LoopActor
    static func all(_ result: QueryResult) -> [StoredPerformance] {
        var found: [StoredPerformance] = []
        var sections: [SeatLayout.Section] = []
        let rows = result.rows
        for (index, row) in rows.enumerated() {
            if let name = row.optionalText(9) {
                sections.append(.init(name: name, rows: row.integer(10), seatsPerRow: row.integer(11)))
            }
            if index + 1 < rows.count, rows[index + 1].integer(0) == row.integer(0) { continue }
            let layout = sections.isEmpty ? SeatLayout(numbered: row.integer(7)) : SeatLayout(sections: sections)
            sections = []
            found.append(
                StoredPerformance(
                    performance: Performance(
                        id: PerformanceID(row.integer(0)), concert: ConcertID(row.integer(1)), startsAt: row.moment(2),
                        price: row.integer(3), room: RoomID(trusted: row.text(4)), holdSeconds: row.integer(5),
                        perClientLimit: row.optionalInteger(6), layout: layout), epoch: row.integer(8)))
        }
        return found
    }
}
