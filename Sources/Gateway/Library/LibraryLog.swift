import CWebSockets
import Glibc
import Model
import Synchronization

/// Where the library's own lines go. It has one log for the process, so this is the log of the server started last.
enum LibraryLog {
    private struct State: Sendable {
        var log = Log.none
        var second = 0
        var linesInSecond = 0
    }

    /// At most so many lines a second: some of them are at the will of a client.
    private static let linesPerSecond = 5
    private static let state = Mutex(State())

    static func use(_ log: Log) { state.withLock { $0.log = log } }

    fileprivate static func write(_ level: Int32, _ line: UnsafePointer<CChar>) {
        // The library announces each adopted socket as an error (lib/core-net/adopt.c, adopt_socket_readbuf).
        guard strncmp(line, "adopt_socket_readbuf", 20) != 0 else { return }
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        let log: Log? = state.withLock { state in
            if state.second != now.tv_sec { (state.second, state.linesInSecond) = (now.tv_sec, 0) }
            state.linesInSecond += 1
            return state.linesInSecond <= linesPerSecond ? state.log : nil
        }
        guard let log else { return }
        var text = String(cString: line)
        while text.last?.isNewline == true { text.removeLast() }
        log(level == LLL_ERR ? .warning : .debug, "libwebsockets", ["message": .text(text)])
    }
}

/// Takes the library's lines away from standard error.
func routeLog() { lws_set_log_level(LLL_ERR | LLL_WARN, libraryLogged) }

private func libraryLogged(_ level: Int32, _ line: UnsafePointer<CChar>?) {
    if let line { LibraryLog.write(level, line) }
}
