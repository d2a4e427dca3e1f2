import EventLoop

/// Where a connection stands in the sweeper's lanes.
struct SweepPlace: Equatable {
    var lane: Int16
    var index: Int32
    static let none = SweepPlace(lane: -1, index: -1)
}

/// Looks at every connection's deadlines about once in a period, a part of them at a time.
///
/// One timer for all. Adding and removing cost the same for one connection as for a hundred thousand. When each is to be
/// looked at next stands in a list: connections that say nothing lie cold in memory, and to fetch fifteen thousand of them
/// each second takes longer than all else that a server does whose clients wait.
@LoopActor
final class Sweeper {
    private static let laneCount = 16
    private struct Entry {
        let peer: Peer
        var notBefore: Int64 = 0
    }

    private var lanes: [[Entry]] = Array(repeating: [], count: laneCount)
    private var fullest = 0
    private var next = 0
    private let timer = LoopTimer()
    private let period: Int64

    /// How many there are.
    private(set) var count = 0

    /// Where the look at those who are not due goes on, in each lane.
    private var looked = [Int](repeating: 0, count: laneCount)
    /// So many of them are looked at in one step.
    private static let mostNotDue = 512
    /// So many are looked at in one turn of the loop: to close one takes some 20 µs.
    private static let mostInTurn = 32

    /// Called before a part of them is looked at; says whether others have to be as well, due or not.
    var beforeStep: @LoopActor () -> Bool = { false }

    init(period: Int64) { self.period = period }

    func start() {
        let step = max(1, period / Int64(Sweeper.laneCount))
        timer.start(after: step, every: step) { [weak self] in self?.step() }
    }

    func stop() { timer.stop() }

    func add(_ peer: Peer) {
        precondition(peer.sweepPlace == .none)
        fullest = (fullest + 1) % Sweeper.laneCount
        peer.sweepPlace = SweepPlace(lane: Int16(fullest), index: Int32(lanes[fullest].count))
        lanes[fullest].append(Entry(peer: peer))
        count += 1
    }

    /// Puts another in the place of one.
    func replace(_ old: Peer, with new: Peer) {
        let place = old.sweepPlace
        lanes[Int(place.lane)][Int(place.index)] = Entry(peer: new)
        new.sweepPlace = place
        old.sweepPlace = .none
    }

    func remove(_ peer: Peer) {
        let place = peer.sweepPlace
        guard place != .none else { return }
        let lane = Int(place.lane)
        let last = lanes[lane].removeLast()
        if last.peer !== peer {
            lanes[lane][Int(place.index)] = last
            last.peer.sweepPlace = place
        }
        peer.sweepPlace = .none
        count -= 1
    }

    /// A connection has a deadline that is earlier than what it said last.
    func lookSoon(at peer: Peer) {
        let place = peer.sweepPlace
        if place != .none { lanes[Int(place.lane)][Int(place.index)].notBefore = 0 }
    }

    /// All connections at this moment, in a list of its own: the caller may close them.
    var all: [Peer] { lanes.flatMap { $0.map(\.peer) } }

    private func step() {
        let looksAtMore = beforeStep()
        let now = EventLoop.monotonicMilliseconds
        // A list of its own: sweeping may close connections, and so move others.
        var due: [Peer] = []
        let lane = lanes[next]
        for index in lane.indices where lane[index].notBefore <= now { due.append(lane[index].peer) }
        if looksAtMore, !lane.isEmpty {
            for _ in 0..<min(lane.count, Self.mostNotDue) {
                let index = looked[next] % lane.count
                looked[next] = index + 1
                if lane[index].notBefore > now { due.append(lane[index].peer) }
            }
        }
        next = (next + 1) % Sweeper.laneCount
        sweep(due[...])
    }

    /// Looks at some of them in this turn of the loop, and at the others in turns of their own: each may have to be closed.
    private func sweep(_ due: ArraySlice<Peer>) {
        let now = EventLoop.monotonicMilliseconds
        for peer in due.prefix(Self.mostInTurn) where peer.sweepPlace != .none {
            let notBefore = peer.sweep(now)
            let place = peer.sweepPlace
            if place != .none { lanes[Int(place.lane)][Int(place.index)].notBefore = notBefore }
        }
        let others = due.dropFirst(Self.mostInTurn)
        if !others.isEmpty { Turn.atNextEnd(atOnce: true) { self.sweep(others) } }
    }
}
