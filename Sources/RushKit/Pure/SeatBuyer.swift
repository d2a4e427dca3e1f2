import Model

/// A buyer of seats, as a state machine: it gets a pass, holds seats, and pays for them, gives them back or lets them run
/// out. What it was told goes into a ``Tally``. It knows no socket and no clock.
struct SeatBuyer: Sendable {
    /// What is asked over REST.
    enum Request: Equatable, Sendable {
        /// For a pass, by whoever has no connection; and whether it is there.
        case join
        case look
        case hold(Hold)
        case pay(reservation: String, points: Int64, pass: String)
        case giveBack(String)
        /// What became of it.
        case reservation(String)
    }

    /// Seats that are asked for.
    struct Hold: Equatable, Sendable {
        /// 1 for a buyer's first.
        let number: Int64
        let seats: [Int64]
        let pass: String
    }

    /// What to do now.
    enum Action: Equatable, Sendable {
        case nothing
        /// Send the frame that opens the protocol.
        case connect(resume: Position?)
        /// Send `watch`, then do what ``afterWatch(at:_:)`` says.
        case watch
        /// Send `join`.
        case join
        /// Send `hold`.
        case hold(Hold)
        /// Ask this over REST, after so many milliseconds.
        case ask(Request, after: Int64)
        /// Tell ``pauseEnded(at:_:)`` after so many milliseconds.
        case pause(Int64)
        /// Open a connection after so many milliseconds; close the one that there is.
        case openAfter(Int64)
    }

    /// What all buyers of a run have in common.
    struct Plan: Sendable {
        /// Makes client ids of this run different from all others.
        let run: String
        let options: SeatOptions
        let buyers: Int
        /// How many holds each asks for, one after the other; for those who go on until they have one, 1.
        let holds: Int
        /// To be added to milliseconds of the monotonic clock for milliseconds since 1970.
        let wallOffset: Int64
        /// How far clocks may be apart, in milliseconds.
        let clockTolerance: Int64
    }

    /// What is put on `join` and on `watch`; holds count from 1.
    static let joinID: Int64 = 0
    static let watchID: Int64 = -1

    private enum Link: Sendable {
        /// It asks over REST.
        case none
        case down
        /// `connect` was sent.
        case greeting
        case up
        /// The server said not to come back.
        case gone
    }

    private enum Stage: Sendable {
        case outside
        case joining
        /// It has a pass, and waits for the moment at which all begin.
        case ready
        /// It has a pass, and holds seats, one hold after the other.
        case holding
        /// It holds all that it wanted to hold, or could.
        case settling
    }

    private struct Holding: Sendable {
        let id: String
        /// In the tally.
        let place: Int
        let fate: SeatFate
        /// Whether what its fate asks for was asked and answered, or there is nothing to ask.
        var isDone: Bool
    }

    let index: Int
    let plan: Plan
    /// Whether it watches the seats.
    let watches: Bool
    private var choice: SeatChoice
    private var link: Link
    private var stage = Stage.outside
    private var wasUp = false
    private var wasLost = false
    private var log = OffsetLog()
    private var reopening = Backoff(base: 500, cap: 5000)
    private var repeating = Backoff(base: 200, cap: 5000)
    private var pass: String?

    /// The hold that was asked for last; 0 before the first.
    private var number: Int64 = 0
    private var wanted: [Int64] = []
    private var isDecided = true
    private var isPausing = false
    private var hasBegun = false
    private var mayHold = true
    private var heldSince: UInt64 = 0
    private var askedAt: UInt64 = 0
    private var holdings: [Holding] = []

    init(index: Int, plan: Plan) {
        self.index = index
        self.plan = plan
        let polls = SeatOptions.isAmong(plan.options.poll, index, kind: 2)
        link = polls ? .none : .down
        watches = !polls && SeatOptions.isAmong(plan.options.watch, index, kind: 3)
        choice = SeatChoice(plan.options.want, seats: plan.options.seats, buyer: index, of: plan.buyers)
    }

    /// The name by which the server knows it.
    var client: String { Buyer.client(index, run: plan.run) }
    /// Whether it has no connection.
    var polls: Bool { link == .none }
    /// Whether a hold is out that has no answer.
    var isUnanswered: Bool { !isDecided }
    /// Whether something is on its way that was asked for.
    var isBusy: Bool { link != .gone && (!isDecided || holdings.contains { !$0.isDone && $0.fate != .runOut }) }
    /// Whether there is nothing more to wait for.
    private(set) var isFinished = false

    // MARK: The connection

