import Engine
import EventLoop
import Model
import Persistence

/// Takes accepted orders from the sales' streams to PostgreSQL, tells their clients, and settles them in Redis.
///
/// The steps of a batch are in this order so that a process may die between any two of them: commit (writing the same
/// order twice changes nothing), tell (the log knows the outcome already), settle (the entry is deleted once). What
/// was not settled is taken over by another committer, which repeats the steps.
@LoopActor
final class Committer {
    private let engine: Engine
    private let store: Store
    private let directory: SaleDirectory
    private let rooms: RoomService
    private let metrics: Metrics
    private let log: Log
    private let consumer: String
    private let batchSize: Int
    private var subscriptions: [SaleID: Subscription] = [:]
    private var salesSubscription: Subscription?
    private var dirty: Set<SaleID> = []
    private var running: Set<SaleID> = []
    private var inHand: Set<InHand> = []
    private var late: Set<SaleID> = []
    private var sweepsUntilLookingEverywhere = 0
    private var isStopping = false
    private var whenIdle: [CheckedContinuation<Void, Never>] = []
    private let sweepTimer = LoopTimer()
    private var isSweeping = false

    /// An entry of a stream that this process works on.
    private struct InHand: Hashable {
        let sale: SaleID
        let entry: String

        init(_ order: AcceptedOrder) {
            sale = order.order.sale
            entry = order.entry
        }
    }

    /// Sales that commit at the same time; each has one batch in flight.
    private static let parallelSales = 4
    private static let sweepMilliseconds: Int64 = 2000
    private static let sweepsBetweenLookingEverywhere = 30
    /// Entries that a committer had for this long without settling are taken over by another.
    private static let takeOverIdleMilliseconds: Int64 = 5_000

    init(
        engine: Engine, store: Store, directory: SaleDirectory, rooms: RoomService, metrics: Metrics, log: Log,
        consumer: String,
        batchSize: Int
    ) {
        self.directory = directory
        self.rooms = rooms
        self.engine = engine
        self.store = store
        self.metrics = metrics
        self.log = log
        self.consumer = consumer
        self.batchSize = batchSize
    }

    /// Starts listening for orders.
    func start() async {
        while salesSubscription == nil && !isStopping {
            salesSubscription = try? await engine.subscribeSales { [weak self] event in
                guard let self else { return }
                switch event {
                case .changed(let sale): EventLoop.task { await self.follow(sale) }
                case .renewed: EventLoop.task { await self.sweep() }
                }
            }
            if salesSubscription == nil { await EventLoop.sleep(milliseconds: 200) }
        }
        sweepTimer.start(after: 0, every: Self.sweepMilliseconds) { [weak self] in
            guard let self else { return }
            EventLoop.task { await self.sweep() }
        }
    }

    /// Takes no more orders, and returns when what is in flight is settled.
    func stop() async {
        isStopping = true
        sweepTimer.stop()
        salesSubscription?.cancel()
        for subscription in subscriptions.values { subscription.cancel() }
        subscriptions = [:]
        guard !running.isEmpty else { return }
        await withCheckedContinuation { whenIdle.append($0) }
    }

    /// Looks for sales and entries that nobody told about: after a start, a lost message, a dead committer.
    private func sweep() async {
        guard !isSweeping, !isStopping, engine.isConnected else { return }
        isSweeping = true
        defer { isSweeping = false }
        if let sales = try? await store.activeSales() {
            let active = Set(sales.map(\.sale.id))
            let late = await lateSales(besides: active)
            for sale in active.union(late) where subscriptions[sale] == nil { await follow(sale) }
            for (sale, subscription) in subscriptions where !active.contains(sale) && !late.contains(sale) {
                subscription.cancel()
                subscriptions[sale] = nil
            }
        }
        // All at once: what they ask of Redis leaves in one write.
        let takings = subscriptions.keys.map { sale in EventLoop.task { await self.takeOver(sale) } }
        for taking in takings { await taking.value }
        for sale in subscriptions.keys { markDirty(sale) }
    }

    /// Looks at all sales there are with the next sweep: after a start, or when Redis is back.
    func lookEverywhereSoon() { sweepsUntilLookingEverywhere = 0 }

    /// Sales that ended a while ago and still have orders that nobody settled: no committer ran, or PostgreSQL was away.
    private func lateSales(besides active: Set<SaleID>) async -> Set<SaleID> {
        if sweepsUntilLookingEverywhere > 0 {
            sweepsUntilLookingEverywhere -= 1
            return late
        }
        guard let all = try? await store.activeSales(endedWithinMilliseconds: .max),
            let positions = try? await engine.positions(of: all.map(\.sale.id).filter { !active.contains($0) })
        else { return late }
        late = Set(positions.filter { $0.value.unsettled > 0 }.keys)
        sweepsUntilLookingEverywhere = Self.sweepsBetweenLookingEverywhere
        return late
    }

