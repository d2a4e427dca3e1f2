import Model

/// A buyer that has no connection: it asks for its place in the line over REST, and claims the same way. A state machine
/// like ``Buyer``; what it was told goes into the same ``Tally``.
struct Poller: Sendable {
    /// What to ask.
    enum Request: Equatable, Sendable {
        /// For a pass, or a place.
        case join
        case look
        case claim(Buyer.Claim)
        /// What became of it.
        case order(String)
        case leave
    }

    enum Action: Equatable, Sendable {
        case nothing
        case ask(Request)
        /// Ask this after so many milliseconds.
        case askAfter(Int64, Request)
    }

    let index: Int
    private let plan: Buyer.Plan
    private(set) var waiter: Waiter
    private var repeating = Backoff(base: 200, cap: 5000)
    private var watching = Backoff(base: 100, cap: 1000)
    /// When the last look was asked that was answered.
    private var lastSign: UInt64?
    private var askedAt: UInt64 = 0
    private var number: Int64 = 0
    private var isDecided = true
    private var claimedAt: UInt64 = 0
    private var refusals = 0
    /// Orders that are not settled, and their places in the tally.
    private var open: [(id: String, place: Int)] = []
    private var mayClaim = true
    private var owned: [String: Int64] = [:]

    init?(index: Int, plan: Buyer.Plan) {
        guard let line = plan.line else { return nil }
        self.index = index
        self.plan = plan
        waiter = Waiter(index: index, run: plan.run, manner: .polls, plan: line)
    }

    /// The name by which the server knows it.
    var client: String { Buyer.client(index, run: plan.run) }
    /// Whether a claim is out that has no answer.
    var isUnanswered: Bool { !isDecided }
    /// Whether something is on its way that was claimed.
    var isBusy: Bool { !isFinished && (!isDecided || !open.isEmpty) }
    /// Whether there is nothing more to wait for.
    private(set) var isFinished = false

    /// It is time to join.
    mutating func begin(at now: UInt64, _ tally: inout Tally) -> Action {
        guard waiter.state == .outside else { return .nothing }
        waiter.join(at: now, &tally.line)
        return .ask(.join)
    }

    /// A request is sent.
    mutating func asks(_ request: Request, at now: UInt64) { askedAt = now }

    /// There was no answer, or none that decides.
    mutating func failed(_ request: Request, _ code: String, _ tally: inout Tally) -> Action {
        tally.retries[code, default: 0] += 1
        return .askAfter(repeating.next(), request)
    }

    /// An answer came.
    mutating func answered(
        _ request: Request, status: Int, _ frame: Frame, at now: UInt64, _ tally: inout Tally
    ) -> Action {
        if status == 503 || status == 429 { return failed(request, frame.code ?? "\(status)", &tally) }
        repeating.reset()
        switch request {
        case .join: return joined(status, frame, now, &tally)
        case .look: return looked(status, frame, now, &tally)
        case .claim: return claimed(status, frame, now, &tally)
        case .order: return settled(status, frame, now, &tally)
        case .leave:
            if status != 204 { return unexpected("leaving", status, frame, &tally) }
            waiter.left(nil, isAnswer: true, at: now, &tally)
            return finish(at: now)
        }
    }

    // MARK: The line

    private mutating func joined(_ status: Int, _ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard status == 200 || status == 201 else {
            guard frame.code == "rejected" else { return unexpected("joining", status, frame, &tally) }
            waiter.rejected(&tally)
            return finish(at: now)
        }
        lastSign = askedAt
        // The rank, or the end of the pass, is told by a look only.
        return .ask(.look)
    }

    private mutating func looked(_ status: Int, _ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        // A server that has lost the line knows nobody.
        let isUnknown = status == 404
        guard status == 200 || isUnknown else { return unexpected("a look", status, frame, &tally) }
        tally.line.polls += 1
        // Who asks too late may have lost the place.
        let silence = lastSign.map { now - $0 } ?? 0
        if let lastSign, silence >= UInt64(waiter.plan.graceMilliseconds) * 1_000_000 {
            waiter.lost(at: lastSign, byItself: true)
        }
        lastSign = askedAt
        switch isUnknown ? "FINISHED" : frame.status {
        case "WAITING":
            _ = waiter.joined(frame, at: now, &tally)
            return .askAfter(pause(frame), .look)
        case "IN_PROGRESS":
            let isNew = waiter.admitted(frame, at: now, &tally)
            guard plan.claims > 0 else {
                // A little after the end; the server's clock may be another.
                return .askAfter(min(pause(frame), waiter.passLasts(at: now) + 50), .look)
            }
            return isNew && mayClaim ? claim(at: now, &tally) : finish(at: now)
        case "FINISHED":
            if waiter.holdsPass {
                if waiter.passIsSurelyValid(at: now) { tally.fault("a pass was finished before its time") }
                waiter.expired(frame, at: now, &tally)
                return finish(at: now)
            }
            guard waiter.isNoLongerThere(at: now, after: silence, &tally.line) else { return finish(at: now) }
            waiter.join(at: now, &tally.line)
            return .ask(.join)
        default:
            tally.fault("a look was answered by the status \(frame.status ?? "without words")")
            return .askAfter(pause(frame), .look)
        }
    }

