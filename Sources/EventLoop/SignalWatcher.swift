import CLibuv

/// Calls back on the loop when the process gets a signal.
@LoopActor
public final class SignalWatcher {
    private let handle: UnsafeMutablePointer<uv_signal_t>
    private let action: @LoopActor () -> Void

    /// Watches `signal` until the object goes.
    public init(_ signal: Int32, _ action: @escaping @LoopActor () -> Void) {
        handle = .allocate(capacity: 1)
        self.action = action
        uv_signal_init(EventLoop.handle, handle)
        // Unretained: deinit stops the handle first.
        handle.pointee.data = Unmanaged.passUnretained(self).toOpaque()
        uv_signal_start(handle, signalCame, signal)
    }

    isolated deinit {
        uv_signal_stop(handle)
        closeAndFree(handle)
    }

    fileprivate func came() { action() }
}

private func signalCame(_ handle: UnsafeMutablePointer<uv_signal_t>?, _ signal: Int32) {
    withOwner(handle!.pointee.data, as: SignalWatcher.self) { $0.came() }
}
