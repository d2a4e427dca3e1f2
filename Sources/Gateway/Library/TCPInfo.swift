import Glibc

/// What the kernel knows of a connection.
enum TCPInfo {
    /// Where `tcpi_bytes_received` stands in `struct tcp_info` of linux/tcp.h, which only ever grows at its end. glibc's own
    /// struct ends before it.
    private static let receivedOffset = 128

    /// Bytes of data that a socket has received so far, whether they were read or not; 0 when that is not known.
    static func receivedBytes(_ descriptor: Int32) -> UInt64 {
        withUnsafeTemporaryAllocation(byteCount: receivedOffset + 8, alignment: 8) { info in
            var length = socklen_t(info.count)
            let status = getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, info.baseAddress, &length)
            guard status == 0, Int(length) == info.count else { return 0 }
            return info.load(fromByteOffset: receivedOffset, as: UInt64.self)
        }
    }

    /// Bytes that a socket has received and nobody has read.
    static func unreadBytes(_ descriptor: Int32) -> Int {
        var count: Int32 = 0
        return ioctl(descriptor, UInt(FIONREAD), &count) == 0 ? Int(count) : 0
    }
}
