import EventLoop
import Model
import TestServices
import Testing

@testable import Persistence

/// Whatever happens, in whatever order PostgreSQL hears of it, it comes to what the model says.
@Suite(.onLoop) struct SeatPropertyTests {
    private static let clients = ["a", "b", "c"].map { ClientID($0)! }

    @Test(arguments: [0, 10], 1...6 as ClosedRange<UInt64>) @LoopActor
    func logsInAnyOrder(price: Int64, seed: UInt64) async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        let seats: Int64 = 8
        let id = try await fixture.performance(seats: seats, price: price)
        try await fixture.give(150, to: "a", "b", "c")
        var model = SeatModel(
            id, seats: seats, price: price,
            balances: Dictionary(uniqueKeysWithValues: Self.clients.map { ($0, 150) }))
        var generator = SeededGenerator(seed: seed)

        for step in 0..<250 {
            switch Int.random(in: 0..<16, using: &generator) {
            case 0..<5:
                let wanted = Array(
                    (1...seats).shuffled(using: &generator).prefix(.random(in: 1...3, using: &generator)))
                model.hold(wanted.sorted(), client: Self.clients.randomElement(using: &generator)!)
            case 5..<7:
                guard let index = model.indices(.held).randomElement(using: &generator) else { continue }
                model.end(index, Bool.random(using: &generator) ? .expired : .released)
            case 7..<10:
                guard let index = model.indices(.held).randomElement(using: &generator) else { continue }
                model.beginPayment(index)
                // Its process may die before it comes to PostgreSQL.
                if Int.random(in: 0..<4, using: &generator) == 0 { continue }
                try await pay(index, &model, store, step)
            case 10:
                // The deadline of one under payment: whoever paid or not, PostgreSQL says.
                guard let index = model.indices(.held, paying: true).randomElement(using: &generator) else { continue }
                #expect(try await store.close(model.entries[index].hold) == .expired, "step \(step)")
                model.closed(index)
            case 11:
                guard let index = model.indices(.paid).randomElement(using: &generator) else { continue }
                guard
                    case .released(let reservation, newly: true) = try await store.refund(model.entries[index].hold.id)
                else {
                    Issue.record("step \(step): not refunded")
                    continue
                }
                #expect(reservation.payment == model.entries[index].payment, "step \(step)")
                model.refunded(index)
            case 12:
                // What is over cannot be paid for or refunded, by whatever way somebody comes to it.
                let over = model.indices(.expired) + model.indices(.released)
                guard let entry = over.randomElement(using: &generator).map({ model.entries[$0] }) else { continue }
                if entry.payment == nil {
                    #expect(
                        !(try await store.refund(entry.hold.id).isNewly), "step \(step)")
                } else {
                    #expect(
                        try await store.pay(entry.hold, point: 0, key: nil) == .over, "step \(step)")
                }
            default:
                try await deliver(&model, store, &generator, step)
            }
        }
        model.undelivered.shuffle(using: &generator)
        for events in model.undelivered.chunks(of: 7) { #expect(try await store.commit(Array(events)).isEmpty) }
        try await compare(model, fixture)
    }

    @LoopActor
    private func pay(_ index: Int, _ model: inout SeatModel, _ store: Store, _ step: Int) async throws {
        let (hold, canPay) = (model.entries[index].hold, model.canPay(index))
        let result = try await store.pay(hold, point: model.cost(index), key: IdempotencyKey("k"))
        switch result {
        case .paid(let payment):
            #expect(canPay, "step \(step)")
            model.paid(index, payment)
            #expect(
                try await store.pay(hold, point: model.cost(index), key: IdempotencyKey("k"))
                    == .repeated(payment: payment), "step \(step)")
        case .insufficientPoints(let balance):
            #expect(!canPay && balance == model.balances[hold.client], "step \(step)")
            model.refused(index)
        default: Issue.record("step \(step): \(result)")
        }
    }

    /// Some of what was not delivered; some of it comes again later.
    @LoopActor
    private func deliver(
        _ model: inout SeatModel, _ store: Store, _ generator: inout SeededGenerator, _ step: Int
    ) async throws {
        model.undelivered.shuffle(using: &generator)
        let events = Array(model.undelivered.prefix(.random(in: 1...6, using: &generator)))
        #expect(try await store.commit(events).isEmpty, "step \(step)")
        model.undelivered.removeFirst(Int.random(in: 0...events.count, using: &generator))
    }

    @LoopActor
    private func compare(_ model: SeatModel, _ fixture: Fixture) async throws {
        let store = fixture.store
        for entry in model.entries {
            let found = try #require(try await store.reservation(entry.hold.id))
            #expect(found.status == entry.status, "\(found.id)")
            #expect(found.seats == entry.hold.seats, "\(found.id)")
            #expect(found.client == entry.hold.client, "\(found.id)")
            #expect(found.payment == entry.payment, "\(found.id)")
        }
        for (client, balance) in model.balances { #expect(try await store.balance(of: client) == balance) }
        let audit = try await store.auditPerformances([model.performance])[0]
        #expect(audit.seats - audit.held - audit.sold == Int64(model.free.count))
        try await fixture.expectInOrder(model.performance)
    }

    /// Several at once: payers, closers, refunders, and committers that read the log in pieces and again. In the end the
    /// log and what was answered agree with what is there.
    @Test(.timeLimit(.minutes(2 * patience)), arguments: 1...3 as ClosedRange<UInt64>) @LoopActor
    func allAtOnce(seed: UInt64) async throws {
        let fixture = try await Fixture(committers: 2)
        let store = fixture.store
        let id = try await fixture.performance(seats: 100)
        try await fixture.give(400, to: "a", "b", "c")
        var generator = SeededGenerator(seed: seed)
        // Each seat is held by five in turn, two seats at a time; all but the last of each have ended before the next.
        var (log, holds) = ([] as [ReservationEvent], [] as [Hold])
        for turn in 0..<5 as Range<Int64> {
            for pair in 0..<50 as Range<Int64> {
                let hold = Hold.test(
                    id, turn * 50 + pair + 1, seats: [pair * 2 + 1, pair * 2 + 2],
                    client: Self.clients.randomElement(using: &generator)!.rawValue)
                holds.append(hold)
                log.append(hold.event())
                if turn < 4 { log.append(hold.event(pair % 2 == 0 ? .expired : .released)) }
            }
        }
        let pieces = (log + log).shuffled(using: &generator).chunks(of: 20).map(Array.init)
        let last = Array(holds.suffix(50)).shuffled(using: &generator)
        let results = try await concurrently(pieces.count + 150) { index -> (Hold, PaymentResult)? in
            if index >= 150 {
                let refused = try await until { try await store.commit(pieces[index - 150]) }
                #expect(refused.isEmpty)
                return nil
            }
            let hold = last[index % 50]
            switch index / 50 {
            case 0: return (hold, try await until { try await store.pay(hold, point: 20, key: nil) })
            case 1 where index % 3 == 0: _ = try await until { try await store.close(hold) }
            case 2 where index % 5 == 0: _ = try await until { try await store.refund(hold.id) }
            default: break
            }
            return nil
        }.compactMap { $0 }
        for (hold, result) in results {
            let status = try await store.status(hold)
            switch result {
            case .paid: #expect(status == .paid || status == .released)
            case .insufficientPoints: #expect(status == .held || status == .expired)
            default: #expect(result == .over && status == .expired)
            }
        }
        for hold in holds.prefix(200) {
            #expect(try await store.status(hold) == (hold.id.sequence % 2 == 1 ? .expired : .released))
        }
        let spent = try await fixture.number(
            "select 20 * count(*) from reservations where status = 'paid'")
        #expect(try await fixture.number("select sum(balance)::bigint from accounts") == 1200 - spent)
        try await fixture.expectInOrder(id)
    }

    /// What lost a race more often than it is tried is asked for again, as the callers do.
    @LoopActor
    private func until<Result>(_ work: @LoopActor () async throws -> Result) async throws -> Result {
        while true {
            do { return try await work() } catch let error as DatabaseError where error.isTransient {}
        }
    }
}

extension RefundResult {
    var isNewly: Bool { if case .released(_, newly: true) = self { true } else { false } }
}
