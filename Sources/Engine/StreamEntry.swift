import Model

/// The entries of a sale's stream.
enum StreamEntry {
    /// An order from its entry: `sequence client ticket slot acceptedAtMs epoch [key]`; nil when it isn't one.
    static func order(entry: String, text: String, sale: SaleID) -> AcceptedOrder? {
        let parts = text.words
        guard parts.count == 6 || parts.count == 7, let sequence = Int64(parts[0]),
            let client = ClientID(String(parts[1])), let ticket = Int64(parts[2]), let slot = Int64(parts[3]),
            let at = Int64(parts[4]), let epoch = Int64(parts[5])
        else { return nil }
        return AcceptedOrder(
            entry: entry, order: OrderID(sale: sale, sequence: sequence), client: client, ticket: ticket, slot: slot,
            acceptedAt: Timestamp(milliseconds: at), epoch: epoch,
            key: parts.count == 7 ? IdempotencyKey(String(parts[6])) : nil)
    }

    /// An order from an entry as XREADGROUP and XAUTOCLAIM give it: `[id, [field, value]]`; nil for one that was
    /// deleted or isn't an order.
    static func order(_ reply: RedisReply, sale: SaleID) -> AcceptedOrder? {
        let parts = reply.elements
        guard parts.count == 2, let entry = parts[0].string, parts[1].elements.count >= 2,
            let text = parts[1].elements[1].string
        else { return nil }
        return order(entry: entry, text: text, sale: sale)
    }
}
