import EventLoop
import Foundation
import Glibc

/// A Redis of a test's own: a `redis-server` on a socket in a directory of its own. Ends with the object, and with the
/// test process at the latest.
@LoopActor
public final class RedisServer {
    /// How a server is set up.
    public struct Options: Sendable {
        /// The password it asks for.
        public var password: String?
        /// Whether it keeps an append-only file, and so its data over ``RedisServer/restart(keepingData:)``.
        public var isPersistent = false
        /// More arguments of `redis-server`.
        public var arguments: [String] = []
        /// No password, no file.
        public init() {}
    }

    /// What went wrong.
    public struct Failure: Error, CustomStringConvertible {
        /// In words, with the server's own log.
        public let description: String
    }

    private let directory: String
    private let options: Options
    /// The password it asks for.
    var password: String? { options.password }
    private var process: ChildProcess?
    private var exits: [CheckedContinuation<Void, Never>] = []

    /// The path of its socket.
    public var socketPath: String { directory + "/s" }
    /// Its URL, without password.
    public var url: String { "unix://\(socketPath)" }

    /// Starts a server; returns when it takes connections.
    public static func start(_ options: Options = Options()) async throws -> RedisServer {
        EventLoop.startInBackground()
        let server = try RedisServer(options)
        try await server.launch()
        return server
    }

    private var copies: [String] = []

    private init(_ options: Options) throws {
        self.options = options
        // Short: a socket's path has room for 107 bytes.
        var template = Array("/tmp/dibs-redis-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw Failure(description: "mkdtemp: \(errno)") }
        directory = String(cString: made)
    }

    isolated deinit {
        process?.signal(SIGKILL)
        for path in [directory] + copies { try? FileManager.default.removeItem(atPath: path) }
    }

    /// Ends it at once, as a crash does; returns when it is gone.
    public func kill() async { await end(SIGKILL) }

    /// Ends it in order; returns when it is gone.
    public func stop() async { await end(SIGTERM) }

    /// Starts it again after ``kill()`` or ``stop()``; returns when it takes connections (it may still be loading).
    public func restart(keepingData: Bool) async throws {
        if process != nil { await kill() }
        if !keepingData {
            try? FileManager.default.removeItem(atPath: directory)
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        }
        try await launch()
    }

    /// Keeps what is on its disk now, to come back to by ``restart(asOf:)``.
    public func keepData() throws -> String {
        let copy = directory + "-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.copyItem(atPath: directory + "/appendonlydir", toPath: copy)
        copies.append(copy)
        return copy
    }

    /// Ends it as a crash does, and starts it with the data of before: what came since is lost.
    public func restart(asOf copy: String) async throws {
        await kill()
        try FileManager.default.removeItem(atPath: directory + "/appendonlydir")
        try FileManager.default.copyItem(atPath: copy, toPath: directory + "/appendonlydir")
        try await launch()
    }

    /// Stops it from doing anything, without closing its connections.
    public func suspend() { process?.signal(SIGSTOP) }

    /// Lets it go on.
    public func resume() { process?.signal(SIGCONT) }

    private func end(_ signal: Int32) async {
        guard let process else { return }
        process.signal(signal)
        // A suspended process has to wake up to end in order. (Killing it needs no waking, and wants none.)
        if signal != SIGKILL { process.signal(SIGCONT) }
        await withCheckedContinuation { exits.append($0) }
    }

    private func launch() async throws {
        unlink(socketPath)
        var arguments = [
            // The kernel ends it when the thread that started it ends, which is the loop's: with this process.
            "--pdeathsig", "KILL", "redis-server", "--port", "0", "--unixsocket", socketPath, "--dir", directory,
            "--logfile", directory + "/log", "--save", "", "--appendonly", options.isPersistent ? "yes" : "no",
            "--appendfsync", "no", "--enable-debug-command", "yes",
        ]
        if let password = options.password { arguments += ["--requirepass", password] }
        process = try ChildProcess(
            path: "/usr/bin/setpriv", arguments: arguments + options.arguments,
            environment: ["PATH": "/usr/bin:/bin:/usr/local/bin"]
        ) { [weak self] _ in self?.exited() }
        // Until it listens; a second start of the same directory has a socket only when it is ready, too.
        while !isListening() {
            guard process != nil else {
                let log = (try? String(contentsOfFile: directory + "/log", encoding: .utf8)) ?? ""
                throw Failure(description: "redis-server ended at once: \(log)")
            }
            await EventLoop.sleep(milliseconds: 2)
        }
    }

    private func exited() {
        process = nil
        let waiting = exits
        exits = []
        for continuation in waiting { continuation.resume() }
    }

    private func isListening() -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socketPath.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }
}
