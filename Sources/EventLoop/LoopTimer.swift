import CLibuv

/// A timer of the loop.
///
/// Its handle is closed when the object goes; libuv frees it in the close callback.
@LoopActor
public final class LoopTimer {
    private let handle: UnsafeMutablePointer<uv_timer_t>
    private var action: (@LoopActor () -> Void)?
    /// The interval of one that is in step; else 0.
    private var step: Int64 = 0

    /// A timer that is not running.
    public init() {
        handle = .allocate(capacity: 1)
        uv_timer_init(EventLoop.handle, handle)
        // Unretained: `deinit` stops the timer, so the callback never outlives this object.
        handle.pointee.data = Unmanaged.passUnretained(self).toOpaque()
    }

    isolated deinit {
        uv_timer_stop(handle)
        closeAndFree(handle)
    }

    /// Calls `action` after `milliseconds`, and then every `interval` milliseconds when that is above 0.
    /// A running timer is started anew.
    public func start(after milliseconds: Int64, every interval: Int64 = 0, _ action: @escaping @LoopActor () -> Void) {
        self.action = action
        step = 0
        // The loop's clock stands still during a turn: without this, a long turn would make the timer early.
        uv_update_time(EventLoop.handle)
        uv_timer_start(handle, timerFired, UInt64(max(0, milliseconds)), UInt64(max(0, interval)))
    }

    /// Calls `action` every `interval` milliseconds, at the same moments as others with that interval, or a part or a multiple
    /// of it: they wake the loop once, and what they ask of Redis leaves in one write. So the first time comes sooner.
    public func startInStep(every interval: Int64, _ action: @escaping @LoopActor () -> Void) {
        self.action = action
        step = interval
        uv_update_time(EventLoop.handle)
        startStep()
    }

    private func startStep() {
        // Processes of one machine have one clock: each has moments of its own.
        let pause = step - (Int64(uv_now(EventLoop.handle)) + Self.shift) % step
        uv_timer_start(handle, timerFired, UInt64(pause), 0)
    }

    private static let shift = Int64.random(in: 0..<1000)

    /// Stops it; `action` is let go.
    public func stop() {
        uv_timer_stop(handle)
        action = nil
    }

    /// Whether it will fire.
    public var isRunning: Bool { action != nil }

    fileprivate func fire() {
        guard let action else { return }
        if step > 0 {
            startStep()
        } else if uv_timer_get_repeat(handle) == 0 {
            self.action = nil
        }
        action()
    }
}

private func timerFired(_ handle: UnsafeMutablePointer<uv_timer_t>?) {
    withOwner(handle!.pointee.data, as: LoopTimer.self) { $0.fire() }
}

/// Closes a libuv handle of any kind that was allocated by `UnsafeMutablePointer.allocate`, and frees it when libuv is
/// done with it.
@LoopActor
func closeAndFree<Handle>(_ handle: UnsafeMutablePointer<Handle>) {
    let base = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: uv_handle_t.self)
    base.pointee.data = nil
    uv_close(base) { UnsafeMutableRawPointer($0!).deallocate() }
}

extension EventLoop {
    /// Suspends the calling task for `milliseconds`. Returns early when the task is cancelled.
    @LoopActor
    public static func sleep(milliseconds: Int64) async {
        let sleeper = Sleeper()
        await withTaskCancellationHandler {
            await sleeper.sleep(milliseconds)
        } onCancel: {
            EventLoop.task { sleeper.wake() }
        }
    }
}

@LoopActor
private final class Sleeper {
    private let timer = LoopTimer()
    private var continuation: CheckedContinuation<Void, Never>?
    private var woken = false

    func sleep(_ milliseconds: Int64) async {
        if woken { return }
        await withCheckedContinuation { continuation in
            self.continuation = continuation
            timer.start(after: milliseconds) { self.wake() }
        }
    }

    func wake() {
        woken = true
        timer.stop()
        continuation?.resume()
        continuation = nil
    }
}