    /// The connection is open.
    mutating func opened() -> Action {
        link = .greeting
        return .connect(resume: log.position)
    }

    /// A connection could not be opened.
    mutating func couldNotOpen(_ tally: inout Tally) -> Action {
        link = .down
        tally.failedConnects += 1
        return .openAfter(reopening.next())
    }

    /// The connection has ended with this code.
    mutating func closed(_ code: UInt16, _ tally: inout Tally) -> Action {
        guard link != .gone, link != .none else { return .nothing }
        wasLost = true
        switch code {
        case 1000, 1009, 4500...4999:
            link = .gone
            isFinished = true
            tally.fault("a connection was closed for good, with \(code)")
            return .nothing
        default:
            link = .down
            // What is open is asked again once the connection is back: that pause is enough.
            isPausing = false
            tally.reconnects += 1
            return .openAfter(reopening.next())
        }
    }

    private mutating func connected(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard link == .greeting, let epoch = frame.epoch, let offset = frame.offset else {
            return fault("connected was said twice, or came without epoch or offset", &tally)
        }
        link = .up
        reopening.reset()
        if wasUp && !frame.recovered { tally.unrecovered += 1 }
        tally.fault(log.connected(epoch: epoch, offset: offset, recovered: frame.recovered))
        if !wasUp {
            wasUp = true
            stage = .joining
        }
        return watches ? .watch : whatIsOpen()
    }

    /// `watch` was sent.
    mutating func afterWatch() -> Action { whatIsOpen() }

    /// Asks, again, whatever has no answer and goes over the connection.
    private func whatIsOpen() -> Action {
        guard link == .up || link == .none, !isPausing else { return .nothing }
        switch stage {
        case .outside, .ready, .settling: return .nothing
        case .joining: return link == .none ? .ask(.join, after: 0) : .join
        case .holding: return isDecided ? .nothing : send()
        }
    }

    /// A pause has ended.
    mutating func pauseEnded() -> Action {
        isPausing = false
        return whatIsOpen()
    }

    /// It is time to begin. Whoever has a connection has a pass by now: what is measured are holds.
    mutating func begin(at now: UInt64, _ tally: inout Tally) -> Action {
        hasBegun = true
        switch stage {
        case .ready: return next(at: now, &tally)
        case .outside where link == .none:
            stage = .joining
            return whatIsOpen()
        default: return .nothing
        }
    }

    /// Time is up: what is held is settled, and nothing more is held.
    mutating func stopClaiming() { mayHold = false }

    // MARK: Holding

    private mutating func next(at now: UInt64, _ tally: inout Tally) -> Action {
        stage = .holding
        guard mayHold, let pass, !pass.isEmpty, !isSatisfied, let seats = choice.seats(Int(number) + 1) else {
            if mayHold && holdings.isEmpty && !isSatisfied { tally.seats.gaveUp += 1 }
            stage = .settling
            return settle(at: now, &tally)
        }
        number += 1
        wanted = seats
        isDecided = false
        heldSince = now
        tally.claims += 1
        tally.firstClaimAt = tally.firstClaimAt ?? now
        return send()
    }

    private var isSatisfied: Bool {
        switch plan.options.want {
        case .any, .pair: !holdings.isEmpty
        case .one, .own: number >= plan.holds
        }
    }

    private func send() -> Action {
        let hold = Hold(number: number, seats: wanted, pass: pass ?? "")
        return link == .none ? .ask(.hold(hold), after: 0) : link == .up ? .hold(hold) : .nothing
    }

    private mutating func held(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard let id = frame.reservation, let expiresAt = frame.expiresAt, let price = frame.price else {
            return fault("a hold came without reservationId, expiresAt or price", &tally)
        }
        guard !isDecided, frame.id == nil || frame.id == number else {
            // The answer to a hold that was asked for twice.
            return fault("a hold answers nothing that was asked for", &tally)
        }
        if frame.seats != wanted { tally.fault("other seats are held than were asked for") }
        let heldAt = expiresAt - Int64(plan.options.holdSeconds) * 1000
        if let known = holdings.first(where: { $0.id == id }) {
            let told = tally.seats.holds[known.place]
            if told.expiresAt != expiresAt { tally.fault("a hold's deadline moved") }
            if told.end != nil { tally.fault("a hold that has ended was told to be held") }
            return decided("held again", now, &tally)
        }
        let pays = holdings.allSatisfy { $0.fate != .pay }
        var fate = plan.options.fate(of: index)
        // The pass is spent by the first payment.
        if fate == .pay && !pays { fate = .runOut }
        let hasNothingToAsk = fate == .runOut || fate == .keep
        holdings.append(Holding(id: id, place: tally.seats.holds.count, fate: fate, isDone: hasNothingToAsk))
        var hold = HoldTold(
            buyer: index, reservation: id, seats: wanted, price: price, heldAt: heldAt, expiresAt: expiresAt)
        hold.isKept = fate == .keep
        tally.seats.holds.append(hold)
        for seat in wanted { tally.followed.answered(seat, askedAt: heldSince, at: now) }
        return decided("held", now, &tally)
    }

