import Engine
import EventLoop
import Model
import Persistence

/// Mends drifts that have one right answer, while servers run. What has none is left alone.
///
/// What PostgreSQL has not heard of is brought to it before anything is built anew from it (``AuditRebuild``): an order
/// that was accepted, or a hold that was taken, is not lost by mending.
@LoopActor
final class AuditRepair {
    private let engine: Engine
    private let store: Store
    private let statistics: StatisticsService
    private let note: @LoopActor (String) -> Void

    /// How long to wait for committers to take what is in flight, in milliseconds, while they take nothing.
    private static let patience: Int64 = 10_000

    /// A repair that tells each thing that it does, and each that it leaves alone.
    init(_ services: Services, note: @escaping @LoopActor (String) -> Void) {
        engine = services.engine
        store = services.store
        statistics = services.statistics
        self.note = note
    }

    /// Mends what was found.
    func mend(_ audit: Audit) async throws {
        for (sale, drifts) in group(audit, by: \.sale) { try await mend(sale, drifts) }
        for (performance, drifts) in group(audit, by: \.performance) { try await mend(performance, drifts) }
        for drift in audit.list.drifts where drift.kind == .balance {
            guard let client = drift.client else { continue }
            if let balance = try await store.mendBalance(of: client) {
                note("account \(client): the balance is \(balance), the sum of its ledger")
            } else {
                note("account \(client): left alone: its ledger adds up to less than nothing")
            }
        }
        for (kind, count) in audit.list.counts.sorted(by: { $0.key.rawValue < $1.key.rawValue })
        where kind.mend == .none {
            note("\(kind.rawValue): \(count) left alone: there is no one right answer")
        }
    }

    private func group<ID: Hashable & Comparable>(
        _ audit: Audit, by id: KeyPath<Drift, ID?>
    ) -> [(key: ID, value: [Drift])] {
        var groups: [ID: [Drift]] = [:]
        for drift in audit.list.drifts { if let id = drift[keyPath: id] { groups[id, default: []].append(drift) } }
        return groups.sorted { $0.key < $1.key }
    }

    // MARK: Sales

    private func mend(_ sale: SaleID, _ drifts: [Drift]) async throws {
        var released: [ReleasedOrder] = []
        var requeued = 0
        var isHeldBack = false
        for drift in drifts {
            switch drift.kind.mend {
            case .release:
                if let order = drift.order, let client = drift.client {
                    released.append(ReleasedOrder(order: order, client: client))
                }
            case .requeue:
                if try await requeue(drift) { requeued += 1 } else { isHeldBack = true }
            default: break
            }
        }
        if !released.isEmpty {
            try await engine.release(released, status: .cancelled)
            try await store.markReleased(released.map(\.order))
            for order in released { note("order \(order.order): cancelled, its ticket is for sale again") }
        }
        if drifts.contains(where: { $0.kind.mend == .recount }) {
            try await store.recount(sale)
            note("sale \(sale): its statistics are counted anew from its orders")
        }
        if requeued > 0, try await !settled({ try await self.unsettled(sale) }) {
            note("sale \(sale): its orders wait for a committer, which none is there to be")
        }
        // What else is wrong may have been of these.
        if drifts.contains(where: { $0.kind.mend == .rebuildSale }) {
            if isHeldBack {
                note("sale \(sale): not built anew: orders that only Redis has would be gone")
            } else {
                try await rebuild(sale)
            }
        }
    }

    /// Has PostgreSQL decide about an order that only Redis has. One that its client was told is confirmed, and that had
    /// to be paid for, is not charged again.
    private func requeue(_ drift: Drift) async throws -> Bool {
        guard let order = drift.order, let client = drift.client, let sale = try await store.sale(order.sale) else {
            return false
        }
        let isConfirmed = try await engine.liveOrders(of: client, in: order.sale)
            .contains { $0.order == order && $0.isConfirmed }
        guard sale.sale.price == 0 || !isConfirmed else {
            note("order \(order) of \(client): left alone: it was confirmed and paid for, and PostgreSQL lost it")
            return false
        }
        _ = try await engine.requeue(order, of: client)
        note("order \(order) of \(client): in the stream again, for PostgreSQL to decide")
        return true
    }

