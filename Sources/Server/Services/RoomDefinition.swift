import Model

extension RoomLimits {
    /// Takes over what an admin asks for, checked.
    /// - Throws: `invalid`, naming the field.
    mutating func apply(_ body: RoomLimitsBody) throws(WireError) {
        if let value = body.maxActive { maxActive = try FieldCheck.number("maxActive", value.value, 0...10_000_000) }
        if let value = body.passSeconds { passSeconds = try FieldCheck.number("passSeconds", value.value, 1...604_800) }
        if let value = body.graceSeconds {
            graceSeconds = try FieldCheck.number("graceSeconds", value.value, 1...86_400)
        }
        switch body.admitPerMinute {
        case .absent: break
        case .null: admitPerMinute = nil
        case .value(let value):
            admitPerMinute = try FieldCheck.number("admitPerMinute", value.value, 1...10_000_000)
        }
        if let text = body.ordering {
            guard let ordering = RoomOrdering(rawValue: text) else {
                throw WireError(.invalid, "ordering: fifo, random, passthrough or reject")
            }
            self.ordering = ordering
        }
    }
}
