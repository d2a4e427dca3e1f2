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
    private let metrics: Metrics

    init(engine: Engine, directory: SaleDirectory, metrics: Metrics) {
        self.engine = engine
        self.directory = directory
        self.metrics = metrics
    }

    /// Decides one claim. `onAccepted` is called between the decision and the telling, in the same turn as the decision.
    /// - Throws: ``WireError``: a refusal, `not_found` or `unavailable`.
    func claim(
        client: ClientID, sale: SaleID, key: IdempotencyKey?, onAccepted: ((Acceptance) -> Void)? = nil
    ) async throws(WireError) -> Accepted {
        let claim = Claim(client: client, key: key, roll: Int64.random(in: 0..<100))
        var decision = try await decide(claim, sale)
        if decision == .unknownSale {
            do {
                try await directory.restore(sale)
            } catch {
                throw WireError(asWire: error)
            }
            decision = try await decide(claim, sale)
        }
        switch decision {
        case .accepted(let acceptance):
            metrics.claims["accepted", default: 0] += 1
            onAccepted?(acceptance)
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
        // A Redis that was restarted, or took over from another, may have lost its latest writes: nothing is decided
        // until that is known.
        guard directory.isVerified else { throw .unavailable }
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
            guard live.contains(where: { $0.order == acceptance.order && !$0.isConfirmed }) else { return nil }
            return await tell(client, acceptance)
        } catch {
            return nil
        }
    }

    private func outcome(_ acceptance: Acceptance) -> Outcome {
        .accepted(order: acceptance.order, ticket: acceptance.ticket, remaining: acceptance.remaining)
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
