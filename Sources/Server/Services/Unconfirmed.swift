import Engine
import EventLoop
import Model

/// What was accepted in this process, and is not known to be in PostgreSQL yet: the only ones who know it, besides a Redis
/// that may be lost. `docs/redis-loss.md` has the whole.
///
/// Bounded by what the committers have not done yet, and so by the stock.
@LoopActor
final class Unconfirmed {
    private struct Told {
        let order: OrderID
        let client: ClientID
        let ticket: Int64
        let slot: Int64
        let at: Timestamp
        let key: IdempotencyKey?

        var accepted: AcceptedOrder {
            AcceptedOrder(
                entry: "\(order.sequence)-0", order: order, client: client, ticket: ticket, slot: slot, acceptedAt: at,
                epoch: SaleEpoch.of(order.sequence), key: key)
        }
    }

    private let engine: Engine
    private let log: Log
    private var orders: [SaleID: [Told]] = [:]
    private var holds: [PerformanceID: [Hold]] = [:]
    /// Those that were given back here, wherever they were taken: what is brought in of one must not hold its seats again.
    private var released: [PerformanceID: [(hold: Hold, at: Timestamp)]] = [:]
    /// By how much clocks may differ, in milliseconds.
    private static let skew: Int64 = 5000
    private let timer = LoopTimer()
    private var isLooking = false
    private static let lookMilliseconds: Int64 = 1000

    /// Take them to PostgreSQL and tell what came of them, however long it takes. Set before anything is noted.
    var commitOrders: (@LoopActor ([AcceptedOrder]) async -> Void)?
    var commitHolds: (@LoopActor ([ReservationEvent]) async -> Void)?

    private let isWell: @LoopActor () -> Bool

    /// - Parameter isWell: whether Redis is known to have lost nothing.
    init(engine: Engine, log: Log, isWell: @escaping @LoopActor () -> Bool) {
        self.isWell = isWell
        self.engine = engine
        self.log = log
    }

    /// How many are kept.
    var count: Int {
        orders.values.reduce(0) { $0 + $1.count } + holds.values.reduce(0) { $0 + $1.count }
            + released.values.reduce(0) { $0 + $1.count }
    }

    /// A claim was accepted here.
    func note(_ acceptance: Acceptance, of claim: Claim) {
        let told = Told(
            order: acceptance.order, client: claim.client, ticket: acceptance.ticket, slot: acceptance.slot ?? 1,
            at: Timestamp(milliseconds: EventLoop.wallMilliseconds), key: claim.key)
        orders[acceptance.order.sale, default: []].append(told)
        lookLater()
    }

    /// Seats were held here.
    func note(_ hold: Hold) {
        holds[hold.id.performance, default: []].append(hold)
        lookLater()
    }

    /// A hold was given back here.
    func noteReleased(_ hold: Hold) {
        holds[hold.id.performance]?.removeAll { $0.id == hold.id }
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        released[hold.id.performance, default: []].append((hold, now))
        lookLater()
    }

    private func lookLater() {
        guard !timer.isRunning else { return }
        timer.start(after: Self.lookMilliseconds, every: Self.lookMilliseconds) { [weak self] in
            guard let self, !self.isLooking else { return }
            EventLoop.task { await self.look() }
        }
    }

    /// Forgets what is settled.
    private func look() async {
        // One that has lost something may look as if it had settled all: what is kept is brought in first.
        guard isWell(), let identity = engine.identity else { return }
        isLooking = true
        defer { isLooking = false }
        do {
            for sale in Array(orders.keys) {
                guard let mark = try await engine.settled(sale) else { continue }
                guard isWell(), engine.identity == identity else { return }
                orders[sale]?.removeAll { mark.covers($0.order.sequence) }
                // Rebuilt, while this Redis was known to be whole: nobody asks for these any more.
                await bringIn(orders: sale) { SaleEpoch.of($0.order.sequence) < mark.epoch }
                if orders[sale]?.isEmpty == true { orders[sale] = nil }
            }
            for performance in Set(holds.keys).union(released.keys) {
                guard let mark = try await engine.settled(performance) else { continue }
                guard isWell(), engine.identity == identity else { return }
                holds[performance]?.removeAll { mark.covers($0.id.sequence) }
                // What was written since a while is all that is left.
                released[performance]?.removeAll { entry in
                    mark.lastSequence >= entry.hold.id.sequence
                        && (mark.oldestAt.map { $0.milliseconds > entry.at.milliseconds + Self.skew } ?? true)
                }
                await bringIn(holds: performance) { $0.epoch < mark.epoch }
                if holds[performance]?.isEmpty == true { holds[performance] = nil }
                if released[performance]?.isEmpty == true { released[performance] = nil }
            }
        } catch {
            // Looked at again a second later.
        }
        if count == 0 { timer.stop() }
    }

    /// Takes all to PostgreSQL: what is there already changes nothing.
    func bringIn() async {
        let count = count
        guard count > 0 else { return }
        for sale in Array(orders.keys) { await bringIn(orders: sale) { _ in true } }
        for performance in Set(holds.keys).union(released.keys) { await bringIn(holds: performance) { _ in true } }
        log(.warning, "unconfirmed_brought_in", ["count": .init(count)])
    }

    private func bringIn(orders sale: SaleID, where isMeant: (Told) -> Bool) async {
        let meant = orders[sale]?.filter(isMeant) ?? []
        guard !meant.isEmpty else { return }
        let sequences = Set(meant.map(\.order.sequence))
        for chunk in meant.chunks(of: 1000) { await commitOrders?(chunk.map(\.accepted)) }
        orders[sale]?.removeAll { sequences.contains($0.order.sequence) }
    }

    private func bringIn(holds performance: PerformanceID, where isMeant: (Hold) -> Bool) async {
        let held = holds[performance]?.filter(isMeant) ?? []
        let over = released[performance]?.map(\.hold).filter(isMeant) ?? []
        // They have no entry that could be acknowledged: the log's own are their committers'.
        let events =
            over.map { ReservationEvent(entry: "", hold: $0, status: .released) }
            + held.map { ReservationEvent(entry: "", hold: $0, status: .held) }
        let ids = Set(events.map(\.hold.id))
        for chunk in events.chunks(of: 1000) { await commitHolds?(Array(chunk)) }
        holds[performance]?.removeAll { ids.contains($0.id) }
        released[performance]?.removeAll { ids.contains($0.hold.id) }
    }
}
