/// Claims, orders and stock.
extension Checker {
    /// What a client was told of one order.
    fileprivate struct Told {
        var client = ""
        var tickets: Set<Int64> = []
        var statuses: [String] = []
        var wasAccepted = false
        /// Whether its client asked for it to be cancelled.
        var cancelling = false
    }

    /// What was told of orders was true and stays true, and what is true was told.
    mutating func checkOrders() {
        let sales = Dictionary(offer.sales.map { ($0.id, $0) }) { first, _ in first }
        let stored = Dictionary(facts.orders.map { ($0.id, $0) }) { first, _ in first }
        let told = gatherOrders()
        for (order, told) in told.sorted(by: { $0.key < $1.key }) {
            if told.tickets.count > 1 {
                found("I4 ticket", "\(order) of \(told.client) had tickets \(told.tickets.sorted())")
            }
            for (first, second) in zip(told.statuses, told.statuses.dropFirst())
            where !(first == "confirmed" && second == "cancelled") {
                found("I4 told otherwise", "\(told.client) was told \(order) \(first), and then \(second)")
            }
            guard let fact = stored[order] else {
                found("I5 lost", "\(told.client) was told \(order) \(told.words), and PostgreSQL does not have it")
                continue
            }
            if fact.client != told.client {
                found("owner", "\(told.client) was told \(order), which is \(fact.client)'s")
            }
            if let ticket = told.tickets.first, ticket != fact.ticket {
                found("I4 ticket", "\(told.client) was told ticket \(ticket) of \(order), which has \(fact.ticket)")
            }
            let last = told.statuses.last ?? "accepted"
            if last != fact.status {
                found("I5 end", "\(told.client) was told \(order) \(told.words), and PostgreSQL has it \(fact.status)")
            }
            if told.statuses.contains("cancelled"), !told.cancelling {
                found("I4 cancelled", "\(told.client) was told \(order) cancelled, and never asked for that")
            }
            if told.statuses.contains("failed"), sales[fact.sale]?.price == 0, !promises.redisLostData {
                found("I5 failed", "\(told.client) was told \(order) failed, which nothing could refuse")
            }
        }
        for fact in facts.orders where told[fact.id] == nil && fact.status == "confirmed" {
            found("silent", "\(fact.client) owns \(fact.id), and was told nothing of it")
        }
    }

    private func gatherOrders() -> [String: Told] {
        var orders: [String: Told] = [:]
        for journal in journals {
            func note(_ order: String, _ change: (inout Told) -> Void) {
                var told = orders[order] ?? Told()
                // An order that is told to two shows as one that is another's.
                if told.client.isEmpty { told.client = journal.client }
                change(&told)
                orders[order] = told
            }
            for entry in journal.notes {
                switch entry.event {
                case .accepted(let order, let ticket):
                    note(order) {
                        $0.wasAccepted = true
                        $0.tickets.insert(ticket)
                        if $0.client != journal.client { $0.statuses.append("accepted to \(journal.client)") }
                    }
                case .order(let order, let status, let ticket):
                    note(order) {
                        if let ticket { $0.tickets.insert(ticket) }
                        if !$0.statuses.contains(status), status != "accepted" { $0.statuses.append(status) }
                    }
                case .cancelling(let order): note(order) { $0.cancelling = true }
                default: break
                }
            }
        }
        return orders
    }

