import Model

/// A client's place in a room's line.
struct PlaceInLine: Equatable {
    let rank: Int64
    let waiting: Int64
    let estimatedSeconds: Int64?
    /// Whether what is left can reach this rank; nil where the room has no sale.
    let isReachable: Bool?
    /// Whether lots are still to be drawn.
    let isProvisional: Bool
    /// The change of the line as of which it is true.
    let event: Int64

    /// Whether it is news to who was told the other.
    func isNews(after other: PlaceInLine) -> Bool {
        rank != other.rank || waiting != other.waiting || isReachable != other.isReachable
            || isProvisional != other.isProvisional
    }
}

/// Everything that the server sends over a WebSocket, as bytes.
enum ServerFrame {
    static func connected(client: ClientID, epoch: String, offset: Int64, recovered: Bool, id: MessageID?) -> [UInt8] {
        frame("connected", id: id) { json in
            json.member("client", client.rawValue)
            json.member("epoch", epoch)
            json.member("offset", offset)
            json.member("recovered", recovered)
        }
    }

    /// An outcome; without offset when it tells the present truth after a gap.
    static func outcome(_ outcome: Outcome, offset: Int64?, id: MessageID? = nil) -> [UInt8] {
        switch outcome {
        case .accepted(let order, let ticket, let remaining):
            frame("result", id: id) { json in
                json.member("sale", order.sale.rawValue)
                json.member("outcome", "accepted")
                json.member("ticket", ticket)
                json.member("order", order.description)
                if let remaining { json.member("remaining", remaining) }
                if let offset { json.member("offset", offset) }
            }
        case .order(let order, let status, let ticket, let reason):
            frame("order", id: id) { json in
                json.member("sale", order.sale.rawValue)
                json.member("order", order.description)
                json.member("status", status.rawValue)
                json.member("ticket", ticket)
                if let reason { json.member("reason", reason) }
                if let offset { json.member("offset", offset) }
            }
        case .admitted(let room, let token, let expiresAt):
            frame("admitted", id: id) { json in
                json.member("room", room.rawValue)
                json.member("token", token)
                json.member("expiresAt", expiresAt)
                if let offset { json.member("offset", offset) }
            }
        case .expired(let room, let token):
            frame("expired", id: id) { json in
                json.member("room", room.rawValue)
                json.member("token", token)
                if let offset { json.member("offset", offset) }
            }
        case .reservation(let reservation, let status):
            frame("reservation", id: id) { json in
                json.member("reservationId", reservation.description)
                json.member("performance", reservation.performance.rawValue)
                json.member("status", status.rawValue)
                if let offset { json.member("offset", offset) }
            }
        }
    }

    static func refused(_ error: WireError, sale: SaleID, id: MessageID?) -> [UInt8] {
        frame("result", id: id) { json in
            json.member("sale", sale.rawValue)
            refusal(error, &json)
        }
    }

    private static func refusal(_ error: WireError, _ json: inout JSONWriter) {
        json.member("outcome", error.code.rawValue)
        if let order = error.order { json.member("order", order.description) }
        if error.code == .soldOut { json.member("remaining", 0 as Int64) }
    }

    /// For what may not be the id of a sale at all.
    static func refused(_ error: WireError, sale: String, id: MessageID?) -> [UInt8] {
        frame("result", id: id) { json in
            json.key("sale")
            if let number = SaleID(parsing: sale) { json.number(number.rawValue) } else { json.string(sale) }
            refusal(error, &json)
        }
    }

    static func sale(_ state: SaleState, at now: Timestamp, id: MessageID? = nil) -> [UInt8] {
        frame("sale", id: id) { json in
            json.member("sale", state.sale.id.rawValue)
            json.member("name", state.sale.name)
            json.member("status", state.status(at: now).rawValue)
            json.member("remaining", state.remaining)
            json.member("quantity", state.sale.quantity)
            if let room = state.sale.room { json.member("room", room) }
            json.member("opensAt", state.window.opensAt)
            json.member("closesAt", state.window.closesAt)
        }
    }

    /// A place in line, as the answer to a join; pushed it is a ``RankFrame``.
    static func joined(_ place: PlaceInLine, of room: RoomID, id: MessageID? = nil) -> [UInt8] {
        frame("joined", id: id) { json in
            json.member("room", room.rawValue)
            json.member("rank", place.rank)
            json.member("waiting", place.waiting)
            json.member("estimatedSeconds", place.estimatedSeconds)
            if let isReachable = place.isReachable { json.member("reachable", isReachable) }
            if place.isProvisional { json.member("provisional", true) }
            json.member("seq", place.event)
        }
    }

    /// The end of waiting without a pass.
    static func left(_ room: RoomID, reason: String, id: MessageID? = nil) -> [UInt8] {
        frame("left", id: id) { json in
            json.member("room", room.rawValue)
            json.member("reason", reason)
        }
    }

    static func pong(at now: Timestamp, id: MessageID?) -> [UInt8] {
        frame("pong", id: id) { json in json.member("at", now) }
    }

    static func error(_ error: WireError, id: MessageID?) -> [UInt8] {
        frame("error", id: id) { json in
            json.member("code", error.code.rawValue)
            json.member("message", error.message)
            if let seats = error.seats { json.member("seats") { $0.numbers(seats) } }
            if let seconds = error.retryAfter { json.member("retryAfter", seconds) }
        }
    }

    static func frame(
        _ type: StaticString, id: MessageID?, _ body: (inout JSONWriter) -> Void
    ) -> [UInt8] {
        var json = JSONWriter(capacity: 160)
        json.object { json in
            json.key("type")
            json.string(type)
            json.member(id: id)
            body(&json)
        }
        return json.bytes
    }
}
