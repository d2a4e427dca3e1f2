import EventLoop
import Gateway
import Model
import TestServices

/// Milliseconds since 1970 of a moment as the wire writes it.
func milliseconds(_ text: String?) -> Int64 {
    text.flatMap { Timestamp(rfc3339: $0)?.milliseconds } ?? 0
}

/// Wants one of a sale without a room; some give it back.
final class OpenSaleBuyer: Shopper {
    let sale: Int64
    private let points: Int64
    private let cancels: Bool
    private var isCharged = false
    private var isAsked = false
    private var mustWait = false
    private var isRefused = false
    private var order: String?
    private var status = ""
    private var cancelAnswered = false

    /// - Parameters:
    ///   - points: what it charges its account with before.
    ///   - cancels: whether it gives back what it gets.
    init(_ name: String, _ stage: Stage, seed: UInt64, sale: Int64, points: Int64 = 0, cancels: Bool = false) {
        self.sale = sale
        self.points = points
        self.cancels = cancels
        super.init(name, stage, seed: seed)
    }

    override func connected() { isAsked = false }

    override func take(_ event: Event) {
        switch event {
        case .refused: isRefused = true
        case .accepted(let order, _): self.order = order
        case .order(let order, let status, _):
            self.order = order
            self.status = status
        default: break
        }
    }

    override func failed(_ code: String, id: Int64?) {
        isAsked = false
        mustWait = true
    }

    override func wish() async -> String? {
        if points > 0, !isCharged {
            isCharged = await charge(points)
            if !isCharged { return "whether it was charged" }
        }
        if mustWait {
            mustWait = false
            await holdBack()
        }
        guard let order else {
            if isRefused { return nil }
            if !isAsked {
                isAsked = true
                note(.claimed(sale: sale, key: "k-\(name)", pass: nil))
                send("{\"type\":\"claim\",\"id\":1,\"sale\":\(sale),\"key\":\"k-\(name)\"}")
            }
            return "the answer to its claim"
        }
        if status == "" || status == "accepted" { return "what became of \(order)" }
        guard cancels, status == "confirmed" else { return nil }
        if !cancelAnswered { cancelAnswered = await cancel(order) }
        return "that \(order) is cancelled"
    }
}

/// Waits in a room for its pass, and claims with it.
final class RoomBuyer: Shopper {
    private let room: String
    private let sale: Int64
    private var pass: String?
    private var isJoining = false
    private var isClaiming = false
    private var mustWait = false
    private var isRefused = false
    private var hasLeft = false
    private var order: String?
    private var status = ""

    init(_ name: String, _ stage: Stage, seed: UInt64, room: String, sale: Int64) {
        self.room = room
        self.sale = sale
        super.init(name, stage, seed: seed)
    }

    override func connected() {
        isJoining = false
        isClaiming = false
    }

    override func take(_ event: Event) {
        switch event {
        case .admitted(_, let pass, _):
            if self.pass != pass { isClaiming = false }
            self.pass = pass
        case .expired(_, let pass):
            guard pass == self.pass else { break }
            self.pass = nil
            isJoining = false
        case .left:
            if isRefused { hasLeft = true }
            pass = nil
            isJoining = false
        case .refused(_, "not_admitted", _):
            pass = nil
            isJoining = false
            isClaiming = false
        case .refused: isRefused = true
        case .accepted(let order, _): self.order = order
        case .order(let order, let status, _):
            self.order = order
            self.status = status
        default: break
        }
    }

    override func failed(_ code: String, id: Int64?) {
        if id == 1 { isClaiming = false } else { isJoining = false }
        mustWait = true
    }

    override func wish() async -> String? {
        if mustWait {
            mustWait = false
            await holdBack()
        }
        if let order {
            return status == "" || status == "accepted" ? "what became of \(order)" : nil
        }
        if isRefused {
            // It gives its place to others.
            if hasLeft { return nil }
            if !isJoining || pass != nil {
                isJoining = true
                pass = nil
                note(.leaving(room: room))
                send("{\"type\":\"leave\",\"id\":3,\"room\":\"\(room)\"}")
            }
            return "that it has left \(room)"
        }
        if let pass {
            if !isClaiming {
                isClaiming = true
                // It looks around first: so places are taken for a while, and a line forms.
                await EventLoop.sleep(milliseconds: chance(100...500))
                guard self.pass == pass else { return "its turn in \(room)" }
                note(.claimed(sale: sale, key: "k-\(name)", pass: pass))
                send("{\"type\":\"claim\",\"id\":1,\"sale\":\(sale),\"key\":\"k-\(name)\",\"token\":\"\(pass)\"}")
            }
            return "the answer to its claim"
        }
        if !isJoining {
            isJoining = true
            note(.joining(room: room))
            send("{\"type\":\"join\",\"id\":2,\"room\":\"\(room)\"}")
        }
        return "its turn in \(room)"
    }
}

