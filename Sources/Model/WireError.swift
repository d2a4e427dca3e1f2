/// An error as clients see it: the code, the HTTP status and words. All wire errors are made in this file.
public struct WireError: Error, Hashable, Sendable {
    /// The contract's code.
    public let code: Code
    /// What is wrong, for a person; names the field where there is one.
    public let message: String
    /// For a duplicate: the order that the client has.
    public var order: OrderID?
    /// For `already_paid`: the payment.
    public var payment: Int64?
    /// For `seat_taken`: seats that are not free; at least one of those asked for.
    public var seats: [Int64]?
    /// For `rate_limited` and `unavailable`: seconds after which to try again.
    public var retryAfter: Int64?

    /// An error.
    public init(
        _ code: Code, _ message: String, order: OrderID? = nil, payment: Int64? = nil, seats: [Int64]? = nil,
        retryAfter: Int64? = nil
    ) {
        self.code = code
        self.message = message
        self.order = order
        self.payment = payment
        self.seats = seats
        self.retryAfter = retryAfter ?? (code == .rateLimited || code == .unavailable ? 1 : nil)
    }

    /// The codes of the contract's table.
    public enum Code: String, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case unauthenticated
        case forbidden
        case notAdmitted = "not_admitted"
        case insufficientPoints = "insufficient_points"
        case notFound = "not_found"
        case methodNotAllowed = "method_not_allowed"
        case tooLarge = "too_large"
        case unsupportedMediaType = "unsupported_media_type"
        case soldOut = "sold_out"
        case duplicate
        case notOpen = "not_open"
        case closed
        case cancelled
        case seatTaken = "seat_taken"
        case holdExpired = "hold_expired"
        case alreadyPaid = "already_paid"
        case rejected
        case inUse = "in_use"
        case invalid
        case rateLimited = "rate_limited"
        case unavailable

        /// The HTTP status that goes with it.
        public var status: Int {
            switch self {
            case .badRequest: 400
            case .unauthenticated: 401
            case .insufficientPoints: 402
            case .forbidden, .notAdmitted: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .tooLarge: 413
            case .unsupportedMediaType: 415
            case .soldOut, .duplicate, .notOpen, .closed, .cancelled, .seatTaken, .holdExpired, .alreadyPaid, .rejected,
                .inUse:
                409
            case .invalid: 422
            case .rateLimited: 429
            case .unavailable: 503
            }
        }
    }

    /// A refusal in the words of the wire.
    public init(_ refusal: Refusal, order: OrderID? = nil) {
        switch refusal {
        case .soldOut: self.init(.soldOut, "nothing is left")
        case .duplicate: self.init(.duplicate, "this client owns as many as it may", order: order)
        case .notOpen: self.init(.notOpen, "the sale has not opened yet")
        case .closed: self.init(.closed, "the sale is over")
        case .cancelled: self.init(.cancelled, "the sale was called off")
        case .rejected: self.init(.rejected, "the validation turned this claim down")
        case .notAdmitted: self.init(.notAdmitted, "the sale needs a pass of its waiting room")
        }
    }

    /// Redis or PostgreSQL cannot be asked just now: nothing is known, and nothing is said.
    public static let unavailable = WireError(.unavailable, "cannot be decided right now; try again")
}

/// Why the server ends a WebSocket. 4000–4499: reconnect after a random pause; 4500–4999: don't.
public enum CloseCode: UInt16, Sendable, CaseIterable {
    case done = 1000
    case goingAway = 1001
    case tooBig = 1009
    case connectTimeout = 4001
    case tooSlow = 4008
    case noPong = 4012
    case rateLimited = 4029
    case badToken = 4501
    case notText = 4503
    case replaced = 4509
}
