import EventLoop
import Model

extension Store {
    // MARK: Rooms

    /// Makes a room, with a seed of its own.
    /// - Returns: the room; nil when its name is taken.
    public func insertRoom(_ id: RoomID, limits: RoomLimits) async throws -> Room? {
        let results = try await pool.perform(
            Statement(
                """
                insert into rooms (id, max_active, pass_seconds, admit_per_minute, grace_seconds, ordering)
                values ($1, $2, $3, $4, $5, $6)
                on conflict (id) do nothing
                returning id, max_active, pass_seconds, admit_per_minute, grace_seconds, ordering, version, seed,
                    seed_sha256, drawn_at
                """, .text(id.rawValue), .integer(limits.maxActive), .integer(limits.passSeconds),
                .integer(limits.admitPerMinute), .integer(limits.graceSeconds), .text(limits.ordering.rawValue)))
        return results[0].first.map { Room($0) }
    }

    /// A room; nil when there is none of this name.
    public func room(_ id: RoomID) async throws -> Room? {
        let results = try await pool.perform(
            Statement(
                """
                select id, max_active, pass_seconds, admit_per_minute, grace_seconds, ordering, version, seed,
                    seed_sha256, drawn_at
                from rooms where id = $1
                """, .text(id.rawValue)))
        return results[0].first.map { Room($0) }
    }

    /// All rooms, by name.
    public func rooms() async throws -> [Room] {
        let results = try await pool.perform(
            Statement(
                """
                select id, max_active, pass_seconds, admit_per_minute, grace_seconds, ordering, version, seed,
                    seed_sha256, drawn_at
                from rooms order by id
                """))
        return results[0].rows.map { Room($0) }
    }

    /// Replaces a room's limits, if they are still those of `version`; theirs is the next one.
    /// - Returns: the room; nil when somebody else changed its limits before, or when there is no such room.
    public func updateRoom(_ id: RoomID, from version: Int64, limits: RoomLimits) async throws -> Room? {
        let results = try await pool.perform(
            Statement(
                """
                update rooms
                set max_active = $3, pass_seconds = $4, admit_per_minute = $5, grace_seconds = $6, ordering = $7,
                    version = version + 1
                where id = $1 and version = $2
                returning id, max_active, pass_seconds, admit_per_minute, grace_seconds, ordering, version, seed,
                    seed_sha256, drawn_at
                """, .text(id.rawValue), .integer(version), .integer(limits.maxActive), .integer(limits.passSeconds),
                .integer(limits.admitPerMinute), .integer(limits.graceSeconds), .text(limits.ordering.rawValue)))
        return results[0].first.map { Room($0) }
    }

    /// The sales that rooms are for: those with a room that are neither cancelled nor over, by id.
    public func activeRoomSales() async throws -> [StoredSale] {
        let results = try await pool.perform(
            Statement(
                """
                select id, name, quantity, price, per_client_limit, room, reject_percent, opens_at, closes_at,
                    cancelled, window_version, epoch
                from sales where room is not null and not cancelled and closes_at > now() order by id
                """))
        return results[0].rows.map { StoredSale($0) }
    }

    /// For each room that ever had a sale a number that rises with each sale that is registered, and each change of a
    /// window. Asked before ``activeRoomSales()``, it is never ahead of what that says.
    public func roomSalesVersions() async throws -> [RoomID: Int64] {
        let results = try await pool.perform(
            Statement(
                """
                select room, sum(version)::bigint from (
                    select room, window_version as version from sales where room is not null
                    union all select room, 1 from performances) as rooms
                group by room
                """))
        var versions: [RoomID: Int64] = [:]
        for row in results[0].rows { versions[RoomID(trusted: row.text(0))] = row.integer(1) }
        return versions
    }

    // MARK: Draws

    /// Adds participants to a room's draw. Those who take part already change nothing; nor does anybody once it is drawn.
    public func addDrawEntries(_ room: RoomID, clients: [ClientID]) async throws {
        guard !clients.isEmpty else { return }
        _ = try await pool.perform(
            Statement("select pg_advisory_xact_lock_shared(7302, hashtext($1))", .text(room.rawValue)),
            // In order, so that no two calls with the same clients wait for each other.
            Statement(
                """
                insert into draw_entries (room_id, client_id)
                select id, client from rooms, unnest($2) as client
                where id = $1 and drawn_at is null
                order by client collate "C"
                on conflict (room_id, client_id) do nothing
                """, .text(room.rawValue), .texts(clients.map(\.rawValue))))
    }

    /// Forgets the participants of a draw that was begun and not finished. What is drawn is not forgotten.
    public func clearDraw(_ room: RoomID) async throws {
        _ = try await pool.perform(
            Self.withPatience, Self.lockDraw(room), Self.forgetPlaces(of: room),
            Statement(
                "delete from draw_entries where room_id = (select id from rooms where id = $1 and drawn_at is null)",
                .text(room.rawValue)),
            timeout: Self.patience)
    }

