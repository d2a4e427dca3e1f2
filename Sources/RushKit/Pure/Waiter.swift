/// One client in the line of a waiting room, as a state machine: it writes down what it is told of its place, and holds
/// the server to it. How it is told, by a connection or by asking, is not its business.
struct Waiter: Sendable {
    /// What all waiters of a run have in common.
    struct Plan: Sendable {
        let room: String
        /// How long a pass lives, in milliseconds.
        let passMilliseconds: Int64
        /// For how long a place is kept, in milliseconds.
        let graceMilliseconds: Int64
        /// What has to be added to milliseconds of the monotonic clock for milliseconds since 1970.
        let wallOffset: Int64
        /// By how much the clocks of this machine and of the server may differ, in milliseconds. Not 0 on one machine:
        /// the clock may be slewed during the run.
        let clockTolerance: Int64
        /// After how long in the line those go who go; nil: somewhere in the middle of it.
        let departAfter: Int64?
    }

    enum State: Equatable, Sendable {
        /// Has not asked yet.
        case outside
        /// `join` is to be sent, or was sent and not answered.
        case joining
        case waiting
        /// `leave` is to be sent, or was sent and not answered.
        case leaving
        case admitted
        /// Left, spent, ran out, was told to go, or will not come back.
        case over
    }

    /// What its manner wants now.
    enum Departure: Equatable, Sendable {
        case leave
        case vanish
        /// Go, and come back after so many milliseconds.
        case pause(Int64)
    }

    let plan: Plan
    let manner: Manner
    private let index: Int
    private(set) var state = State.outside
    private(set) var stays: [Stay] = []
    private var stay: Stay?
    /// The rank that was told last, and whether it was one before the draw.
    private var rank: Int64?
    private var isProvisional = false
    private var seq: Int64 = 0
    private var estimates = EstimateLog()
    /// Since when it is away, and whether it went by itself.
    private var awaySince: UInt64?
    private var isAwayByItself = false
    private var hasDeparted = false
    private var wasJoined = false
    private var wasAdmitted = false
    private var wasUnreachable = false
    /// The pass that it has or had last, also when its place is closed.
    private(set) var pass: String?
    private var passExpires: Int64 = 0
    private var passIsAlive = false
    /// When this join was first sent, when its answer may be a new place.
    private var rejoinAt: UInt64?
    /// When what ends its place was sent last.
    private var endsAt: UInt64?
    /// When `leave` was answered, in milliseconds since 1970.
    private var leftAt: Int64?
    private var random: UInt64

    init(index: Int, run: String, manner: Manner, plan: Plan) {
        self.index = index
        self.manner = manner
        self.plan = plan
        random = Waiter.hash("\(run) \(index)")
    }

    /// Every place that it had; the one that it has as it is now.
    var allStays: [Stay] { stay.map { stays + [$0] } ?? stays }
    /// Whether there is nothing more to wait for.
    var isOver: Bool { state == .over && rejoinAt == nil }
    /// Whether a pass may still be alive.
    var holdsPass: Bool { passIsAlive }

    // MARK: The line

    /// `join` is sent, the first time or again.
    mutating func join(at now: UInt64, _ tally: inout LineTally) {
        if state == .outside { tally.joins += 1 }
        if stay == nil { stay = Stay(buyer: index, joinAt: now) }
        rejoinAt = rejoinAt ?? now
        if state != .leaving { state = .joining }
    }

    /// A place was told in answer to `join`, or by the first look.
    mutating func joined(_ frame: Frame, at now: UInt64, _ tally: inout Tally) -> Departure? {
        guard let rank = place(frame, &tally) else { return nil }
        let onWall = wall(now)
        welcome(at: now, &tally.line)
        let isBack = awaySince != nil && stay?.joinedAt != nil
        let joinAt = rejoinAt ?? now
        rejoinAt = nil
        if isBack { cameBack(rank, joinAt, at: now, &tally.line) }
        awaySince = nil
        if stay == nil || stay?.wasAdmitted == true {
            close(.own)
            stay = Stay(buyer: index, joinAt: joinAt)
        }
        if stay?.joinedAt == nil {
            stay?.joinedAt = now
            stay?.joined = onWall
            stay?.firstRank = rank
            self.rank = nil
            tally.line.toJoined.record(now - (stay?.joinAt ?? now))
        }
        if manner == .polls { stay?.isConnected = false }
        if state != .leaving { state = .waiting }
        seq = frame.seq ?? 0
        moved(to: rank, frame, at: now, &tally)
        return departure(rank)
    }

