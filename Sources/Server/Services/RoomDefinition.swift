import Model

extension RoomLimits {
    /// Takes over what an admin asks for, checked.
    /// - Throws: `invalid`, naming the field.
    mutating func apply(_ body: RoomLimitsBody) throws(WireError) {
        if let value = body.maxActive { maxActive = try Self.check("maxActive", value.value, 0...10_000_000) }
        if let value = body.passSeconds { passSeconds = try Self.check("passSeconds", value.value, 1...604_800) }
        if let value = body.graceSeconds { graceSeconds = try Self.check("graceSeconds", value.value, 1...86_400) }
        switch body.admitPerMinute {
        case .absent: break
        case .null: admitPerMinute = nil
        case .value(let value):
            admitPerMinute = try Self.check("admitPerMinute", value.value, 1...10_000_000)
        }
        if let text = body.ordering {
            guard let ordering = RoomOrdering(rawValue: text) else {
                throw WireError(.invalid, "ordering: fifo, random, passthrough or reject")
            }
            self.ordering = ordering
        }
    }

    private static func check(
        _ field: String, _ value: Int64, _ range: ClosedRange<Int64>
    ) throws(WireError) -> Int64 {
        guard range.contains(value) else {
            throw WireError(.invalid, "\(field): \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }
}
