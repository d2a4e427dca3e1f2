/// What was registered: a thing of limited quantity, and the rules of its selling. Immutable.
public struct Sale: Hashable, Sendable {
    /// Its id.
    public let id: SaleID
    /// What people read.
    public let name: String
    /// How many there are.
    public let quantity: Int64
    /// Points that one costs, charged when its order is committed.
    public let price: Int64
    /// How many one client may own.
    public let perClientLimit: Int64
    /// The waiting room whose pass a claim needs, if any.
    public let room: String?
    /// How many in a hundred claims the simulated outside validation turns down.
    public let rejectPercent: Int64

    /// A sale from its parts; see ``SaleDefinition`` for the rules that they obey.
    public init(
        id: SaleID, name: String, quantity: Int64, price: Int64, perClientLimit: Int64, room: String?,
        rejectPercent: Int64
    ) {
        self.id = id
        self.name = name
        self.quantity = quantity
        self.price = price
        self.perClientLimit = perClientLimit
        self.room = room
        self.rejectPercent = rejectPercent
    }
}

/// When a sale takes claims. Registered with the sale; an admin may open or close it early, or call it off.
public struct SaleWindow: Hashable, Sendable {
    /// The first moment at which claims are taken.
    public var opensAt: Timestamp
    /// The first moment at which they no longer are.
    public var closesAt: Timestamp
    /// Whether the sale was called off.
    public var isCancelled: Bool
    /// Grows by one with each change, so that an older state never replaces a newer.
    public var version: Int64

    /// A window from its parts.
    public init(opensAt: Timestamp, closesAt: Timestamp, isCancelled: Bool = false, version: Int64 = 1) {
        self.opensAt = opensAt
        self.closesAt = closesAt
        self.isCancelled = isCancelled
        self.version = version
    }
}

/// What a sale is doing, as clients are told.
public enum SaleStatus: String, Sendable, CaseIterable {
    /// It has not opened yet.
    case scheduled
    /// It takes claims.
    case open
    /// It would take claims, but nothing is left; a returned ticket opens it again.
    case soldOut = "sold_out"
    /// Its time is over.
    case closed
    /// It was called off.
    case cancelled

    /// The status at a moment.
    public init(window: SaleWindow, remaining: Int64, at now: Timestamp) {
        if window.isCancelled {
            self = .cancelled
        } else if now >= window.closesAt {
            self = .closed
        } else if now < window.opensAt {
            self = .scheduled
        } else {
            self = remaining > 0 ? .open : .soldOut
        }
    }
}

/// A sale as it stands.
public struct SaleState: Hashable, Sendable {
    /// What was registered.
    public let sale: Sale
    /// When it takes claims.
    public var window: SaleWindow
    /// What is left.
    public var remaining: Int64

    /// A state from its parts.
    public init(sale: Sale, window: SaleWindow, remaining: Int64) {
        self.sale = sale
        self.window = window
        self.remaining = remaining
    }

    /// What clients are told at a moment.
    public func status(at now: Timestamp) -> SaleStatus {
        SaleStatus(window: window, remaining: remaining, at: now)
    }

    /// The next moment after `now` at which the status changes by the clock alone.
    public func nextChange(after now: Timestamp) -> Timestamp? {
        guard !window.isCancelled, now < window.closesAt else { return nil }
        return now < window.opensAt ? min(window.opensAt, window.closesAt) : window.closesAt
    }
}

/// What an admin can do to a sale's window, and when.
public enum SaleCommand: String, Sendable, CaseIterable {
    /// Take claims from now on.
    case open
    /// Take none from now on.
    case close
    /// Call it off.
    case cancel

    /// The window after the command; the same one when it changes nothing.
    /// - Throws: ``Refusal/closed`` or ``Refusal/cancelled`` when it is too late for it.
    public func apply(to window: SaleWindow, at now: Timestamp) throws(Refusal) -> SaleWindow {
        var changed = window
        switch self {
        case .open:
            guard !window.isCancelled else { throw .cancelled }
            guard now < window.closesAt else { throw .closed }
            guard now < window.opensAt else { return window }
            changed.opensAt = now
        case .close:
            guard !window.isCancelled else { throw .cancelled }
            guard now < window.closesAt else { return window }
            changed.closesAt = now
            changed.opensAt = min(window.opensAt, now)
        case .cancel:
            guard !window.isCancelled else { return window }
            changed.isCancelled = true
        }
        changed.version += 1
        return changed
    }
}