    /// "No" was no; "duplicate" names an order that there is; a key has one answer.
    mutating func checkRefusals() {
        let owned = Dictionary(grouping: facts.orders, by: \.client)
        let sales = Dictionary(offer.sales.map { ($0.id, $0) }) { first, _ in first }
        let taken = Dictionary(grouping: facts.orders, by: \.sale).mapValues(\.count)
        for journal in journals {
            let client = journal.client
            let mine = owned[client] ?? []
            var accepted: Set<String> = []
            var passes: [String: (expires: Int64, isGood: Bool)] = [:]
            var shown: String?
            for note in journal.notes {
                switch note.event {
                case .accepted(let order, _): accepted.insert(order)
                case .admitted(_, let pass, let expires): passes[pass] = (expires, true)
                case .expired(_, let pass): passes[pass]?.isGood = false
                case .leaving: for pass in passes.keys { passes[pass]?.isGood = false }
                case .claimed(_, _, let pass): shown = pass
                case .refused(let sale, let code, let order):
                    switch code {
                    case "sold_out":
                        if let sale = sales[sale], Int64(taken[sale.id] ?? 0) < sale.quantity {
                            let sold = taken[sale.id] ?? 0
                            found(
                                "sold_out",
                                "\(client) was told so of \(sale.id), which sold \(sold) of \(sale.quantity)")
                        }
                    case "duplicate":
                        let named = order.map { order in mine.contains { $0.id == order } } ?? !mine.isEmpty
                        if !named {
                            found("duplicate", "\(client) was told so for \(order ?? "no order"), and owns none")
                        }
                    case "not_admitted":
                        guard let shown, let pass = passes[shown], pass.isGood, note.at < pass.expires - 1000,
                            accepted.isEmpty,
                            !promises.redisLostData || promises.lineOutlivesLoss && promises.passesAreKnown
                        else { break }
                        found(
                            "not_admitted", "\(client) was told so with the pass \(shown), which it had and did not use"
                        )
                    default: found("refused", "\(client) was told \(code) by sale \(sale), which is open and known")
                    }
                default: break
                }
            }
            let live = mine.filter { $0.status == "confirmed" }
            for (sale, orders) in Dictionary(grouping: live, by: \.sale)
            where Int64(orders.count) > sales[sale]?.limit ?? .max {
                found("I2 limit", "\(client) owns \(orders.map(\.id)) of sale \(sale)")
            }
        }
    }

    /// What REST said was true, by whatever instance, and stays so.
    mutating func checkTruths() {
        let stored = Dictionary(facts.orders.map { ($0.id, $0) }) { first, _ in first }
        for journal in journals {
            var known: [Int64: (order: String, at: Int64)] = [:]
            for note in journal.notes {
                switch note.event {
                case .accepted(let order, _), .order(let order, _, _):
                    if let sale = order.split(separator: "-").first.flatMap({ Int64($0) }), known[sale] == nil {
                        known[sale] = (order, note.at)
                    }
                case .truth(let sale, let status, let order, let ticket, let instance, let askedAt):
                    let where_ =
                        "instance \(instance) said \(status) \(order ?? "") to \(journal.client) of sale \(sale)"
                    if let before = known[sale], before.at < askedAt, status == "none" {
                        found("I4 truth", "\(where_), which had been told \(before.order)")
                    }
                    guard let order else { break }
                    guard let fact = stored[order] else {
                        found("I4 truth", "\(where_), and PostgreSQL does not have it")
                        break
                    }
                    if fact.client != journal.client || ticket.map({ $0 != fact.ticket }) ?? false {
                        found(
                            "I4 truth",
                            "\(where_) with ticket \(ticket ?? 0); it is \(fact.client)'s, with \(fact.ticket)")
                    }
                    let isLater =
                        status == "accepted" || status == fact.status
                        || (status == "confirmed" && fact.status == "cancelled")
                    if !isLater { found("I4 truth", "\(where_), and it is \(fact.status)") }
                default: break
                }
            }
        }
    }

    /// What is sold and what is free is all there is, in PostgreSQL and in Redis (I1, I3).
    mutating func checkStock() {
        for sale in offer.sales {
            let live = facts.orders.filter { $0.sale == sale.id && $0.status == "confirmed" }
            let sold = Int64(live.count)
            if sold > sale.quantity { found("I1 oversold", "sale \(sale.id): \(sold) of \(sale.quantity)") }
            if Set(live.map(\.ticket)).count != live.count { found("I1 ticket", "sale \(sale.id) sold a ticket twice") }
            for order in live where !(1...sale.quantity).contains(order.ticket) {
                found("I1 ticket", "\(order.id) has ticket \(order.ticket) of \(sale.quantity)")
            }
            guard let stock = facts.stocks[sale.id] else {
                found("I3 stock", "Redis does not know sale \(sale.id)")
                continue
            }
            if stock.unsettled != 0 { found("I3 unsettled", "sale \(sale.id): \(stock.unsettled) orders") }
            if stock.left + sold != sale.quantity || stock.owned != sold {
                found(
                    "I3 stock",
                    "sale \(sale.id): \(sold) sold in PostgreSQL, \(stock.owned) owned and \(stock.left) left in Redis, "
                        + "of \(sale.quantity)")
            }
        }
    }
}

extension Checker.Told {
    fileprivate var words: String {
        ((wasAccepted ? ["accepted"] : []) + statuses).joined(separator: ", ")
    }
}
