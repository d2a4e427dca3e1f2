import Model

/// Checks of single fields that an admin gives. Each throws `invalid`, naming the field.
enum FieldCheck {
    /// A whole number within a range.
    static func number(_ field: String, _ value: Int64, _ range: ClosedRange<Int64>) throws(WireError) -> Int64 {
        guard range.contains(value) else {
            throw WireError(.invalid, "\(field): \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// A moment that PostgreSQL and RFC 3339 can bear.
    static func moment(_ field: String, _ text: String) throws(WireError) -> Timestamp {
        guard let moment = Timestamp(rfc3339: text), moment >= Timestamp(milliseconds: 946_684_800_000) else {
            throw WireError(.invalid, "\(field): a moment by RFC 3339 from the year 2000 on, as 2026-11-20T12:00:00Z")
        }
        return moment
    }

    /// A name that people read.
    static func name(_ field: String, _ text: String) throws(WireError) -> String {
        guard (1...200).contains(text.unicodeScalars.count),
            text.unicodeScalars.contains(where: { !$0.properties.isWhitespace }),
            !text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else {
            throw WireError(.invalid, "\(field): 1 to 200 characters, not only spaces, no control characters")
        }
        return text
    }
}