    private func unsettled(_ sale: SaleID) async throws -> Int64 {
        try await engine.positions(of: [sale])[sale]?.unsettled ?? 0
    }

    private func rebuild(_ sale: SaleID) async throws {
        guard let stored = try await store.sale(sale), let live = try await engine.auditNumbers(of: sale) else {
            return
        }
        let rebuild = AuditRebuild(
            name: "sale \(sale)", keep: { try await self.engine.keepRebuilding(sale, by: $0) },
            write: { entry in
                let page = try await self.engine.auditStream(of: sale, after: entry, count: AuditRebuild.page)
                if !page.orders.isEmpty { _ = try await self.store.commit(page.orders) }
                return (page.last, page.hasMore)
            }, note: note)
        try await rebuild.run(
            // What was counted and is not in PostgreSQL yet would be gone.
            prepare: { await self.statistics.flush() },
            begin: { try await self.store.beginRebuild(sale) }
        ) { token, read in
            try await self.engine.rebuild(
                sale, ifOlderThan: max(stored.epoch, live.epoch) + 1, by: token, snapshot: read)
        }
    }

    /// Waits until nothing is in flight.
    /// - Returns: false when nothing was taken for too long.
    private func settled(_ count: @LoopActor () async throws -> Int64) async throws -> Bool {
        var (least, since) = (Int64.max, EventLoop.monotonicMilliseconds)
        while EventLoop.monotonicMilliseconds - since < Self.patience {
            let left = try await count()
            if left == 0 { return true }
            if left < least { (least, since) = (left, EventLoop.monotonicMilliseconds) }
            await EventLoop.sleep(milliseconds: 50)
        }
        return false
    }

    // MARK: Performances

    private func mend(_ performance: PerformanceID, _ drifts: [Drift]) async throws {
        var relogged = 0
        for drift in drifts {
            guard let id = drift.reservation else { continue }
            switch drift.kind.mend {
            case .relog:
                guard try await engine.relog(id) else { continue }
                relogged += 1
                note("reservation \(id): in the log again, for PostgreSQL to decide")
            case .settle: try await settle(id)
            default: break
            }
        }
        let unsettled: @LoopActor () async throws -> Int64 = {
            try await self.engine.positions(of: [performance])[performance]?.unsettled ?? 0
        }
        if relogged > 0, try await !settled(unsettled) {
            note("performance \(performance): its holds wait for a committer, which none is there to be")
        }
        guard drifts.contains(where: { $0.kind.mend == .rebuildPerformance }) else { return }
        if drifts.contains(where: { $0.kind == .paidMissingInDatabase }) {
            return note("performance \(performance): not built anew: what only Redis has as paid would be gone")
        }
        try await rebuild(performance)
    }

    private func rebuild(_ performance: PerformanceID) async throws {
        guard let stored = try await store.performance(performance) else { return }
        let rebuild = AuditRebuild(
            name: "performance \(performance)", keep: { try await self.engine.keepRebuilding(performance, by: $0) },
            write: { entry in
                let page = try await self.engine.auditLog(of: performance, after: entry, count: AuditRebuild.page)
                // What is refused, its committer hears again, and sees to it.
                if !page.events.isEmpty { _ = try await self.store.commit(page.events) }
                return (page.last, page.hasMore)
            }, note: note)
        try await rebuild.run(begin: { try await self.store.beginRebuild(performance) }) { token, read in
            try await self.engine.rebuild(performance, ifOlderThan: stored.epoch + 1, by: token, snapshot: read)
        }
    }

    /// Tells Redis what PostgreSQL decided.
    private func settle(_ id: ReservationID) async throws {
        guard let stored = try await store.reservation(id), stored.status != .held,
            let live = try await engine.holds([id])[id]
        else { return }
        // Its client was told that it paid: these seats are not given away for what PostgreSQL lost.
        guard stored.status == .paid || !live.isSold || stored.paidAt != nil else {
            return note("reservation \(id): left alone: it is paid in Redis, and PostgreSQL lost that")
        }
        let settlement: SeatSettlement = stored.status == .paid ? .sold : live.isSold ? .refunded : .over
        try await engine.settle([(id, settlement)])
        note("reservation \(id): \(stored.status.rawValue), as PostgreSQL has it")
    }
}