    /// A place was told.
    mutating func ranked(_ frame: Frame, at now: UInt64, _ tally: inout Tally) -> Departure? {
        guard let rank = place(frame, &tally) else { return nil }
        tally.line.ranks += 1
        tally.line.firstRankAt = tally.line.firstRankAt ?? now
        tally.line.lastRankAt = now
        // Between `join` and its answer, whether the place is still the same is not known.
        guard state == .waiting else {
            if state != .joining && state != .leaving { tally.fault("a rank came to who is not in the line") }
            return nil
        }
        if let seq = frame.seq {
            if seq < self.seq { tally.fault("ranks came out of order") }
            self.seq = seq
        }
        moved(to: rank, frame, at: now, &tally)
        return departure(rank)
    }

    private func place(_ frame: Frame, _ tally: inout Tally) -> Int64? {
        guard let rank = frame.rank, let waiting = frame.waiting else {
            tally.fault("a place came without rank or waiting")
            return nil
        }
        if rank < 1 || rank > waiting { tally.fault("a rank is not within the line") }
        return rank
    }

    private mutating func moved(to rank: Int64, _ frame: Frame, at now: UInt64, _ tally: inout Tally) {
        // The draw puts everybody at another place, once.
        if let before = self.rank, rank > before, !isProvisional {
            tally.line.rose("buyer \(index): \(before), then \(rank)")
        }
        self.rank = rank
        isProvisional = frame.provisional
        stay?.lastRank = rank
        if let seconds = frame.estimatedSeconds { estimates.note(seconds, at: now) }
        if !frame.reachable && !wasUnreachable {
            wasUnreachable = true
            tally.line.unreachable += 1
        }
    }

    /// Whether its manner says to go, now that it is told this rank.
    private mutating func departure(_ rank: Int64) -> Departure? {
        guard plan.departAfter == nil, state == .waiting, isToDepart, let first = stay?.firstRank else { return nil }
        // Somewhere between the first tenth and the last quarter of its way.
        let share = 0.25 + 0.65 * Double(draw() % 1000) / 1000
        if departsAt == nil { departsAt = max(1, Int64(Double(first) * share)) }
        guard let departsAt, rank <= departsAt else { return nil }
        return depart()
    }

    private var departsAt: Int64?
    private var isToDepart: Bool { !hasDeparted && (manner == .leaves || manner == .vanishes || manner == .returns) }

    /// After how many milliseconds from the first answer on ``departureIsDue()`` is to be called, if at all.
    var departsAfter: Int64? { isToDepart && state == .waiting ? plan.departAfter : nil }

    /// The time to go has come.
    mutating func departureIsDue() -> Departure? {
        guard isToDepart, state == .waiting || state == .joining else { return nil }
        return depart()
    }

    private mutating func depart() -> Departure {
        hasDeparted = true
        switch manner {
        case .leaves:
            state = .leaving
            return .leave
        case .returns: return .pause(1 + Int64(draw() % UInt64(max(1, plan.graceMilliseconds * 8 / 10))))
        case .stays, .vanishes, .polls: return .vanish
        }
    }

    // MARK: Away and back

    /// The connection has ended, or nothing is known of it for a while.
    mutating func lost(at now: UInt64, byItself: Bool) {
        guard state == .waiting || state == .joining || state == .leaving else {
            // Whatever the last `join` came to, nobody is there to hear it.
            rejoinAt = nil
            return
        }
        stay?.isConnected = false
        guard awaySince == nil else { return }
        awaySince = now
        isAwayByItself = byItself
    }

    /// It closed its connection and won't come back.
    mutating func vanished(_ tally: inout LineTally) {
        tally.vanished += 1
        close(.vanished)
        rejoinAt = nil
        state = .over
    }

