import Engine
import EventLoop
import Model

/// Decides claims and tells their clients.
@LoopActor
final class ClaimService {
    /// An accepted claim's answer.
    struct Accepted {
        let acceptance: Acceptance
        /// Whether the same key was accepted before.
        let isRepeated: Bool
        /// The outcome's place in its client's log; nil when the log could not be written now: the committer will.
        let offset: Int64?
    }

    private let engine: Engine
    private let directory: SaleDirectory
    private let verification: Verification
    private let rooms: RoomService
    private let unconfirmed: Unconfirmed
    private let metrics: Metrics

    init(
        engine: Engine, directory: SaleDirectory, verification: Verification, rooms: RoomService,
        unconfirmed: Unconfirmed, metrics: Metrics
    ) {
        self.unconfirmed = unconfirmed
        self.engine = engine
        self.verification = verification
        self.directory = directory
        self.rooms = rooms
        self.metrics = metrics
    }

    /// Decides one claim. `onAccepted` is called between the decision and the telling, in the same turn as the decision.
    /// - Parameter pass: what the client shows where the sale has a room.
    /// - Throws: ``WireError``: a refusal, `not_found` or `unavailable`.
    func claim(
        client: ClientID, sale: SaleID, key: IdempotencyKey?, pass: String? = nil,
        onAccepted: ((Acceptance) -> Void)? = nil
    ) async throws(WireError) -> Accepted {
        let known: RoomDirectory.SaleRoom
        do {
            known = try await rooms.directory.room(of: sale)
        } catch {
            throw WireError(asWire: error)
        }
        guard let room = known.room else {
            return try await claim(
                Claim(client: client, key: key, roll: Roll.next()), sale, onAccepted: onAccepted)
        }
        return try await claim(client, sale, key, pass, room, onAccepted)
    }

    /// Decides one claim of a sale without a room, when that is known here, without a task: for a refusal, which is what
    /// most of a rush is, a task would cost more than all the rest.
    /// - Parameter done: called once, in the turn of the answer, unless this returns false.
    /// - Returns: whether it is that simple; else nothing was done.
    func claimAtOnce(
        client: ClientID, sale: SaleID, key: IdempotencyKey?,
        onAccepted: @escaping @LoopActor @Sendable (Acceptance) -> Void,
        _ done: @escaping @LoopActor @Sendable (Result<Accepted, WireError>) -> Void
    ) -> Bool {
        guard let known = rooms.directory.knownRoom(of: sale), known.room == nil, verification.isDone else {
            return false
        }
        let claim = Claim(client: client, key: key, roll: Roll.next())
        engine.claim(claim, on: sale) { result in
            switch result {
            case .success(.refused(let refusal, let order)):
                self.metrics.claims[refusal.rawValue, default: 0] += 1
                done(.failure(WireError(refusal, order: order)))
            case .success(.accepted(let acceptance)):
                self.accepted(acceptance, claim, onAccepted)
                self.engine.tell(client, self.outcome(acceptance)) { offset in
                    done(.success(Accepted(acceptance: acceptance, isRepeated: false, offset: try? offset.get())))
                }
            case .success(let decision):
                EventLoop.task {
                    do throws(WireError) {
                        done(.success(try await self.conclude(decision, claim, sale, onAccepted: onAccepted)))
                    } catch {
                        done(.failure(error))
                    }
                }
            case .failure:
                self.metrics.claims["unavailable", default: 0] += 1
                done(.failure(.unavailable))
            }
        }
        return true
    }

    private func accepted(_ acceptance: Acceptance, _ claim: Claim, _ onAccepted: ((Acceptance) -> Void)?) {
        metrics.claims["accepted", default: 0] += 1
        unconfirmed.note(acceptance, of: claim)
        onAccepted?(acceptance)
    }

