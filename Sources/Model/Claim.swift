/// Why a claim, or another wish, was turned down: policy says no. The raw values are the contract's codes.
public enum Refusal: String, Error, Sendable, CaseIterable {
    /// Nothing is left.
    case soldOut = "sold_out"
    /// The client owns as many as it may.
    case duplicate
    /// The sale has not opened.
    case notOpen = "not_open"
    /// The sale is over.
    case closed
    /// The sale was called off.
    case cancelled
    /// The outside validation said no.
    case rejected
    /// The sale has a room, and the client no valid pass of it.
    case notAdmitted = "not_admitted"
}

/// A client's attempt to get one.
public struct Claim: Sendable {
    /// Who.
    public let client: ClientID
    /// Marks repeated attempts as one.
    public let key: IdempotencyKey?
    /// 0–99: a claim below the sale's ``Sale/rejectPercent`` is turned down. Drawn by the caller, so that a test decides.
    public let roll: Int64
    /// Whether the client has what the sale asks for besides stock: a valid pass, where it has a room. Without, only a
    /// repeated key gets its answer.
    public let mayClaim: Bool

    /// A claim from its parts.
    public init(client: ClientID, key: IdempotencyKey? = nil, roll: Int64, mayClaim: Bool = true) {
        self.client = client
        self.key = key
        self.roll = roll
        self.mayClaim = mayClaim
    }
}

/// The ticket and order that an accepted claim got.
public struct Acceptance: Hashable, Sendable {
    /// The order.
    public let order: OrderID
    /// The number of the ticket, 1…quantity.
    public let ticket: Int64
    /// What is left after it; nil in an answer that is repeated for the same key.
    public let remaining: Int64?
    /// How many more the client may own after it; nil where that is not known.
    public let allowance: Int64?
    /// Which of the client's places it takes, 1…limit; nil where that is not known.
    public let slot: Int64?

    /// An acceptance from its parts.
    public init(order: OrderID, ticket: Int64, remaining: Int64?, allowance: Int64? = nil, slot: Int64? = nil) {
        self.order = order
        self.ticket = ticket
        self.remaining = remaining
        self.allowance = allowance
        self.slot = slot
    }
}

/// What the engine decided about a claim.
public enum ClaimDecision: Hashable, Sendable {
    /// The client has it.
    case accepted(Acceptance)
    /// The same key was accepted before: the same answer.
    case repeated(Acceptance)
    /// No. For a duplicate, `order` is the one that the client has.
    case refused(Refusal, order: OrderID?)
    /// Redis doesn't know the sale: it has to be rebuilt from PostgreSQL first.
    case unknownSale
}
