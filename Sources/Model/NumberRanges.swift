/// Ranges of positive numbers as text: `5-9,12,20-31`; the empty text is none.
public enum NumberRanges {
    /// The ranges, in the order of the text; nil when it is malformed or a range is upside down.
    public static func parse(_ text: some StringProtocol) -> [ClosedRange<Int64>]? {
        var ranges: [ClosedRange<Int64>] = []
        var lower: Int64?
        // Zero is "no digit yet": no number begins with one.
        var number: Int64 = 0
        func range() -> ClosedRange<Int64>? {
            guard number > 0, number >= lower ?? number else { return nil }
            return (lower ?? number)...number
        }
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                guard number > 0 || byte != UInt8(ascii: "0") else { return nil }
                number = number * 10 + Int64(byte - UInt8(ascii: "0"))
                guard number < 1 << 53 else { return nil }
            case UInt8(ascii: "-"):
                guard number > 0, lower == nil else { return nil }
                (lower, number) = (number, 0)
            case UInt8(ascii: ","):
                guard let range = range() else { return nil }
                ranges.append(range)
                (lower, number) = (nil, 0)
            default: return nil
            }
        }
        guard !text.isEmpty else { return [] }
        guard let range = range() else { return nil }
        return ranges + [range]
    }

    /// The text of numbers that are in ascending order.
    public static func encode(_ numbers: [Int64]) -> String {
        var text = ""
        var start = 0
        for index in numbers.indices {
            if index + 1 < numbers.count, numbers[index + 1] - numbers[index] <= 1 { continue }
            if !text.isEmpty { text += "," }
            text += String(numbers[start])
            if numbers[index] > numbers[start] { text += "-\(numbers[index])" }
            start = index + 1
        }
        return text
    }
}
