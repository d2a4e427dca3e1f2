import EventLoop
import Glibc

/// `POLLRDHUP` of poll.h, which Glibc's module leaves out: the peer has closed its end.
private let closedByPeer: Int32 = 0x2000

extension Turn {
    /// Whether whoever sent what was just read has closed its end meanwhile, while this process stood still: it has given up,
    /// and may have asked another since, who told it something else. Asks the kernel only after a standstill.
    static func isLate(_ descriptor: Int32) -> Bool {
        guard hasStalled, descriptor >= 0 else { return false }
        var entry = pollfd(fd: descriptor, events: Int16(closedByPeer), revents: 0)
        return poll(&entry, 1, 0) == 1 && entry.revents & Int16(closedByPeer | POLLHUP | POLLERR) != 0
    }
}
