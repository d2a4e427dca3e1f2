/// How far a run is; parts send it, the whole adds up.
struct Progress: Equatable, Sendable, Codable {
    var connected = 0
    var claimed = 0
    var decided = 0
    var accepted = 0
    var settled = 0
    var confirmed = 0
    var watched = 0

    init() {}

    init(_ tally: Tally) {
        connected = tally.connected
        claimed = tally.claims
        decided = tally.decided
        accepted = tally.outcomes["accepted"] ?? 0
        settled = tally.settled
        confirmed = Int(tally.toConfirmed.count)
        watched = tally.watched
    }

    mutating func add(_ other: Progress) {
        connected += other.connected
        claimed += other.claimed
        decided += other.decided
        accepted += other.accepted
        settled += other.settled
        confirmed += other.confirmed
        watched += other.watched
    }
}

extension Progress {
    /// One line for people.
    /// - Parameters:
    ///   - bar: How many columns the bar takes; 0 leaves it out.
    func line(clients: Int, claims: Int, bar: Int) -> String {
        let isClaiming = claimed > 0
        let (done, all) = isClaiming ? (decided + settled, claims + accepted) : (connected, clients)
        var text = ""
        if bar > 0 {
            let filled = all == 0 ? bar : min(bar, done * bar / all)
            text += "▕" + String(repeating: "█", count: filled) + String(repeating: "·", count: bar - filled) + "▏ "
        }
        text += "connected \(grouped(connected))/\(grouped(clients))"
        if isClaiming {
            text += "  decided \(grouped(decided))/\(grouped(claims))"
            text += "  confirmed \(grouped(confirmed))/\(grouped(accepted))"
        }
        if watched > 0 { text += "  watched \(grouped(watched))" }
        return text
    }
}
