/// The waiting room that the buyers of a run go through, and what they do in its line.
public struct LineOptions: Equatable, Sendable, Codable {
    /// The room's name.
    public var room = ""
    // Of the room when it has to be created; nil: the server's default, or whatever the room has.
    /// See `RoomLimits`.
    public var maxActive: Int?
    /// See `RoomLimits`.
    public var passSeconds: Int?
    /// See `RoomLimits`.
    public var admitPerMinute: Int?
    /// See `RoomLimits`.
    public var graceSeconds: Int?
    /// See `RoomOrdering`.
    public var ordering: String?
    /// Whether whoever is admitted claims; else the pass is held until it ends.
    public var claims = true
    /// After how many seconds the new sale opens: before, everybody waits.
    public var openAfter = 0
    /// How many in a hundred leave the line before their turn.
    public var leave = 0
    /// How many in a hundred close their connection, and never come back.
    public var vanish = 0
    /// How many in a hundred close their connection, and come back in time.
    public var comeBack = 0
    /// How many in a hundred wait by asking.
    public var poll = 0
    /// Joins a second; nil: all at the same moment.
    public var joinRate: Double?
    /// After how many seconds in the line those go who go; nil: somewhere in the middle of it.
    public var departAfter: Double?

    /// The options that set these, but for `--room`.
    static let names = [
        "--max-active", "--pass-seconds", "--admit-per-minute", "--grace-seconds", "--ordering", "--no-claim",
        "--open-after", "--leave", "--vanish", "--return", "--poll", "--join-rate", "--depart-after",
    ]

    /// What this one of the buyers does in the line. Every hundred in a row have as many of each kind as the options
    /// say, well mixed.
    func manner(of buyer: Int) -> Manner {
        // 61 has no factor in common with 100: within a hundred, each remainder comes once.
        var place = buyer % 100 * 61 % 100
        for (share, manner) in [(leave, Manner.leaves), (vanish, .vanishes), (comeBack, .returns), (poll, .polls)] {
            if place < share { return manner }
            place -= share
        }
        return .stays
    }
}

/// What a buyer does in a line.
enum Manner: Sendable {
    /// Waits for its turn.
    case stays
    /// Says `leave` before its turn.
    case leaves
    /// Closes its connection, and that was it.
    case vanishes
    /// Closes its connection, and comes back in time.
    case returns
    /// Has no connection: asks over REST.
    case polls
}
