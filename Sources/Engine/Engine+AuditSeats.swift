import Model

/// What a performance's own numbers and its seats say at one instant.
public struct SeatNumbers: Hashable, Sendable {
    /// How often it was rebuilt.
    public let epoch: Int64
    /// The number of the last change.
    public let event: Int64
    /// How many seats are in which status, as the performance's hash says.
    public let tally: SeatTally
    /// ``Model/SeatStatus/letter`` of each seat, in the order of their numbers.
    public let letters: [UInt8]
    /// Entries of the log: what PostgreSQL has not heard yet.
    public let unsettled: Int64

    /// The seats, counted one by one.
    public var counted: SeatTally {
        func count(_ letter: Character) -> Int64 { Int64(letters.count { $0 == letter.asciiValue }) }
        return SeatTally(free: count("f"), held: count("h"), sold: count("s"))
    }
}

/// A reservation as the auditor finds it.
public struct AuditedHold: Hashable, Sendable {
    /// The reservation.
    public let record: HoldRecord
    /// A seat of it has another status.
    public let hasWrongSeats: Bool
    /// Its client's list lacks it.
    public let isUnlisted: Bool
}

/// Reservations of a performance at one instant.
public struct AuditedHolds: Hashable, Sendable {
    /// Where to go on; nil at the end.
    public let next: String?
    /// In which epoch Redis knows the performance; nil when it doesn't know it.
    public let epoch: Int64?
    /// Those that there are.
    public let holds: [Int64: AuditedHold]
    /// Sequences of reservations about which the log says something.
    public let logged: Set<Int64>
    /// Whether the log says more than was looked at.
    public let hasMore: Bool

    /// Whether the log says something about this reservation, as far as is known.
    public func isInFlight(_ sequence: Int64) -> Bool { hasMore || logged.contains(sequence) }
}

/// What the auditor asks Redis about seats.
extension Engine {
    /// What a performance's numbers and seats say; nil when Redis doesn't know it.
    /// - Throws: ``Outage``.
    public func auditNumbers(of performance: PerformanceID) async throws(Outage) -> SeatNumbers? {
        let keys = Keys.Performance(performance)
        let command = RedisCommand(function: .auditSeats, keys: [keys.state, keys.seats, keys.log, keys.counts])
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 4 else { return nil }
        let fields = parts[0].fields
        func number(_ name: String) -> Int64 { fields[name].flatMap { Int64($0) } ?? 0 }
        return SeatNumbers(
            epoch: number("epoch"), event: number("event"),
            tally: SeatTally(free: number("free"), held: number("held"), sold: number("sold")),
            letters: parts[1].bytes, unsettled: parts[2].number ?? 0)
    }

    /// A page of all reservations that have seats, from a cursor on; `0` begins.
    /// - Throws: ``Outage``.
    public func auditHolds(of performance: PerformanceID, from cursor: String) async throws(Outage) -> AuditedHolds {
        try await auditHolds(performance, cursor, [])
    }

    /// Those of these reservations that have seats.
    /// - Throws: ``Outage``.
    public func auditHolds(
        of performance: PerformanceID, _ sequences: [Int64]
    ) async throws(Outage) -> AuditedHolds {
        try await auditHolds(performance, "", sequences)
    }

    private func auditHolds(
        _ performance: PerformanceID, _ cursor: String, _ sequences: [Int64]
    ) async throws(Outage) -> AuditedHolds {
        let keys = Keys.Performance(performance)
        var command = RedisCommand(
            function: .auditHolds, keys: [keys.state, keys.seats, keys.holds, keys.clients, keys.log],
            reserving: 512 + 24 * sequences.count)
        command.append(cursor)
        command.append(Engine.auditPage)
        for sequence in sequences { command.append(sequence) }
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 5, let next = parts[0].string else { throw Outage(.redis, "an audit that isn't one") }
        let words = parts[2].elements
        var holds: [Int64: AuditedHold] = [:]
        for at in stride(from: 0, to: words.count - 2, by: 3) {
            guard let sequence = words[at].number, let text = words[at + 1].string,
                let record = SeatTexts.record(
                    text, of: ReservationID(performance: performance, sequence: sequence))
            else { continue }
            let fault = words[at + 2].string
            holds[sequence] = AuditedHold(record: record, hasWrongSeats: fault == "s", isUnlisted: fault == "c")
        }
        return AuditedHolds(
            next: next == "0" ? nil : next, epoch: parts[1].number, holds: holds,
            logged: Set(parts[3].elements.compactMap(\.number)), hasMore: parts[4].number == 1)
    }

    /// Puts a hold into its performance's log again: PostgreSQL decides about it.
    /// - Returns: false when it is not held.
    /// - Throws: ``Outage``; calling it again is harmless.
    public func relog(_ id: ReservationID) async throws(Outage) -> Bool {
        let keys = Keys.Performance(id.performance)
        var command = RedisCommand(function: .auditRelog, keys: [keys.state, keys.holds, keys.log])
        command.append(id.sequence)
        let isLogged = try await router.ask(calling: command, about: keys.state).number == 1
        if isLogged {
            _ = try await router.ask(
                RedisCommand("PUBLISH", Keys.performancesChannel, String(id.performance.rawValue)), about: keys.state)
        }
        return isLogged
    }
}
