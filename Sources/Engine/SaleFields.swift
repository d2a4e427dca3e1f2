import Model

/// A sale's state as the fields of its hash.
enum SaleFields {
    /// The fields that ``state(_:from:)`` needs, in its order.
    static let names = [
        "name", "quantity", "price", "limit", "room", "reject", "opens", "closes", "cancelled", "version", "left",
    ]

    /// Definition and window as fields and values, to be appended to a command. What is left, and the counters, are not
    /// among them.
    static func append(_ state: SaleState, to command: inout RedisCommand) {
        let sale = state.sale
        let window = state.window
        for (field, value) in [
            ("name", sale.name), ("quantity", "\(sale.quantity)"), ("price", "\(sale.price)"),
            ("limit", "\(sale.perClientLimit)"), ("reject", "\(sale.rejectPercent)"),
            ("opens", "\(window.opensAt.milliseconds)"), ("closes", "\(window.closesAt.milliseconds)"),
            ("cancelled", window.isCancelled ? "1" : "0"), ("version", "\(window.version)"),
        ] {
            command.append(field)
            command.append(value)
        }
        if let room = sale.room {
            command.append("room")
            command.append(room)
        }
    }

    /// A state from the fields of a hash; nil when it isn't one.
    static func state(_ id: SaleID, from fields: [String: String]) -> SaleState? {
        func number(_ field: String) -> Int64? { fields[field].flatMap { Int64($0) } }
        guard let name = fields["name"], let quantity = number("quantity"), let price = number("price"),
            let limit = number("limit"), let reject = number("reject"), let opens = number("opens"),
            let closes = number("closes"), let cancelled = fields["cancelled"], let version = number("version"),
            let left = number("left")
        else { return nil }
        return SaleState(
            sale: Sale(
                id: id, name: name, quantity: quantity, price: price, perClientLimit: limit, room: fields["room"],
                rejectPercent: reject),
            window: SaleWindow(
                opensAt: Timestamp(milliseconds: opens), closesAt: Timestamp(milliseconds: closes),
                isCancelled: cancelled == "1", version: version),
            remaining: left)
    }
}
