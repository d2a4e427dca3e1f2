/// The name of a waiting room: 1 to 64 characters of `A-Za-z0-9._:-`, like a client's.
public struct RoomID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The characters.
    public let rawValue: String
    /// An id; nil when the text isn't one.
    public init?(_ text: String) {
        guard ClientID(text) != nil else { return nil }
        rawValue = text
    }
    /// An id that was checked before it was stored.
    public init(trusted text: String) { rawValue = text }
    /// The room that always exists.
    public static let main = RoomID(trusted: "main")
    /// The characters.
    public var description: String { rawValue }
    /// By characters.
    public static func < (left: RoomID, right: RoomID) -> Bool { left.rawValue < right.rawValue }
}

/// In which order a room admits. The raw values are the contract's.
public enum RoomOrdering: String, Sendable, CaseIterable {
    /// First come, first admitted.
    case fifo
    /// Whoever joined before the sale opens is drawn by lot once, at the opening; later ones queue behind.
    case random
    /// Admitted at once while there is room by the room's cap, without regard to pace or opening; else as `fifo`.
    case passthrough
    /// Nobody is let in: a join is told no.
    case reject
}

/// A waiting room's limits, which an admin may change live.
public struct RoomLimits: Hashable, Sendable {
    /// The most clients that are admitted at any moment.
    public var maxActive: Int64
    /// How long a pass lives, in seconds.
    public var passSeconds: Int64
    /// The most that are admitted in a minute; nil for no limit but ``maxActive``.
    public var admitPerMinute: Int64?
    /// For how many seconds a place is kept for a client that shows no sign of life.
    public var graceSeconds: Int64
    /// The order of admission.
    public var ordering: RoomOrdering

    /// Limits, with the contract's defaults.
    public init(
        maxActive: Int64 = 100, passSeconds: Int64 = 300, admitPerMinute: Int64? = nil, graceSeconds: Int64 = 30,
        ordering: RoomOrdering = .fifo
    ) {
        self.maxActive = maxActive
        self.passSeconds = passSeconds
        self.admitPerMinute = admitPerMinute
        self.graceSeconds = graceSeconds
        self.ordering = ordering
    }
}

/// A waiting room as PostgreSQL keeps it.
public struct Room: Hashable, Sendable {
    /// Its name.
    public let id: RoomID
    /// Its limits.
    public let limits: RoomLimits
    /// Rises by one with every change of the limits; 1 at first.
    public let version: Int64
    /// The seed of the draw: 64 hexadecimal digits. Secret until ``drawnAt``.
    public let seed: String
    /// SHA-256 of ``seed``'s characters, as 64 hexadecimal digits. Published from the beginning.
    public let seedSHA256: String
    /// When the draw was made; nil before, and in rooms that draw no lots.
    public let drawnAt: Timestamp?

    /// A room from its parts.
    public init(
        id: RoomID, limits: RoomLimits, version: Int64, seed: String, seedSHA256: String, drawnAt: Timestamp?
    ) {
        self.id = id
        self.limits = limits
        self.version = version
        self.seed = seed
        self.seedSHA256 = seedSHA256
        self.drawnAt = drawnAt
    }
}

/// How fast a line moves, as measured: counts of those who were admitted from it, and of those who gave up their place,
/// each weighed by ``weight(of:)`` of its age.
public struct Pace: Hashable, Sendable {
    /// How fast what was counted is forgotten: the weight falls to 1/e in this time.
    public static let memoryMilliseconds: Double = 60_000

    /// Weighed admissions, as of ``at``. Those that filled places that had never been filled are not among them: they
    /// say nothing of how fast places fall free.
    public let admitted: Double
    /// Weighed departures of those who were not admitted, as of ``at``.
    public let left: Double
    /// The moment as of which both are weighed.
    public let at: Timestamp
    /// Since when it is measured: when the line formed, or the places were filled for the first time.
    public let from: Timestamp
    /// Admissions counted since then, unweighed.
    public let count: Int64

    /// A pace from its parts.
    public init(admitted: Double, left: Double, at: Timestamp, from: Timestamp, count: Int64) {
        self.admitted = admitted
        self.left = left
        self.at = at
        self.from = from
        self.count = count
    }
}
