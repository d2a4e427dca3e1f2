import Glibc

/// The limit on open descriptors, one of which each connection takes.
enum Descriptors {
    /// Raises the limit to what the system allows, and returns it.
    static func raiseLimit() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return Int(min(limit.rlim_max, 1 << 20))
    }

    /// How many clients one process holds; the rest of the limit is for other things.
    static func clientsPerProcess(limit: Int) -> Int { max(1, min(8000, limit - 256)) }

    /// Two connected sockets that no other child inherits.
    static func pair() -> (ours: Int32, theirs: Int32)? {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            return nil
        }
        return (ends[0], ends[1])
    }
}
