import EventLoop
import Model
import Persistence

/// What the live sales and the coming performances of a room have left, as far as this process knows, and what becomes of them.
@LoopActor
final class RoomStock {
    private struct Known {
        let observation: SaleObservation
        var state: SaleState?
        var status: SaleStatus?
    }

    private struct KnownSeats {
        let observation: SeatObservation
        var free: Int64?
    }

    private let watches: WatchHub
    private let seats: SeatHub
    private var sales: [SaleID: Known] = [:]
    private var performances: [PerformanceID: KnownSeats] = [:]
    /// What all of them have left; nil where there is none, or what one has left is not known: that is not denied.
    private(set) var left: Int64?
    /// Told when the status of a sale is another than before.
    var onStatus: (@LoopActor (SaleState) -> Void)?
    /// Told when ``left`` may have changed.
    var onChange: (@LoopActor () -> Void)?

    /// How long the news of a sale's end may take, after those that wait for it were sent home.
    private static let endMilliseconds: Int64 = 2000

    init(watches: WatchHub, seats: SeatHub) {
        self.watches = watches
        self.seats = seats
    }

    func end() {
        for sale in sales.values { sale.observation.cancel() }
        sales = [:]
        for performance in performances.values { performance.observation.cancel() }
        performances = [:]
    }

    /// These are the room's sales that have not ended, and its performances that have not begun.
    func follow(_ stored: [StoredSale], _ upcoming: [Performance]) {
        follow(Set(upcoming.map(\.id)))
        let live = Set(stored.map(\.sale.id))
        for (sale, known) in sales where !live.contains(sale) {
            let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
            // Its end is told to those who wait for it, also where the line goes on for another sale. What is known of it
            // may be older than the list of the live ones: then its end is still to be heard.
            guard let state = known.state, Self.isOver(state.status(at: now)) else { continue }
            if known.status != state.status(at: now) { onStatus?(state) }
            known.observation.cancel()
            sales[sale] = nil
        }
        for sale in live where sales[sale] == nil {
            let observation = watches.observe(sale) { [weak self] state in self?.heard(state) }
            sales[sale] = Known(observation: observation)
        }
        let before = left
        addUp()
        // Of a new one it is heard soon what is left.
        if left != nil, left != before { onChange?() }
    }

    /// The ends of all sales, each as soon as it is known here.
    func ends() async -> [SaleState] {
        var states: [SaleState] = []
        for sale in Array(sales.keys) {
            if let state = await end(of: sale) { states.append(state) }
        }
        return states
    }

    private func end(of sale: SaleID) async -> SaleState? {
        let deadline = EventLoop.monotonicMilliseconds + Self.endMilliseconds
        while true {
            let state = try? await watches.state(of: sale)
            let status = state?.status(at: Timestamp(milliseconds: EventLoop.wallMilliseconds))
            if status.map(Self.isOver) ?? false || EventLoop.monotonicMilliseconds >= deadline { return state }
            await EventLoop.sleep(milliseconds: 25)
        }
    }

    private func heard(_ state: SaleState) {
        guard let before = sales[state.sale.id] else { return }
        let status = state.status(at: Timestamp(milliseconds: EventLoop.wallMilliseconds))
        sales[state.sale.id]?.state = state
        sales[state.sale.id]?.status = status
        addUp()
        // The first look is no news: who joins is told what can be reached.
        if let told = before.status, told != status { onStatus?(state) }
        onChange?()
    }

    private func follow(_ upcoming: Set<PerformanceID>) {
        for (id, known) in performances where !upcoming.contains(id) {
            known.observation.cancel()
            performances[id] = nil
        }
        for id in upcoming where performances[id] == nil {
            let observation = seats.observe(id) { [weak self] tally in
                guard let self, self.performances[id] != nil else { return }
                self.performances[id]?.free = tally.free
                self.addUp()
                self.onChange?()
            }
            performances[id] = KnownSeats(observation: observation)
        }
    }

    private func addUp() {
        left = sales.isEmpty && performances.isEmpty ? nil : 0
        for sale in sales.values {
            // What is over has nothing to reach, before it is off the list as well.
            let isOver = sale.status.map(Self.isOver) ?? false
            left = sale.state.flatMap { state in left.map { $0 + (isOver ? 0 : state.remaining) } }
        }
        for known in performances.values { left = known.free.flatMap { free in left.map { $0 + free } } }
    }

    private static func isOver(_ status: SaleStatus) -> Bool { status == .closed || status == .cancelled }
}
