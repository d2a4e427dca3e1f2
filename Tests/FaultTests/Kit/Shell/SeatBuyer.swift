import EventLoop
import Gateway
import TestServices

/// Holds seats, and pays for them, lets them go, or gives them back.
final class SeatBuyer: Shopper {
    /// What it does with what it holds.
    enum Plan: Sendable {
        case pay
        case payAndCancel
        case release
        case dawdle
    }

    private let room: String
    private let performance: Offer.Performance
    private let plan: Plan
    private var isCharged = false
    private var pass: String?
    private var isJoining = false
    private var wanted: [Int64] = []
    private var isHolding = false
    private var mustWait = false
    private var attempts = 0
    private var held: String?
    private var price: Int64 = 0
    private var statuses: [String: String] = [:]
    private var isAnswered = false

    /// What it charges its account with.
    static let points: Int64 = 1000
    private static let mostAttempts = 5

    /// Whether Redis loses data, and so perhaps the hold: then it asks, some time after its end. Else it has to be told.
    private let asks: Bool
    private var expiresAt: Int64 = 0

    init(
        _ name: String, _ stage: Stage, seed: UInt64, room: String, performance: Offer.Performance, plan: Plan,
        asks: Bool
    ) {
        self.asks = asks
        self.room = room
        self.performance = performance
        self.plan = plan
        super.init(name, stage, seed: seed)
    }

    override func connected() {
        isJoining = false
        isHolding = false
    }

    override func take(_ event: Event) {
        switch event {
        case .admitted(_, let pass, _): self.pass = pass
        case .expired(_, let pass): if pass == self.pass { losePass() }
        case .left: losePass()
        case .held(let reservation, let seats, let expires):
            held = reservation
            expiresAt = expires
            price = performance.price * Int64(seats.count)
        case .reservation(let reservation, let status): statuses[reservation] = status
        default: break
        }
    }

    private func losePass() {
        pass = nil
        isJoining = false
        isHolding = false
    }

    override func failed(_ code: String, id: Int64?) {
        switch (id, code) {
        case (4, "seat_taken"), (4, "duplicate"):
            isHolding = false
            wanted = []
            attempts += 1
        case (4, "not_admitted"): losePass()
        case (4, _):
            isHolding = false
            mustWait = true
        default:
            isJoining = false
            mustWait = true
        }
    }

    override func wish() async -> String? {
        if !isCharged {
            isCharged = await charge(Self.points)
            if !isCharged { return "whether it was charged" }
        }
        if mustWait {
            mustWait = false
            await holdBack()
        }
        if let held { return await go(on: held) }
        if attempts >= Self.mostAttempts { return leave() }
        guard let pass else { return join() }
        if wanted.isEmpty {
            let first = chance(1...performance.seats - 1)
            wanted = chance(0...2) == 0 ? [first, first + 1] : [first]
        }
        if !isHolding {
            isHolding = true
            note(.holding(performance: performance.id, seats: wanted))
            let seats = wanted.map(String.init).joined(separator: ",")
            send(
                "{\"type\":\"hold\",\"id\":4,\"performance\":\(performance.id),\"seats\":[\(seats)],\"token\":\"\(pass)\"}"
            )
        }
        return "the answer to its hold"
    }

    private func join() -> String {
        if !isJoining {
            isJoining = true
            note(.joining(room: room))
            send("{\"type\":\"join\",\"id\":2,\"room\":\"\(room)\"}")
        }
        return "its turn in \(room)"
    }

    private func leave() -> String? {
        if pass != nil {
            pass = nil
            note(.leaving(room: room))
            send("{\"type\":\"leave\",\"id\":3,\"room\":\"\(room)\"}")
        }
        return nil
    }

    private func go(on held: String) async -> String? {
        if statuses[held] == nil, asks, EventLoop.wallMilliseconds > expiresAt + 3000 { await ask(held) }
        let status = statuses[held] ?? ""
        if status == "lost" { return leave() }
        switch plan {
        case .dawdle: return status == "" ? "the end of reservation \(held)" : leave()
        case .release:
            if status != "" { return leave() }
            if !isAnswered { isAnswered = await release(held) }
            return "the end of reservation \(held)"
        case .pay, .payAndCancel:
            if status == "" {
                guard pass != nil || isAnswered else { return join() }
                if !isAnswered { isAnswered = await pay(held) }
                return "the end of reservation \(held)"
            }
            guard plan == .payAndCancel, status == "paid" else { return nil }
            if !isReleased { isReleased = await release(held) }
            return "that \(held) is refunded"
        }
    }

    private var isReleased = false

    /// Reads what became of a hold.
    private func ask(_ reservation: String) async {
        let answer = await stage.call(.get, "/api/reservations/\(reservation)", as: .client(name), on: anyGateway)
        guard let answer, !answer.isTransient else { return await holdBack() }
        let status = answer.isSuccess ? answer.message["status"] ?? "" : "lost"
        guard status != "held" else { return }
        statuses[reservation] = status
        note(.reservation(reservation, status: status))
    }

    /// Pays; whether there was an answer that stands.
    private func pay(_ reservation: String) async -> Bool {
        note(.paying(reservation: reservation))
        let answer = await stage.call(
            .post, "/api/payment", as: .client(name),
            ["reservationId": .text(reservation), "userId": .text(name), "point": .integer(price)],
            headers: ["token": pass ?? "", "idempotency-key": "pay-\(reservation)"], on: anyGateway)
        guard let answer, !answer.isTransient, answer.code != "in_use" else {
            await holdBack()
            return false
        }
        if answer.isSuccess {
            note(.reservation(reservation, status: "paid"))
            return true
        }
        if answer.code == "not_admitted" {
            // The pass may be spent by this very payment: then its outcome comes.
            if statuses[reservation] == nil { losePass() }
            return false
        }
        return true
    }

    /// Gives back; whether there was an answer that stands.
    private func release(_ reservation: String) async -> Bool {
        note(.releasing(reservation: reservation))
        let answer = await stage.call(.delete, "/api/reservations/\(reservation)", as: .client(name), on: anyGateway)
        guard let answer, !answer.isTransient, answer.code != "in_use" else {
            await holdBack()
            return false
        }
        return true
    }
}
