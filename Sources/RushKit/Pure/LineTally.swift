/// One place in a line, from the join to the end of the pass, as its client knows it. Who loses a place and joins again
/// has two.
struct Stay: Equatable, Sendable, Codable {
    enum End: String, Sendable, Codable {
        /// Left, gave the pass back, or spent it: by the client's own act.
        case own
        /// Closed its connection for good.
        case vanished
        /// Was told that it is no longer in the line.
        case dismissed
        case rejected
        /// The pass ran out.
        case expired
        /// Asked so seldom that a pass may have come and run out in between.
        case missed
        /// Was away, and is at another place of the line since.
        case lost
    }

    /// Which of the buyers.
    let buyer: Int
    /// When `join` was first sent for it; nanoseconds of the monotonic clock.
    let joinAt: UInt64
    /// When that was first answered.
    var joinedAt: UInt64?
    /// The same by the client's clock, in milliseconds since 1970.
    var joined: Int64?
    /// What was told at joining; nil when it was admitted at once.
    var firstRank: Int64?
    /// What was told last before the admission.
    var lastRank: Int64?
    /// Whether its client was always there, and was told by a connection.
    var isConnected = true
    /// False when nobody can know whether it is still the same place.
    var isCertain = true
    /// When the pass came.
    var admittedAt: UInt64?
    /// The pass, as a number.
    var pass: UInt64?
    /// When the pass was given, by the server's clock, in milliseconds since 1970.
    var issued: Int64?
    /// When the pass runs out, by the server's clock.
    var expires: Int64?
    /// When the client gave the pass back or used it up, by its own clock: the place was not free before.
    var done: Int64?
    var end: End?

    /// Whether it was waited out.
    var wasAdmitted: Bool { issued != nil }
    /// Whether it was admitted, or should be one day.
    var stayed: Bool { wasAdmitted || end == nil }
}

/// What the clients of a run were told in a waiting room.
struct LineTally: Equatable, Sendable, Codable {
    /// All places, in no order.
    var stays: [Stay] = []
    /// Clients that asked to join.
    var joins = 0
    /// Clients that were told a place, or admitted.
    var joined = 0
    /// Clients that were admitted.
    var admitted = 0
    /// Clients that were admitted without waiting.
    var atOnce = 0
    /// Clients that were told no.
    var rejected = 0
    /// Clients that left the line before their turn.
    var left = 0
    /// Clients that were told of a pass after they had left: the place was given back by leaving.
    var admittedAsTheyLeft = 0
    /// Clients that closed their connection and did not come back.
    var vanished = 0
    /// How often somebody came back to the line, within the time for which a place is kept.
    var returnedInTime = 0
    /// How often somebody came back after that.
    var returnedLate = 0
    /// Passes that were held to their end, and whose end was told.
    var expired = 0
    /// Clients that were told by the server that they are no longer in the line, by its reason.
    var dismissed: [String: Int] = [:]
    /// Clients that asked so seldom that a pass may have come and run out in between.
    var missed = 0
    /// Clients that were told that nothing will be left for them.
    var unreachable = 0

    /// Frames with a rank, and when the first and the last of them came.
    var ranks = 0
    var firstRankAt: UInt64?
    var lastRankAt: UInt64?
    /// Answers to those who ask over REST.
    var polls = 0
    var lastAdmittedAt: UInt64?

    /// How often a rank was above the one before.
    var risen = 0
    /// How often somebody came back in time, and had lost the place.
    var lostPlaces = 0
    /// Some of these, in words.
    var examples: [String] = []

    /// From `join` to its answer.
    var toJoined = Histogram()
    /// From `join` to the pass, of those who waited.
    var toAdmission = Histogram()
    /// By how much an estimate was wrong, in nanoseconds.
    var estimateError = Histogram()
    /// The same in hundredths of a percent of the time that there was still to wait, where that was a second or more.
    var estimateErrorShare = Histogram()
    /// How long after its end it was told that a pass ran out.
    var toExpired = Histogram()

    mutating func rose(_ words: @autoclosure () -> String) {
        risen += 1
        if examples.count < 5 { examples.append(words()) }
    }

    mutating func lostPlace(_ words: @autoclosure () -> String) {
        lostPlaces += 1
        if examples.count < 5 { examples.append(words()) }
    }

    /// Adds another part's.
    mutating func add(_ other: LineTally) {
        stays += other.stays
        joins += other.joins
        joined += other.joined
        admitted += other.admitted
        atOnce += other.atOnce
        rejected += other.rejected
        left += other.left
        vanished += other.vanished
        admittedAsTheyLeft += other.admittedAsTheyLeft
        returnedInTime += other.returnedInTime
        returnedLate += other.returnedLate
        expired += other.expired
        dismissed.merge(other.dismissed, uniquingKeysWith: +)
        missed += other.missed
        unreachable += other.unreachable
        ranks += other.ranks
        firstRankAt = earlier(firstRankAt, other.firstRankAt)
        lastRankAt = later(lastRankAt, other.lastRankAt)
        polls += other.polls
        lastAdmittedAt = later(lastAdmittedAt, other.lastAdmittedAt)
        risen += other.risen
        lostPlaces += other.lostPlaces
        examples += other.examples
        toJoined.add(other.toJoined)
        toAdmission.add(other.toAdmission)
        estimateError.add(other.estimateError)
        estimateErrorShare.add(other.estimateErrorShare)
        toExpired.add(other.toExpired)
    }
}
