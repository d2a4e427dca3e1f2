import Engine
import Model

extension JSONWriter {
    /// The audit as the admin sees it.
    mutating func audit(_ audit: Audit, repairs: [String]? = nil) {
        object { json in
            json.member("drift", audit.drift)
            json.member("sales") { json in
                json.array { json in for sale in audit.sales { json.sale(sale) } }
            }
            json.member("performances") { json in
                json.array { json in for seats in audit.performances { json.seats(seats) } }
            }
            json.member("rooms") { json in
                json.array { json in for room in audit.rooms { json.room(room) } }
            }
            json.member("ledgerDrift", audit.ledgerDrift)
            json.member("accountsWithDrift") { json in
                json.array { json in
                    for drift in audit.list.drifts where drift.kind == .balance {
                        json.string(drift.client?.rawValue ?? "")
                    }
                }
            }
            json.member("counts") { json in
                json.object { json in
                    for (kind, count) in audit.list.counts.sorted(by: { $0.key.rawValue < $1.key.rawValue })
                    where count > 0 {
                        json.key(dynamic: kind.rawValue)
                        json.number(count)
                    }
                }
            }
            json.member("drifts") { json in
                json.array { json in for drift in audit.list.drifts { json.drift(drift) } }
            }
            if let repairs {
                json.member("repairs") { json in json.array { json in for line in repairs { json.string(line) } } }
            }
        }
    }

    private mutating func sale(_ sale: SaleAudit) {
        object { json in
            json.member("sale", sale.sale.rawValue)
            json.member("quantity", sale.quantity)
            json.member("sold", sale.sold)
            json.member("held", 0 as Int64)
            json.member("free", sale.free)
            json.member("inFlight", sale.inFlight)
            json.member("owned", sale.owned)
            json.member("failed", sale.failed)
            json.member("cancelled", sale.cancelled)
            json.member("unreleased", sale.unreleased)
            json.member("countDrift", sale.countDrift)
            json.member("compared", sale.orders == nil ? "sums" : "orders")
            json.member("drift", sale.drift)
        }
    }

    private mutating func seats(_ audit: SeatAudit) {
        object { json in
            json.member("performance", audit.performance.rawValue)
            json.member("quantity", audit.stored.seats)
            json.member("sold", audit.counted.sold)
            json.member("held", audit.counted.held)
            json.member("free", audit.counted.free)
            json.member("soldInDatabase", audit.stored.sold)
            json.member("heldInDatabase", audit.stored.held)
            json.member("inFlight", audit.inFlight)
            json.member("unsettled", audit.stored.unsettled)
            json.member("misplaced", audit.stored.misplaced)
            json.member("unpaid", audit.stored.unpaid)
            json.member("compared", audit.reservations == nil ? "sums" : "reservations")
            json.member("drift", audit.drift)
        }
    }

    private mutating func room(_ audit: RoomAudit) {
        object { json in
            json.member("room", audit.room.rawValue)
            json.member("waiting", audit.numbers.members)
            json.member("active", audit.numbers.active)
            json.member("maxActive", audit.numbers.maxActive)
            json.member("drift", audit.drift)
        }
    }

    private mutating func drift(_ drift: Drift) {
        object { json in
            json.member("kind", drift.kind.rawValue)
            if let sale = drift.sale { json.member("sale", sale.rawValue) }
            if let performance = drift.performance { json.member("performance", performance.rawValue) }
            if let room = drift.room { json.member("room", room.rawValue) }
            if let client = drift.client { json.member("client", client.rawValue) }
            if let order = drift.order { json.member("order", order.description) }
            if let reservation = drift.reservation { json.member("reservation", reservation.description) }
            if let ticket = drift.ticket { json.member(drift.performance == nil ? "ticket" : "seat", ticket) }
            json.member("redis", drift.redis)
            json.member("database", drift.database)
            json.member("amount", drift.amount)
            json.member("mends", drift.kind.mend != .none)
        }
    }
}
