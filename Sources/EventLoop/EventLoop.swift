import CLibuv
import Glibc
import Synchronization

/// The process's one event loop: libuv, running on the thread that calls ``run(_:)``.
public enum EventLoop {
    /// The loop itself, for C libraries that join it (libwebsockets, hiredis). Not to be used off the loop's thread.
    ///
    /// Proof of safety: written once, before any other thread knows of it; libuv's functions on it are called on the
    /// loop's thread only.
    public nonisolated(unsafe) static let handle: UnsafeMutablePointer<uv_loop_t> = {
        let loop = UnsafeMutablePointer<uv_loop_t>.allocate(capacity: 1)
        let status = uv_loop_init(loop)
        precondition(status == 0, "uv_loop_init: \(status)")
        return loop
    }()

    /// The executor of ``LoopActor``; also a task executor to start tasks with.
    public static let executor: LoopExecutor = LoopExecutor(loop: handle)

    private static let thread = Atomic<UInt>(0)

    /// Whether the caller runs on the loop's thread.
    public static var isOnLoop: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Traps when the caller is not on the loop's thread.
    public static func preconditionOnLoop(file: StaticString = #fileID, line: UInt = #line) {
        precondition(isOnLoop, "not on the event loop", file: file, line: line)
    }

    /// Runs the loop on the calling thread, and `main` on the loop; returns what `main` returned.
    ///
    /// To be called once in a process.
    public static func run(_ main: @escaping @Sendable @LoopActor () async -> Int32) -> Int32 {
        adoptCurrentThread()
        let exit = ExitStatus()
        task {
            exit.value = await main()
            uv_stop(handle)
        }
        uv_run(handle, UV_RUN_DEFAULT)
        return exit.value
    }

    /// Starts the loop on a thread of its own and returns; later calls do nothing. For tests, which have no main thread
    /// to give.
    public static func startInBackground() {
        background
    }

    private static let background: Void = {
        let started = DispatchlessSemaphore()
        var id = pthread_t()
        let context = Unmanaged.passRetained(started).toOpaque()
        let status = pthread_create(
            &id, nil,
            { context in
                adoptCurrentThread()
                Unmanaged<DispatchlessSemaphore>.fromOpaque(context!).takeRetainedValue().signal()
                uv_run(handle, UV_RUN_DEFAULT)
                return nil
            }, context)
        precondition(status == 0, "pthread_create: \(status)")
        started.wait()
        atexit { EventLoop.standStill() }
    }()

    private static let standsStill = Atomic<Bool>(false)

    /// Stops the loop where it is, for good: once `exit` has run the libraries' destructors, libuv aborts the process
    /// when the loop's thread touches a signal or a child process.
    private static func standStill() {
        task {
            standsStill.store(true, ordering: .relaxed)
            while true { pause() }
        }
        // Not for ever: whatever keeps the loop from standing still must not keep the process.
        for _ in 0..<2000 where !standsStill.load(ordering: .relaxed) { usleep(1000) }
    }

    private static func adoptCurrentThread() {
        let (claimed, _) = thread.compareExchange(
            expected: 0, desired: UInt(pthread_self()), ordering: .sequentiallyConsistent)
        precondition(claimed, "the event loop runs already")
        Turn.install()
    }

    /// Milliseconds of a clock that never jumps, as of the beginning of this turn of the loop.
    @LoopActor public static var monotonicMilliseconds: Int64 { Int64(uv_now(handle)) }

    /// Nanoseconds of a clock that never jumps; for measuring durations.
    public static var nanoseconds: UInt64 { uv_hrtime() }

    /// Nanoseconds of a processor that the calling thread has used.
    public static var workNanoseconds: UInt64 {
        var used = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used)
        return UInt64(used.tv_sec) * 1_000_000_000 + UInt64(used.tv_nsec)
    }

    /// How many processors this process may use.
    public static var availableProcessors: Int { Int(uv_available_parallelism()) }

    /// Milliseconds since 1970 by the machine's clock, which may jump.
    public static var wallMilliseconds: Int64 {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1000 + Int64(now.tv_nsec) / 1_000_000
    }

    /// Starts a task on the loop. Its non-isolated parts stay on the loop too.
    @discardableResult
    public static func task<Success: Sendable>(
        _ body: @escaping @Sendable @LoopActor () async -> Success
    ) -> Task<Success, Never> {
        Task(executorPreference: executor, operation: body)
    }
}

/// What `main` returned. Sendable proof: written and read on the loop's thread only.
private final class ExitStatus: @unchecked Sendable {
    var value: Int32 = 0
}

/// A semaphore on a pthread condition, to wait once for a thread to have started.
///
/// Sendable proof: every access is between lock and unlock.
private final class DispatchlessSemaphore: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var signalled = false

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func signal() {
        pthread_mutex_lock(mutex)
        signalled = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    func wait() {
        pthread_mutex_lock(mutex)
        while !signalled { pthread_cond_wait(condition, mutex) }
        pthread_mutex_unlock(mutex)
    }
}
