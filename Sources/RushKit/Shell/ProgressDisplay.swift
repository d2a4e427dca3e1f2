import EventLoop
import Foundation
import Glibc

/// Shows how far a run is, on standard error: a line that changes on a terminal, else a new line now and then.
@LoopActor
final class ProgressDisplay {
    private let crew: Crew
    private let options: Options
    private let timer = LoopTimer()
    private let isTerminal = isatty(2) == 1
    private let connections: Int
    private var last = ""
    private var hasEnded = false

    init(_ crew: Crew, _ options: Options) {
        self.crew = crew
        self.options = options
        connections = options.connections
        let pause: Int64 = isTerminal ? 100 : 2000
        timer.start(after: pause, every: pause) { [weak self] in self?.show() }
    }

    /// Shows the last state, and leaves the line.
    func end() {
        guard !hasEnded else { return }
        hasEnded = true
        timer.stop()
        show()
        if isTerminal { put("\n") }
    }

    private func show() {
        let line = crew.progress.line(
            clients: connections, claims: options.buyers * options.claims,
            buyersInLine: options.line == nil ? 0 : options.buyers, bar: isTerminal ? 24 : 0)
        guard line != last else { return }
        last = line
        // Back to the line's begin, and away with what was behind it.
        put(isTerminal ? "\r\(line)\u{1B}[K" : line + "\n")
    }

    private func put(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
