import EventLoop
import TestServices
import Testing

/// Reads along whatever Redis does with one room, by `MONITOR`, and so knows who had which number, and every rank after
/// every change of the line. It computes them as simply as it can be done, and shares nothing with the server.
@LoopActor
final class LineWitness {
    /// The line after one change.
    struct Change {
        let event, head, next, waiting, active, maxActive: Int64
        /// When, by Redis' clock.
        let moment: Int64
    }

    /// A pass that was given.
    struct Admission {
        let client: String
        let number: Int64
        let pass: String
    }

    private(set) var changes: [Int64: Change] = [:]
    private(set) var admissions: [Admission] = []
    /// The last change.
    private(set) var event: Int64 = 0
    /// The number of the change that let a number go out of turn.
    private var departures: [Int64: Int64] = [:]
    /// The numbers of each client, each with the change that gave it.
    private var numbers: [String: [(number: Int64, event: Int64)]] = [:]
    private var joining: [(client: String, number: Int64)] = []
    private var passes: Set<String> = []
    private var program: Program?
    private let prefix: String

    /// Begins to watch a room in which nobody has joined yet.
    static func watch(_ room: String, of shop: Shop) async throws -> LineWitness {
        let witness = LineWitness(room)
        let program = try Program("/usr/bin/redis-cli", ["-s", shop.redis.socketPath, "monitor"]) { [weak witness] in
            witness?.heard($0)
        }
        try await program.output.first("MONITOR's OK") { $0 == "OK" }
        witness.program = program
        return witness
    }

    private init(_ room: String) { prefix = "dibs:{room:\(room)}:" }

    /// Ends.
    func stop() { program?.signal(9) }

    /// The exact rank of a client after a change; nil when it didn't wait then.
    func rank(of client: String, at event: Int64) -> Int64? {
        guard let change = changes[event], let number = numbers[client]?.last(where: { $0.event <= event })?.number,
            number > change.head, number <= change.next
        else { return nil }
        func isGone(_ number: Int64) -> Bool { (departures[number] ?? .max) <= event }
        guard !isGone(number) else { return nil }
        return 1 + Int64((change.head + 1..<number).filter { !isGone($0) }.count)
    }

    /// Every rank that a client had from one moment to another.
    func ranks(of client: String, from first: Int64, to last: Int64) -> Set<Int64?> {
        let before = changes.values.filter { $0.moment < first }.map(\.event).max()
        let during = changes.values.filter { $0.moment >= first && $0.moment <= last }.map(\.event)
        return Set(([before].compactMap { $0 } + during).map { rank(of: client, at: $0) })
    }

    /// Waits until it has seen a change.
    func sees(_ event: Int64) async throws {
        try await eventually("change \(event) of \(prefix), of \(self.event)") { self.event >= event }
    }

    /// Whether a pass is of an earlier stay than the place that its client was told of. An outcome is told late where it
    /// can't be told at once, but told: also when the client, which did not know of the pass, has left since, and waits
    /// anew. Such a pass says nothing of the place that it has now.
    func isLate(_ admitted: JSON, _ client: String, placeToldAt event: Int64) -> Bool {
        guard let pass = admissions.first(where: { $0.client == client && $0.pass == admitted["token"].text }),
            let number = numbers[client]?.last(where: { $0.event <= event })?.number
        else { return false }
        return pass.number < number
    }

    /// What a client was told last of its place; nil when it no longer waits.
    func place(of buyer: Buyer, _ room: String) -> JSON? {
        var last: JSON?
        for frame in buyer.heard where frame["room"] == .text(room) {
            switch frame["type"].text {
            case "joined", "rank": last = frame
            case "admitted":
                if let told = last, isLate(frame, buyer.client, placeToldAt: told["seq"].integer ?? 0) { continue }
                last = nil
            case "left": last = nil
            default: break
            }
        }
        return last
    }

    /// Compares whatever a client was told of its place with what was true.
    /// - Returns: how many frames that were.
    func check(_ buyer: Buyer, _ room: String, at place: SourceLocation = #_sourceLocation) -> Int {
        var count = 0
        // Since when it waits, as of the last `joined`; nil when it doesn't.
        var (lastPushed, joinedAt): (Int64, Int64?) = (0, nil)
        let heard = buyer.heard.filter { $0["room"] == .text(room) }
        for (index, frame) in heard.enumerated() {
            let (type, seq) = (frame["type"].text ?? "", frame["seq"].integer ?? -1)
            switch type {
            case "joined": joinedAt = seq
            case "admitted":
                if let told = joinedAt, !isLate(frame, buyer.client, placeToldAt: told) { joinedAt = nil }
            case "left": joinedAt = nil
            case "rank":
                #expect(
                    joinedAt != nil, "\(buyer.client) does not wait: \(heard[...index].suffix(8))",
                    sourceLocation: place)
                #expect(seq >= lastPushed, "\(buyer.client) goes back: \(frame)", sourceLocation: place)
                lastPushed = seq
            default: break
            }
            guard type == "joined" || type == "rank" else { continue }
            count += 1
            let exact = rank(of: buyer.client, at: seq)
            #expect(
                exact != nil && frame["rank"].integer == exact && frame["waiting"].integer == changes[seq]?.waiting,
                "\(buyer.client): \(frame), exactly \(exact ?? 0) of \(changes[seq]?.waiting ?? 0)",
                sourceLocation: place)
        }
        return count
    }

    // MARK: MONITOR

    /// A line like `1700000000.123456 [0 lua] "HSET" "dibs:{room:x}:members" "ada" "17"`.
    private func heard(_ line: String) {
        guard let bracket = line.utf8.prefix(160).firstIndex(of: UInt8(ascii: "]")) else { return }
        let command = line[bracket...].utf8.dropFirst(2)
        func words(_ name: String, _ key: String) -> [Substring]? {
            let start = "\"\(name)\" \"\(prefix)\(key)"
            guard command.starts(with: start.utf8) else { return nil }
            return String(decoding: command.dropFirst().dropLast(), as: UTF8.self).split(separator: "\" \"")
        }
        if let words = words("HSET", "members\"") {
            for index in stride(from: 2, to: words.count - 1, by: 2) {
                joining.append((String(words[index]), Int64(words[index + 1]) ?? 0))
            }
        } else if let words = words("HSET", "passes\"") {
            for index in stride(from: 2, to: words.count - 1, by: 2) {
                let client = String(words[index])
                let pass = String(words[index + 1].prefix { $0 != " " })
                // Else it was only seen to be used.
                guard passes.insert(pass).inserted else { continue }
                let number = joining.last { $0.client == client }?.number ?? numbers[client]?.last?.number ?? 0
                admissions.append(Admission(client: client, number: number, pass: pass))
            }
        } else if let words = words("PUBLISH", ""), words.count == 3 {
            published(words[2])
        }
    }

    /// `c event head next waiting active due now … max minute grace flags|left`.
    private func published(_ message: Substring) {
        let parts = message.split(separator: "|", omittingEmptySubsequences: false)
        let words = parts[0].split(separator: " ").map { Int64($0) ?? 0 }
        guard words.count >= 16 else { return }
        event = words[1]
        changes[event] = Change(
            event: event, head: words[2], next: words[3], waiting: words[4], active: words[5], maxActive: words[13],
            moment: words[7])
        for (client, number) in joining { numbers[client, default: []].append((number, event)) }
        joining = []
        for range in parts[1].split(separator: ",") {
            let ends = range.split(separator: "-").compactMap { Int64($0) }
            guard let first = ends.first, let last = ends.last else { continue }
            for number in first...last { departures[number] = event }
        }
    }
}
