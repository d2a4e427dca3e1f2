import Engine
import EventLoop
import Model
import TestServices
import Testing

/// Random lives of a sale, the same in Redis and in the model.
@Suite struct PropertyTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func redisDoesWhatTheModelDoes(_ seed: UInt64) async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            var generator = SeededGenerator(seed: seed)
            let state = EngineFixture.state(
                1, quantity: Int64.random(in: 1...25, using: &generator),
                limit: Int64.random(in: 1...3, using: &generator),
                reject: Bool.random(using: &generator) ? 0 : 15)
            try await fixture.engine.register(state, epoch: 1)
            var walk = Walk(
                fixture: fixture, model: SaleModel(state, now: fixture.clock.now.milliseconds), generator: generator)
            for _ in 0..<250 {
                try await walk.step()
                try await walk.compare()
            }
        }
    }
}

/// A random walk of both.
@LoopActor
private struct Walk {
    let fixture: EngineFixture
    var model: SaleModel
    var generator: SeededGenerator
    /// Orders as committers have read them.
    var read: [AcceptedOrder] = []

    init(fixture: EngineFixture, model: SaleModel, generator: SeededGenerator) {
        self.fixture = fixture
        self.model = model
        self.generator = generator
    }

    private mutating func client() -> String { "c\(Int.random(in: 1...12, using: &generator))" }

    mutating func step() async throws {
        switch Int.random(in: 0..<100, using: &generator) {
        case ..<55: try await claimSome()
        case ..<60: moveClock()
        case ..<63: try await changeWindow()
        case ..<70:
            read += try await fixture.engine.readOrders(
                of: model.sale, consumer: "c\(Int.random(in: 0...2, using: &generator))",
                count: Int.random(in: 1...5, using: &generator))
        case ..<75: try await takeOver()
        case ..<85: try await settleSome()
        case ..<92: try await releaseOne()
        default: try await retryOne()
        }
    }

    private mutating func claimSome() async throws {
        let count = Int.random(in: 1...6, using: &generator)
        var claims: [Claim] = []
        var expected: [ClaimDecision] = []
        for _ in 0..<count {
            let client = client()
            let key = Bool.random(using: &generator) ? nil : "k\(Int.random(in: 1...3, using: &generator))"
            let roll = Int64.random(in: 0...99, using: &generator)
            claims.append(
                Claim(client: ClientID(trusted: client), key: key.flatMap { IdempotencyKey($0) }, roll: roll))
            expected.append(model.claim(client, key: key, roll: roll))
        }
        let sale = model.sale
        let engine = fixture.engine
        let tasks = claims.map { claim in
            EventLoop.task { () async -> ClaimDecision? in try? await engine.claim(claim, on: sale) }
        }
        // One call decides them one after the other: only the last of a call knows what is left in the end.
        var decisions: [ClaimDecision] = []
        for task in tasks { decisions.append(try #require(await task.value)) }
        #expect(decisions == expected)
    }

    private mutating func moveClock() {
        let at =
            EngineFixture.opening + [-1, 0, 10, 500, 3_599_999, 3_600_000].randomElement(using: &generator)!
        // Mostly open: else little happens.
        model.now = Bool.random(using: &generator) ? EngineFixture.opening + 77 : at
        fixture.clock.now = Timestamp(milliseconds: model.now)
    }

    private mutating func changeWindow() async throws {
        var window = model.window
        window.version += Int64.random(in: 0...1, using: &generator)
        window.isCancelled = Int.random(in: 0..<4, using: &generator) == 0
        #expect(try await fixture.engine.setWindow(window, of: model.sale))
        if window.version > model.window.version { model.window = window }
    }

    private mutating func takeOver() async throws {
        let taken = try await fixture.engine.takeOverOrders(
            of: model.sale, consumer: "heir", idleMilliseconds: 0, count: 100)
        #expect(taken.allSatisfy { model.stream[entry($0)]?.isOpen == true })
        read += taken
    }

    private func entry(_ order: AcceptedOrder) -> Int64 { Int64(order.entry.dropLast(2))! }

    private mutating func settleSome() async throws {
        // Some of them were settled before, maybe otherwise.
        let chosen = (0..<Int.random(in: 0...4, using: &generator)).compactMap { _ in
            read.randomElement(using: &generator)
        }
        let settlements = chosen.map { order in
            Settlement(
                order: order,
                status: ([.confirmed, .confirmed, .failed, .cancelled] as [OrderStatus]).randomElement(
                    using: &generator)!
            )
        }
        try await fixture.engine.settle(settlements)
        for settlement in settlements { model.settle(entry: entry(settlement.order), settlement.status) }
    }

    private mutating func releaseOne() async throws {
        let client = client()
        let items = model.owned[client] ?? []
        let sequence = items.randomElement(using: &generator)?.sequence ?? SaleEpoch.base(1) + 1
        let order = ReleasedOrder(
            order: OrderID(sale: model.sale, sequence: sequence), client: ClientID(trusted: client))
        try await fixture.engine.release([order, order])
        model.release(client, sequence)
    }

    private mutating func retryOne() async throws {
        guard let old = read.randomElement(using: &generator) else { return }
        let decision = try await fixture.engine.retry(old.order, client: old.client)
        let expected = model.retry(old.client.rawValue, old.order.sequence)
        if case .accepted(let order, let remaining) = decision {
            #expect(order.ticket == expected?.ticket)
            #expect(entry(order) == expected?.entry)
            #expect(remaining == model.left)
        } else {
            #expect(expected == nil, "\(decision)")
        }
    }

    func compare() async throws {
        let inspection = try await fixture.balance(model.sale)
        #expect(inspection.state.remaining == model.left)
        #expect(inspection.state.window == model.window)
        #expect(inspection.lastSequence == model.sequence)
        #expect(inspection.counts.values.filter { $0.value != 0 } == model.counts.values.filter { $0.value != 0 })
        #expect(inspection.unsettled == Int64(model.unsettled))
        for number in 1...12 {
            let live = try await fixture.engine.liveOrders(of: ClientID(trusted: "c\(number)"), in: model.sale)
            let mine = live.map {
                SaleModel.Owned(
                    sequence: $0.order.sequence, ticket: $0.ticket, slot: $0.slot, isConfirmed: $0.isConfirmed)
            }
            #expect(mine == model.owned["c\(number)"] ?? [])
        }
    }
}
