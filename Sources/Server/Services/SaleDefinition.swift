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
        name = try FieldCheck.name("name", body.name)
        quantity = try FieldCheck.number("quantity", body.quantity.value, 1...Self.maxQuantity)
        price = try FieldCheck.number("price", body.price?.value ?? 0, 0...Self.maxPoints)
        perClientLimit = try FieldCheck.number("perClientLimit", body.perClientLimit?.value ?? 1, 1...1000)
        rejectPercent = try FieldCheck.number("rejectPercent", body.rejectPercent?.value ?? 0, 0...100)
        opensAt = try FieldCheck.moment("opensAt", body.opensAt)
        closesAt = try FieldCheck.moment("closesAt", body.closesAt)
        guard opensAt < closesAt else { throw WireError(.invalid, "closesAt: must be after opensAt") }
        // Whether there is such a room is known by PostgreSQL.
        room = try body.room?.room("room")
    }
}
