import EventLoop
import Glibc

/// A program that a test starts: its two outputs come line by line. It ends with the object, and with the test process
/// at the latest.
@LoopActor
public final class Program {
    /// What it wrote to its standard output, a line each.
    public let output = Journal<String>()
    /// What it wrote to its standard error, a line each.
    public let errors = Journal<String>()
    private let exits = Journal<ChildProcess.Exit>()
    private var process: ChildProcess?
    private var readers: [LineReader] = []
    private var exit: ChildProcess.Exit?
    private let onEnd: @LoopActor () -> Void

    /// Starts it. `onOutput` gets each line of standard output as it comes; `onEnd` is called when it has ended and the
    /// last line has come.
    /// - Throws: ``LoopError`` when it cannot be started.
    public init(
        _ path: String, _ arguments: [String], environment: [String: String] = [:],
        onOutput: @escaping @LoopActor (String) -> Void = { _ in }, onEnd: @escaping @LoopActor () -> Void = {}
    ) throws {
        self.onEnd = onEnd
        let ends = try [LineReader.pipe(), LineReader.pipe()]
        defer { for end in ends { close(end.write) } }
        // The kernel ends it when the thread that started it ends, which is the loop's: with the test process.
        process = try ChildProcess(
            path: "/usr/bin/setpriv", arguments: ["--pdeathsig", "KILL", path] + arguments,
            environment: environment.merging(Self.ownVariables) { given, _ in given },
            streams: [0, ends[0].write, ends[1].write]
        ) { [weak self] exit in
            self?.exit = exit
            self?.finishIfOver()
        }
        processID = process?.processID ?? 0
        readers = [
            LineReader(ends[0].read) { [weak self] line in
                self?.output.add(line)
                onOutput(line)
            } onEnd: { [weak self] in
                self?.finishIfOver()
            },
            LineReader(ends[1].read) { [weak self] in
                self?.errors.add($0)
            } onEnd: { [weak self] in
                self?.finishIfOver()
            },
        ]
    }

    isolated deinit { process?.signal(SIGKILL) }

    /// What each gets besides what its test gives it: a path, and where a sanitizer's findings go (`make test-sanitized`),
    /// as a test may not look at how a program ended.
    private static let ownVariables: [String: String] = {
        var variables = ["PATH": "/usr/bin:/bin"]
        for name in ["ASAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"] {
            if let options = getenv(name) { variables[name] = String(cString: options) }
        }
        return variables
    }()

    /// The process's id.
    public private(set) var processID: Int32 = 0

    /// Whether it has ended.
    public var hasEnded: Bool { exit != nil }

    /// Sends a signal; nothing when it has ended.
    public func signal(_ signal: Int32) { process?.signal(signal) }

    /// Waits for its end, and until everything that it wrote is here.
    public func waitForExit() async throws -> ChildProcess.Exit {
        try await exits.first("the program's end") { _ in true }
    }

    private func finishIfOver() {
        guard let exit, readers.allSatisfy(\.hasEnded) else { return }
        output.finish("before the program ended")
        errors.finish("before the program ended")
        exits.add(exit)
        onEnd()
    }

    /// Runs a program to its end.
    /// - Returns: Its standard output.
    /// - Throws: ``Failure`` when it ends with anything but 0.
    @discardableResult
    public static func run(_ path: String, _ arguments: [String]) async throws -> String {
        let program = try Program(path, arguments)
        let exit = try await program.waitForExit()
        guard exit == ChildProcess.Exit(status: 0, signal: 0) else {
            throw Failure(description: "\(path): \(exit): \(program.errors.items.joined(separator: "\n"))")
        }
        return program.output.items.joined(separator: "\n")
    }

    /// A program that failed.
    public struct Failure: Error, CustomStringConvertible {
        /// How, and what it said.
        public let description: String
    }
}

/// Reads lines from a descriptor until its end, and closes it.
@LoopActor
private final class LineReader {
    private let descriptor: Int32
    private let onLine: @LoopActor (String) -> Void
    private let onEnd: @LoopActor () -> Void
    private var watcher: DescriptorWatcher?
    private var partial: [UInt8] = []
    private(set) var hasEnded = false

    /// A socket pair and not a pipe, because only that can be made close-on-exec at once: another process that is started
    /// in this moment must not hold the writing end.
    static func pipe() throws -> (read: Int32, write: Int32) {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw LoopError(code: -errno, operation: "socketpair")
        }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    init(_ descriptor: Int32, onLine: @escaping @LoopActor (String) -> Void, onEnd: @escaping @LoopActor () -> Void) {
        self.descriptor = descriptor
        self.onLine = onLine
        self.onEnd = onEnd
        let watcher = DescriptorWatcher(descriptor: descriptor) { [weak self] _ in self?.read() }
        watcher.watch(.readable)
        self.watcher = watcher
    }

    isolated deinit { end() }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while !hasEnded {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
            guard count > 0 else {
                if !partial.isEmpty { take(partial[...]) }
                partial = []
                end()
                onEnd()
                return
            }
            partial += buffer[..<count]
            while let newline = partial.firstIndex(of: UInt8(ascii: "\n")) {
                let line = partial[..<newline]
                partial.removeFirst(newline + 1)
                take(line)
            }
        }
    }

    private func take(_ line: ArraySlice<UInt8>) { onLine(String(decoding: line, as: UTF8.self)) }

    private func end() {
        guard !hasEnded else { return }
        hasEnded = true
        watcher?.close()
        watcher = nil
        close(descriptor)
    }
}