    private func takeOver(_ sale: SaleID) async {
        let orders = try? await engine.takeOverOrders(
            of: sale, consumer: consumer, idleMilliseconds: Self.takeOverIdleMilliseconds, count: batchSize)
        // What this process has in hand itself, while PostgreSQL is away, is nobody's to take.
        guard let orders = orders?.filter({ !inHand.contains(InHand($0)) }), !orders.isEmpty else { return }
        log(.warning, "orders_taken_over", ["sale": .init(sale), "orders": .init(orders.count)])
        await finish(orders)
    }

    private func follow(_ sale: SaleID) async {
        guard subscriptions[sale] == nil, !isStopping else {
            markDirty(sale)
            return
        }
        do {
            let subscription = try await engine.subscribe(sale: sale) { [weak self] _ in self?.markDirty(sale) }
            // Two calls may have come here at once.
            if subscriptions[sale] != nil || isStopping {
                subscription.cancel()
            } else {
                subscriptions[sale] = subscription
            }
            markDirty(sale)
        } catch {
            log(.debug, "sale_not_followed", ["sale": .init(sale), "error": .init("\(error)")])
        }
    }

    private func markDirty(_ sale: SaleID) {
        dirty.insert(sale)
        startWork()
    }

    private func startWork() {
        while !isStopping, running.count < Self.parallelSales, let sale = dirty.first(where: { !running.contains($0) })
        {
            dirty.remove(sale)
            running.insert(sale)
            EventLoop.task {
                await self.drain(sale)
                self.running.remove(sale)
                if self.running.isEmpty {
                    for continuation in self.whenIdle { continuation.resume() }
                    self.whenIdle = []
                }
                self.startWork()
            }
        }
    }

    /// Commits a sale's orders until its stream has no new ones.
    private func drain(_ sale: SaleID) async {
        while !isStopping {
            let orders: [AcceptedOrder]
            do {
                orders = try await engine.readOrders(of: sale, consumer: consumer, count: batchSize)
            } catch {
                // The sweep comes back to it.
                return
            }
            if orders.isEmpty { return }
            await finish(orders)
        }
    }

    /// Commits, tells and settles; repeats each step until it is done. What is refused is tried again for a while, and
    /// the rest doesn't wait for it.
    private func finish(_ orders: [AcceptedOrder]) async {
        var open = Dictionary(orders.map { ($0.entry, $0) }) { first, _ in first }
        var reports: [Task<Void, Never>] = []
        inHand.formUnion(orders.map(InHand.init))
        defer { inHand.subtract(orders.map(InHand.init)) }
        await withoutEnd("commit", orders.count) {
            try await self.store.commit(open.values.sorted { $0.order < $1.order }) { settlements in
                for settlement in settlements { open[settlement.order.entry] = nil }
                reports.append(EventLoop.task { await self.report(settlements) })
            }
        }
        for report in reports { await report.value }
    }

    /// Tells clients what PostgreSQL decided, and settles it in Redis.
    private func report(_ settlements: [Settlement]) async {
        // Redis gave an order's id twice: it has lost writes.
        if settlements.contains(where: { $0.reason == "stale_epoch" }) { directory.verifySoon() }
        for settlement in settlements where settlement.status == .failed {
            log(
                .warning, "order_failed",
                ["order": .init(settlement.order.order), "reason": .init(settlement.reason ?? "")])
        }
        let outcomes = settlements.flatMap { settlement in
            let order = settlement.order
            return [
                (
                    client: order.client,
                    outcome: Outcome.accepted(order: order.order, ticket: order.ticket, remaining: nil)
                ),
                (
                    client: order.client,
                    outcome: Outcome.order(
                        order.order, settlement.status, ticket: order.ticket, reason: settlement.reason)
                ),
            ]
        }
        await withoutEnd("tell", settlements.count) { _ = try await self.engine.tell(outcomes) }
        // The claim's process does it as well, unless it died.
        let confirmed = settlements.filter { $0.status == .confirmed }.map(\.order)
        var backoff = Backoff(base: 50, cap: 500)
        while true {
            do {
                try await rooms.spendPasses(of: confirmed)
                break
            } catch {
                // A pass ends by its time as well; orders don't wait for it for ever.
                guard backoff.attempts < 5 else { break }
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
        await withoutEnd("settle", settlements.count) { try await self.engine.settle(settlements) }
        for settlement in settlements { metrics.orders[settlement.status.rawValue, default: 0] += 1 }
    }

    /// Tries until it works, with exponential backoff and jitter: while PostgreSQL or Redis are away, orders wait.
    private func withoutEnd<Value: Sendable>(
        _ step: String, _ orders: Int, _ body: @LoopActor () async throws -> Value
    ) async -> Value {
        var backoff = Backoff(base: 50, cap: 2000)
        while true {
            do {
                return try await body()
            } catch {
                let pause = backoff.next()
                log(
                    .warning, "committer_waits",
                    [
                        "step": .init(step), "orders": .init(orders), "attempt": .init(backoff.attempts),
                        "pauseMs": .init(pause), "error": .init("\(error)"),
                    ])
                await EventLoop.sleep(milliseconds: pause)
            }
        }
    }
}
