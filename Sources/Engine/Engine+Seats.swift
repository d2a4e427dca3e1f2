import EventLoop
import Model

/// The seats of performances: holding them, giving them back, and what payments make of them. `docs/seats.md` explains it.
///
/// Whose hold ended in one of these calls, because its time was over or it was given back, is told by the engine
/// afterwards.
extension Engine {
    /// How many settlements go into one call.
    private static let seatSettlementsPerCall = 100

    /// Makes a new performance known, with all of its seats free. One that is known is left alone, and so is one that is
    /// being rebuilt.
    /// - Throws: ``Outage``.
    public func register(_ performance: Performance, epoch: Int64) async throws(Outage) {
        _ = try await define(performance, token: "", epoch: epoch, lastSequence: SaleEpoch.base(epoch))
    }

    func define(
        _ performance: Performance, token: String, epoch: Int64, lastSequence: Int64
    ) async throws(Outage) -> Bool {
        let keys = Keys.Performance(performance.id)
        var command = RedisCommand(
            function: .seatsDefine,
            keys: [keys.state, keys.seats, keys.holds, keys.clients, keys.deadlines, keys.log, keys.rebuild],
            reserving: 1024)
        command.append(token)
        command.append(Keys.performancesChannel)
        command.append(performance.id.rawValue)
        command.append(keys.events)
        command.append(Keys.committers)
        command.append(epoch)
        command.append(lastSequence)
        // As with sales: the events of an epoch begin above all those of the one before.
        command.append(SaleEpoch.base(epoch))
        command.append(performance.layout.count)
        command.append(performance.price)
        command.append(performance.holdSeconds)
        command.append(performance.perClientLimit ?? 0)
        command.append(runTag)
        return try await router.ask(calling: command, about: keys.state).number == 1
    }

    /// Decides the wish to hold seats: all of them, or none. Merged with the other holds of that performance in this turn
    /// of the loop, in their order.
    ///
    /// What is not free comes before the client's limit: of both, `taken` is the answer.
    /// - Parameter seats: ascending, each once, seats of this performance; what isn't is answered as taken.
    /// - Throws: ``Outage``: then the client may have them; asking again gives the same hold.
    public func hold(
        _ seats: [Int64], for client: ClientID, of performance: PerformanceID
    ) async throws(Outage) -> HoldDecision {
        try await holdBatcher.decide(HoldBatcher.Wish(client: client, seats: seats), of: performance)
    }

    /// Decides the wish to hold seats of a client that shows a pass: ``check(_:of:room:)``, and when that is good,
    /// ``hold(_:for:of:)``, as one step for the caller.
    /// - Parameter mayHold: asked in between; false: the answer is an outage.
    /// - Throws: ``Outage`` when the pass could not be checked.
    public func hold(
        _ seats: [Int64], for client: ClientID, of performance: PerformanceID, showing pass: String, of room: RoomID,
        while mayHold: @escaping @LoopActor @Sendable () -> Bool
    ) async throws(Outage) -> AdmittedHold {
        let result: Result<AdmittedHold, Outage> = await withCheckedContinuation { continuation in
            passBatcher.check(pass, of: client, room: room) { [holdBatcher] checked in
                switch checked {
                case .failure(let outage): continuation.resume(returning: .failure(outage))
                case .success(nil): continuation.resume(returning: .success(.unknownRoom))
                case .success(UInt8(ascii: "0")): continuation.resume(returning: .success(.notAdmitted))
                case .success(let letter):
                    let isKept = letter == UInt8(ascii: "2")
                    guard mayHold() else {
                        let outage = Outage(.redis, "being compared")
                        return continuation.resume(returning: .success(.decided(.failure(outage), isKept: isKept)))
                    }
                    holdBatcher.decide(HoldBatcher.Wish(client: client, seats: seats), of: performance) { decision in
                        continuation.resume(returning: .success(.decided(decision, isKept: isKept)))
                    }
                }
            }
        }
        return try result.get()
    }

