import EventLoop

/// Does something at a planned moment, one at a time: what is planned for later does not put off what was planned earlier.
@LoopActor
final class Alarm {
    private let timer = LoopTimer()
    private let action: @LoopActor () async -> Void
    private var dueAt: Int64 = .max
    private var isRinging = false
    private var ringAgain = false
    private var hasEnded = false

    /// An alarm that is not set.
    init(_ action: @escaping @LoopActor () async -> Void) { self.action = action }

    /// Ends it.
    func stop() {
        hasEnded = true
        timer.stop()
    }

    /// Sets it to a number of milliseconds from now, unless it rings before.
    func ring(in milliseconds: Int64) {
        guard !hasEnded else { return }
        let moment = EventLoop.monotonicMilliseconds + milliseconds
        guard moment < dueAt || !timer.isRunning else { return }
        dueAt = moment
        timer.start(after: milliseconds) { [weak self] in self?.ring() }
    }

    /// Sets it to a number of milliseconds from now, whatever was planned.
    func ringOnly(in milliseconds: Int64) {
        dueAt = .max
        timer.stop()
        ring(in: milliseconds)
    }

    private func ring() {
        dueAt = .max
        guard !isRinging else {
            ringAgain = true
            return
        }
        isRinging = true
        EventLoop.task {
            await self.action()
            self.isRinging = false
            if self.ringAgain {
                self.ringAgain = false
                self.ring(in: 0)
            }
        }
    }
}
