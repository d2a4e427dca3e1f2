import CLibuv
import Foundation

/// An error that libuv reports.
public struct LoopError: Error, CustomStringConvertible, Equatable {
    /// libuv's code, negative.
    public let code: Int32
    /// What was tried.
    public let operation: String

    /// An error by libuv's code: a negated errno, or one of libuv's own.
    public init(code: Int32, operation: String) {
        self.code = code
        self.operation = operation
    }

    /// The operation and libuv's own words.
    public var description: String { "\(operation): \(String(cString: uv_strerror(code)))" }
}

extension EventLoop {
    /// Does `work` on libuv's thread pool: reading files, resolving names, whatever would block the loop.
    @LoopActor
    public static func offload<Success: Sendable>(
        _ work: @escaping @Sendable () throws -> Success
    ) async throws -> Success {
        let result: Result<Success, any Error> = await withCheckedContinuation { continuation in
            let request = UnsafeMutablePointer<uv_work_t>.allocate(capacity: 1)
            let job = Work<Success>(work: work, continuation: continuation)
            // Retained here, released in `finishWork`, which libuv calls exactly once.
            request.pointee.data = Unmanaged.passRetained(job as AnyWork).toOpaque()
            let status = uv_queue_work(EventLoop.handle, request, performWork, finishWork)
            precondition(status == 0, "uv_queue_work: \(status)")
        }
        return try result.get()
    }

    /// Does `work` on a thread of its own that leaves processor time to others: for what is long, and not to be paid for by
    /// everybody else.
    /// - Throws: what `work` throws; ``LoopError`` when the system has no thread for it.
    @LoopActor
    public static func offloadPolitely<Success: Sendable>(
        _ work: @escaping @Sendable () throws -> Success
    ) async throws -> Success {
        let result: Result<Success, any Error> = await withCheckedContinuation { continuation in
            let job = Work<Success>(work: work, continuation: continuation)
            // Retained here, released on the thread, if it comes to that.
            let context = Unmanaged.passRetained(job as AnyWork)
            var thread = pthread_t()
            let status = pthread_create(&thread, nil, performPolitely, context.toOpaque())
            if status == 0 {
                pthread_detach(thread)
            } else {
                context.release()
                continuation.resume(returning: .failure(LoopError(code: -status, operation: "pthread_create")))
            }
        }
        return try result.get()
    }

    /// The numeric addresses of a host name, asked of the system's resolver without blocking. An address is returned as
    /// it is.
    /// - Throws: ``LoopError`` when the name does not resolve.
    @LoopActor
    public static func resolve(_ host: String) async throws -> [String] {
        try await offload {
            var hints = addrinfo()
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            guard getaddrinfo(host, nil, &hints, &list) == 0, let list else {
                throw LoopError(code: UV_EAI_NONAME.rawValue, operation: "resolve \(host)")
            }
            defer { freeaddrinfo(list) }
            var addresses: [String] = []
            for entry in sequence(first: list, next: { $0.pointee.ai_next }) {
                var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
                let status = getnameinfo(
                    entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                    NI_NUMERICHOST)
                guard status == 0 else { continue }
                let end = text.firstIndex(of: 0) ?? text.count
                let address = String(decoding: text[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
                if !addresses.contains(address) { addresses.append(address) }
            }
            return addresses
        }
    }
}

// Named functions rather than closures: a closure in an isolated function would be isolated too, and this one is called
// on a thread of libuv's pool.
private func performWork(_ request: UnsafeMutablePointer<uv_work_t>?) {
    Unmanaged<AnyWork>.fromOpaque(request!.pointee.data).takeUnretainedValue().perform()
}

private func performPolitely(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    // Linux has a niceness for each thread, contrary to POSIX (setpriority(2)). A thread of a pool could not go back without
    // privileges. 10 is a tenth of what others get where a core is short: with the lowest, or with SCHED_IDLE, it would stand
    // still on a busy machine, and Linux 6.18 let Redis wait behind such a thread for up to 0.3 s.
    setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
    let job = Unmanaged<AnyWork>.fromOpaque(context!).takeRetainedValue()
    job.perform()
    job.finish()
    return nil
}

private func finishWork(_ request: UnsafeMutablePointer<uv_work_t>?, _ status: Int32) {
    Unmanaged<AnyWork>.fromOpaque(request!.pointee.data).takeRetainedValue().finish()
    request!.deallocate()
}

/// Work whose result type is forgotten, so that a C callback can take it.
private class AnyWork {
    func perform() {}
    func finish() {}
}

private final class Work<Success: Sendable>: AnyWork {
    private let work: @Sendable () throws -> Success
    private let continuation: CheckedContinuation<Result<Success, any Error>, Never>
    private var result: Result<Success, any Error>?

    init(
        work: @escaping @Sendable () throws -> Success,
        continuation: CheckedContinuation<Result<Success, any Error>, Never>
    ) {
        self.work = work
        self.continuation = continuation
    }

    override func perform() { result = Result { try work() } }
    override func finish() { continuation.resume(returning: result!) }
}
