import Gateway
import Model

extension HTTPResponse {
    private static let common: [(String, String)] = [
        ("content-type", "application/json; charset=utf-8"), ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"),
    ]

    /// `{"result": …, "error": null}`.
    static func result(_ status: Int = 200, _ body: (inout JSONWriter) -> Void) -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.member("result", body)
            json.key("error")
            json.null()
        }
        return HTTPResponse(status: status, headers: HTTPHeaders(common), body: json.bytes)
    }

    /// An answer without a body.
    static let noContent = HTTPResponse(status: 204, headers: ["cache-control": "no-store"], body: [])

    /// `{"result": null, "error": {"code": …, "message": …}}`.
    static func failure(_ error: WireError, headers: [(String, String)] = []) -> HTTPResponse {
        var json = JSONWriter()
        json.object { json in
            json.key("result")
            json.null()
            json.member("error") { json in
                json.object { json in
                    json.member("code", error.code.rawValue)
                    json.member("message", error.message)
                    if let order = error.order { json.member("order", order.description) }
                    if let payment = error.payment { json.member("paymentId", payment) }
                    if let seats = error.seats { json.member("seats") { $0.numbers(seats) } }
                }
            }
        }
        var all = common + headers
        if let seconds = error.retryAfter { all.append(("retry-after", String(seconds))) }
        if error.code == .unauthenticated { all.append(("www-authenticate", "Bearer")) }
        return HTTPResponse(status: error.code.status, headers: HTTPHeaders(all), body: json.bytes)
    }
}

extension JSONWriter {
    /// A sale as clients see it.
    mutating func sale(_ state: SaleState, at now: Timestamp) {
        object { json in
            json.member("id", state.sale.id.rawValue)
            json.member("name", state.sale.name)
            json.member("quantity", state.sale.quantity)
            json.member("remaining", state.remaining)
            json.member("status", state.status(at: now).rawValue)
            json.member("opensAt", state.window.opensAt)
            json.member("closesAt", state.window.closesAt)
            json.member("price", state.sale.price)
            json.member("perClientLimit", state.sale.perClientLimit)
            json.member("room", state.sale.room)
            json.member("rejectPercent", state.sale.rejectPercent)
        }
    }

    /// An order as its owner sees it.
    mutating func order(_ order: Order) {
        object { json in
            json.member("order", order.id.description)
            json.member("sale", order.id.sale.rawValue)
            json.member("userId", order.client.rawValue)
            json.member("ticket", order.ticket)
            json.member("status", order.status.rawValue)
            json.member("price", order.price)
            json.member("reason", order.reason)
            json.member("acceptedAt", order.acceptedAt)
            json.member("confirmedAt", order.confirmedAt)
            json.member("cancelledAt", order.cancelledAt)
        }
    }

    /// Counts, as members of an object that is open.
    mutating func countMembers(_ counts: Counts) {
        member("requests", counts[.requests])
        member("accepted", counts[.accepted])
        member("confirmed", counts[.confirmed])
        member("failed", counts[.failed])
        member("cancelled", counts[.cancelled])
        member("refused") { json in
            json.object { json in
                for (refusal, count) in counts.refused.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
                    json.key(dynamic: refusal.rawValue)
                    json.number(count)
                }
            }
        }
    }
}
