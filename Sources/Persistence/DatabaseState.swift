import EventLoop

/// Which database a session is with, and how far that has come.
///
/// PostgreSQL's replicas are behind: when one takes over, what was committed last may be missing. It then begins a new
/// timeline. One that comes back from a copy of its files is in the same timeline, and behind where it was.
public struct DatabaseState: Hashable, Sendable, CustomStringConvertible {
    /// Made with the cluster; its copies have the same.
    public let system: String
    /// Rises with each take-over; `standby` while it only follows another.
    public let timeline: String
    /// How far its log is on disk, in bytes.
    public internal(set) var position: Int64

    /// A state from its parts.
    public init(system: String, timeline: String, position: Int64) {
        self.system = system
        self.timeline = timeline
        self.position = position
    }

    /// What stays as long as nobody takes over.
    public var description: String { "\(system) \(timeline)" }

    /// Whether it only follows another, and can't be written to.
    public var isStandby: Bool { timeline == "standby" }

    /// Whether nobody took over between the two.
    public func isSame(as other: DatabaseState) -> Bool { system == other.system && timeline == other.timeline }

    /// Asks a session. (What `pg_control_checkpoint()` says of the timeline comes late after a take-over.)
    static let question = Statement(
        """
        select system_identifier::text,
            case when pg_is_in_recovery() then 'standby'
                else substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) end,
            pg_wal_lsn_diff(
                case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end,
                '0/0')::bigint
        from pg_control_system()
        """)

    @LoopActor
    init(_ result: QueryResult) {
        let row = result.first!
        self.init(system: row.text(0), timeline: row.text(1), position: row.integer(2))
    }

    /// Asks, within a transaction, how far the log has come. When the transaction is committed, it is on disk that far.
    static let reached = Statement("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
}
