import EventLoop
import Foundation
import Model

/// Runs several worker processes on one port, and starts a new one for each that dies.
@LoopActor
public final class Supervisor {
    private let configuration: Configuration
    private let environment: [String: String]
    private let log: Log
    private var workers: [Int: ChildProcess] = [:]
    private var backoffs: [Int: Backoff] = [:]
    private var restarts: [Int: LoopTimer] = [:]
    private var isStopping = false
    private var signals: [SignalWatcher] = []
    private var whenGone: CheckedContinuation<Int32, Never>?
    private var reservation: PortReservation?

    /// A worker that lived this long was well: its next restart is at once again.
    private static let healthyMilliseconds: Int64 = 10_000

    /// A supervisor for `configuration.workers` processes.
    public init(_ configuration: Configuration, environment: [String: String], log: Log) {
        self.configuration = configuration
        self.environment = environment
        self.log = log
    }

    /// Runs until SIGTERM or SIGINT, and returns when the last worker is gone.
    public func run() async -> Int32 {
        do {
            reservation = try PortReservation(address: configuration.address, port: configuration.port)
        } catch {
            log(.error, "start_failed", ["error": .init("\(error)")])
            return 1
        }
        return await withCheckedContinuation { continuation in
            whenGone = continuation
            let stop: @LoopActor (Int32) -> Void = { [weak self] signal in self?.stop(signal) }
            signals = [SignalWatcher(SIGTERM) { stop(SIGTERM) }, SignalWatcher(SIGINT) { stop(SIGTERM) }]
            if configuration.tls != nil {
                // Read the certificate anew.
                signals.append(
                    SignalWatcher(SIGHUP) { [weak self] in self?.workers.values.forEach { $0.signal(SIGHUP) } })
            }
            for index in 1...configuration.workers { start(index) }
        }
    }

    private func start(_ index: Int) {
        guard !isStopping else { return }
        var variables = environment
        variables["DIBS_WORKER"] = String(index)
        variables["DIBS_WORKERS"] = "1"
        if let port = reservation?.port { variables["DIBS_LISTEN"] = listen(on: port) }
        let startedAt = EventLoop.monotonicMilliseconds
        do {
            let worker = try ChildProcess(
                path: "/proc/self/exe", arguments: ["serve"], environment: variables
            ) { [weak self] exit in
                self?.ended(index, exit, lived: EventLoop.monotonicMilliseconds - startedAt)
            }
            workers[index] = worker
            log(.info, "worker_started", ["worker": .init(index), "workerPid": .init(Int(worker.processID))])
        } catch {
            log(.error, "worker_not_started", ["worker": .init(index), "error": .init("\(error)")])
            ended(index, ChildProcess.Exit(status: 1, signal: 0), lived: 0)
        }
    }

    private func listen(on port: Int) -> String {
        configuration.address.contains(":") ? "[\(configuration.address)]:\(port)" : "\(configuration.address):\(port)"
    }

    private func ended(_ index: Int, _ exit: ChildProcess.Exit, lived: Int64) {
        workers[index] = nil
        if isStopping {
            if workers.isEmpty { finish() }
            return
        }
        var backoff = backoffs[index] ?? Backoff(base: 50, cap: 5000)
        if lived >= Self.healthyMilliseconds { backoff.reset() }
        let pause = backoff.next()
        backoffs[index] = backoff
        log(
            .error, "worker_died",
            [
                "worker": .init(index), "status": .init(exit.status), "signal": .init(Int(exit.signal)),
                "restartInMs": .init(pause),
            ])
        let timer = LoopTimer()
        restarts[index] = timer
        timer.start(after: pause) { [weak self] in self?.start(index) }
    }

    private func stop(_ signal: Int32) {
        guard !isStopping else { return }
        isStopping = true
        for timer in restarts.values { timer.stop() }
        for worker in workers.values { worker.signal(signal) }
        if workers.isEmpty { finish() }
    }

    private func finish() {
        log(.info, "stopped")
        whenGone?.resume(returning: 0)
        whenGone = nil
    }
}

/// Keeps a port for the workers: bound, but not listening, so that it takes no connection itself.
private final class PortReservation {
    let port: Int
    private let descriptor: Int32

    /// - Throws: ``LoopError`` when the port is taken by somebody else.
    init(address: String, port: Int) throws {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address == "localhost" ? "127.0.0.1" : address, String(port), &hints, &found) == 0,
            let found
        else { throw LoopError(code: -EINVAL, operation: "listen on \(address)") }
        defer { freeaddrinfo(found) }
        let descriptor = socket(found.pointee.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, socklen_t(MemoryLayout<Int32>.size))
        guard bind(descriptor, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 else {
            let code = errno
            close(descriptor)
            throw LoopError(code: -code, operation: "listen on \(address):\(port)")
        }
        var bound = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        _ = withUnsafeMutablePointer(to: &bound) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        self.descriptor = descriptor
        // sin_port and sin6_port lie at the same place.
        self.port = withUnsafeBytes(of: &bound) { Int($0[2]) << 8 | Int($0[3]) }
    }

    deinit { close(descriptor) }
}
