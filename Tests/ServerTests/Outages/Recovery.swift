import EventLoop
import Foundation
import TestServices

/// How long after a fault's end things are as they were. `DIBS_RECOVERY=1` has it printed, for `docs/outages.md`.
@LoopActor
struct Recovery {
    private let fault: String
    private let end = EventLoop.nanoseconds

    /// The fault ends now.
    init(from fault: String) { self.fault = fault }

    /// This is so again.
    func note(_ what: String) {
        guard ProcessInfo.processInfo.environment["DIBS_RECOVERY"] != nil else { return }
        let milliseconds = (EventLoop.nanoseconds - end) / 1_000_000
        FileHandle.standardError.write(Data("recovery: \(fault): \(what) after \(milliseconds) ms\n".utf8))
    }
}
