/// How far a run is; parts send it, the whole adds up.
struct Progress: Equatable, Sendable, Codable {
    var connected = 0
    var claimed = 0
    var decided = 0
    var accepted = 0
    var settled = 0
    var confirmed = 0
    var watched = 0
    /// Clients that have or had a place in the line, or need none.
    var inLine = 0
    /// Those of them that wait no more, for whatever reason.
    var throughLine = 0
    var admitted = 0

    init() {}

    init(_ tally: Tally) {
        connected = tally.connected
        claimed = tally.claims
        decided = tally.decided
        accepted = tally.outcomes["accepted"] ?? 0
        settled = tally.settled
        confirmed = tally.confirmed
        watched = tally.watched
        let line = tally.line
        inLine = line.joined + line.rejected
        admitted = line.admitted
        throughLine = line.admitted + line.rejected + line.left + line.vanished + line.missed
        throughLine += line.dismissed.values.reduce(0, +)
    }

    mutating func add(_ other: Progress) {
        connected += other.connected
        claimed += other.claimed
        decided += other.decided
        accepted += other.accepted
        settled += other.settled
        confirmed += other.confirmed
        watched += other.watched
        inLine += other.inLine
        throughLine += other.throughLine
        admitted += other.admitted
    }
}

extension Progress {
    /// One line for people.
    /// - Parameters:
    ///   - buyersInLine: How many go through a waiting room, or will.
    ///   - bar: How many columns the bar takes; 0 leaves it out.
    func line(clients: Int, claims: Int, buyersInLine: Int = 0, bar: Int) -> String {
        let isInLine = buyersInLine > 0 && inLine > 0
        let isClaiming = claimed > 0
        let (done, all) =
            isInLine
            ? (throughLine, buyersInLine)
            : isClaiming ? (decided + settled, claims + accepted) : (connected, clients)
        var text = ""
        if bar > 0 {
            let filled = all == 0 ? bar : min(bar, done * bar / all)
            text += "▕" + String(repeating: "█", count: filled) + String(repeating: "·", count: bar - filled) + "▏ "
        }
        text += "connected \(grouped(connected))/\(grouped(clients))"
        if isInLine {
            text += "  waiting \(grouped(max(0, inLine - throughLine)))  admitted \(grouped(admitted))"
        }
        if isClaiming {
            text += "  decided \(grouped(decided))/\(grouped(isInLine ? claimed : claims))"
            text += "  confirmed \(grouped(confirmed))/\(grouped(accepted))"
        }
        if watched > 0 { text += "  watched \(grouped(watched))" }
        return text
    }
}
