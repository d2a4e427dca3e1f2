import Model

/// A waiting room's line at one instant.
public struct RoomSummary: Hashable, Sendable {
    /// Whether lots are about to be drawn.
    public enum Draw: Hashable, Sendable {
        /// There is nothing to draw, or it was drawn.
        case none
        /// The order is not final: lots will be drawn when the sale opens.
        case pending
        /// It is time to draw.
        case due
    }

    /// The number of the last change.
    public let event: Int64
    /// Every number up to it is done with.
    public let head: Int64
    /// The last number given.
    public let next: Int64
    /// How many wait.
    public let waiting: Int64
    /// How many are admitted.
    public let active: Int64
    /// When something happens by the clock alone; nil when nothing does. Known to messages, ticks and inspections only.
    public let due: Timestamp?
    /// The moment, by Redis' clock.
    public let now: Timestamp
    /// How fast the line moves.
    public let pace: Pace
    /// The most that may be admitted at once.
    public let maxActive: Int64
    /// The most that are admitted in a minute; nil: no limit.
    public let perMinute: Int64?
    /// For how long a place is kept without a sign of life.
    public let graceSeconds: Int64
    /// How long a pass lives, in seconds.
    public let passSeconds: Int64
    /// The draw of a `random` room.
    public let draw: Draw
    /// Whether nobody is admitted for now, however many places are free: the sale has not opened, lots are to be drawn, or
    /// the room lets nobody in.
    public let isHeld: Bool

    /// How many of those who wait have a place; 0 where a pace lets them in one after the other.
    public var admissible: Int64 { isHeld || perMinute != nil ? 0 : max(0, min(waiting, maxActive - active)) }

    /// From the words that the functions answer; nil when they aren't such.
    init?(_ text: some StringProtocol) {
        let words = text.split(separator: " ")
        guard words.count >= 17 else { return nil }
        // Lua writes large numbers with an exponent. What none of ours can be is cut, so that no sum overflows.
        func whole(_ index: Int) -> Int64 {
            let limit: Int64 = 1 << 53
            if let number = Int64(words[index]) { return max(-limit, min(limit, number)) }
            guard let number = Double(words[index]), !number.isNaN else { return 0 }
            return Int64(max(-Double(limit), min(Double(limit), number)))
        }
        func moment(_ index: Int) -> Timestamp { Timestamp(milliseconds: whole(index)) }
        event = whole(0)
        head = whole(1)
        next = whole(2)
        waiting = whole(3)
        active = whole(4)
        due = whole(5) == 0 ? nil : moment(5)
        now = moment(6)
        pace = Pace(
            admitted: Double(words[7]) ?? 0, left: Double(words[8]) ?? 0, at: moment(9), from: moment(10),
            count: whole(11))
        maxActive = whole(12)
        perMinute = whole(13) == 0 ? nil : whole(13)
        graceSeconds = whole(14)
        passSeconds = whole(16)
        draw =
            switch words[15] {
            case "d": .due
            case "p": .pending
            default: .none
            }
        isHeld = words[15] != "-"
    }

    /// How long somebody at this rank waits, in seconds; nil while nothing is measured.
    public func estimatedSeconds(rank: Int64, waiting: Int64, at now: Timestamp) -> Int64? {
        guard !isHeld else { return nil }
        return WaitEstimate.seconds(
            rank: rank, waiting: waiting, pace: pace, perMinute: perMinute, hasFreePlaces: active < maxActive,
            now: measuredUntil(now))
    }

    /// How many are admitted in a second, as the estimates take it; nil while nothing is measured.
    public func admissionsPerSecond(at now: Timestamp) -> Double? {
        guard !isHeld else { return nil }
        return WaitEstimate.admissionsPerSecond(
            pace: pace, perMinute: perMinute, hasFreePlaces: active < maxActive, now: measuredUntil(now))
    }

    /// Places that were filled at once fall free at once, as far apart as passes live: a pause of that length after the
    /// last admission says nothing, unless it is long.
    private func measuredUntil(_ now: Timestamp) -> Timestamp {
        let pause = min(passSeconds, RoomSummary.longestPause) * 1000
        return Timestamp(milliseconds: max(pace.at.milliseconds, now.milliseconds - pause))
    }

