import Engine
import EventLoop
import Model
import Persistence

/// Answers what became of claims and orders, and gives orders back.
@LoopActor
final class OrderService {
    private let engine: Engine
    private let store: Store
    private let directory: SaleDirectory
    private let verification: Verification
    private let log: Log
    private let sweepTimer = LoopTimer()
    private var isSweeping = false

    /// What a client's claim of a sale came to.
    struct ClaimTruth {
        let status: OrderStatus
        let order: OrderID
        let ticket: Int64
        let reason: String?
    }

    init(engine: Engine, store: Store, directory: SaleDirectory, verification: Verification, log: Log) {
        self.verification = verification
        self.engine = engine
        self.store = store
        self.directory = directory
        self.log = log
    }

    /// The truth so far about a client's claims of a sale, the newest first. Unknown is never shown as "none".
    func truth(of client: ClientID, in sale: SaleID) async throws -> [ClaimTruth] {
        _ = try await directory.state(of: sale)
        let live = try await engine.liveOrders(of: client, in: sale)
        var truth: [OrderID: ClaimTruth] = [:]
        do {
            for order in try await store.orders(of: client, in: sale, limit: 100) {
                truth[order.id] = ClaimTruth(
                    status: order.status, order: order.id, ticket: order.ticket, reason: order.reason)
            }
        } catch {
            // What Redis holds is true without PostgreSQL; that there is nothing is not known without it.
            guard !live.isEmpty else { throw error }
        }
        if live.isEmpty && truth.isEmpty { try await verification.requireCertainty() }
        // What PostgreSQL has decided stands: Redis' item may be about to go with it, or not be marked yet.
        for order in live where truth[order.order].map({ $0.status == .accepted }) ?? true {
            truth[order.order] = ClaimTruth(
                status: order.isConfirmed ? .confirmed : .accepted, order: order.order, ticket: order.ticket,
                reason: nil)
        }
        return truth.values.sorted { $0.order > $1.order }
    }

    /// An order, wherever it is on its way.
    /// - Throws: `not_found`, or ``Outage``.
    func order(_ id: OrderID) async throws -> Order {
        if let order = try await store.order(id) { return order }
        if let accepted = try await engine.unsettled(id) { return Order(accepted) }
        // It may have been committed and settled between the two looks.
        if let order = try await store.order(id) { return order }
        try await verification.requireCertainty()
        throw WireError(.notFound, "no such order")
    }

    /// Gives an order back: the stock and the points return exactly once.
    func cancel(_ id: OrderID) async throws -> Order {
        let accepted = try await engine.unsettled(id)
        switch try await store.cancel(id, ifUnsettled: accepted) {
        case .cancelled(let order, newly: let newly):
            if newly { log(.info, "order_cancelled", ["order": .init(id)]) }
            // Done again where it was done before: a crash may have come between.
            do {
                try await release([order])
            } catch {
                log(.warning, "release_waits", ["order": .init(id), "error": .init("\(error)")])
            }
            return order
        case .failed:
            throw WireError(.rejected, "the order failed: there is nothing to give back")
        case .notFound:
            try await verification.requireCertainty()
            throw WireError(.notFound, "no such order")
        }
    }

    /// Returns the tickets of cancelled orders to Redis, tells their clients, and notes that it is done.
    private func release(_ orders: [Order]) async throws {
        guard !orders.isEmpty else { return }
        try await engine.release(
            orders.map { ReleasedOrder(order: $0.id, client: $0.client) }, status: .cancelled)
        // With what came before: whoever decided or committed may not have told it yet, and would tell it after this.
        _ = try await engine.tell(
            orders.flatMap { order in
                var outcomes: [Outcome] = [.accepted(order: order.id, ticket: order.ticket, remaining: nil)]
                if order.confirmedAt != nil {
                    outcomes.append(.order(order.id, .confirmed, ticket: order.ticket, reason: nil))
                }
                outcomes.append(.order(order.id, .cancelled, ticket: order.ticket, reason: nil))
                return outcomes.map { (client: order.client, outcome: $0) }
            })
        try await store.markReleased(orders.map(\.id))
    }

    /// Puts a failed order back on its way.
    /// - Throws: `not_found` when it isn't a failed one, or the refusal.
    func retry(_ id: OrderID) async throws {
        guard let failed = try await store.beginRetry(id) else { throw WireError(.notFound, "no such failed order") }
        log(.info, "order_retried", ["order": .init(id)])
        try await proceed(failed)
    }

    /// The second half of a retry, in Redis, which may be done any number of times. When it throws an ``Outage``, the
    /// sweep comes back to it.
    private func proceed(_ failed: FailedOrder) async throws {
        let id = failed.order.order
        _ = try await directory.state(of: id.sale)
        guard verification.isDone else { throw WireError.unavailable }
        switch try await engine.retry(id, client: failed.order.client, key: failed.order.key) {
        case .accepted, .alreadyLive: break
        case .refused(let refusal):
            try await store.endRetry(id, failed: failed.reason)
            throw WireError(refusal)
        case .unknownSale: throw WireError.unavailable
        }
    }

    /// Starts finishing what a process that died left half done.
    func startSweeping() {
        sweepTimer.start(after: 1000, every: 3000) { [weak self] in
            guard let self, !self.isSweeping else { return }
            self.isSweeping = true
            EventLoop.task {
                await self.sweep()
                self.isSweeping = false
            }
        }
    }

    func stopSweeping() { sweepTimer.stop() }

    /// Goes on with retries that began in PostgreSQL and that Redis may not have heard of.
    private func resumeRetries() async throws {
        for failed in try await store.stalledRetries(olderThanMilliseconds: 5000, limit: 100) {
            do {
                // Begun again, so that not every process goes on with it at once.
                guard let begun = try await store.beginRetry(failed.order.order) else { continue }
                try await proceed(begun)
            } catch let refusal as WireError where refusal.code != .unavailable {
                log(
                    .warning, "retry_refused",
                    ["order": .init(failed.order.order), "code": .init(refusal.code.rawValue)])
            }
        }
    }

    private func sweep() async {
        do {
            try await directory.reconcileWindows()
            try await resumeRetries()
            let orders = try await store.unreleased(limit: 500, olderThanMilliseconds: 3000)
            guard !orders.isEmpty else { return }
            for sale in Set(orders.map(\.id.sale)) { _ = try await directory.state(of: sale) }
            try await release(orders)
            log(.warning, "orders_released_late", ["orders": .init(orders.count)])
        } catch {
            log(.debug, "sweep_waits", ["error": .init("\(error)")])
        }
    }
}

extension Order {
    /// An order that PostgreSQL doesn't have yet.
    init(_ accepted: AcceptedOrder) {
        self.init(
            id: accepted.order, client: accepted.client, ticket: accepted.ticket, status: .accepted, price: 0,
            reason: nil, acceptedAt: accepted.acceptedAt, confirmedAt: nil, cancelledAt: nil)
    }
}
