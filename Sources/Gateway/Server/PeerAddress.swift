import Glibc

/// The address at the other end of a connection, in 17 bytes.
public struct PeerAddress: Hashable, Sendable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64
    private let isIPv6: Bool

    /// The prefix of an IPv4 address in IPv6's clothes, `::ffff:0:0/96`, as the low half's upper bits.
    private static let mapped: UInt64 = 0xFFFF

    init(_ address: UnsafePointer<sockaddr_storage>) {
        switch Int32(address.pointee.ss_family) {
        case AF_INET6:
            let bytes = UnsafeRawPointer(address).assumingMemoryBound(to: sockaddr_in6.self).pointee.sin6_addr
            let (high, low) = withUnsafeBytes(of: bytes) { bytes in
                (
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                )
            }
            if high == 0 && low >> 32 == PeerAddress.mapped {
                (self.high, self.low, isIPv6) = (0, low & 0xFFFF_FFFF, false)
            } else {
                (self.high, self.low, isIPv6) = (high, low, true)
            }
        case AF_INET:
            let bytes = UnsafeRawPointer(address).assumingMemoryBound(to: sockaddr_in.self).pointee.sin_addr.s_addr
            (high, low, isIPv6) = (0, UInt64(UInt32(bigEndian: bytes)), false)
        default:
            (high, low, isIPv6) = (0, 0, false)
        }
    }

    /// Whether it is this machine.
    public var isLoopback: Bool { isIPv6 ? high == 0 && low == 1 : low >> 24 == 127 }

    /// The numeric form.
    public var description: String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        if isIPv6 {
            var words = (high.bigEndian, low.bigEndian)
            inet_ntop(AF_INET6, &words, &text, socklen_t(text.count))
        } else {
            var word = UInt32(low).bigEndian
            inet_ntop(AF_INET, &word, &text, socklen_t(text.count))
        }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
