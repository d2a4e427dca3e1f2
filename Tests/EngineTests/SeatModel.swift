import Model

@testable import Engine

/// What a performance must do, in the plainest words: the engine is compared with it.
struct SeatModel {
    struct Record: Equatable {
        let client: String
        let seats: [Int64]
        let heldAt: Int64
        let expiresAt: Int64
        var isSold = false
        var paying: Int64 = 0
        /// When somebody has to look at it; while it is held.
        var look: Int64
    }

    struct Event: Equatable {
        let status: ReservationStatus
        let sequence: Int64
        let client: String
        let seats: [Int64]
    }

    let definition: Performance
    var now: Int64
    private(set) var epoch: Int64 = 1
    private(set) var sequence = SaleEpoch.base(1)
    private(set) var records: [Int64: Record] = [:]
    private(set) var counts: [String: Int64] = [:]
    /// All that was ever logged.
    private(set) var log: [Event] = []
    /// What clients were told by the engine.
    private(set) var told: [String: [Outcome]] = [:]

    init(_ definition: Performance, now: Int64) {
        self.definition = definition
        self.now = now
    }

    var letters: String {
        var letters = Array(repeating: Character("f"), count: Int(definition.layout.count))
        for record in records.values {
            for seat in record.seats { letters[Int(seat) - 1] = record.isSold ? "s" : "h" }
        }
        return String(letters)
    }

    var tally: SeatTally { SeatWatch.tally(Array(letters.utf8)) }
    var due: Int64? { records.values.filter { !$0.isSold }.map(\.look).min() }

    func id(_ sequence: Int64) -> ReservationID { ReservationID(performance: definition.id, sequence: sequence) }

    func hold(_ sequence: Int64, _ record: Record) -> Hold {
        Hold(
            id: id(sequence), client: ClientID(trusted: record.client), seats: record.seats,
            price: definition.price * Int64(record.seats.count), heldAt: Timestamp(milliseconds: record.heldAt),
            expiresAt: Timestamp(milliseconds: record.expiresAt), epoch: SaleEpoch.of(sequence))
    }

    private mutating func count(_ name: String) { counts[name, default: 0] += 1 }

    private mutating func end(_ sequence: Int64, _ status: ReservationStatus) {
        let record = records.removeValue(forKey: sequence)!
        log.append(Event(status: status, sequence: sequence, client: record.client, seats: record.seats))
        told[record.client, default: []].append(.reservation(id(sequence), status))
        count(status.rawValue)
    }

    /// Ends what is over; those that PostgreSQL has to close, by when they had to be looked at.
    @discardableResult
    private mutating func sweep() -> [Int64] {
        // Of those of one moment, Redis has the order of text.
        let due = records.filter { !$0.value.isSold && $0.value.look <= now }
            .sorted { ($0.value.look, "\($0.key)") < ($1.value.look, "\($1.key)") }.map(\.key)
        for sequence in due where records[sequence]!.paying == 0 { end(sequence, .expired) }
        return due.filter { records[$0] != nil }
    }

    /// Decides the holds of one call. Which seats are named as taken is not said, only that there are some.
    mutating func hold(_ wishes: [SeatWish]) -> [HoldDecision] {
        sweep()
        return wishes.map { wish in
            let mine = records.filter { $0.value.client == wish.client }
            if let (sequence, same) = mine.first(where: { $0.value.seats == wish.seats && !$0.value.isSold }) {
                return .repeated(hold(sequence, same))
            }
            count("requests")
            let all = Set(records.values.flatMap(\.seats))
            let taken = wish.seats.filter { all.contains($0) }
            if !taken.isEmpty {
                count("refused:seat_taken")
                return .taken(taken)
            }
            if let limit = definition.perClientLimit,
                mine.values.reduce(wish.seats.count, { $0 + $1.seats.count }) > limit
            {
                count("refused:duplicate")
                return .overLimit
            }
            sequence += 1
            let expires = now + definition.holdSeconds * 1000
            let record = Record(
                client: wish.client, seats: wish.seats, heldAt: now, expiresAt: expires, look: expires)
            records[sequence] = record
            log.append(Event(status: .held, sequence: sequence, client: wish.client, seats: wish.seats))
            count("held")
            return .held(hold(sequence, record))
        }
    }

    mutating func release(_ sequence: Int64) -> SeatRelease {
        sweep()
        guard let record = records[sequence] else { return .none }
        if record.isSold { return .sold }
        if record.paying > 0 { return .underPayment }
        end(sequence, .released)
        return .released(hold(sequence, record))
    }

    mutating func pay(_ sequence: Int64, by client: String) -> PaymentStart {
        let before = records[sequence]
        sweep()
        guard let before else { return .none }
        if before.client != client { return .notHolder }
        if before.isSold { return .sold }
        if now >= before.expiresAt { return before.paying > 0 ? .closing(hold(sequence, before)) : .expired }
        records[sequence]!.paying += 1
        records[sequence]!.look = max(before.look, now + 5000)
        return .begun(hold(sequence, before), epoch: epoch)
    }

    mutating func refuse(_ sequence: Int64) {
        guard let record = records[sequence], !record.isSold, record.paying > 0 else { return }
        records[sequence]!.paying -= 1
        if record.paying == 1 { records[sequence]!.look = record.expiresAt }
    }

    mutating func settle(_ sequence: Int64, _ settlement: SeatSettlement) {
        guard let record = records[sequence] else { return }
        switch (settlement, record.isSold) {
        case (.sold, false):
            records[sequence]!.isSold = true
            records[sequence]!.paying = 0
            count("paid")
        case (.over, false):
            records[sequence] = nil
            count("expired")
        case (.refunded, let isSold):
            records[sequence] = nil
            if !isSold { count("paid") }
            count("refunded")
        default: break
        }
    }

    mutating func tick() -> [Hold] {
        let closing = sweep()
        for sequence in closing { records[sequence]!.look = now + 2000 }
        return closing.map { hold($0, records[$0]!) }
    }

    /// Redis loses all, and PostgreSQL knows only `kept`.
    mutating func rebuild(keeping kept: Set<Int64>) -> PerformanceSnapshot {
        epoch += 1
        records = records.filter { kept.contains($0.key) }
        for sequence in records.keys {
            records[sequence]!.paying = 0
            records[sequence]!.look = records[sequence]!.expiresAt
        }
        let lastSequence = sequence
        sequence = SaleEpoch.base(epoch)
        return PerformanceSnapshot(
            performance: definition, epoch: epoch, lastSequence: lastSequence,
            reservations: records.sorted { $0.key < $1.key }.map { sequence, record in
                let hold = hold(sequence, record)
                return Reservation(
                    id: hold.id, client: hold.client, seats: hold.seats, status: record.isSold ? .paid : .held,
                    price: hold.price, heldAt: hold.heldAt, expiresAt: hold.expiresAt,
                    paidAt: record.isSold ? hold.heldAt : nil)
            })
    }
}
