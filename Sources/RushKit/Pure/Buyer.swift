import Model

/// One client of a run, as a state machine: what to do about each frame, each lost connection and each pause that ends.
/// What it was told goes into a ``Tally``. It knows no socket and no clock.
struct Buyer: Sendable {
    /// What to do now.
    enum Action: Equatable, Sendable {
        case nothing
        /// Send the frame that opens the protocol.
        case connect(resume: Position?)
        /// Send this claim.
        case claim(Claim)
        /// Send a `watch` of this sale.
        case watch(sale: String)
        /// Tell ``pauseEnded(_:)`` after so many milliseconds.
        case claimAfter(Int64)
        /// Open a connection after so many milliseconds; close the one that there is.
        case openAfter(Int64)
        /// Send `join`.
        case join
        /// Send `leave`.
        case leave
        /// Tell ``departureIsDue(at:_:)`` after so many milliseconds.
        case departAfter(Int64)
        /// Close the connection, and open one elsewhere after so many milliseconds; never, when there are none.
        case hangUp(backAfter: Int64?)
    }

    /// A claim as it is sent, the first time and every other.
    struct Claim: Equatable, Sendable {
        /// 1 for a buyer's first.
        let number: Int64
        let sale: String
        let key: String
        /// What lets the client in, where the sale has a room.
        var pass: String?
    }

    /// What all buyers of a run have in common.
    struct Plan: Sendable {
        /// Makes keys and client ids of this run different from all others.
        let run: String
        let sales: [String]
        /// How many each buyer makes; 0 and no line: it only watches the first sale.
        let claims: Int
        /// The line that buyers go through first.
        var line: Waiter.Plan?
        /// How many a client may have of each sale: when it has them, its pass is spent.
        var limits: [Int64] = []

        func sale(of claim: Int64) -> String { sales[Int(claim - 1) % sales.count] }
        func limit(of claim: Int64) -> Int64 { limits.isEmpty ? 1 : limits[Int(claim - 1) % limits.count] }
    }

    /// What is put on `join` and on `leave`; claims count from 1.
    static let joinID: Int64 = 0
    static let leaveID: Int64 = -1

    private enum Link: Sendable {
        case down
        /// `connect` was sent.
        case greeting
        case up
        /// The server said not to come back.
        case gone
    }

    private struct Order: Sendable {
        let id: String
        /// In the tally.
        let place: Int
        let claimedAt: UInt64
        /// The claim that got it.
        let number: Int64
        /// Whether its acceptance was told in its place among the outcomes. A direct answer may come without.
        var isNumbered: Bool
    }

    /// Which of the run's clients.
    let index: Int
    private let plan: Plan
    private(set) var waiter: Waiter?
    private var link = Link.down
    private var wasUp = false
    private var log = OffsetLog()
    private var reopening = Backoff(base: 500, cap: 5000)
    private var repeating = Backoff(base: 200, cap: 5000)

    /// The claim that was made last; 0 before the first.
    private var number: Int64 = 0
    private var isDecided = true
    /// The pass that it was sent with.
    private var shown: String?
    /// How often this claim was sent.
    private var sendings = 0
    /// Between an error and the end of the pause after it, the claim must not be sent.
    private var isPausing = false
    private var claimedAt: UInt64 = 0
    private var orders: [Order] = []
    /// Whether claims may be made; not any more when time is up.
    private var mayClaim = true
    /// All orders before this one are settled.
    private var firstOpen = 0

    init(index: Int, plan: Plan, manner: Manner = .stays) {
        self.index = index
        self.plan = plan
        waiter = plan.line.map { Waiter(index: index, run: plan.run, manner: manner, plan: $0) }
    }

    /// The name by which the server knows it.
    var client: String { Buyer.client(index, run: plan.run) }

    static func client(_ index: Int, run: String) -> String { "rush-\(run)-\(index)" }