    /// Whether the place must have been kept, if it is told now. When others ended the connection, the server may have
    /// known before us.
    private func isInTime(at now: UInt64) -> Bool {
        guard let awaySince else { return true }
        let kept = plan.graceMilliseconds - (isAwayByItself ? 0 : 2000)
        return Int64((now - awaySince) / 1_000_000) < kept
    }

    private mutating func cameBack(_ rank: Int64, _ joinAt: UInt64, at now: UInt64, _ tally: inout LineTally) {
        let hasRisen = self.rank.map { rank > $0 && !isProvisional } ?? false
        if isInTime(at: now) {
            tally.returnedInTime += 1
            if hasRisen { tally.lostPlace("buyer \(index): \(self.rank!) before it went, \(rank) when it was back") }
        } else {
            tally.returnedLate += 1
            if !hasRisen { stay?.isCertain = false }
        }
        guard hasRisen else { return }
        close(.lost)
        stay = Stay(buyer: index, joinAt: joinAt)
    }

    /// A client that asks is told that it is in no line.
    /// - Parameter silence: for how long it had not asked, in nanoseconds.
    /// - Returns: Whether that is for its having asked too late: then it may join again.
    mutating func isNoLongerThere(at now: UInt64, after silence: UInt64, _ tally: inout LineTally) -> Bool {
        let isLate = !isInTime(at: now)
        awaySince = nil
        if isLate {
            tally.returnedLate += 1
            close(.lost)
            state = .joining
        } else if silence >= UInt64(plan.passMilliseconds) * 1_000_000 {
            tally.missed += 1
            close(.missed)
            state = .over
        } else {
            tally.dismissed["FINISHED", default: 0] += 1
            close(.dismissed)
            state = .over
        }
        return isLate
    }

    // MARK: The pass

    /// A pass was told.
    /// - Returns: Whether it is a new one.
    mutating func admitted(_ frame: Frame, at now: UInt64, _ tally: inout Tally) -> Bool {
        guard let token = frame.token, let expires = frame.expiresAt else {
            tally.fault("a pass came without token or expiresAt")
            return false
        }
        // A replay may tell of one, and the answer to the join is still on its way.
        if frame.id != nil || token == pass || manner == .polls { rejoinAt = nil }
        if token == pass {
            if expires != passExpires { tally.fault("the end of a pass changed") }
            if state == .joining && passIsAlive { state = .admitted }
            return false
        }
        if state == .over, let leftAt, rejoinAt == nil {
            noteLatePass(token, expires, leftAt, &tally)
            return false
        }
        if passIsAlive && wall(now) + plan.clockTolerance < passExpires {
            tally.fault("a second pass came before the first had ended")
        }
        if stay == nil || stay?.wasAdmitted == true {
            close(.own)
            stay = Stay(buyer: index, joinAt: now)
            stay?.isCertain = false
        }
        welcome(at: now, &tally.line)
        if awaySince != nil && stay?.joinedAt != nil {
            let isInTime = isInTime(at: now)
            tally.line.returnedInTime += isInTime ? 1 : 0
            tally.line.returnedLate += isInTime ? 0 : 1
            if !isInTime { stay?.isCertain = false }
        }
        awaySince = nil
        pass = token
        passExpires = expires
        passIsAlive = true
        if manner == .polls { stay?.isConnected = false }
        let waited = stay?.joinedAt != nil
        if !waited { stay?.joinedAt = now }
        stay?.admittedAt = now
        stay?.pass = Waiter.hash(token)
        stay?.issued = expires - plan.passMilliseconds
        stay?.expires = expires
        let leftAt = endsAt.map(wall)
        if state == .leaving { stay?.done = leftAt }
        if !wasAdmitted {
            wasAdmitted = true
            tally.line.admitted += 1
            if !waited { tally.line.atOnce += 1 }
        }
        tally.line.lastAdmittedAt = now
        if waited, let stay {
            tally.line.toAdmission.record(now - stay.joinAt)
            estimates.judge(at: now, &tally.line)
        }
        if state != .leaving { state = .admitted }
        return true
    }

