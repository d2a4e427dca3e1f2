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
    /// Does `work` on libuv's thread pool: hashing, reading files, whatever would block the loop.
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

    /// Does `work` on a thread of its own that gets only what processor time others leave: for what is long, and not to be
    /// paid for by everybody else.
    @LoopActor
    public static func offloadPolitely<Success: Sendable>(
        _ work: @escaping @Sendable () throws -> Success
    ) async throws -> Success {
        let result: Result<Success, any Error> = await withCheckedContinuation { continuation in
            Thread {
                // Linux has a niceness for each thread, contrary to POSIX (setpriority(2)). A thread of a pool could not go
                // back without privileges.
                setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 19)
                continuation.resume(returning: Result { try work() })
            }.start()
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
