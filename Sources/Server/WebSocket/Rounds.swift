import EventLoop

/// Tells many of a change: in rounds, of which one begins a tick after the last at the earliest, and in parts, so that
/// others get their turns of the loop in between. What changes within a round leads to one more.
@LoopActor
final class Rounds<Listener> {
    private let tickMilliseconds: Int64
    private let timer = LoopTimer()
    private var dueAt: Int64 = .max
    private var beganAt: Int64 = .min
    private var beganNanoseconds: UInt64 = 0
    /// Whom this round is for, and how far it has come; 0 between rounds.
    private var listeners: [Listener] = []
    private var position = 0
    private var hasChanged = false

    /// How many are told in one turn of the loop.
    private static var perTurn: Int { 500 }

    /// Whether anybody was told anything in the round that ends.
    var hasTold: (@LoopActor () -> Bool)?
    /// Begins a round: gives those whom it is for.
    var begin: (@LoopActor () -> [Listener])?
    /// Tells a part of them.
    var tell: (@LoopActor (ArraySlice<Listener>) -> Void)?
    /// Ends a round: gives the milliseconds after which to begin another, though nothing changes; nil for none.
    var end: (@LoopActor () -> Int64?)?

    init(tickMilliseconds: Int64) { self.tickMilliseconds = tickMilliseconds }

    /// Something is to be told.
    func changed() {
        hasChanged = true
        guard position == 0 else { return }
        let wait = beganAt == .min ? 0 : beganAt + tickMilliseconds - EventLoop.monotonicMilliseconds
        schedule(max(0, wait))
    }

    /// Nothing more is told.
    func stop() {
        timer.stop()
        (begin, tell, end, hasTold) = (nil, nil, nil, nil)
        listeners = []
    }

    private func schedule(_ milliseconds: Int64) {
        let moment = EventLoop.monotonicMilliseconds + milliseconds
        guard begin != nil, !timer.isRunning || moment < dueAt else { return }
        dueAt = moment
        timer.start(after: milliseconds) { [weak self] in self?.goOn() }
    }

    private func goOn() {
        if position == 0 {
            beganAt = EventLoop.monotonicMilliseconds
            beganNanoseconds = EventLoop.nanoseconds
            hasChanged = false
            listeners = begin?() ?? []
        }
        let reached = min(listeners.count, position + Self.perTurn)
        tell?(listeners[position..<reached])
        guard reached == listeners.count else {
            position = reached
            return schedule(0)
        }
        position = 0
        listeners = []
        // A round with nothing to tell puts off none that has: unless it took long, as there is one with each change.
        if hasTold?() == false {
            let took = EventLoop.nanoseconds - beganNanoseconds
            beganAt = min(beganAt, EventLoop.monotonicMilliseconds + Int64(took * 20 / 1_000_000) - tickMilliseconds)
        }
        let late = end?()
        if hasChanged { changed() } else if let late { schedule(late) }
    }
}