    private mutating func refused(_ code: String, _ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard !isDecided else { return .nothing }
        switch code {
        case "seat_taken":
            if frame.seats.isEmpty || !frame.seats.allSatisfy(wanted.contains) {
                tally.fault("seats are taken that were not asked for, or none")
            }
            choice.told(frame.seats, isTaken: true)
        case "duplicate": break
        default: tally.fault("a hold was answered by an error: \(code) \(frame.message ?? "")")
        }
        return decided(code, now, &tally)
    }

    private mutating func decided(_ outcome: String, _ now: UInt64, _ tally: inout Tally) -> Action {
        isDecided = true
        isPausing = false
        repeating.reset()
        tally.outcomes[outcome, default: 0] += 1
        tally.toResult.record(now - heldSince)
        tally.lastResultAt = now
        return next(at: now, &tally)
    }

    // MARK: Paying and giving back

    /// Does with the next of its holds what is to be done.
    private mutating func settle(at now: UInt64, _ tally: inout Tally) -> Action {
        if let next = holdings.first(where: { !$0.isDone }) {
            let hold = tally.seats.holds[next.place]
            let share = Double((index &* 7919 &+ next.place) % 1000) / 1000
            let pause = Int64(plan.options.think * 1000 * share)
            if next.fate == .pay {
                return .ask(.pay(reservation: next.id, points: hold.price, pass: pass ?? ""), after: pause)
            }
            return .ask(.giveBack(next.id), after: pause)
        }
        let open = holdings.first { $0.fate != .keep && tally.seats.holds[$0.place].end == nil }
        if let open, link == .none {
            // Nobody tells it: it asks, from the deadline on.
            let due = tally.seats.holds[open.place].expiresAt - wall(now)
            return .ask(.reservation(open.id), after: max(100, due + 50))
        }
        isFinished = open == nil
        return .nothing
    }

    /// A request is sent.
    mutating func asks(_ request: Request, at now: UInt64, _ tally: inout Tally) {
        askedAt = now
        guard case .giveBack(let id) = request, let known = holdings.first(where: { $0.id == id }) else { return }
        if tally.seats.holds[known.place].releaseAskedAt == nil {
            tally.seats.holds[known.place].releaseAskedAt = wall(now)
        }
    }

    /// There was no answer, or none that decides.
    mutating func failed(_ request: Request, _ code: String, _ tally: inout Tally) -> Action {
        tally.retries[code, default: 0] += 1
        return .ask(request, after: repeating.next())
    }

    /// An answer of REST came.
    mutating func answered(
        _ request: Request, status: Int, _ frame: Frame, at now: UInt64, _ tally: inout Tally
    ) -> Action {
        let isUnderWay = frame.code == "in_use"
        if status == 503 || status == 429 || isUnderWay { return failed(request, frame.code ?? "\(status)", &tally) }
        repeating.reset()
        let isGood = status == 200 || status == 201
        switch request {
        case .join:
            return isGood ? .ask(.look, after: 0) : unexpected("joining", status, frame, &tally)
        case .look:
            guard isGood else { return unexpected("a look", status, frame, &tally) }
            guard frame.status == "IN_PROGRESS", let token = frame.token else { return .ask(.look, after: 200) }
            pass = token
            return next(at: now, &tally)
        case .hold:
            if isGood { return held(frame, now, &tally) }
            return refused(frame.code ?? "\(status)", frame, now, &tally)
        case .pay(let id, _, _):
            tally.seats.payments[isGood ? "paid" : frame.code ?? "\(status)", default: 0] += 1
            if isGood {
                tally.seats.toPaid.record(now - askedAt)
                told("paid", id, at: now, &tally)
            } else if frame.code != "hold_expired" || !isOver(id, at: now, tally) {
                tally.fault("a payment was answered by an error: \(frame.code ?? "") \(frame.message ?? "")")
            }
            return done(id, now, &tally)
        case .giveBack(let id):
            if isGood {
                told("released", id, at: now, &tally)
            } else if frame.code != "hold_expired" || !isOver(id, at: now, tally) {
                return unexpected("giving back", status, frame, &tally)
            }
            return done(id, now, &tally)
        case .reservation(let id):
            guard isGood, let end = frame.status else { return unexpected("a look", status, frame, &tally) }
            if end != "held" { told(end, id, at: now, &tally) }
            return settle(at: now, &tally)
        }
    }