    /// A pass was told after `leave` was answered. It may have been given just before, and taken back by the leaving:
    /// outcomes are told late, but told.
    private mutating func noteLatePass(_ token: String, _ expires: Int64, _ leftAt: Int64, _ tally: inout Tally) {
        let issued = expires - plan.passMilliseconds
        guard issued <= leftAt + plan.clockTolerance, let last = stays.indices.last, !stays[last].wasAdmitted else {
            return tally.fault("a pass was given to who is in no line")
        }
        tally.line.admittedAsTheyLeft += 1
        stays[last].pass = Waiter.hash(token)
        stays[last].issued = issued
        stays[last].expires = expires
        stays[last].done = endsAt.map(wall) ?? issued
    }

    /// A pass ran out.
    mutating func expired(_ frame: Frame, at now: UInt64, _ tally: inout Tally) {
        guard frame.token == nil || frame.token == pass, pass != nil else {
            return tally.fault("a pass ran out that was never told")
        }
        guard passIsAlive else {
            // It may have run out before it could be given back; but once only.
            if state != .leaving && state != .over { tally.fault("a pass ended twice") }
            return
        }
        passIsAlive = false
        let late = wall(now) - passExpires
        if manner != .polls {
            if late < -plan.clockTolerance - 100 { tally.fault("a pass was said to have run out before its time") }
            tally.line.toExpired.record(UInt64(max(0, late)) * 1_000_000)
        }
        tally.line.expired += 1
        guard stay?.wasAdmitted == true else { return }
        close(.expired)
        if state == .admitted || state == .leaving { state = .over }
    }

    /// The pass is about to be used up, or to be given back: from now on its place may be free.
    mutating func willEnd(at now: UInt64) {
        endsAt = now
        let onWall = wall(now)
        guard let stay, stay.wasAdmitted, stay.done == nil else { return }
        self.stay?.done = onWall
    }

    /// It turned out that what ``willEnd(at:)`` announced did not end it.
    mutating func hasNotEnded() {
        stay?.done = nil
    }

    /// The pass was used up.
    mutating func spent() {
        passIsAlive = false
        guard stay?.wasAdmitted == true else { return }
        close(.own)
        if state == .admitted || state == .leaving { state = .over }
    }

    /// Whether this pass has surely not run out yet.
    func passIsSurelyValid(at now: UInt64) -> Bool {
        passIsAlive && wall(now) + plan.clockTolerance + 1000 < passExpires
    }

    /// For how long the pass is still good, in milliseconds.
    func passLasts(at now: UInt64) -> Int64 { max(0, passExpires - wall(now)) }

    // MARK: The end

    /// It wants to leave: the line, or what it has a pass for.
    mutating func leave() { if state != .over { state = .leaving } }

    /// The server says that the client is in no line, and has no pass.
    mutating func left(_ reason: String?, isAnswer: Bool, at now: UInt64, _ tally: inout Tally) {
        if isAnswer || state == .leaving {
            leftAt = leftAt ?? wall(now)
            if let stay, !stay.wasAdmitted, manner == .leaves { tally.line.left += 1 }
            close(.own)
        } else {
            guard state == .waiting || state == .joining else {
                // Told twice, or after the pass was used up: of no use, and no harm.
                return
            }
            tally.line.dismissed[reason ?? "without a reason", default: 0] += 1
            close(.dismissed)
        }
        passIsAlive = false
        rejoinAt = nil
        state = .over
    }

    /// The server does not let it in.
    mutating func rejected(_ tally: inout Tally) {
        guard state == .joining else { return tally.fault("a join was rejected that was not made") }
        tally.line.rejected += 1
        close(.rejected)
        rejoinAt = nil
        state = .over
    }

    // MARK: Small things

    private mutating func welcome(at now: UInt64, _ tally: inout LineTally) {
        guard !wasJoined else { return }
        wasJoined = true
        tally.joined += 1
    }

    private mutating func close(_ end: Stay.End) {
        guard var stay else { return }
        stay.end = end
        stays.append(stay)
        self.stay = nil
        rank = nil
        isProvisional = false
        departsAt = nil
        estimates = EstimateLog()
    }

    private func wall(_ now: UInt64) -> Int64 { Int64(now / 1_000_000) + plan.wallOffset }

    /// SplitMix64: the same for the same run and buyer. Source: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
    /// Generators", 2014.
    private mutating func draw() -> UInt64 {
        random &+= 0x9E37_79B9_7F4A_7C15
        var mixed = random
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// FNV-1a: the same in all processes.
    static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
