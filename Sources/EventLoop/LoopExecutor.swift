import CLibuv
import Glibc
import Synchronization

/// Runs Swift's jobs on the libuv loop, so that `await` never leaves the loop's thread.
///
/// It is both the serial executor of ``LoopActor`` and a task executor: a task started with it as its preference runs
/// its non-isolated parts on the loop as well.
///
/// Sendable proof: `local` and `hooks` are touched on the loop's thread only, which `isOnLoop` checks at run time in
/// `enqueue` and ``EventLoop/preconditionOnLoop(file:line:)`` everywhere else; `remote` is behind a mutex; the handles
/// are used on the loop's thread, but for `uv_async_send`, which libuv allows from any.
public final class LoopExecutor: SerialExecutor, TaskExecutor, @unchecked Sendable {
    private let wakeUp: UnsafeMutablePointer<uv_async_t>
    private let remote = Mutex<[UnownedJob]>([])
    private var local: [UnownedJob] = []
    private var spare: [UnownedJob] = []

    init(loop: UnsafeMutablePointer<uv_loop_t>) {
        wakeUp = .allocate(capacity: 1)
        // The callback has nothing to do: waking the poll phase is enough, jobs run in the check phase after it.
        let status = uv_async_init(loop, wakeUp) { _ in }
        precondition(status == 0, "uv_async_init: \(status)")
        uv_unref(UnsafeMutableRawPointer(wakeUp).assumingMemoryBound(to: uv_handle_t.self))
        local.reserveCapacity(1024)
        spare.reserveCapacity(1024)
    }

    /// Takes a job from any thread.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if EventLoop.isOnLoop {
            local.append(job)
        } else {
            let first = remote.withLock { jobs in
                jobs.append(job)
                return jobs.count == 1
            }
            if first { uv_async_send(wakeUp) }
        }
    }

    /// Whether the calling code runs on the loop; asked by the runtime for `assumeIsolated` and its like.
    public func checkIsolated() {
        EventLoop.preconditionOnLoop()
    }

    /// True while a job waits on the loop's own queue.
    var hasWork: Bool { !local.isEmpty }

    /// Runs the jobs that are waiting, and those that they add, up to `limit` rounds, so that I/O is not starved.
    func drain(limit: Int) {
        takeRemote()
        var rounds = 0
        while !local.isEmpty && rounds < limit {
            swap(&local, &spare)
            for job in spare {
                job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
            }
            spare.removeAll(keepingCapacity: true)
            rounds += 1
        }
    }

    private func takeRemote() {
        remote.withLock { jobs in
            guard !jobs.isEmpty else { return }
            local.append(contentsOf: jobs)
            jobs.removeAll(keepingCapacity: true)
        }
    }
}