    /// Whether a claim is out that has no answer.
    var isUnanswered: Bool { !isDecided }
    /// Whether something is on its way that was claimed.
    var isBusy: Bool { link != .gone && (!isDecided || firstOpen < orders.count) }
    /// Whether there is nothing more to wait for: everything was claimed, answered and settled, or it cannot come back.
    var isFinished: Bool {
        if link == .gone { return true }
        guard isDecided, firstOpen == orders.count else { return false }
        guard let waiter else { return number == plan.claims && plan.claims > 0 }
        return waiter.isOver && (number == 0 || number == plan.claims)
    }

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
    mutating func closed(_ code: UInt16, at now: UInt64, _ tally: inout Tally) -> Action {
        guard link != .gone else { return .nothing }
        waiter?.lost(at: now, byItself: false)
        switch code {
        case 1000, 1009, 4500...4999:
            link = .gone
            tally.fault("a connection was closed for good, with \(code)")
            return .nothing
        default:
            link = .down
            // The claim is repeated once the connection is back: that pause is enough.
            isPausing = false
            tally.reconnects += 1
            return .openAfter(reopening.next())
        }
    }

    private mutating func connected(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard link == .greeting else { return fault("connected was said twice", &tally) }
        guard let epoch = frame.epoch, let offset = frame.offset else {
            return fault("connected came without epoch or offset", &tally)
        }
        link = .up
        reopening.reset()
        if wasUp && !frame.recovered { tally.unrecovered += 1 }
        tally.fault(log.connected(epoch: epoch, offset: offset, recovered: frame.recovered))
        if !wasUp {
            wasUp = true
            tally.connected += 1
            tally.lastConnectedAt = now
        }
        if plan.claims == 0 && waiter == nil { return .watch(sale: plan.sales[0]) }
        return whatIsOpen(at: now, &tally)
    }

    /// Asks, again, whatever has no answer.
    private mutating func whatIsOpen(at now: UInt64, _ tally: inout Tally) -> Action {
        guard link == .up, !isPausing else { return .nothing }
        switch waiter?.state {
        case .joining, .waiting:
            waiter?.join(at: now, &tally.line)
            return .join
        case .leaving: return leave(at: now)
        case .outside, .admitted, .over, nil: return isDecided ? .nothing : send()
        }
    }

    // MARK: Claiming

    /// It is time for the first claim, or for the join.
    mutating func begin(at now: UInt64, _ tally: inout Tally) -> Action {
        if waiter?.state == .outside {
            waiter?.join(at: now, &tally.line)
            return link == .up ? .join : .nothing
        }
        guard number == 0, plan.claims > 0 else { return .nothing }
        return claim(at: now, &tally)
    }

    /// Time is up: what was claimed is waited for, and nothing more is claimed.
    mutating func stopClaiming() { mayClaim = false }

    /// A pause has ended.
    mutating func pauseEnded(at now: UInt64, _ tally: inout Tally) -> Action {
        isPausing = false
        // A place that is known is not asked for again while the connection stands.
        if waiter?.state == .waiting { return isDecided ? .nothing : send() }
        return whatIsOpen(at: now, &tally)
    }

    private mutating func claim(at now: UInt64, _ tally: inout Tally) -> Action {
        number += 1
        isDecided = false
        sendings = 0
        claimedAt = now
        tally.claims += 1
        tally.firstClaimAt = tally.firstClaimAt ?? now
        waiter?.willEnd(at: now)
        return send()
    }

    private mutating func send() -> Action {
        guard link == .up, !isPausing else { return .nothing }
        sendings += 1
        shown = waiter?.pass
        let key = "\(plan.run)-\(index)-\(number)"
        return .claim(Claim(number: number, sale: plan.sale(of: number), key: key, pass: shown))
    }

    // MARK: What the server says

    /// A frame came.
    mutating func received(_ frame: Frame, at now: UInt64, _ tally: inout Tally) -> Action {
        switch frame.kind {
        case .connected: return connected(frame, now, &tally)
        case .result: return result(frame, now, &tally)
        case .order: return order(frame, now, &tally)
        case .error: return error(frame, now, &tally)
        case .joined, .rank, .admitted, .expired, .left: return line(frame, now, &tally)
        case .sale, .held, .reservation, .seats, .other: return .nothing
        }
    }

