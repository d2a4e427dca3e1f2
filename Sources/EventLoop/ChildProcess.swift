import CLibuv
import Glibc

/// A process that this one started and looks after.
@LoopActor
public final class ChildProcess {
    private let handle: UnsafeMutablePointer<uv_process_t>
    private var onExit: (@LoopActor (ChildProcess.Exit) -> Void)?

    /// How a process ended.
    public struct Exit: Sendable, Equatable {
        /// What it returned; 0 when a signal ended it.
        public let status: Int64
        /// The signal that ended it, or 0.
        public let signal: Int32

        /// An end.
        public init(status: Int64, signal: Int32) {
            self.status = status
            self.signal = signal
        }
    }

    /// Starts `path` with `arguments` (without the program's name).
    /// - Parameter streams: What the process gets as its standard input, output and error; this one's own by default.
    /// - Throws: ``LoopError`` when it cannot be started.
    public init(
        path: String, arguments: [String], environment: [String: String], streams: [Int32] = [0, 1, 2],
        onExit: @escaping @LoopActor (ChildProcess.Exit) -> Void
    ) throws {
        handle = .allocate(capacity: 1)
        handle.initialize(to: uv_process_t())
        self.onExit = onExit
        var argumentPointers: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
        var environmentPointers: [UnsafeMutablePointer<CChar>?] =
            environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer {
            for pointer in argumentPointers { free(pointer) }
            for pointer in environmentPointers { free(pointer) }
        }
        var containers: [uv_stdio_container_t] = streams.map { descriptor in
            var stream = uv_stdio_container_t()
            stream.flags = UV_INHERIT_FD
            stream.data.fd = descriptor
            return stream
        }
        let status = path.withCString { file in
            argumentPointers.withUnsafeMutableBufferPointer { arguments in
                environmentPointers.withUnsafeMutableBufferPointer { environment in
                    containers.withUnsafeMutableBufferPointer { containers in
                        var options = uv_process_options_t()
                        options.file = file
                        options.args = arguments.baseAddress
                        options.env = environment.baseAddress
                        options.stdio_count = Int32(containers.count)
                        options.stdio = containers.baseAddress
                        options.exit_cb = childExited
                        return uv_spawn(EventLoop.handle, handle, &options)
                    }
                }
            }
        }
        guard status == 0 else {
            self.onExit = nil
            closeAndFree(handle)
            throw LoopError(code: status, operation: "start \(path)")
        }
        // Retained until the process has ended: `exited` releases it.
        handle.pointee.data = Unmanaged.passRetained(self).toOpaque()
    }

    /// The process's id.
    public var processID: Int32 { handle.pointee.pid }

    /// Sends a signal; does nothing when the process is gone.
    public func signal(_ signal: Int32) {
        guard onExit != nil else { return }
        uv_process_kill(handle, signal)
    }

    fileprivate func exited(_ exit: Exit) {
        let action = onExit
        onExit = nil
        action?(exit)
        closeAndFree(handle)
        // The retain of init.
        Unmanaged.passUnretained(self).release()
    }
}

private func childExited(_ handle: UnsafeMutablePointer<uv_process_t>?, _ status: Int64, _ signal: Int32) {
    let exit = ChildProcess.Exit(status: status, signal: signal)
    withOwner(handle!.pointee.data, as: ChildProcess.self) { $0.exited(exit) }
}