    /// Draws: the participants' positions, from 1, are their places when sorted by SHA-256(seed + ":" + client), and by
    /// client among equal ones. Doing it again comes to the same, but for those who were added in between; after
    /// ``markDrawn(_:)`` it does nothing.
    /// - Returns: how many places there are.
    public func draw(_ room: RoomID) async throws -> Int64 {
        let results = try await pool.perform(
            Self.withPatience, Self.lockDraw(room), Self.forgetPlaces(of: room),
            // Bytes sort as their hexadecimal digits do.
            Statement(
                """
                insert into draw_places (room_id, position, client_id)
                select id,
                    row_number() over (order by sha256(convert_to(seed || ':' || client_id, 'UTF8')), client_id),
                    client_id
                from rooms join draw_entries on room_id = id
                where id = $1 and drawn_at is null
                """, .text(room.rawValue)),
            Statement("select coalesce(max(position), 0) from draw_places where room_id = $1", .text(room.rawValue)),
            timeout: Self.patience)
        return results[4].first!.integer(0)
    }

    /// The places of a draw, in order: those after a position, at most `limit`.
    public func drawEntries(
        _ room: RoomID, after: Int64, limit: Int
    ) async throws -> [(position: Int64, client: ClientID)] {
        // No position is left out, so this range holds that many. A LIMIT would leave it to the planner whether to sort all
        // that comes after.
        let results = try await pool.perform(
            Statement(
                """
                select position, client_id from draw_places
                where room_id = $1 and position > $2 and position <= $2 + $3 order by position
                """, .text(room.rawValue), .integer(after), .integer(Int64(limit))))
        return results[0].rows.map { ($0.integer(0), ClientID(trusted: $0.text(1))) }
    }

    /// Makes a draw final: nobody is added and nothing is forgotten any more. The first call says when.
    public func markDrawn(_ room: RoomID) async throws {
        _ = try await pool.perform(
            Self.lockDraw(room),
            Statement(
                "update rooms set drawn_at = now() where id = $1 and drawn_at is null", .text(room.rawValue)))
    }

    /// Until the end of the transaction nobody else changes the room's draw. Not the room's row, which has to stay free
    /// for other changes meanwhile.
    private static func lockDraw(_ room: RoomID) -> Statement {
        Statement("select pg_advisory_xact_lock(7302, hashtext($1))", .text(room.rawValue))
    }

    private static func forgetPlaces(of room: RoomID) -> Statement {
        Statement(
            "delete from draw_places where room_id = (select id from rooms where id = $1 and drawn_at is null)",
            .text(room.rawValue))
    }
}

extension Room {
    /// From the columns that every query of rooms names.
    @LoopActor
    init(_ row: Row) {
        self.init(
            id: RoomID(trusted: row.text(0)),
            limits: RoomLimits(
                maxActive: row.integer(1), passSeconds: row.integer(2), admitPerMinute: row.optionalInteger(3),
                graceSeconds: row.integer(4), ordering: RoomOrdering(rawValue: row.text(5))!),
            version: row.integer(6), seed: row.text(7), seedSHA256: row.text(8), drawnAt: row.optionalMoment(9))
    }
}

extension Store {
    /// Who has bought as much as a client may, or paid for seats, by room, within the time that a pass of the room lives, and
    /// when: the passes by which they did are spent.
    public func recentRoomBuyers() async throws -> [RoomID: [(client: ClientID, acceptedAt: Timestamp)]] {
        let results = try await pool.perform(
            Self.withPatience,
            Statement(
                """
                select b.room, b.client_id, max(b.at) from (
                select r.id, o.client_id, o.accepted_at
                from rooms r
                join sales s on s.room = r.id and s.closes_at > now() - r.pass_seconds * interval '1 second'
                join orders o on o.sale_id = s.id and o.slot = s.per_client_limit
                    and o.accepted_at > now() - r.pass_seconds * interval '1 second'
                where o.status = 'confirmed'
                union all
                select r.id, y.client_id, y.paid_at
                from rooms r
                join performances p on p.room = r.id
                join payments y on y.performance_id = p.id
                    and y.paid_at > now() - r.pass_seconds * interval '1 second'
                ) b (room, client_id, at)
                group by b.room, b.client_id
                """), timeout: Self.patience)
        var buyers: [RoomID: [(client: ClientID, acceptedAt: Timestamp)]] = [:]
        for row in results[1].rows {
            buyers[RoomID(trusted: row.text(0)), default: []].append((ClientID(trusted: row.text(1)), row.moment(2)))
        }
        return buyers
    }
}
