import CLibuv
import Glibc

/// What a descriptor is ready for, or is watched for.
public struct Readiness: OptionSet, Sendable {
    /// The bits, with libuv's meaning.
    public let rawValue: Int32
    /// A set from libuv's bits.
    public init(rawValue: Int32) { self.rawValue = rawValue }
    /// Reading would not block.
    public static let readable = Readiness(rawValue: Int32(UV_READABLE.rawValue))
    /// Writing would not block.
    public static let writable = Readiness(rawValue: Int32(UV_WRITABLE.rawValue))
}

/// Tells when a file descriptor can be read or written (`uv_poll`); for C libraries that own their sockets.
///
/// Close it by ``close()`` before the descriptor is closed.
@LoopActor
public final class DescriptorWatcher {
    private let handle: UnsafeMutablePointer<uv_poll_t>
    private let action: @LoopActor (Readiness) -> Void
    private var watched: Readiness = []
    private var isClosed = false

    /// A watcher that watches for nothing yet.
    ///
    /// `action` also gets `[.readable, .writable]` when polling failed, so that the library finds the error itself.
    public init(descriptor: Int32, _ action: @escaping @LoopActor (Readiness) -> Void) {
        handle = .allocate(capacity: 1)
        self.action = action
        let status = uv_poll_init(EventLoop.handle, handle, descriptor)
        precondition(status == 0, "uv_poll_init: \(status)")
        // Unretained: close() or deinit stop polling before this object goes.
        handle.pointee.data = Unmanaged.passUnretained(self).toOpaque()
    }

    isolated deinit { close() }

    /// Watches for `events` from now on; none pauses.
    public func watch(_ events: Readiness) {
        guard !isClosed, events != watched else { return }
        watched = events
        if events.isEmpty {
            uv_poll_stop(handle)
        } else {
            uv_poll_start(handle, events.rawValue, descriptorReady)
        }
    }

    /// Ends it for good.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        uv_poll_stop(handle)
        closeAndFree(handle)
    }

    fileprivate func ready(_ events: Readiness) {
        guard !isClosed else { return }
        action(events)
    }
}

extension EventLoop {
    /// Stops a library's own `uv_poll` handle for a descriptor, if it watches for writing, until the library starts it again.
    @LoopActor
    public static func stopLibraryWatch(of descriptor: Int32) {
        guard isWatchedForWriting(descriptor), let watcher = watcher(of: descriptor),
            let offset = MemoryLayout<uv_poll_t>.offset(of: \uv_poll_t.io_watcher)
        else { return }
        // uv.h shows both structs: the handle is what its watcher lies in.
        uv_poll_stop((UnsafeMutableRawPointer(watcher) - offset).assumingMemoryBound(to: uv_poll_t.self))
    }

    /// Whether the loop wakes up when something can be written to a descriptor.
    @LoopActor
    static func isWatchedForWriting(_ descriptor: Int32) -> Bool {
        guard let watcher = watcher(of: descriptor) else { return false }
        return watcher.pointee.pevents & UInt32(POLLOUT) != 0
    }

    @LoopActor
    private static func watcher(of descriptor: Int32) -> UnsafeMutablePointer<uv__io_t>? {
        let loop = handle.pointee
        guard descriptor >= 0, descriptor < loop.nwatchers, let watchers = loop.watchers else { return nil }
        return watchers[Int(descriptor)]
    }
}

private func descriptorReady(_ handle: UnsafeMutablePointer<uv_poll_t>?, _ status: Int32, _ events: Int32) {
    let readiness: Readiness = status < 0 ? [.readable, .writable] : Readiness(rawValue: events)
    withOwner(handle!.pointee.data, as: DescriptorWatcher.self) { $0.ready(readiness) }
}