/// Claims over REST, and asks what became of it.
@LoopActor
final class PollingBuyer {
    private(set) var journal: ClientJournal
    private let stage: Stage
    private let sale: Int64
    private let name: String
    private var random: SeededGenerator
    private var isOver = false
    /// When its claim was decided.
    var onDecided: (@LoopActor (Int64) -> Void)?

    init(_ name: String, _ stage: Stage, seed: UInt64, sale: Int64) {
        self.name = name
        self.stage = stage
        self.sale = sale
        journal = ClientJournal(name)
        journal.isDone = false
        random = SeededGenerator(seed: seed)
    }

    func stop() { isOver = true }

    /// Whether its claim was accepted.
    private(set) var isAccepted = false

    /// When it last sent its claim.
    private(set) var lastAsked: Int64?

    /// It wants to know nothing more.
    func finish() { if !isOver { journal.isDone = true } }

    func note(_ event: Event) { journal.notes.append(Note(at: EventLoop.wallMilliseconds, event)) }

    /// Claims until it is answered, on one instance or on any.
    func claim(on fixed: Int? = nil, timeout: Int64 = 4000) async -> Bool {
        journal.waitedFor = "the answer to its claim"
        while !isOver {
            let instance = fixed ?? stage.gateways.randomElement(using: &random) ?? 0
            lastAsked = EventLoop.wallMilliseconds
            note(.claimed(sale: sale, key: "k-\(name)", pass: nil))
            let answer = await stage.call(
                .post, "/api/sales/\(sale)/claims", as: .client(name), ["userId": .text(name)],
                headers: ["idempotency-key": "k-\(name)"], on: instance, timeout: timeout)
            if let answer, answer.isSuccess, let order = answer.message["order"] {
                note(.accepted(order: order, ticket: answer.message.integer("ticket") ?? 0))
                isAccepted = true
                onDecided?(EventLoop.wallMilliseconds)
                return true
            }
            if let answer, !answer.isTransient {
                note(.refused(sale: sale, code: answer.code, order: answer.message["order"]))
                onDecided?(EventLoop.wallMilliseconds)
                return false
            }
            await EventLoop.sleep(milliseconds: Int64.random(in: 30...200, using: &random))
        }
        return false
    }

    /// Claims, and asks until the order has an end.
    func run() async {
        let isAccepted = await claim()
        while !isOver, isAccepted {
            journal.waitedFor = "what became of its claim"
            if let status = await ask(of: sale, on: stage.gateways.randomElement(using: &random) ?? 0) {
                if status != "accepted" && status != "none" { break }
            }
            await EventLoop.sleep(milliseconds: Int64.random(in: 200...500, using: &random))
        }
        if !isOver { journal.isDone = true }
    }

    /// Asks what is true; nil when there is no answer.
    @discardableResult
    func ask(of sale: Int64, on instance: Int) async -> String? {
        guard let truth = await stage.truth(of: name, in: sale, on: instance) else { return nil }
        note(truth)
        guard case .truth(_, let status, let order, let ticket, _, _) = truth else { return nil }
        if let order, status != "accepted" { note(.order(order, status: status, ticket: ticket)) }
        return status
    }
}

extension Stage {
    /// What REST says is true of a claim; nil when there is no answer.
    func truth(of client: String, in sale: Int64, on instance: Int) async -> Event? {
        let askedAt = EventLoop.wallMilliseconds
        guard
            let answer = await call(.get, "/api/sales/\(sale)/claims/\(client)", as: .client(client), on: instance),
            answer.isSuccess, let status = answer.message["status"]
        else { return nil }
        return .truth(
            sale: sale, status: status, order: answer.message["order"], ticket: answer.message.integer("ticket"),
            instance: instance, askedAt: askedAt)
    }
}

extension Shopper {
    /// Asks what is true of its claim.
    func ask(of sale: Int64, on instance: Int) async {
        if let truth = await stage.truth(of: name, in: sale, on: instance) { note(truth) }
    }

    /// Charges its account, once however often it asks.
    func charge(_ points: Int64) async -> Bool {
        note(.charging(points: points))
        let answer = await stage.call(
            .patch, "/api/users/point", as: .client(name), ["userId": .text(name), "point": .integer(points)],
            headers: ["idempotency-key": "charge"], on: anyGateway)
        guard let answer, answer.isSuccess else {
            await holdBack()
            return false
        }
        note(.charged(points: points))
        return true
    }

    /// Has an order cancelled; whether it was answered.
    func cancel(_ order: String) async -> Bool {
        note(.cancelling(order: order))
        let answer = await stage.call(.delete, "/api/orders/\(order)", as: .client(name), on: anyGateway)
        guard let answer, !answer.isTransient else {
            await holdBack()
            return false
        }
        return answer.isSuccess
    }

    /// An instance to ask.
    var anyGateway: Int { stage.gateways[Int(chance(0...Int64(stage.gateways.count - 1)))] }
}
