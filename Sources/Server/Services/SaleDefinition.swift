import Model

/// What an admin asks to have registered, checked.
struct SaleDefinition {
    let name: String
    let quantity: Int64
    let opensAt: Timestamp
    let closesAt: Timestamp
    let price: Int64
    let perClientLimit: Int64
    let room: RoomID?
    let rejectPercent: Int64

    static let maxQuantity: Int64 = 10_000_000
    static let maxPoints: Int64 = 1_000_000_000_000

    /// - Throws: `invalid`, naming the field.
    init(_ body: RegisterSaleBody) throws(WireError) {
        name = body.name
        guard (1...200).contains(name.unicodeScalars.count),
            name.unicodeScalars.contains(where: { !$0.properties.isWhitespace }),
            !name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else { throw WireError(.invalid, "name: 1 to 200 characters, not only spaces, no control characters") }
        quantity = try Self.check("quantity", body.quantity.value, 1...Self.maxQuantity)
        price = try Self.check("price", body.price?.value ?? 0, 0...Self.maxPoints)
        perClientLimit = try Self.check("perClientLimit", body.perClientLimit?.value ?? 1, 1...1000)
        rejectPercent = try Self.check("rejectPercent", body.rejectPercent?.value ?? 0, 0...100)
        opensAt = try Self.moment("opensAt", body.opensAt)
        closesAt = try Self.moment("closesAt", body.closesAt)
        guard opensAt < closesAt else { throw WireError(.invalid, "closesAt: must be after opensAt") }
        // Whether there is such a room is known by PostgreSQL.
        room = try body.room?.room("room")
    }

    private static func check(
        _ field: String, _ value: Int64, _ range: ClosedRange<Int64>
    ) throws(WireError) -> Int64 {
        guard range.contains(value) else {
            throw WireError(.invalid, "\(field): \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    private static func moment(_ field: String, _ text: String) throws(WireError) -> Timestamp {
        guard let moment = Timestamp(rfc3339: text), moment >= Timestamp(milliseconds: 946_684_800_000) else {
            throw WireError(.invalid, "\(field): a moment by RFC 3339 from the year 2000 on, as 2026-11-20T12:00:00Z")
        }
        return moment
    }
}