    /// Seconds.
    private static let longestPause: Int64 = 30
}

/// What a room's sales say of it.
public struct RoomSales: Hashable, Sendable {
    /// When the first of them opens; nil: nothing holds the line back.
    public let opensAt: Timestamp?
    /// Whether there is one that has not ended.
    public let isLive: Bool
    /// Rises with every sale of the room that is registered, and every change of a window.
    public let version: Int64

    /// From their parts.
    public init(opensAt: Timestamp?, isLive: Bool, version: Int64) {
        self.opensAt = opensAt
        self.isLive = isLive
        self.version = version
    }

    /// A room without sales.
    public static let none = RoomSales(opensAt: nil, isLive: false, version: 0)

    func append(to command: inout RedisCommand) {
        command.append(opensAt?.milliseconds ?? 0)
        command.append(isLive ? 1 : 0)
        command.append(version)
    }
}

/// Where a client stands in a room.
public enum RoomStanding: Hashable, Sendable {
    /// It waits: its number, and its place in line, from 1.
    case waiting(number: Int64, rank: Int64)
    /// It is admitted.
    case admitted(token: String, expiresAt: Timestamp)
    /// Its pass was spent, given back or ran out, or it gave up its place.
    case finished
    /// It never joined, or that was long ago.
    case unknown
    /// The room lets nobody in.
    case rejected

    init(word: String) {
        let parts = word.dropFirst().split(separator: ":")
        switch (word.first, parts.count) {
        case ("w", 2): self = .waiting(number: Int64(parts[0]) ?? 0, rank: Int64(parts[1]) ?? 0)
        case ("p", 2):
            self = .admitted(token: String(parts[0]), expiresAt: Timestamp(milliseconds: Int64(parts[1]) ?? 0))
        case ("f", _): self = .finished
        case ("j", _): self = .rejected
        default: self = .unknown
        }
    }
}

/// A room as Redis has it.
public struct RoomInspection: Sendable {
    /// The line.
    public let summary: RoomSummary
    /// The version of its limits.
    public let version: Int64
    /// Joins since the room was made.
    public let joined: Int64
    /// Admissions since then.
    public let admitted: Int64
    /// Those who left by themselves.
    public let left: Int64
    /// Those whose places ran out.
    public let vanished: Int64
    /// Those who were sent home when the last sale ended.
    public let closed: Int64
    /// Passes that ran out.
    public let expired: Int64
    /// Of these, those whose clients never showed up.
    public let noShow: Int64
    /// Passes that were spent.
    public let spent: Int64
    /// When the first sale opens; nil when nothing holds the line back.
    public let opensAt: Timestamp?
    /// Whether a sale of the room has not ended.
    public let isLive: Bool
    /// Whether the lots are drawn.
    public let isDrawn: Bool
}

/// What a room's channel says.
public enum RoomEvent: Sendable {
    /// Why the line changed.
    public enum Kind: Sendable {
        /// Joins, departures, admissions, limits.
        case changed
        /// Everybody was sent home, because the room's sales have ended.
        case closed
        /// Lots were drawn: numbers are new.
        case drawn
    }
    /// The line changed; `left` are the numbers that left out of turn.
    case changed(RoomSummary, kind: Kind, left: [ClosedRange<Int64>])
    /// The connection was lost and stands again: read a snapshot, something may have been missed.
    case renewed
}

/// What the channel of all rooms says.
public enum RoomsEvent: Sendable {
    /// A room was made, or its limits changed.
    case changed(RoomID)
    /// A gateway is dead: whoever has connections of the same clients holds their places.
    case gatewayDied
    /// The connection was lost and stands again: something may have been missed.
    case renewed
}

/// What a draw's beginning says.
public enum DrawStep: Sendable {
    /// It is ours to draw; the line is this long, blanks included.
    case begun(length: Int64)
    /// Somebody else draws, or there is nothing to draw.
    case notOurs
}
