import Model

/// What an admin asks to have registered as a date of a concert, checked.
struct PerformanceDefinition {
    let startsAt: Timestamp
    let price: Int64
    let room: RoomID
    let holdSeconds: Int64
    let perClientLimit: Int64?
    let layout: SeatLayout

    private static let sectionLimit = 100
    /// What a reservation can cost at most.
    static let maxPrice = SaleDefinition.maxPoints * Int64(Performance.seatsPerReservation)

    /// - Throws: `invalid`, naming the field.
    init(_ body: RegisterPerformanceBody) throws(WireError) {
        startsAt = try FieldCheck.moment("startsAt", body.startsAt)
        price = try FieldCheck.number("price", body.price.value, 0...SaleDefinition.maxPoints)
        // Whether there is such a room is known by PostgreSQL.
        room = try body.room?.room("room") ?? .main
        holdSeconds = try FieldCheck.number("holdSeconds", body.holdSeconds?.value ?? 300, 1...86_400)
        perClientLimit = try body.perClientLimit.map { number throws(WireError) in
            try FieldCheck.number("perClientLimit", number.value, 1...1000)
        }
        layout = try Self.layout(body.seats)
    }

    private static func layout(_ body: SeatsBody?) throws(WireError) -> SeatLayout {
        switch body {
        case nil: return SeatLayout(numbered: 50)
        case .count(let count):
            return SeatLayout(numbered: try FieldCheck.number("seats", count.value, 1...SeatLayout.limit))
        case .sections(let bodies):
            guard (1...sectionLimit).contains(bodies.count) else {
                throw WireError(.invalid, "seats.sections: 1 to \(sectionLimit)")
            }
            var sections: [SeatLayout.Section] = []
            var count: Int64 = 0
            for body in bodies {
                let section = SeatLayout.Section(
                    name: try FieldCheck.name("seats.sections.name", body.name),
                    rows: try FieldCheck.number("seats.sections.rows", body.rows.value, 1...SeatLayout.limit),
                    seatsPerRow: try FieldCheck.number(
                        "seats.sections.seatsPerRow", body.seatsPerRow.value, 1...SeatLayout.limit))
                count += section.count
                guard count <= SeatLayout.limit else {
                    throw WireError(.invalid, "seats.sections: at most \(SeatLayout.limit) seats together")
                }
                sections.append(section)
            }
            return SeatLayout(sections: sections)
        }
    }
}
