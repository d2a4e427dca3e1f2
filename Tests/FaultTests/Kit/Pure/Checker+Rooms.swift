/// Waiting rooms.
extension Checker {
    /// From a client's first `join` to its pass.
    struct Wait {
        let client: String
        /// When it sent `join`.
        let joining: Int64
        /// When `joined` came: from then on it has its place.
        let joined: Int64
        /// When it was admitted, by the clock that decides.
        let admitted: Int64
    }

    /// Who had its place before another asked for one was admitted before it (I6).
    ///
    /// When somebody was admitted follows from the end of its pass: frames may be late, that is not.
    mutating func checkLines() {
        guard !promises.redisLostData || promises.lineOutlivesLoss else { return }
        for room in offer.rooms {
            let all = journals.flatMap { self.waits(of: $0, in: room) }
            let byJoined = all.sorted { $0.joined < $1.joined }
            var latest: Wait?
            var next = 0
            for wait in all.sorted(by: { $0.joining < $1.joining }) {
                while next < byJoined.count, byJoined[next].joined < wait.joining {
                    if byJoined[next].admitted > latest?.admitted ?? .min { latest = byJoined[next] }
                    next += 1
                }
                guard let before = latest, before.admitted > wait.admitted, before.client != wait.client else {
                    continue
                }
                found(
                    "I6 order",
                    "\(wait.client) joined \(room.id) at \(wait.joining) and was admitted at \(wait.admitted); "
                        + "\(before.client) had its place at \(before.joined) and was admitted at \(before.admitted)")
            }
        }
    }

    private func waits(of journal: ClientJournal, in room: Offer.Room) -> [Wait] {
        var waits: [Wait] = []
        var joining: Int64?
        var joined: Int64?
        var passes: Set<String> = []
        for note in journal.notes {
            switch note.event {
            case .joining(room.id): if joining == nil { joining = note.at }
            case .joined(room.id): if joined == nil { joined = note.at }
            case .leaving(room.id), .left(room.id, _), .expired(room.id, _):
                joining = nil
                joined = nil
            case .admitted(room.id, let pass, let expires):
                guard passes.insert(pass).inserted else { continue }
                if let began = joining {
                    // Who was admitted at once had its place when it was.
                    let at = expires - room.passSeconds * 1000
                    waits.append(Wait(client: journal.client, joining: began, joined: joined ?? note.at, admitted: at))
                }
                joining = nil
                joined = nil
            default: break
            }
        }
        return waits
    }

    /// Never more than the room's limit are admitted (I7): by looks at Redis, and by the passes that clients had and had
    /// not used yet.
    mutating func checkAdmitted() {
        for room in offer.rooms {
            // A Redis that has lost that a pass was spent counts it until its time is over (docs/redis-loss.md).
            if let most = facts.mostAdmitted[room.id], most > room.maxActive, !promises.redisLostData {
                found("I7 admitted", "\(most) were admitted to \(room.id) at once, which lets \(room.maxActive) in")
            }
            guard !promises.redisLostData || promises.lineOutlivesLoss else { continue }
            var changes: [(at: Int64, by: Int)] = []
            for journal in journals {
                for (from, to) in admissions(of: journal, to: room) where from < to {
                    changes.append((from, 1))
                    changes.append((to, -1))
                }
            }
            changes.sort { ($0.at, $0.by) < ($1.at, $1.by) }
            var now = 0
            var most = (count: 0, at: Int64(0))
            for change in changes {
                now += change.by
                if now > most.count { most = (now, change.at) }
            }
            if most.count > room.maxActive {
                found(
                    "I7 passes",
                    "\(most.count) had unused passes of \(room.id) at \(most.at); it lets \(room.maxActive) in")
            }
        }
    }

    /// While a client's pass was certainly good: from its beginning until it was first shown, given back, or over.
    private func admissions(of journal: ClientJournal, to room: Offer.Room) -> [(from: Int64, to: Int64)] {
        var open: [String: (from: Int64, to: Int64)] = [:]
        var closed: [(from: Int64, to: Int64)] = []
        var seen: Set<String> = []
        func end(_ pass: String, _ at: Int64) {
            guard let interval = open.removeValue(forKey: pass) else { return }
            closed.append((interval.from, min(interval.to, at)))
        }
        for note in journal.notes {
            switch note.event {
            case .admitted(room.id, let pass, let expires) where seen.insert(pass).inserted:
                // An earlier pass that is replaced by a new one is over.
                for pass in Array(open.keys) { end(pass, expires - room.passSeconds * 1000) }
                open[pass] = (expires - room.passSeconds * 1000, expires)
            case .claimed(_, _, let pass?): end(pass, note.at)
            case .leaving(room.id), .left(room.id, _), .paying: for pass in Array(open.keys) { end(pass, note.at) }
            default: break
            }
        }
        let last = journal.notes.last?.at ?? 0
        for pass in Array(open.keys) { end(pass, last) }
        return closed
    }
}
