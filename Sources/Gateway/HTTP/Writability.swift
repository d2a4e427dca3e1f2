import EventLoop
import Glibc

/// Waits for a socket of the library's to be writable, on a duplicate of its descriptor.
@LoopActor
final class Writability {
    private let duplicate: Int32
    private var watcher: DescriptorWatcher?

    /// Nil when there is no descriptor left.
    init?(of descriptor: Int32, _ action: @escaping @LoopActor () -> Void) {
        duplicate = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        guard duplicate >= 0 else { return nil }
        watcher = DescriptorWatcher(descriptor: duplicate) { [weak self] _ in
            self?.watcher?.watch([])
            action()
        }
    }

    isolated deinit {
        watcher?.close()
        // The socket's end is not seen on the other side before its duplicate's.
        if duplicate >= 0 { close(duplicate) }
    }

    /// Calls the action once, when the socket is writable or broken.
    func watch() { watcher?.watch(.writable) }
}
