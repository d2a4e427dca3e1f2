import Model

/// What the server sends about seats. What may be long, or goes to many, is written in pieces that are shared.
extension ServerFrame {
    /// Seats that a client holds from now on.
    static func held(_ hold: Hold, id: MessageID?) -> [UInt8] {
        frame("held", id: id) { json in
            json.member("reservationId", hold.id.description)
            json.member("performance", hold.id.performance.rawValue)
            json.member("seats") { $0.numbers(hold.seats) }
            json.member("expiresAt", hold.expiresAt)
            json.member("price", hold.price)
        }
    }

    /// The answer to an `unwatch`.
    static func unwatched(
        _ performance: PerformanceID, _ tally: SeatTally, event: Int64, id: MessageID?
    ) -> [UInt8] {
        frame("seats", id: id) { json in
            json.member("performance", performance.rawValue)
            json.member("seq", event)
            json.member("remaining", tally.free)
            json.member("held", tally.held)
            json.member("sold", tally.sold)
            json.member("changes") { $0.numbers([]) }
        }
    }

    /// The beginning of the answer to a `watch`, without its end: ``seatsBody(_:_:isCompact:)`` follows.
    static func seatsHead(id: MessageID?) -> [UInt8] {
        frame("seats", id: id) { _ in }.dropLast()
    }

    /// Every seat's status, as the members that follow the head: `changes` with all seats, or, compact, `letters`.
    static func seatsBody(_ performance: PerformanceID, _ picture: SeatPicture, isCompact: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(200 + picture.letters.count * (isCompact ? 1 : 36))
        bytes.append(UInt8(ascii: ","))
        bytes += members(performance, picture).dropFirst().dropLast()
        if isCompact {
            bytes += ",\"letters\":\"".utf8
            bytes += picture.letters
            bytes.append(UInt8(ascii: "\""))
        } else {
            append(1...max(1, picture.letters.count), picture, to: &bytes)
        }
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    /// The seats that changed.
    static func seatsChanged(_ performance: PerformanceID, _ picture: SeatPicture, _ seats: [Int]) -> [UInt8] {
        var bytes = seatsHead(id: nil)
        bytes.append(UInt8(ascii: ","))
        bytes += members(performance, picture).dropFirst().dropLast()
        append(seats, picture, to: &bytes)
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    private static func members(_ performance: PerformanceID, _ picture: SeatPicture) -> [UInt8] {
        var json = JSONWriter(capacity: 128)
        json.object { json in
            json.member("performance", performance.rawValue)
            json.member("seq", picture.event)
            json.member("remaining", picture.tally.free)
            json.member("held", picture.tally.held)
            json.member("sold", picture.tally.sold)
        }
        return json.bytes
    }

    private static func append(_ seats: some Sequence<Int>, _ picture: SeatPicture, to bytes: inout [UInt8]) {
        bytes += ",\"changes\":[".utf8
        var isFirst = true
        for seat in seats where seat <= picture.letters.count {
            bytes += (isFirst ? "{\"seatId\":" : ",{\"seatId\":").utf8
            isFirst = false
            appendDecimal(seat, to: &bytes)
            bytes += ",\"status\":\"".utf8
            bytes += (SeatStatus(letter: picture.letters[seat - 1]) ?? .free).rawValue.utf8
            bytes += "\"}".utf8
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private static func appendDecimal(_ number: Int, to bytes: inout [UInt8]) {
        if number >= 10 { appendDecimal(number / 10, to: &bytes) }
        bytes.append(UInt8(ascii: "0") + UInt8(number % 10))
    }
}

extension JSONWriter {
    /// An array of whole numbers.
    mutating func numbers(_ numbers: [Int64]) {
        array { json in for number in numbers { json.number(number) } }
    }
}