    private mutating func done(_ id: String, _ now: UInt64, _ tally: inout Tally) -> Action {
        if let at = holdings.firstIndex(where: { $0.id == id }) { holdings[at].isDone = true }
        return settle(at: now, &tally)
    }

    /// Whether the time of a hold may be over.
    private func isOver(_ id: String, at now: UInt64, _ tally: Tally) -> Bool {
        guard let known = holdings.first(where: { $0.id == id }) else { return false }
        return wall(now) + plan.clockTolerance >= tally.seats.holds[known.place].expiresAt
    }

    /// What became of a hold was told, by an answer or by a push, which may come in any order.
    private func told(_ end: String, _ id: String, at now: UInt64, _ tally: inout Tally) {
        guard let known = holdings.first(where: { $0.id == id }) else {
            // Its answer may have been lost with a connection.
            if !wasLost { tally.fault("a reservation ended that was never told") }
            return
        }
        let hold = tally.seats.holds[known.place]
        if let before = hold.end, before != end { tally.fault("a hold was told to be \(before), then \(end)") }
        if end == "expired" {
            let late = wall(now) - hold.expiresAt
            if late < -plan.clockTolerance { tally.fault("a hold was said to have run out before its time") }
            if hold.end == nil && link != .none { tally.seats.toExpired.record(UInt64(max(0, late)) * 1_000_000) }
        }
        if hold.end == nil {
            tally.settled += 1
            tally.lastSettledAt = now
            if end == "paid" { tally.confirmed += 1 }
        }
        tally.seats.holds[known.place].end = end
    }

    private func wall(_ now: UInt64) -> Int64 { Int64(now / 1_000_000) + plan.wallOffset }

    // MARK: What the server says

    /// A frame came.
    mutating func received(_ frame: Frame, at now: UInt64, _ tally: inout Tally) -> Action {
        switch frame.kind {
        case .error: return error(frame, now, &tally)
        case .held: return held(frame, now, &tally)
        case .connected: return connected(frame, now, &tally)
        case .admitted:
            if let offset = frame.offset, !(frame.id != nil && log.knows(offset)) { tally.fault(log.told(offset)) }
            guard let token = frame.token else { return fault("a pass came without token", &tally) }
            guard stage == .joining else { return .nothing }
            pass = token
            tally.connected += 1
            tally.lastConnectedAt = now
            stage = .ready
            return hasBegun ? next(at: now, &tally) : .nothing
        case .reservation:
            if let offset = frame.offset { tally.fault(log.told(offset)) }
            guard let id = frame.reservation, let end = frame.status else {
                return fault("a reservation came without id or status", &tally)
            }
            told(end, id, at: now, &tally)
            return stage == .settling && holdings.allSatisfy(\.isDone) ? settle(at: now, &tally) : .nothing
        case .seats:
            if let letters = frame.letters { choice.told(letters: letters) }
            for change in frame.changes { choice.told(CollectionOfOne(change.seat), isTaken: !change.isFree) }
            return .nothing
        case .left where frame.reason != nil: return fault("the room sent a buyer home", &tally)
        case .expired: return fault("a pass ran out", &tally)
        default: return .nothing
        }
    }

    private mutating func error(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        let code = frame.code ?? "without code"
        if code == "unavailable" || code == "rate_limited" {
            tally.retries[code, default: 0] += 1
            if link == .greeting {
                link = .down
                return .openAfter(reopening.next())
            }
            guard !isPausing else { return .nothing }
            isPausing = true
            return .pause(repeating.next())
        }
        guard link == .up, !isDecided, frame.id == number else {
            return fault("an error came: \(code) \(frame.message ?? "")", &tally)
        }
        return refused(code, frame, now, &tally)
    }

    private mutating func unexpected(_ what: String, _ status: Int, _ frame: Frame, _ tally: inout Tally) -> Action {
        tally.fault("\(what) was answered by \(status) \(frame.code ?? "") \(frame.message ?? "")")
        isFinished = true
        return .nothing
    }

    private func fault(_ words: String, _ tally: inout Tally) -> Action {
        tally.fault(words)
        return .nothing
    }
}
