/// Puts the outcomes of a connection and the answers to its own claims together.
///
/// The outcome of a claim may come by Pub/Sub before the reply to the claim itself. Sent at once, it would lack the `id`
/// by which the client knows its answer. So outcomes wait, in order, while the first of them may belong to a claim whose
/// reply is still to come.
public struct PendingClaims<MessageID: Sendable>: Sendable {
    /// Names a claim until it ended.
    public typealias Handle = Int

    private struct Pending {
        let sale: SaleID
        let id: MessageID?
        /// Set once it is accepted.
        var order: OrderID?
        /// Its answer was sent, as an outcome with its id.
        var isAnswered = false
        /// Nobody waits for it but an outcome that is still held.
        var hasEnded = false
    }

    private var pending: [Handle: Pending] = [:]
    private var held: [LoggedOutcome] = []
    private var nextHandle = 0

    /// Claims that are not answered yet.
    public var inFlight: Int { pending.count }

    /// Nothing is pending.
    public init() {}

    /// A claim goes to the engine; `id` is what its answer has to carry.
    public mutating func begin(_ sale: SaleID, id: MessageID?) -> Handle {
        nextHandle += 1
        pending[nextHandle] = Pending(sale: sale, id: id)
        return nextHandle
    }

    /// The engine accepted it; its outcome is about to come. With one key several claims get the same order: the first
    /// of them takes the outcome, the others are answered directly.
    public mutating func accepted(_ handle: Handle, order: OrderID) {
        pending[handle]?.order = order
    }

    /// The claim is over. `isToCome` tells that its outcome is known but waits for earlier ones, so it will be held later:
    /// answered directly now, it would overtake them, and be told again in its place.
    /// - Returns: Whether an outcome was its answer, or one that is held will be; otherwise it has to be answered directly.
    public mutating func end(_ handle: Handle, isToCome: Bool = false) -> Bool {
        guard let claim = pending[handle] else { return false }
        if !claim.isAnswered, let order = claim.order, first(waitingFor: order) == handle,
            isToCome || held.contains(where: { $0.outcome.isAcceptance(of: order) })
        {
            pending[handle]?.hasEnded = true
            return true
        }
        pending[handle] = nil
        return claim.isAnswered
    }

    /// An outcome is next in order.
    public mutating func hold(_ outcome: LoggedOutcome) {
        held.append(outcome)
    }

    /// The next outcome that can be sent, and the id that it carries.
    public mutating func nextReady() -> (outcome: LoggedOutcome, id: MessageID?)? {
        guard let next = held.first else { return nil }
        guard case .accepted(let order, _, _) = next.outcome else { return (held.removeFirst(), nil) }
        if let handle = first(waitingFor: order), let claim = pending[handle] {
            if claim.hasEnded { pending[handle] = nil } else { pending[handle]?.isAnswered = true }
            return (held.removeFirst(), claim.id)
        }
        // It may be the answer to a claim whose reply is still to come.
        guard !pending.values.contains(where: { $0.sale == order.sale && $0.order == nil }) else { return nil }
        return (held.removeFirst(), nil)
    }

    private func first(waitingFor order: OrderID) -> Handle? {
        pending.filter { $0.value.order == order && !$0.value.isAnswered }.keys.min()
    }
}

extension Outcome {
    /// Whether it says that this order was accepted.
    func isAcceptance(of order: OrderID) -> Bool {
        if case .accepted(order, _, _) = self { true } else { false }
    }
}
