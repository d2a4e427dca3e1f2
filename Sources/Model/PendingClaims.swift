/// What a client asks for that an outcome may answer.
public enum Wish: Hashable, Sendable {
    /// One of a sale.
    case claim(SaleID)
    /// To be let into a room.
    case join(RoomID)
}

/// What a wish got, and by what its outcome is known.
public enum Granted: Hashable, Sendable {
    /// The order of an accepted claim.
    case order(OrderID)
    /// The pass of a room.
    case pass(String)
}

/// Puts the outcomes of a connection and the answers to its own claims and joins together.
///
/// The outcome of a claim may come by Pub/Sub before the reply to the claim itself. Sent at once, it would lack the `id`
/// by which the client knows its answer. So outcomes wait, in order, while the first of them may belong to a claim whose
/// reply is still to come. The same is true of a join that is admitted at once.
///
/// All of it can be inlined, and so made for the one type that is used: each claim would ask the runtime for it.
public struct PendingClaims<MessageID: Sendable>: Sendable {
    /// Names a claim until it ended.
    public typealias Handle = Int

    @usableFromInline struct Pending: Sendable {
        @usableFromInline let handle: Handle
        @usableFromInline let wish: Wish
        @usableFromInline let id: MessageID?
        /// Set once it is granted.
        @usableFromInline var granted: Granted?
        /// Its answer was sent, as an outcome with its id.
        @usableFromInline var isAnswered = false
        /// Nobody waits for it but an outcome that is still held.
        @usableFromInline var hasEnded = false

        @inlinable init(handle: Handle, wish: Wish, id: MessageID?) {
            self.handle = handle
            self.wish = wish
            self.id = id
        }
    }

    /// In the order of their handles. There are few, and mostly none.
    @usableFromInline var pending: [Pending] = []
    @usableFromInline var held: [LoggedOutcome] = []
    @usableFromInline var nextHandle = 0

    /// Claims that are not answered yet.
    @inlinable public var inFlight: Int { pending.count }

    /// Nothing is pending.
    @inlinable public init() {}

    /// A claim goes to the engine; `id` is what its answer has to carry.
    @inlinable public mutating func begin(_ wish: Wish, id: MessageID?) -> Handle {
        nextHandle += 1
        pending.append(Pending(handle: nextHandle, wish: wish, id: id))
        return nextHandle
    }

    /// The engine granted it; its outcome is about to come. With one key several claims get the same order: the first
    /// of them takes the outcome, the others are answered directly.
    @inlinable public mutating func granted(_ handle: Handle, _ granted: Granted) {
        guard let index = index(of: handle) else { return }
        pending[index].granted = granted
    }

    /// The claim is over. `isToCome` tells that its outcome is known but waits for earlier ones, so it will be held later:
    /// answered directly now, it would overtake them, and be told again in its place.
    /// - Returns: Whether an outcome was its answer, or one that is held will be; otherwise it has to be answered directly.
    @inlinable public mutating func end(_ handle: Handle, isToCome: Bool = false) -> Bool {
        guard let index = index(of: handle) else { return false }
        let claim = pending[index]
        if !claim.isAnswered, let granted = claim.granted, first(waitingFor: granted) == index,
            isToCome || held.contains(where: { $0.outcome.grants?.granted == granted })
        {
            pending[index].hasEnded = true
            return true
        }
        remove(at: index)
        return claim.isAnswered
    }

    /// An outcome is next in order.
    @inlinable public mutating func hold(_ outcome: LoggedOutcome) {
        held.append(outcome)
    }

    /// The next outcome that can be sent, and the id that it carries.
    @inlinable public mutating func nextReady() -> (outcome: LoggedOutcome, id: MessageID?)? {
        guard let next = held.first else { return nil }
        guard let (wish, granted) = next.outcome.grants else { return (held.removeFirst(), nil) }
        if let index = first(waitingFor: granted) {
            let claim = pending[index]
            if claim.hasEnded { remove(at: index) } else { pending[index].isAnswered = true }
            return (held.removeFirst(), claim.id)
        }
        // It may be the answer to a claim whose reply is still to come.
        guard !pending.contains(where: { $0.wish == wish && $0.granted == nil }) else { return nil }
        return (held.removeFirst(), nil)
    }

    @inlinable func first(waitingFor granted: Granted) -> Int? {
        pending.firstIndex { $0.granted == granted && !$0.isAnswered }
    }

    @inlinable func index(of handle: Handle) -> Int? { pending.firstIndex { $0.handle == handle } }

    @inlinable mutating func remove(at index: Int) {
        // An array that has become empty keeps its room, and thousands of connections wait for nothing.
        if pending.count == 1 { pending = [] } else { pending.remove(at: index) }
    }
}

extension Outcome {
    /// The wish that it may be the answer to, and what that got; nil when it is no answer.
    @usableFromInline var grants: (wish: Wish, granted: Granted)? {
        switch self {
        case .accepted(let order, _, _): (.claim(order.sale), .order(order))
        case .admitted(let room, let token, _): (.join(room), .pass(token))
        case .order, .expired, .reservation: nil
        }
    }
}
