import EventLoop
import Glibc

/// What the kernel knows of the other end of a connection.
enum HungUp {
    /// `POLLRDHUP` of poll.h, which Glibc's module leaves out: the peer has closed its end.
    private static let closedByPeer: Int32 = 0x2000

    /// Whether the other end is closed, in whole or in its own direction.
    static func isClosed(_ descriptor: Int32) -> Bool { events(descriptor) != 0 }

    /// Whether the other end is closed, and has sent nothing before that is still to be read.
    static func hasNothingToSay(_ descriptor: Int32) -> Bool {
        let events = events(descriptor)
        return events & Int16(POLLHUP | POLLERR) != 0 || events != 0 && TCPInfo.unreadBytes(descriptor) == 0
    }

    private static func events(_ descriptor: Int32) -> Int16 {
        var entry = pollfd(fd: descriptor, events: Int16(closedByPeer), revents: 0)
        guard poll(&entry, 1, 0) == 1 else { return 0 }
        return entry.revents & Int16(closedByPeer | POLLHUP | POLLERR)
    }
}

extension Turn {
    /// Whether whoever sent what was just read has closed its end meanwhile, while this process stood still: it has given up,
    /// and may have asked another since, who told it something else. Asks the kernel only after a standstill.
    static func isLate(_ descriptor: Int32) -> Bool {
        hasStalled && descriptor >= 0 && HungUp.isClosed(descriptor)
    }
}