    /// In milliseconds; the server says it in seconds.
    private func pause(_ frame: Frame) -> Int64 {
        let seconds = frame.refreshSeconds ?? 1
        return seconds.isFinite ? Int64(min(60, max(0.05, seconds)) * 1000) : 1000
    }

    // MARK: Claiming

    /// Time is up: what was claimed is waited for, and nothing more is claimed.
    mutating func stopClaiming() { mayClaim = false }

    private mutating func claim(at now: UInt64, _ tally: inout Tally) -> Action {
        number += 1
        isDecided = false
        claimedAt = now
        tally.claims += 1
        tally.firstClaimAt = tally.firstClaimAt ?? now
        waiter.willEnd(at: now)
        let key = "\(plan.run)-\(index)-\(number)"
        return .ask(
            .claim(Buyer.Claim(number: number, sale: plan.sale(of: number), key: key, pass: waiter.pass)))
    }

    private mutating func claimed(_ status: Int, _ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        let sale = plan.sale(of: number)
        guard !isDecided else { return .nothing }
        if status == 200 || status == 201, let order = frame.order, let ticket = frame.ticket {
            open.append((order, tally.orders.count))
            tally.orders.append(OrderTold(buyer: index, sale: sale, order: order, ticket: ticket, end: nil))
            owned[sale, default: 0] += 1
            if owned[sale]! >= plan.limit(of: number) { waiter.spent() } else { waiter.hasNotEnded() }
            return decided("accepted", now, &tally)
        }
        waiter.hasNotEnded()
        guard let code = frame.code, [402, 403, 404, 409].contains(status) else {
            tally.fault("a claim was answered by an error: \(status) \(frame.code ?? "") \(frame.message ?? "")")
            return decided("error \(frame.code ?? "\(status)")", now, &tally)
        }
        if code == "not_admitted", waiter.passIsSurelyValid(at: now) {
            tally.fault("a claim with a valid pass was not admitted")
        }
        return decided(code, now, &tally)
    }

    private mutating func decided(_ outcome: String, _ now: UInt64, _ tally: inout Tally) -> Action {
        isDecided = true
        tally.outcomes[outcome, default: 0] += 1
        tally.toResult.record(now - claimedAt)
        tally.lastResultAt = now
        return number < plan.claims && mayClaim ? claim(at: now, &tally) : finish(at: now)
    }

    private mutating func settled(_ status: Int, _ frame: Frame, _ now: UInt64, _ tally: inout Tally) -> Action {
        guard let order = open.last else { return finish(at: now) }
        // Before it is committed there may be no such order.
        if status == 404 || frame.status == "accepted" { return .askAfter(watching.next(), .order(order.id)) }
        guard status == 200, let end = frame.status else { return unexpected("an order", status, frame, &tally) }
        open.removeLast()
        watching.reset()
        tally.orders[order.place].end = end
        tally.settled += 1
        tally.lastSettledAt = now
        if end == "confirmed" { tally.confirmed += 1 }
        return finish(at: now)
    }

    /// What is left to do when all claims are decided: give the pass back, and see what became of the orders.
    private mutating func finish(at now: UInt64) -> Action {
        if !waiter.isOver {
            waiter.leave()
            waiter.willEnd(at: now)
            return .ask(.leave)
        }
        if let order = open.last { return .ask(.order(order.id)) }
        isFinished = true
        return .nothing
    }

    private mutating func unexpected(_ what: String, _ status: Int, _ frame: Frame, _ tally: inout Tally) -> Action {
        tally.fault("\(what) was answered by \(status) \(frame.code ?? "") \(frame.message ?? "")")
        isFinished = true
        return .nothing
    }
}
