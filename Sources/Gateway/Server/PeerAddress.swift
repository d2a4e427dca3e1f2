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

    private init(high: UInt64, low: UInt64, isIPv6: Bool) { (self.high, self.low, self.isIPv6) = (high, low, isIPv6) }

    /// From its numeric form, which may stand in brackets and have a port, as proxies write it; nil for anything else.
    public init?(_ text: some StringProtocol) {
        var text = text.trimmingSpaces
        // Beyond it C reads nothing.
        guard !text.utf8.contains(0) else { return nil }
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { return nil }
            let behind = text[text.index(after: close)...]
            guard behind.isEmpty || behind.hasPrefix(":") && UInt16(behind.dropFirst()) != nil else { return nil }
            text = String(text[text.index(after: text.startIndex)..<close])
        } else if let colon = text.firstIndex(of: ":"), colon == text.lastIndex(of: ":") {
            guard UInt16(text[text.index(after: colon)...]) != nil else { return nil }
            text = String(text[..<colon])
        }
        var storage = sockaddr_storage()
        let parsed = withUnsafeMutablePointer(to: &storage) { storage in
            let isFour = storage.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
                address.pointee.sin_family = sa_family_t(AF_INET)
                return inet_pton(AF_INET, text, &address.pointee.sin_addr) == 1
            }
            if isFour { return true }
            return storage.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
                address.pointee.sin6_family = sa_family_t(AF_INET6)
                return inet_pton(AF_INET6, text, &address.pointee.sin6_addr) == 1
            }
        }
        guard parsed else { return nil }
        self.init(&storage)
    }

    /// Whom limits take for one: an IPv4 address, or the network of 64 bits that a customer of IPv6 gets at least.
    public var subscriber: PeerAddress { isIPv6 ? PeerAddress(high: high, low: 0, isIPv6: true) : self }

    /// Whether the first `bits` are the same, and the family is.
    fileprivate func matches(_ other: PeerAddress, bits: Int) -> Bool {
        guard isIPv6 == other.isIPv6 else { return false }
        if !isIPv6 { return bits == 0 || (low ^ other.low) >> UInt64(32 - bits) == 0 }
        let first = min(bits, 64)
        guard first == 0 || (high ^ other.high) >> UInt64(64 - first) == 0 else { return false }
        return bits <= 64 || (low ^ other.low) >> UInt64(128 - bits) == 0
    }

    fileprivate var width: Int { isIPv6 ? 128 : 32 }

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

/// A network: an address and how many of its bits count.
public struct AddressRange: Hashable, Sendable {
    private let address: PeerAddress
    private let bits: Int

    /// From `10.0.0.0/8`, or one address; nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = PeerAddress(parts[0]) else { return nil }
        let bits = parts.count == 2 ? Int(parts[1]) : address.width
        guard let bits, (0...address.width).contains(bits) else { return nil }
        (self.address, self.bits) = (address, bits)
    }

    /// Whether an address lies in it.
    public func contains(_ other: PeerAddress) -> Bool { address.matches(other, bits: bits) }
}
