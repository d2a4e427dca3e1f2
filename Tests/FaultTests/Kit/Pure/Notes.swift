/// What a client did, or was told.
public enum Event: Sendable, Hashable {
    // MARK: the connection
    /// It opened a connection to that instance.
    case opened(instance: Int)
    /// The answer to `connect`.
    case connected(epoch: String, offset: Int64, recovered: Bool)
    /// The connection ended.
    case closed(code: Int)

    // MARK: sales
    /// It claimed, by WebSocket or REST.
    case claimed(sale: Int64, key: String, pass: String?)
    /// The claim was accepted.
    case accepted(order: String, ticket: Int64)
    /// The claim was refused; `order` where the answer names one.
    case refused(sale: Int64, code: String, order: String?)
    /// What became of an order.
    case order(String, status: String, ticket: Int64?)
    /// It asked for an order to be cancelled.
    case cancelling(order: String)
    /// It asks what is true of its claim.
    case asking(sale: Int64)
    /// What REST said is true of its claim; the asking was at that time.
    case truth(sale: Int64, status: String, order: String?, ticket: Int64?, instance: Int, askedAt: Int64)

    // MARK: rooms
    /// It sent `join`.
    case joining(room: String)
    /// It waits.
    case joined(room: String)
    /// It has a pass; `expiresAt` in ms since 1970.
    case admitted(room: String, pass: String, expiresAt: Int64)
    /// The pass ran out.
    case expired(room: String, pass: String)
    /// It lost its place, or gave it up.
    case left(room: String, reason: String)
    /// It gives its place or pass up.
    case leaving(room: String)

    // MARK: seats
    /// It asked for seats.
    case holding(performance: Int64, seats: [Int64])
    /// It holds seats.
    case held(reservation: String, seats: [Int64], expiresAt: Int64)
    /// What became of a reservation.
    case reservation(String, status: String)
    /// It pays.
    case paying(reservation: String)
    /// It gives a hold back, or cancels what it paid.
    case releasing(reservation: String)
    /// It charges its account.
    case charging(points: Int64)
    /// The account was charged.
    case charged(points: Int64)

    /// What was told for ever, by what it says; nil for what may change.
    public var outcome: String? {
        switch self {
        case .accepted(let order, let ticket): "\(order) accepted with ticket \(ticket)"
        case .order(let order, let status, _): "\(order) \(status)"
        case .admitted(let room, let pass, _): "admitted to \(room) by \(pass)"
        case .expired(let room, let pass): "expired in \(room): \(pass)"
        case .reservation(let reservation, let status): "reservation \(reservation) \(status)"
        default: nil
        }
    }
}

/// An event at its time.
public struct Note: Sendable, CustomStringConvertible {
    /// Milliseconds since 1970.
    public let at: Int64
    /// What.
    public let event: Event
    /// The outcome's place in the client's log.
    public let offset: Int64?
    /// Whether it is the answer to something that the client sent, and so may repeat what was told.
    public let isAnswer: Bool

    /// An event at its time.
    public init(at: Int64, _ event: Event, offset: Int64? = nil, isAnswer: Bool = false) {
        self.at = at
        self.event = event
        self.offset = offset
        self.isAnswer = isAnswer
    }

    /// A line of a kept journal.
    public var description: String {
        "\(at) \(event)\(offset.map { " @\($0)" } ?? "")\(isAnswer ? " (answer)" : "")"
    }
}

/// Everything that one client did and was told, in order.
public struct ClientJournal: Sendable {
    /// The client.
    public let client: String
    /// In order.
    public var notes: [Note]
    /// Where it wanted to resume at each connection is what it was told before; a client without connections has none.
    public var isConnected: Bool
    /// Whether it learned everything that it wanted to know.
    public var isDone: Bool
    /// What it waited for, in words.
    public var waitedFor: String

    /// An empty one.
    public init(_ client: String, notes: [Note] = []) {
        self.client = client
        self.notes = notes
        isConnected = false
        isDone = true
        waitedFor = ""
    }

    /// The data set and the offset up to which it was told.
    public var position: (epoch: String, offset: Int64)? {
        var position: (epoch: String, offset: Int64)?
        for note in notes {
            if case .connected(let epoch, let offset, _) = note.event { position = (Epoch.name(of: epoch), offset) }
            if let offset = note.offset, let known = position, offset > known.offset { position?.offset = offset }
        }
        return position
    }
}

/// An epoch as clients see it: the data set's name, the moment of the `connect`, and the run of Redis then.
public enum Epoch {
    /// The data set's name.
    public static func name(of epoch: String) -> String {
        epoch.firstIndex(of: ".").map { String(epoch[..<$0]) } ?? epoch
    }

    /// The data set and the run: within both an offset means one thing. Another run may have lost some, and give them anew
    /// to whoever was not recovered.
    public static func run(of epoch: String) -> String {
        let parts = epoch.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count < 3 ? name(of: epoch) : "\(parts[0])/\(parts[2])"
    }
}
