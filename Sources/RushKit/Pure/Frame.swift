import Model

/// What the server said in one frame, or in one answer of REST: the members that a client looks at, whatever their order.
///
/// Ids come as numbers or strings and are compared as text.
struct Frame: Equatable, Sendable {
    enum Kind: Sendable {
        case connected
        case result
        case order
        case sale
        case joined
        case rank
        case admitted
        case expired
        case left
        case held
        case reservation
        case seats
        case error
        /// Anything else: not for us.
        case other
    }

    var kind = Kind.other
    /// What we put on the claim that this answers.
    var id: Int64?
    /// Of an outcome: its place in the client's log. Of `connected`: where the log starts for this connection.
    var offset: Int64?
    var epoch: String?
    var recovered = false
    var sale: String?
    var outcome: String?
    var order: String?
    var ticket: Int64?
    var status: String?
    /// Of an order that failed; of a place that was lost.
    var reason: String?
    /// Of an error.
    var code: String?
    var message: String?

    // A place in a line.

    /// From 1.
    var rank: Int64?
    /// How many wait, this client included.
    var waiting: Int64?
    var estimatedSeconds: Double?
    /// Whether there is something left for who is that far behind.
    var reachable = true
    /// Whether lots are still to be drawn.
    var provisional = false
    /// Of a rank: the state of the room that it is from.
    var seq: Int64?
    /// The pass.
    var token: String?
    /// In milliseconds since 1970.
    var expiresAt: Int64?
    /// After how many seconds to ask again.
    var refreshSeconds: Double?

    // Seats.

    var reservation: String?
    /// What is held, or what is taken of what was asked for.
    var seats: [Int64] = []
    var price: Int64?
    /// Of a performance that is watched, all seats: a letter each.
    var letters: String?
    /// Of a performance that is watched: what changed.
    var changes: [SeatChange] = []
    /// How much is left of what is watched, or of the sale after a claim.
    var remaining: Int64?
}

/// A seat that changed.
struct SeatChange: Equatable, Sendable {
    var seat: Int64 = 0
    var isFree = false
}

extension Frame {
    /// Reads a frame; nil when it isn't an object, or is broken where we look.
    ///
    /// A scan of the top level without building a tree: the load generator shares the machine with what it measures.
    init?(_ text: [UInt8]) { self.init(text, isAnswer: false) }

    /// Reads an answer of REST, `{"result": …, "error": …}`: the members of both, in one.
    init?(answer text: [UInt8]) { self.init(text, isAnswer: true) }

    private init?(_ text: [UInt8], isAnswer: Bool) {
        var frame = Frame()
        let isWhole = text.withUnsafeBufferPointer { bytes in
            var scanner = FrameScanner(bytes)
            return scanner.object { member, scanner in
                if isAnswer, member == .result || member == .error, scanner.isAtObject {
                    scanner.members { frame.take($0, &$1) }
                } else {
                    frame.take(member, &scanner)
                }
            }
        }
        guard isWhole else { return nil }
        self = frame
    }

    private mutating func take(_ member: Member, _ scanner: inout FrameScanner) {
        switch member {
        case .type: kind = Kind(scanner.text() ?? "")
        case .id: id = scanner.integer()
        case .offset: offset = scanner.integer()
        case .ticket: ticket = scanner.integer()
        case .epoch: epoch = scanner.text()
        case .recovered: recovered = scanner.text() == "true"
        case .sale: sale = scanner.text()
        case .outcome: outcome = scanner.text()
        case .order: order = scanner.text()
        case .status: status = scanner.text()
        case .reason: reason = scanner.text()
        case .code: code = scanner.text()
        case .message: message = scanner.text()
        case .rank: rank = scanner.integer()
        case .waiting: waiting = scanner.integer()
        case .estimatedSeconds: estimatedSeconds = scanner.number()
        case .reachable: reachable = scanner.text() != "false"
        case .provisional: provisional = scanner.text() == "true"
        case .seq: seq = scanner.integer()
        case .token: token = scanner.text()
        case .expiresAt: expiresAt = scanner.text().flatMap { Timestamp(rfc3339: $0)?.milliseconds }
        case .refreshSeconds: refreshSeconds = scanner.number()
        case .reservationId: reservation = scanner.text()
        case .seats, .seatIds: seats = scanner.integers()
        case .price: price = scanner.integer()
        case .letters: letters = scanner.text()
        case .remaining: remaining = scanner.integer()
        case .changes: takeChanges(&scanner)
        case .result, .error, .seatId, .other: scanner.skip()
        }
    }

    private mutating func takeChanges(_ scanner: inout FrameScanner) {
        scanner.elements { scanner in
            var change = SeatChange()
            scanner.members { member, scanner in
                switch member {
                case .seatId: change.seat = scanner.integer() ?? 0
                case .status: change.isFree = scanner.text() == "free"
                default: scanner.skip()
                }
            }
            changes.append(change)
        }
    }

    enum Member: String, CaseIterable {
        case type, id, offset, epoch, recovered, sale, outcome, order, ticket, status, reason, code, message
        case rank, waiting, estimatedSeconds, reachable, provisional, seq, token, expiresAt, refreshSeconds
        case reservationId, seats, seatIds, price, letters, changes, seatId, remaining
        case result, error
        case other

        /// By the length of the name: hardly any two have the same and need to be compared.
        private static let byLength: [[(member: Member, name: [UInt8])]] = {
            var table: [[(member: Member, name: [UInt8])]] = []
            for member in allCases where member != .other {
                let name = Array(member.rawValue.utf8)
                while table.count <= name.count { table.append([]) }
                table[name.count].append((member, name))
            }
            return table
        }()

        init(_ name: UnsafeBufferPointer<UInt8>.SubSequence) {
            guard name.count < Member.byLength.count else {
                self = .other
                return
            }
            self = Member.byLength[name.count].first { name.elementsEqual($0.name) }?.member ?? .other
        }
    }
}

extension Frame.Kind {
    fileprivate init(_ name: String) {
        switch name {
        case "rank": self = .rank
        case "connected": self = .connected
        case "result": self = .result
        case "order": self = .order
        case "sale": self = .sale
        case "joined": self = .joined
        case "admitted": self = .admitted
        case "expired": self = .expired
        case "left": self = .left
        case "held": self = .held
        case "reservation": self = .reservation
        case "seats": self = .seats
        case "error": self = .error
        default: self = .other
        }
    }
}
