import EventLoop
import FaultKit
import Foundation

/// At once, also into a pipe: who watches a long run wants to see each round.
@Sendable func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

// The loop runs on a thread of its own: processes that are started end with it.
EventLoop.startInBackground()
let ended = EventLoop.task { () async -> Int32 in
    do {
        var options = try Run.Options(environment: ProcessInfo.processInfo.environment)
        options.say = say
        if ProcessInfo.processInfo.environment["CHECKER"] == "1" {
            return try await BugCheck.run(options).isEmpty ? 0 : 1
        }
        let run = Run(options)
        let violations = try await run.run()
        say("\n" + run.report.markdown)
        if let path = ProcessInfo.processInfo.environment["REPORT"] {
            try run.report.markdown.write(toFile: path, atomically: true, encoding: .utf8)
        }
        return violations.isEmpty ? 0 : 1
    } catch {
        say("chaos: \(error)")
        return 2
    }
}
exit(await ended.value)
