import Engine
import EventLoop
import Model
import Persistence

/// Takes accepted orders from the sales' streams to PostgreSQL, tells their clients, and settles them in Redis.
///
/// The steps of a batch are in this order so that a process may die between any two of them: commit (writing the same
/// order twice changes nothing), tell (the log knows the outcome already), settle (the entry is deleted once).
@LoopActor
struct OrderCommitter: StreamWork {
    let engine: Engine
    let store: Store
    let verification: Verification
    let rooms: RoomService
    let metrics: Metrics
    let log: Log

    let name = "sale"
    // Entries of a sale are orders of their own, and may be committed by several processes anyway. So of two orders of one
    // client, of which the balance covers one, the later may be the one that is confirmed.
    let batchesAtOnce = 2

    func active() async throws -> Set<SaleID> { Set(try await store.activeSales().map(\.sale.id)) }

    func late(besides active: Set<SaleID>) async throws -> Set<SaleID> {
        let all = try await store.activeSales(endedWithinMilliseconds: .max).map(\.sale.id)
        let positions = try await engine.positions(of: all.filter { !active.contains($0) })
        return Set(positions.filter { $0.value.unsettled > 0 }.keys)
    }

    func subscribe(_ handler: @escaping @LoopActor (SaleID?) -> Void) async throws -> Subscription {
        try await engine.subscribeSales { event in
            switch event {
            case .changed(let sale): handler(sale)
            case .renewed: handler(nil)
            }
        }
    }

    func subscribe(_ sale: SaleID, _ handler: @escaping @LoopActor () -> Void) async throws -> Subscription {
        try await engine.subscribe(sale: sale) { _ in handler() }
    }

    func read(_ sale: SaleID, consumer: String, count: Int) async throws -> [AcceptedOrder] {
        try await engine.readOrders(of: sale, consumer: consumer, count: count)
    }

    func takeOver(
        _ sale: SaleID, consumer: String, idleMilliseconds: Int64, count: Int
    ) async throws -> [AcceptedOrder] {
        try await engine.takeOverOrders(
            of: sale, consumer: consumer, idleMilliseconds: idleMilliseconds, count: count)
    }

    func name(of order: AcceptedOrder) -> StreamEntryName<SaleID> {
        StreamEntryName(subject: order.order.sale, entry: order.entry)
    }

    /// Commits, tells and settles; repeats each step until it is done. What is refused is tried again for a while, and
    /// the rest doesn't wait for it.
    func finish(_ orders: [AcceptedOrder]) async {
        var open = Dictionary(orders.map { ($0.entry, $0) }) { first, _ in first }
        var reports: [Task<Void, Never>] = []
        #if DEBUG
            await makeMistake(&open)
        #endif
        await withoutEnd("commit", orders.count, log) {
            try await self.store.commit(open.values.sorted { $0.order < $1.order }) { settlements in
                for settlement in settlements { open[settlement.order.entry] = nil }
                reports.append(EventLoop.task { await self.report(settlements) })
            }
        }
        for report in reports { await report.value }
    }

    #if DEBUG
        private func makeMistake(_ open: inout [String: AcceptedOrder]) async {
            if DeliberateBug.confirmedEarly.isOn {
                _ = try? await engine.tell(
                    open.values.map { ($0.client, .order($0.order, .confirmed, ticket: $0.ticket, reason: nil)) })
            } else if DeliberateBug.acknowledgedOnly.isOn {
                let lost = open.values.filter { $0.order.sequence % 20 == 7 }
                for order in lost { open[order.entry] = nil }
                if !lost.isEmpty { await report(lost.map { Settlement(order: $0, status: .confirmed, reason: nil) }) }
            }
        }
    #endif

    /// Tells clients what PostgreSQL decided, and settles it in Redis.
    private func report(_ settlements: [Settlement]) async {
        // Redis gave an order's id twice: it has lost writes.
        if settlements.contains(where: { $0.reason == "stale_epoch" }) { verification.start() }
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
        await withoutEnd("tell", settlements.count, log) { _ = try await self.engine.tell(outcomes) }
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
        await withoutEnd("settle", settlements.count, log) { try await self.engine.settle(settlements) }
        for settlement in settlements { metrics.orders[settlement.status.rawValue, default: 0] += 1 }
    }
}