    /// Gives a hold back. Whose it is, is for the caller to check.
    /// - Throws: ``Outage``: then it may have been released; asking again says ``SeatRelease/none``.
    public func release(_ id: ReservationID) async throws(Outage) -> SeatRelease {
        guard let (word, hold, _) = try await seatCalls.ask(.seatsRelease, id, { _ in }) else {
            return .unknownPerformance
        }
        switch (word, hold) {
        case ("r", let hold?): return .released(hold)
        case ("p", _): return .underPayment
        case ("s", _): return .sold
        case ("n", _): return .none
        default: throw Outage(.redis, "an unknown answer to a release")
        }
    }

    /// Begins a payment, if the hold is the client's and its time is not over. From then on the hold keeps its seats until
    /// PostgreSQL has decided; ``tickSeats(of:)`` names it if that takes longer than ``SeatLease``, and than the deadline.
    /// It has to end in ``settle(_:)-([(ReservationID,SeatSettlement)])`` or ``refusePayment(_:)``.
    /// - Throws: ``Outage``: then it may have begun.
    public func beginPayment(_ id: ReservationID, by client: ClientID) async throws(Outage) -> PaymentStart {
        let answer = try await seatCalls.ask(.seatsPay, id) { command in
            command.append(client.rawValue)
            command.append(SeatLease.milliseconds)
        }
        guard let (word, hold, epoch) = answer else { return .unknownPerformance }
        switch (word, hold) {
        case ("b", let hold?): return .begun(hold, epoch: epoch)
        case ("u", let hold?): return .closing(hold)
        case ("o", _): return .expired
        case ("s", _): return .sold
        case ("x", _): return .notHolder
        case ("n", _): return .none
        default: throw Outage(.redis, "an unknown answer to a payment")
        }
    }

    /// A payment that has begun ended, and nothing was paid: one less is under way. With the last the hold ends at its
    /// deadline again. To be called once for each payment that began.
    /// - Throws: ``Outage``: then it may still count; PostgreSQL closes the hold after its deadline.
    public func refusePayment(_ id: ReservationID) async throws(Outage) {
        var command = seatCalls.command(.seatsRefuse, id.performance)
        command.append(id.sequence)
        _ = try await router.ask(calling: command, about: Keys.Performance(id.performance).state)
    }

    /// Does what PostgreSQL decided about reservations, in the order of `settlements`, each once, however often it is
    /// called: `sold` sells the seats of a hold, also after its deadline; `over` ends a hold; `refunded` ends a paid one,
    /// or a hold that Redis never heard was paid. Tells nobody, and logs nothing.
    /// - Throws: ``Outage``, also when Redis doesn't know one of the performances, because it is being rebuilt: then it has
    ///   to be called again later.
    public func settle(_ settlements: [(id: ReservationID, as: SeatSettlement)]) async throws(Outage) {
        var questions: [CommandRouter.Question] = []
        for (performance, all) in Dictionary(grouping: settlements, by: \.id.performance) {
            for chunk in all.chunks(of: Engine.seatSettlementsPerCall) {
                var command = seatCalls.command(.seatsSettle, performance, reserving: 512 + 40 * chunk.count)
                for (id, settlement) in chunk {
                    command.append(id.sequence)
                    command.append(settlement.letter)
                }
                questions.append((command, Keys.Performance(performance).state))
            }
        }
        let replies = try await router.ask(all: questions)
        if replies.contains(where: { $0.string == "?" }) {
            throw Outage(.redis, "a performance is not known: it is to be rebuilt")
        }
    }

    /// Ends the holds of a performance whose time is over; nil when Redis doesn't know it.
    /// - Throws: ``Outage``.
    public func tickSeats(of performance: PerformanceID) async throws(Outage) -> SeatTick? {
        let command = seatCalls.command(.seatsTick, performance)
        let reply = try await router.ask(calling: command, about: Keys.Performance(performance).state)
        if reply.string == "?" { return nil }
        let parts = reply.elements
        guard parts.count == 4 else { throw Outage(.redis, "an unknown answer to a tick") }
        seatCalls.tell(parts[1], of: performance)
        return SeatTick(
            due: SeatTexts.moment(parts[0].number),
            closing: SeatTexts.records(parts[2], of: performance).map(\.hold), isMore: parts[3].number == 1)
    }
}
