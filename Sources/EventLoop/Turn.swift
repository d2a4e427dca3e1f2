import CLibuv

/// A turn of the loop: the callbacks of one poll, the jobs that they woke, and then what was put off to its end.
///
/// What is put off to the end of a turn happens before the loop sleeps: many commands issued in one turn leave in one
/// write, and many claims of one sale in one call.
@LoopActor
public enum Turn {
    /// The order in which a turn ends.
    public enum Phase: Int, Sendable {
        /// Merging: what was collected in the turn becomes commands.
        case merge = 0
        /// Flushing: commands become writes on sockets.
        case flush = 1
    }

    private static var merging: [@LoopActor () -> Void] = []
    private static var flushing: [@LoopActor () -> Void] = []
    private static var next: [@LoopActor () -> Void] = []
    private static var isNextAtOnce = false
    // libuv keeps pointers to these for as long as the process lives.
    private static let prepare = UnsafeMutablePointer<uv_prepare_t>.allocate(capacity: 1)
    private static let check = UnsafeMutablePointer<uv_check_t>.allocate(capacity: 1)
    private static let idle = UnsafeMutablePointer<uv_idle_t>.allocate(capacity: 1)

    /// When the loop went to sleep last, and until when it counts as one that has just woken up, in its milliseconds.
    private static var sleptAt: Int64 = .max / 2
    private static var wakingUntil: Int64 = .min
    /// Longer than a loop with timers sleeps, or works at a time.
    private static let stallMilliseconds: Int64 = 1500
    private static let wakingMilliseconds: Int64 = 5000

    /// Whether the loop stood still a moment ago: the process was stopped, or the machine had no time for it. What is in its
    /// sockets may be of clients that have gone elsewhere since.
    public static var hasStalled: Bool {
        let now = EventLoop.monotonicMilliseconds
        return now - sleptAt > stallMilliseconds || now < wakingUntil
    }

    private static func sleeps() {
        let now = EventLoop.monotonicMilliseconds
        if now - sleptAt > stallMilliseconds { wakingUntil = now + wakingMilliseconds }
        sleptAt = now
    }

    /// Calls `action` once, at the end of this turn.
    public static func atEnd(_ phase: Phase, _ action: @escaping @LoopActor () -> Void) {
        switch phase {
        case .merge: merging.append(action)
        case .flush: flushing.append(action)
        }
    }

    /// Calls `action` once, at the end of the next turn that polls; with `atOnce`, that turn comes without a sleep.
    public static func atNextEnd(atOnce: Bool, _ action: @escaping @LoopActor () -> Void) {
        next.append(action)
        if atOnce { isNextAtOnce = true }
    }

    /// Hooks the queue of jobs into the loop: after polling, and once more before it sleeps.
    nonisolated static func install() {
        LoopActor.assumeIsolated {
            uv_prepare_init(EventLoop.handle, prepare)
            uv_prepare_start(prepare) { _ in
                LoopActor.assumeIsolated {
                    Turn.end()
                    Turn.sleeps()
                }
            }
            uv_check_init(EventLoop.handle, check)
            uv_check_start(check) { _ in
                LoopActor.assumeIsolated {
                    Turn.begin()
                    Turn.end()
                }
            }
            uv_idle_init(EventLoop.handle, idle)
        }
    }

    /// The poll is over: what waited for this turn is put off to its end.
    private static func begin() {
        guard !next.isEmpty else { return }
        flushing.append(contentsOf: next)
        next.removeAll(keepingCapacity: true)
        isNextAtOnce = false
    }

    private static func end() {
        let executor = EventLoop.executor
        executor.drain(limit: 64)
        while !merging.isEmpty || !flushing.isEmpty {
            // Taken out before they run: an action may add others.
            let merge = merging
            merging.removeAll(keepingCapacity: true)
            for action in merge { action() }
            // An action may resume tasks: what they do belongs to this turn too.
            executor.drain(limit: 64)
            guard merging.isEmpty else { continue }
            let flush = flushing
            flushing.removeAll(keepingCapacity: true)
            for action in flush { action() }
        }
        // An active idle handle keeps the poll phase from sleeping while jobs wait.
        if executor.hasWork || isNextAtOnce {
            uv_idle_start(idle) { _ in }
        } else {
            uv_idle_stop(idle)
        }
    }
}
