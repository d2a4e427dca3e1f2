import CHiredis
import Model

@testable import Engine

/// What Redis says: by hiredis' reader, and then by ours.
enum RedisParsers {
    private static let sale = SaleID(42)
    private static let performance = PerformanceID(7)

    static func reply(_ bytes: [UInt8]) -> String? {
        // hiredis 0.14 allocates as many elements as are announced: Redis is trusted that far, but not by a fuzzer's machine.
        let announced = bytes.split(separator: UInt8(ascii: "*")).contains { part in
            part.prefix { $0 != 0x0D }.count > 6
        }
        guard !announced, let reply = read(bytes) else { return nil }
        _ = reply.fields
        _ = StreamEntry.order(reply, sale: sale)
        _ = SeatTexts.records(reply, of: performance)
        if let event = SeatTexts.event(reply, of: performance), event.status == .paid { return "a payment in the log" }
        for part in reply.elements {
            if case .integer(let number) = part, part.number != number { return "a number became another" }
            if part.string.map({ Array($0.utf8) }) ?? part.bytes != part.bytes { return "a text became another" }
        }
        guard let written = write(reply) else { return nil }
        return read(written) == reply ? nil : "\(reply) came back as another"
    }

    private static func read(_ bytes: [UInt8]) -> RedisReply? {
        guard let reader = redisReaderCreate() else { return nil }
        defer { redisReaderFree(reader) }
        let fed = bytes.withUnsafeBytes {
            redisReaderFeed(reader, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count)
        }
        var found: UnsafeMutableRawPointer?
        guard fed == REDIS_OK, redisReaderGetReply(reader, &found) == REDIS_OK, let found else { return nil }
        defer { freeReplyObject(found) }
        return RedisReply(copying: found.assumingMemoryBound(to: redisReply.self))
    }

    /// A reply in Redis' protocol; nil for one that has errors, which are texts of one line.
    private static func write(_ reply: RedisReply) -> [UInt8]? {
        func line(_ text: String) -> [UInt8] { Array("\(text)\r\n".utf8) }
        switch reply {
        case .null: return line("$-1")
        case .integer(let number): return line(":\(number)")
        case .string, .bytes: return line("$\(reply.bytes.count)") + reply.bytes + [0x0D, 0x0A]
        case .array(let elements):
            let parts = elements.compactMap(write)
            return parts.count == elements.count ? line("*\(elements.count)") + parts.joined() : nil
        case .error: return nil
        }
    }

    static func texts(_ bytes: [UInt8]) -> String? {
        let text = String(decoding: bytes, as: UTF8.self)
        return first(
            outcome(text), { order(text) }, { seats(text) }, { rooms(text) }, { ranges(text) }, { fields(text) })
    }

    private static func outcome(_ text: String) -> String? {
        guard let outcome = Outcome(encoded: text) else { return nil }
        guard let again = Outcome(encoded: outcome.encoded) else { return "\(outcome) can't be read back" }
        return again == outcome && again.identity == outcome.identity ? nil : "\(outcome) came back as \(again)"
    }

    private static func order(_ text: String) -> String? {
        guard let order = StreamEntry.order(entry: "1-1", text: text, sale: sale) else { return nil }
        return ClientID(order.client.rawValue) == nil ? "no id of a client" : nil
    }

    private static func seats(_ text: String) -> String? {
        if let seats = SeatTexts.seats(text), let again = SeatTexts.seats(SeatTexts.text(seats)), again != seats {
            return "\(seats) came back as \(again)"
        }
        let id = ReservationID(performance: performance, sequence: 1)
        if let record = SeatTexts.record(text, of: id), record.hold.id != id { return "another's record" }
        guard case .changed(_, let tally, let due, let changes) = SeatTexts.message(text) else { return nil }
        _ = (tally, due?.description)
        return changes.contains { $0.range.lowerBound < 1 } ? "a seat below 1" : nil
    }

    private static func rooms(_ text: String) -> String? {
        let room = RoomID.main
        for item in RoomCalls.outcomes(text, room) { _ = item.outcome.encoded }
        _ = RoomStanding(word: text)
        if let event = ClientChannel.event(text), case .away(let room) = event, RoomID(room.rawValue) == nil {
            return "no room: \(room)"
        }
        guard let summary = RoomSummary(text) else { return nil }
        let moment = Timestamp(milliseconds: 1_800_000_000_000)
        for rank in [1, summary.waiting, .max] {
            if let wait = summary.estimatedSeconds(rank: rank, waiting: summary.waiting, at: moment), wait < 0 {
                return "a wait of \(wait) s"
            }
        }
        _ = summary.admissionsPerSecond(at: moment)
        return nil
    }

    private static func ranges(_ text: String) -> String? {
        guard let ranges = NumberRanges.parse(text) else { return nil }
        let numbers = ranges.flatMap { $0.prefix(100) }.prefix(1000)
        let sorted = Set(numbers).sorted()
        let again = NumberRanges.parse(NumberRanges.encode(sorted))?.flatMap { Array($0) }
        return again == sorted ? nil : "the numbers of \(text) came back others"
    }

    /// A hash, as lines of `name=value`.
    private static func fields(_ text: String) -> String? {
        let pairs = text.split(separator: "\n").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        let fields = Dictionary(pairs.filter { $0.count == 2 }.map { ($0[0], $0[1]) }) { $1 }
        guard let state = SaleFields.state(sale, from: fields) else { return nil }
        return state.sale.name == fields["name"] ? nil : "another name"
    }
}
