/// Who asks, where proxies stand in between.
enum Forwarding {
    /// The address behind proxies that are trusted: the last one in `X-Forwarded-For` that isn't one of them. What stands
    /// before it is the client's own word, and counts for nothing.
    static func client(
        of peer: PeerAddress, forwardedFor: String?, trusted: [AddressRange]
    ) -> PeerAddress {
        guard !trusted.isEmpty, let forwardedFor else { return peer }
        var client = peer
        for entry in forwardedFor.split(separator: ",", omittingEmptySubsequences: false).reversed() {
            guard trusted.contains(where: { $0.contains(client) }) else { break }
            // What isn't an address can't be told from a lie: then it is the proxy that asks.
            guard let address = PeerAddress(entry) else { break }
            client = address
        }
        return client
    }
}
