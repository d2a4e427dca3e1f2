import EventLoop
import Foundation
import Glibc

/// All parts of a run, each a process.
///
/// There are parts even where one process would do: so there is one way for everything, and what is drawn on the
/// terminal doesn't take time from the buyers.
@LoopActor
final class Crew {
    private final class Member {
        var channel: LineChannel?
        var process: ChildProcess?
        var progress = Progress()
        var isReady = false
        var isSettled = false
        var tally: Tally?
    }

    private var members: [Member] = []
    private var failure: RushError?
    private var waiting: CheckedContinuation<Void, Never>?
    private let timer = LoopTimer()

    /// How many processes there are.
    var size: Int { members.count }

    /// How far all are together.
    var progress: Progress {
        var sum = Progress()
        for member in members { sum.add(member.progress) }
        return sum
    }

    /// Starts the processes and hands each its job.
    init(_ jobs: [Job]) throws {
        // By its own name, so that the list of processes shows what they are.
        let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "/proc/self/exe"
        for job in jobs {
            let member = Member()
            members.append(member)
            guard let (ours, theirs) = Descriptors.pair() else { throw RushError("no sockets: errno \(errno)") }
            defer { Glibc.close(theirs) }
            member.channel = LineChannel(input: ours, output: ours) { [weak self, weak member] line in
                if let member { self?.heard(line, from: member) }
            } onEnd: { [weak self, weak member] in
                Glibc.close(ours)
                if let member, member.tally == nil { self?.fail("a part of the run ended by itself") }
            }
            member.process = try ChildProcess(
                path: program, arguments: ["--part"], environment: ProcessInfo.processInfo.environment,
                streams: [theirs, theirs, 2]
            ) { _ in }
            member.channel?.send(job)
        }
    }

    private func heard(_ line: ArraySlice<UInt8>, from member: Member) {
        do {
            switch try JSONDecoder().decode(Message.self, from: Data(line)) {
            case .progress(let progress): member.progress = progress
            case .ready: member.isReady = true
            case .settled: member.isSettled = true
            case .done(let tally):
                member.progress = Progress(tally)
                member.tally = tally
            case .failed(let words): fail(words)
            }
        } catch {
            fail("a part of the run cannot be understood: \(error)")
        }
        wake()
    }

    private func fail(_ words: String) {
        failure = failure ?? RushError(words)
        wake()
    }

    private func wake() {
        waiting?.resume()
        waiting = nil
    }

    /// Says something to all.
    func say(_ instruction: Instruction) {
        for member in members { member.channel?.send(instruction) }
    }

    /// Waits until all clients are connected.
    /// - Returns: False when `seconds` were not enough.
    func ready(within seconds: Int) async throws -> Bool {
        try await all(within: seconds) { $0.isReady }
    }

    /// Waits until all buyers' claims are answered and settled.
    /// - Returns: False when `seconds` were not enough.
    func settled(within seconds: Int) async throws -> Bool {
        try await all(within: seconds) { $0.isSettled }
    }

    /// Lets all finish what is on its way, for a while.
    func windDown() async throws {
        for member in members { member.isSettled = false }
        say(.windDown)
        _ = try await all(within: 10) { $0.isSettled }
    }

    /// Tells all to stop, and gives back everything they were told.
    func finish() async throws -> Tally {
        say(.stop)
        guard try await all(within: 60, { $0.tally != nil }) else { throw RushError("a part does not answer") }
        var sum = Tally()
        for member in members { if let tally = member.tally { sum.add(tally) } }
        return sum
    }

    /// Sends all home; their connections end.
    func dismiss() {
        for member in members { member.channel?.close() }
    }

    private func all(within seconds: Int, _ holds: (Member) -> Bool) async throws -> Bool {
        var isLate = false
        timer.start(after: Int64(seconds) * 1000) { [weak self] in
            isLate = true
            self?.wake()
        }
        defer { timer.stop() }
        while !members.allSatisfy(holds) {
            if let failure { throw failure }
            if isLate { return false }
            await withCheckedContinuation { waiting = $0 }
        }
        return true
    }
}