    /// Decides a claim of a sale with a room.
    private func claim(
        _ client: ClientID, _ sale: SaleID, _ key: IdempotencyKey?, _ pass: String?, _ room: RoomID,
        _ onAccepted: ((Acceptance) -> Void)?
    ) async throws(WireError) -> Accepted {
        var check = (isValid: false, isKept: false)
        if let pass {
            do {
                check = try await rooms.check(pass, of: client, room: room)
            } catch {
                throw WireError(asWire: error)
            }
        }
        let claim = Claim(client: client, key: key, roll: Roll.next(), mayClaim: check.isValid)
        do throws(WireError) {
            let accepted = try await self.claim(claim, sale, onAccepted: onAccepted)
            if let pass, check.isValid {
                if !accepted.isRepeated, accepted.acceptance.allowance == 0 {
                    await rooms.spend(pass, of: client, room: room)
                } else if check.isKept {
                    await rooms.endCheck(pass, of: client, room: room)
                }
            }
            return accepted
        } catch {
            // What is not known may have been accepted: then the committer spends the pass.
            if let pass, check.isKept, error.code != .unavailable {
                await rooms.endCheck(pass, of: client, room: room)
            }
            throw error
        }
    }

    private func claim(
        _ claim: Claim, _ sale: SaleID, onAccepted: ((Acceptance) -> Void)?
    ) async throws(WireError) -> Accepted {
        try await conclude(try await decide(claim, sale), claim, sale, onAccepted: onAccepted)
    }

    private func conclude(
        _ decision: ClaimDecision, _ claim: Claim, _ sale: SaleID, onAccepted: ((Acceptance) -> Void)?
    ) async throws(WireError) -> Accepted {
        let client = claim.client
        var decision = decision
        if case .unknownSale = decision {
            do {
                try await directory.restore(sale)
            } catch {
                throw WireError(asWire: error)
            }
            decision = try await decide(claim, sale)
        }
        switch decision {
        case .accepted(let acceptance):
            accepted(acceptance, claim, onAccepted)
            return Accepted(acceptance: acceptance, isRepeated: false, offset: await tell(client, acceptance))
        case .repeated(let acceptance):
            metrics.claims["repeated", default: 0] += 1
            onAccepted?(acceptance)
            return Accepted(
                acceptance: acceptance, isRepeated: true, offset: await offset(of: acceptance, client))
        case .refused(let refusal, let order):
            metrics.claims[refusal.rawValue, default: 0] += 1
            throw WireError(refusal, order: order)
        case .unknownSale:
            throw WireError.unavailable
        }
    }

    private func decide(_ claim: Claim, _ sale: SaleID) async throws(WireError) -> ClaimDecision {
        guard verification.isDone else { throw .unavailable }
        do {
            return try await engine.claim(claim, on: sale)
        } catch {
            metrics.claims["unavailable", default: 0] += 1
            throw .unavailable
        }
    }

    private func tell(_ client: ClientID, _ acceptance: Acceptance) async -> Int64? {
        try? await engine.tell([(client: client, outcome: outcome(acceptance))]).first
    }

    /// Where the log has an answer that was given before; told now where it may not have been yet. One that is confirmed
    /// was told, and if the log no longer has it, it must not come again as a new one.
    private func offset(of acceptance: Acceptance, _ client: ClientID) async -> Int64? {
        do {
            if let offset = try await engine.offset(of: outcome(acceptance), for: client) { return offset }
            let live = try await engine.liveOrders(of: client, in: acceptance.order.sale)
            guard live.contains(where: { $0.order == acceptance.order && !$0.isConfirmed }) else {
                // The committer may have told and confirmed it between the two looks.
                return try await engine.offset(of: outcome(acceptance), for: client)
            }
            return await tell(client, acceptance)
        } catch {
            return nil
        }
    }

    private func outcome(_ acceptance: Acceptance) -> Outcome {
        .accepted(order: acceptance.order, ticket: acceptance.ticket, remaining: acceptance.remaining)
    }
}

/// Lots for claims, from 0 to 99.
@LoopActor
private enum Roll {
    private static var generator = SystemRandomNumberGenerator()
    private static var bits: UInt64 = 0
    private static var left = 0

    /// The next one. Of each number from the system, which is a system call, eight are made.
    static func next() -> Int64 {
        while true {
            if left == 0 { (bits, left) = (generator.next(), 8) }
            let byte = Int64(bits & 0xFF)
            bits >>= 8
            left -= 1
            // Those above would make the low ones likelier.
            if byte < 200 { return byte % 100 }
        }
    }
}

extension WireError {
    /// Whatever went wrong inside, in the words of the wire. Details of outages stay in the log.
    init(asWire error: any Error) {
        if let error = error as? WireError {
            self = error
        } else if let refusal = error as? Refusal {
            self.init(refusal)
        } else {
            self = .unavailable
        }
    }
}
