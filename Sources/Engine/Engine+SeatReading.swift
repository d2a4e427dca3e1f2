import Model

/// What Redis knows of performances and their seats. Nothing here changes anything.
extension Engine {
    /// All seats of a performance; nil when Redis doesn't know it.
    /// - Parameter event: the event that is known: then nothing is read when nothing has changed since.
    /// - Throws: ``Outage``.
    public func seats(of performance: PerformanceID, unless event: Int64?) async throws(Outage) -> SeatsReading? {
        let keys = Keys.Performance(performance)
        var command = RedisCommand(function: .seatsRead, keys: [keys.state, keys.seats, keys.deadlines])
        command.append(event.map { "\($0)" } ?? "")
        let reply = try await router.ask(calling: command, about: keys.state)
        switch reply.string {
        case "?": return nil
        case "=": return .unchanged
        default: break
        }
        let parts = reply.elements
        let numbers = parts.prefix(5).compactMap(\.number)
        guard parts.count == 6, numbers.count == 5 else { throw Outage(.redis, "an unknown answer about seats") }
        return .seats(
            SeatsSnapshot(
                event: numbers[0], tally: SeatTally(free: numbers[1], held: numbers[2], sold: numbers[3]),
                due: SeatTexts.moment(numbers[4]), letters: parts[5].bytes))
    }

    /// Those of these reservations that are held or paid, as Redis has them: one whose time is over may still be there.
    /// - Throws: ``Outage``.
    public func holds(_ ids: [ReservationID]) async throws(Outage) -> [ReservationID: HoldRecord] {
        var found: [ReservationID: HoldRecord] = [:]
        let groups = Dictionary(grouping: ids, by: \.performance)
        let records = try await records(
            of: groups.map { (performance, ids) in
                (performance, [""] + ids.map { "\($0.sequence)" })
            })
        for record in records { found[record.hold.id] = record }
        return found
    }

    /// What a client holds or has paid in these performances, in their order, and then in the order in which it got them.
    /// - Throws: ``Outage``.
    public func holds(
        of client: ClientID, in performances: [PerformanceID]
    ) async throws(Outage) -> [HoldRecord] {
        try await records(of: performances.map { ($0, [client.rawValue]) })
    }

    private func records(
        of questions: [(performance: PerformanceID, arguments: [String])]
    ) async throws(Outage) -> [HoldRecord] {
        let replies = try await router.ask(
            all: questions.map { question in
                let keys = Keys.Performance(question.performance)
                var command = RedisCommand(function: .seatsHolds, keys: [keys.holds, keys.clients])
                for argument in question.arguments { command.append(argument) }
                return (command, keys.state)
            })
        return zip(questions, replies).flatMap { SeatTexts.records($1, of: $0.performance) }
    }

    /// How many seats are in which status, without performances that Redis doesn't know. All are asked for at once.
    /// - Throws: ``Outage``.
    public func tallies(of performances: [PerformanceID]) async throws(Outage) -> [PerformanceID: SeatTally] {
        let replies = try await router.ask(
            all: performances.map { performance in
                let key = Keys.Performance(performance).state
                return (RedisCommand("HMGET", key, "free", "held", "sold"), key)
            }, areCalls: false)
        var tallies: [PerformanceID: SeatTally] = [:]
        for (performance, reply) in zip(performances, replies) {
            let numbers = reply.elements.compactMap(\.number)
            guard numbers.count == 3 else { continue }
            tallies[performance] = SeatTally(free: numbers[0], held: numbers[1], sold: numbers[2])
        }
        return tallies
    }

    /// What is free, held and sold of a performance, and as of which change; nil when Redis doesn't know it.
    /// - Throws: ``Outage``.
    public func tally(of performance: PerformanceID) async throws(Outage) -> (tally: SeatTally, event: Int64)? {
        let key = Keys.Performance(performance).state
        let reply = try await router.ask(RedisCommand("HMGET", key, "free", "held", "sold", "event"), about: key)
        if case .error(let error) = reply { throw error.outage }
        let numbers = reply.elements.compactMap(\.number)
        guard numbers.count == 4 else { return nil }
        return (SeatTally(free: numbers[0], held: numbers[1], sold: numbers[2]), numbers[3])
    }

    /// All that Redis knows of a performance, at one instant; nil when it doesn't know it. It looks at every seat and every
    /// reservation: for the auditor only.
    /// - Throws: ``Outage``.
    public func inspect(_ performance: PerformanceID) async throws(Outage) -> SeatInspection? {
        let keys = Keys.Performance(performance)
        let command = RedisCommand(
            function: .seatsInspect, keys: [keys.state, keys.seats, keys.holds, keys.log, keys.counts])
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 5 else { return nil }
        let fields = parts[0].fields
        func number(_ name: String) -> Int64 { fields[name].flatMap { Int64($0) } ?? 0 }
        let counted = parts[1].elements.compactMap(\.number)
        let records = parts[2].elements.compactMap(\.number)
        guard counted.count == 3, records.count == 4 else { throw Outage(.redis, "an inspection that isn't one") }
        return SeatInspection(
            epoch: number("epoch"), lastSequence: number("seq"), event: number("event"),
            tally: SeatTally(free: number("free"), held: number("held"), sold: number("sold")),
            counted: SeatTally(free: counted[0], held: counted[1], sold: counted[2]), heldRecords: records[0],
            soldRecords: records[1], heldInRecords: records[2], soldInRecords: records[3],
            unsettled: parts[3].number ?? 0, counts: parts[4].fields.compactMapValues { Int64($0) })
    }

    /// What is counted of the wishes to hold seats of a performance, by the names in `docs/seats.md`; what was never counted is
    /// missing. Costs the same however many seats there are.
    /// - Throws: ``Outage``.
    public func seatCounts(of performance: PerformanceID) async throws(Outage) -> [String: Int64] {
        let key = Keys.Performance(performance).counts
        let reply = try await router.ask(RedisCommand("HGETALL", key), about: key)
        if case .error(let error) = reply { throw error.outage }
        return reply.fields.compactMapValues { Int64($0) }
    }

    /// How far Redis is with performances, as ``positions(of:)-([SaleID])`` says it of sales.
    /// - Throws: ``Outage``.
    public func positions(of performances: [PerformanceID]) async throws(Outage) -> [PerformanceID: SalePosition] {
        let keys = performances.map { Keys.Performance($0) }
        let found = try await positions(of: keys.map { ($0.state, $0.log) })
        var positions: [PerformanceID: SalePosition] = [:]
        for (performance, position) in zip(performances, found) { positions[performance] = position }
        return positions
    }
}
