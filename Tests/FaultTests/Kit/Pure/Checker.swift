/// Compares what every client was told with what is true. No I/O: journals and facts go in, violations come out.
public struct Checker {
    let offer: Offer
    let journals: [ClientJournal]
    let facts: Facts
    let promises: Promises
    /// What was found.
    private(set) public var violations: [Violation] = []
    /// How many outcomes were looked at.
    private(set) public var outcomes = 0

    /// Checks everything.
    public init(_ offer: Offer, _ journals: [ClientJournal], _ facts: Facts, _ promises: Promises = Promises()) {
        self.offer = offer
        self.journals = journals
        self.facts = facts
        self.promises = promises
        checkEnds()
        checkOffsets()
        checkOrders()
        checkRefusals()
        checkTruths()
        checkStock()
        checkLines()
        checkAdmitted()
        checkReservations()
        checkSeats()
        checkAccounts()
        if facts.drift != 0 {
            found("audit", "the server's own audit says drift \(facts.drift): \(facts.driftDetails)")
        }
    }

    mutating func found(_ rule: String, _ details: String) { violations.append(Violation(rule, details)) }

    /// Everybody learned what it wanted to know (I5).
    private mutating func checkEnds() {
        for journal in journals where !journal.isDone {
            found("no end", "\(journal.client) never learned \(journal.waitedFor)")
        }
    }

    // MARK: offsets

    /// One offset of one data set always means the same; on each connection offsets rise by one, from where the client was
    /// on; and nothing of its log was left out.
    private mutating func checkOffsets() {
        for journal in journals {
            var log = OffsetRules(client: journal.client)
            for note in journal.notes {
                if note.event.outcome != nil { outcomes += 1 }
                if let violation = log.take(note) { violations.append(violation) }
            }
            guard journal.isConnected, let position = journal.position, position.epoch == facts.epoch,
                let last = facts.offsets[journal.client], last > position.offset
            else { continue }
            found("offsets", "\(journal.client) was told up to \(position.offset), and its log went on to \(last)")
        }
    }
}

/// Follows the offsets of one client.
struct OffsetRules {
    private struct Place: Hashable {
        let epoch: String
        let offset: Int64
    }

    let client: String
    private var name: String?
    private var epoch: String?
    private var last: Int64 = 0
    private var meanings: [Place: String] = [:]

    init(client: String) { self.client = client }

    mutating func take(_ note: Note) -> Violation? {
        if case .connected(let epoch, let offset, let recovered) = note.event {
            let name = Epoch.name(of: epoch)
            let run = Epoch.run(of: epoch)
            let before = self.epoch
            defer {
                self.epoch = run
                self.name = name
                last = offset
            }
            guard recovered else { return nil }
            // What it knows is as it was, whichever run of Redis it is.
            if let before, before != run {
                for (place, meaning) in meanings where place.epoch == before && place.offset <= offset {
                    meanings[Place(epoch: run, offset: place.offset)] = meaning
                }
            }
            guard self.name == name else {
                return Violation("offsets", "\(client) was recovered in \(name), and came from \(self.epoch ?? "none")")
            }
            if offset == last { return nil }
            return Violation("offsets", "\(client) had \(last), and was recovered at \(offset) of \(name)")
        }
        guard let outcome = note.event.outcome, let offset = note.offset else { return nil }
        guard let epoch else { return Violation("offsets", "\(client) was told \(outcome) before it was connected") }
        let known = meanings.updateValue(outcome, forKey: Place(epoch: epoch, offset: offset))
        if let known, known != outcome {
            return Violation("offsets", "\(client): offset \(offset) of \(epoch) is \(known), and then \(outcome)")
        }
        if offset <= last {
            // The answer to a question that was asked again, or of what was told before this connection.
            if note.isAnswer { return nil }
            return Violation("offsets", "\(client): offset \(offset) of \(epoch), \(outcome), came again after \(last)")
        }
        defer { last = offset }
        if offset == last + 1 { return nil }
        return Violation("offsets", "\(client): after \(last) came \(offset) of \(epoch): \(outcome)")
    }
}