    /// An answer to our claim, or an acceptance that we missed the answer of.
    private mutating func result(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard let outcome = frame.outcome else { return fault("a result came without outcome", &tally) }
        guard outcome == "accepted" else {
            guard frame.id == number else { return fault("a refusal answers no claim", &tally) }
            if orders.contains(where: { $0.number == number }) {
                return fault("a claim was accepted and then refused", &tally)
            }
            if isDecided { return .nothing }
            if outcome == "not_admitted", waiter?.pass == shown, waiter?.passIsSurelyValid(at: now) == true {
                tally.fault("a claim with a valid pass was not admitted")
            }
            waiter?.hasNotEnded()
            return decided(outcome, now, &tally)
        }
        guard let id = frame.order, let ticket = frame.ticket else {
            return fault("an acceptance came without order or ticket", &tally)
        }
        if let place = orders.lastIndex(where: { $0.id == id }) { return repeated(frame, ticket, place, &tally) }
        if let offset = frame.offset { tally.fault(log.told(offset)) }
        let isAnswer = frame.id.map { $0 == number } ?? true
        guard isAnswer, !isDecided else { return fault("an acceptance answers no claim", &tally) }
        orders.append(
            Order(
                id: id, place: tally.orders.count, claimedAt: claimedAt, number: number,
                isNumbered: frame.offset != nil))
        tally.orders.append(
            OrderTold(index, frame.sale ?? plan.sale(of: number), id, ticket))
        let sale = plan.sale(of: number)
        let owned = orders.count { plan.sale(of: $0.number) == sale }
        if owned >= plan.limit(of: number) { waiter?.spent() } else { waiter?.hasNotEnded() }
        return decided(outcome, now, &tally)
    }

    /// An acceptance that is known: the answer to a repeated claim, the outcome after an answer without an offset, or
    /// the present truth instead of a replay.
    private mutating func repeated(_ frame: Frame, _ ticket: Int64, _ place: Int, _ tally: inout Tally) -> Action {
        let known = orders[place]
        if tally.orders[known.place].ticket != ticket { tally.fault("an order's ticket changed") }
        if let answered = frame.id, answered != known.number { tally.fault("one order answers two claims") }
        guard let offset = frame.offset else { return .nothing }
        // The answer to a claim that was sent again may name the place where it was told before.
        let isAnswerAgain = frame.id != nil && sendings > 1 && known.isNumbered && log.knows(offset)
        if !isAnswerAgain { tally.fault(log.told(offset)) }
        orders[place].isNumbered = true
        return .nothing
    }

    private mutating func decided(_ outcome: String, _ now: UInt64, _ tally: inout Tally) -> Action {
        isDecided = true
        isPausing = false
        repeating.reset()
        tally.outcomes[outcome, default: 0] += 1
        tally.toResult.record(now - claimedAt)
        tally.lastResultAt = now
        if number < plan.claims && mayClaim { return claim(at: now, &tally) }
        return isDoneWithRoom ? leave(at: now) : .nothing
    }

    /// Whether it holds a pass or a place that it has no more use for.
    private var isDoneWithRoom: Bool {
        guard let waiter, plan.claims > 0, number == plan.claims, isDecided else { return false }
        return waiter.state == .waiting || waiter.state == .admitted
    }

    private mutating func leave(at now: UInt64) -> Action {
        waiter?.leave()
        waiter?.willEnd(at: now)
        return link == .up && !isPausing ? .leave : .nothing
    }

    // MARK: The line

    private mutating func line(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard waiter != nil else { return fault("a place in a line was told to who asked for none", &tally) }
        switch frame.kind {
        case .joined: return joined(frame, now, &tally)
        case .rank: return perform(waiter!.ranked(frame, at: now, &tally), now, &tally)
        case .admitted: return admitted(frame, now, &tally)
        case .expired:
            if let offset = frame.offset { tally.fault(log.told(offset)) }
            waiter!.expired(frame, at: now, &tally)
        default: waiter!.left(frame.reason, isAnswer: frame.id == Buyer.leaveID, at: now, &tally)
        }
        return .nothing
    }

    private mutating func joined(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        repeating.reset()
        let departure = waiter!.joined(frame, at: now, &tally)
        if isDoneWithRoom { return leave(at: now) }
        // The pass ran out while the connection was away; what became of the claim is not known yet.
        if !isDecided { return send() }
        if departure == nil, let pause = waiter!.departsAfter { return .departAfter(pause) }
        return perform(departure, now, &tally)
    }

