/// The performance that a run makes, and what its buyers do with the seats.
public struct SeatOptions: Equatable, Sendable, Codable {
    /// Which seats a buyer wants.
    public enum Want: String, Sendable, Codable {
        /// Any one, until it has one or knows of none that is free.
        case any
        /// Two neighbours, likewise.
        case pair
        /// All want the first, and none other.
        case one
        /// Each one of its own, that nobody else wants.
        case own
    }

    /// What whoever does not pay does with the hold.
    public enum Unpaid: String, CaseIterable, Sendable, Codable {
        /// Half give it back, half let it run out.
        case mixed
        /// Gives it back.
        case release
        /// Lets it run out.
        case expire
        /// Still has it when the run ends.
        case keep
    }

    /// How many seats there are.
    public var seats = 0
    /// See ``Want``.
    public var want = Want.any
    /// How many holds in a hundred are paid.
    public var pay = 100
    /// See ``Unpaid``.
    public var unpaid = Unpaid.mixed
    /// How long a hold lasts.
    public var holdSeconds = 30
    /// Whoever holds seats thinks for up to so many seconds before it pays, or gives them back.
    public var think = 0.0
    /// How many of the buyers in a hundred watch the seats.
    public var watch = 0
    /// How many of the buyers in a hundred have no connection: they do all of it over REST.
    public var poll = 0
    /// Whether watchers ask for one letter a seat.
    public var isCompact = false

    /// The options that set these, but for `--seats`.
    static let names = [
        "--pair", "--one", "--own", "--pay", "--unpaid", "--hold-seconds", "--think", "--watch", "--compact",
    ]

    /// How many seats a hold is of.
    var seatsPerHold: Int { want == .pair ? 2 : 1 }

    /// Whether this one of the buyers belongs to so many of every hundred; those of one `kind` are mixed with those of
    /// all others.
    static func isAmong(_ percent: Int, _ buyer: Int, kind: Int) -> Bool {
        // 61 has no factor in common with 100: within a hundred, each remainder comes once.
        (buyer % 100 * 61 + buyer / 100 * 37 + kind * 29) % 100 < percent
    }

    /// What this one of the buyers does with a hold.
    func fate(of buyer: Int) -> SeatFate {
        if SeatOptions.isAmong(pay, buyer, kind: 0) { return .pay }
        switch unpaid {
        case .mixed: return SeatOptions.isAmong(50, buyer, kind: 1) ? .giveBack : .runOut
        case .release: return .giveBack
        case .expire: return .runOut
        case .keep: return .keep
        }
    }
}

/// What a buyer does with its hold.
enum SeatFate: Sendable {
    case pay
    case giveBack
    case runOut
    /// As ``runOut``, and the run does not wait for it.
    case keep
}
