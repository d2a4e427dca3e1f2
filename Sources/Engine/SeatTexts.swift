import Model

/// How Redis writes reservations down: its functions and these agree.
enum SeatTexts {
    /// A record from its text: `status client held expires price paying seats`; nil when it isn't one.
    static func record(_ text: String, of id: ReservationID) -> HoldRecord? {
        let parts = text.split(separator: " ")
        guard parts.count == 7, let held = Int64(parts[2]), let expires = Int64(parts[3]),
            let price = Int64(parts[4]), let paying = Int64(parts[5]), let seats = seats(parts[6])
        else { return nil }
        let hold = Hold(
            id: id, client: ClientID(trusted: String(parts[1])), seats: seats, price: price,
            heldAt: Timestamp(milliseconds: held), expiresAt: Timestamp(milliseconds: expires),
            epoch: SaleEpoch.of(id.sequence))
        return HoldRecord(hold: hold, isSold: parts[0] == "s", paymentsUnderWay: paying)
    }

    /// The text of a reservation that has its seats.
    static func record(_ reservation: Reservation) -> String {
        "\(reservation.status == .paid ? "s" : "h") \(reservation.client) \(reservation.heldAt.milliseconds) "
            + "\(reservation.expiresAt.milliseconds) \(reservation.price) 0 \(text(reservation.seats))"
    }

    /// Records from a list of sequences and texts in turns.
    static func records(_ reply: RedisReply, of performance: PerformanceID) -> [HoldRecord] {
        let parts = reply.elements
        return stride(from: 0, to: parts.count - 1, by: 2).compactMap { index in
            guard let sequence = parts[index].number, let text = parts[index + 1].string else { return nil }
            return record(text, of: ReservationID(performance: performance, sequence: sequence))
        }
    }

    /// An entry of the log: `status seq client held expires price epoch seats`; nil when it isn't one.
    static func event(_ reply: RedisReply, of performance: PerformanceID) -> ReservationEvent? {
        let parts = reply.elements
        guard parts.count == 2, let entry = parts[0].string, parts[1].elements.count >= 2,
            let words = parts[1].elements[1].string?.words, words.count == 8,
            let status = ReservationStatus(letter: words[0]), status != .paid, let sequence = Int64(words[1]),
            let client = ClientID(String(words[2])), let held = Int64(words[3]), let expires = Int64(words[4]),
            let price = Int64(words[5]), let epoch = Int64(words[6]), let seats = seats(words[7])
        else { return nil }
        let hold = Hold(
            id: ReservationID(performance: performance, sequence: sequence), client: client, seats: seats, price: price,
            heldAt: Timestamp(milliseconds: held), expiresAt: Timestamp(milliseconds: expires), epoch: epoch)
        return ReservationEvent(entry: entry, hold: hold, status: status)
    }

    /// A message of a performance's channel: `event free held sold due|changes`, changes words like `f1-3,7`; nil when
    /// it isn't one.
    static func message(_ text: String) -> SeatsEvent? {
        let parts = text.split(separator: "|", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let numbers = parts[0].split(separator: " ").compactMap { Int64($0) }
        guard numbers.count == 5 else { return nil }
        var changes: [(range: ClosedRange<Int64>, status: SeatStatus)] = []
        for word in parts[1].split(separator: " ") {
            guard let letter = word.utf8.first, let status = SeatStatus(letter: letter),
                let ranges = NumberRanges.parse(word.dropFirst())
            else { return nil }
            changes += ranges.map { ($0, status) }
        }
        return .changed(
            event: numbers[0], tally: SeatTally(free: numbers[1], held: numbers[2], sold: numbers[3]),
            due: moment(numbers[4]), changes: changes)
    }

    /// A moment in milliseconds; nil for 0.
    static func moment(_ milliseconds: Int64?) -> Timestamp? {
        guard let milliseconds, milliseconds != 0 else { return nil }
        return Timestamp(milliseconds: milliseconds)
    }

    /// `1,2,3`; nil when it isn't such a list.
    static func seats(_ text: some StringProtocol) -> [Int64]? {
        let words = text.split(separator: ",")
        let seats = words.compactMap { Int64($0) }
        return seats.count == words.count ? seats : nil
    }

    /// `1,2,3`.
    static func text(_ seats: [Int64]) -> String { seats.map(String.init).joined(separator: ",") }
}
