import EventLoop
import Foundation

/// A `dibs` that a test starts: the program that was built beside the tests. It ends with the object, and with the test
/// process at the latest.
@LoopActor
public final class DibsProcess {
    /// One line of the log.
    public struct LogLine: Sendable, CustomStringConvertible {
        /// As it was written.
        public let text: String
        /// As it was meant; null when it isn't JSON.
        public let json: JSON
        /// The event's name, or an empty text.
        public var event: String { json["event"].text ?? "" }
        /// As it was written.
        public var description: String { text }
    }

    /// The log, as it comes.
    public let log = Journal<LogLine>()
    private let program: Program

    /// The program beside the tests.
    public nonisolated static var path: String {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return (tests as NSString).deletingLastPathComponent + "/dibs"
    }

    /// Starts it, and does not wait for anything.
    /// - Parameter wrapper: a command that runs it, as `prlimit` does.
    public init(_ arguments: [String], environment: [String: String], wrapper: [String] = []) throws {
        let log = log
        let command = wrapper + [DibsProcess.path] + arguments
        program = try Program(command[0], Array(command[1...]), environment: environment) { line in
            log.add(LogLine(text: line, json: JSON(parsing: line.utf8) ?? .null))
        } onEnd: {
            log.finish("before dibs ended")
        }
    }

    /// Starts `dibs serve`; returns when it is ready.
    public static func serve(
        workers: Int = 1, environment: [String: String], wrapper: [String] = []
    ) async throws -> DibsProcess {
        EventLoop.startInBackground()
        let process = try DibsProcess(
            workers == 1 ? ["serve"] : ["serve", "--workers", String(workers)], environment: environment,
            wrapper: wrapper)
        for _ in 0..<workers { try await process.waitFor(event: "ready") }
        return process
    }

    /// Where it can be asked; empty until it listens.
    public var url: String { log.items.first { $0.event == "listening" }?.json["url"].text ?? "" }
    /// The process's id.
    public var processID: Int32 { program.processID }
    /// Whether it has ended.
    public var hasEnded: Bool { program.hasEnded }
    /// What it wrote to standard error.
    public var errors: [String] { program.errors.items }
    /// What it wrote to standard output, whatever it is.
    public var output: [String] { program.output.items }

    /// Takes the next event of that name out of the log; waits for it.
    @discardableResult
    public func waitFor(event: String, within milliseconds: Int64 = patienceMilliseconds) async throws -> LogLine {
        do {
            return try await log.next("the event \(event)", within: milliseconds) { $0.event == event }
        } catch let error as NotInTime {
            throw NotInTime(description: "\(error)\n  \(errors.joined(separator: "\n  "))")
        }
    }

    /// Sends a signal; nothing when it has ended.
    public func signal(_ signal: Int32) { program.signal(signal) }

    /// Waits for its end, and until its log is complete.
    @discardableResult
    public func waitForExit() async throws -> ChildProcess.Exit { try await program.waitForExit() }
}