    private mutating func admitted(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        repeating.reset()
        if let offset = frame.offset {
            // The answer to a join may name the pass that was told before, in its place.
            let isAnswerAgain = frame.id != nil && frame.token == waiter!.pass && log.knows(offset)
            if !isAnswerAgain { tally.fault(log.told(offset)) }
        }
        guard waiter!.admitted(frame, at: now, &tally) else { return .nothing }
        if waiter!.state == .leaving { return .nothing }
        if isDoneWithRoom { return leave(at: now) }
        // A replay may tell of one that has run out since: its end is told next, and the answer to the join is to come.
        let isAlive = waiter!.passLasts(at: now) > 0
        return number == 0 && plan.claims > 0 && mayClaim && isAlive ? claim(at: now, &tally) : .nothing
    }

    /// The time to leave, to vanish, or to go for a while has come.
    mutating func departureIsDue(at now: UInt64, _ tally: inout Tally) -> Action {
        perform(waiter?.departureIsDue(), now, &tally)
    }

    private mutating func perform(_ departure: Waiter.Departure?, _ now: UInt64, _ tally: inout Tally) -> Action {
        switch departure {
        case nil: return .nothing
        case .leave: return leave(at: now)
        case .vanish:
            link = .gone
            waiter!.vanished(&tally.line)
            return .hangUp(backAfter: nil)
        case .pause(let pause):
            guard link == .up else { return .nothing }
            link = .down
            isPausing = false
            waiter!.lost(at: now, byItself: true)
            return .hangUp(backAfter: pause)
        }
    }

    private mutating func order(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard let id = frame.order, let status = frame.status else {
            return fault("an order came without id or status", &tally)
        }
        if let offset = frame.offset { tally.fault(log.told(offset)) }
        // Nearly always the oldest that is open.
        guard let order = orders[firstOpen...].first(where: { $0.id == id }) ?? orders.first(where: { $0.id == id })
        else { return fault("an order came that no claim got", &tally) }
        let before = tally.orders[order.place].end
        if !log.wasReset {
            if frame.offset == nil { tally.fault("an order came without offset") }
            if !order.isNumbered { tally.fault("an order was settled before its acceptance was told in its place") }
            if before == status { tally.fault("an order was told to be \(status) twice") }
        }
        if before == "confirmed" && status == "failed" { tally.fault("a confirmed order failed") }
        tally.orders[order.place].end = status
        if before == nil {
            tally.settled += 1
            tally.lastSettledAt = now
            if status == "confirmed" {
                tally.confirmed += 1
                tally.toConfirmed.record(now - order.claimedAt)
            }
        }
        while firstOpen < orders.count, tally.orders[orders[firstOpen].place].end != nil { firstOpen += 1 }
        return .nothing
    }

    private mutating func error(_ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        let code = frame.code ?? "without code"
        let mayRepeat = code == "unavailable" || code == "rate_limited"
        if link == .greeting && mayRepeat {
            link = .down
            tally.retries[code, default: 0] += 1
            return .openAfter(reopening.next())
        }
        guard link == .up, isAbout(frame.id) else {
            return fault("an error came: \(code) \(frame.message ?? "")", &tally)
        }
        if mayRepeat {
            tally.retries[code, default: 0] += 1
            guard !isPausing else { return .nothing }
            isPausing = true
            return .claimAfter(repeating.next())
        }
        if frame.id == Buyer.joinID, code == "rejected" {
            waiter?.rejected(&tally)
            return .nothing
        }
        if isDecided {
            link = .gone
            tally.fault("the room was answered by an error: \(code) \(frame.message ?? "")")
            return .nothing
        }
        tally.fault("a claim was answered by an error: \(code) \(frame.message ?? "")")
        waiter?.hasNotEnded()
        return decided("error " + code, now, &tally)
    }

    /// Whether an error with this id answers what was asked and has no answer.
    private func isAbout(_ id: Int64?) -> Bool {
        let state = waiter?.state
        switch id {
        case Buyer.joinID: return state == .joining
        case Buyer.leaveID: return state == .leaving
        case nil: return !isDecided || state == .joining || state == .leaving
        default: return !isDecided && id == number
        }
    }

    private func fault(_ words: String, _ tally: inout Tally) -> Action {
        tally.fault(words)
        return .nothing
    }
}

extension OrderTold {
    fileprivate init(_ buyer: Int, _ sale: String, _ order: String, _ ticket: Int64) {
        self.init(buyer: buyer, sale: sale, order: order, ticket: ticket, end: nil)
    }
}
