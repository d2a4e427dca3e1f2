/// The hash slot of a key in a Redis Cluster: CRC16 of the key, or of its hash tag, modulo 16,384.
///
/// Source: the Redis Cluster specification, "Key distribution model" and appendix A.
struct HashSlot: Hashable, Sendable {
    /// 0…16383.
    let rawValue: UInt16

    /// The slot of a key. Only what is between the first `{` and the first `}` after it counts, when there is
    /// something.
    init(of key: some StringProtocol) {
        let bytes = Array(key.utf8)
        var hashed = bytes[...]
        if let open = bytes.firstIndex(of: UInt8(ascii: "{")),
            let close = bytes[(open + 1)...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
        {
            hashed = bytes[(open + 1)..<close]
        }
        rawValue = HashSlot.crc16(hashed) % 16384
    }

    /// CRC16/XMODEM: polynomial 0x1021, start 0, nothing reflected.
    static func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
        var crc: UInt16 = 0
        for byte in bytes {
            crc ^= UInt16(byte) << 8
            for _ in 0..<8 { crc = crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021 }
        }
        return crc
    }
}
