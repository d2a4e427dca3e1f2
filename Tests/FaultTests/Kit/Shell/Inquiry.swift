import EventLoop
import TestServices

/// Reads what is true, past the server.
@LoopActor
struct Inquiry {
    let stage: Stage
    let offer: Offer

    private func list(_ ids: [Int64]) -> String { ids.map(String.init).joined(separator: ",") }
    private var sales: String { list(offer.sales.map(\.id)) }
    private var performances: String { list(offer.performances.map(\.id)) }

    /// What is still on its way, in words; empty when nothing is.
    func inFlight() async -> String {
        var commands: [[String]] = []
        var names: [String] = []
        for sale in offer.sales {
            commands.append(["XLEN", "dibs:{sale:\(sale.id)}:orders"])
            names.append("orders of sale \(sale.id)")
        }
        for performance in offer.performances {
            commands.append(["XLEN", "dibs:{performance:\(performance.id)}:log"])
            names.append("entries of performance \(performance.id)")
        }
        for room in offer.rooms {
            commands.append(["ZCARD", "dibs:{room:\(room.id)}:outbox"])
            names.append("outcomes of \(room.id)")
        }
        guard let replies = await stage.probe.ask(commands) else { return "Redis" }
        for (name, reply) in zip(names, replies) where (reply.integer ?? 1) != 0 { return name }
        let rows = try? await stage.sql(
            """
            select 'tickets' from orders where sale_id in (\(sales)) and not released
            union all select 'reservations' from reservations
                where performance_id in (\(performances)) and (status = 'held' or cause = 'superseded' or not settled)
            limit 1
            """)
        guard let rows else { return "PostgreSQL" }
        return rows.first ?? ""
    }

    /// The last offsets of clients' logs.
    func offsets(of clients: [String]) async -> (epoch: String, offsets: [String: Int64])? {
        let commands = [["GET", "dibs:epoch"]] + clients.map { ["HGET", "dibs:{client:\($0)}", "n"] }
        guard let replies = await stage.probe.ask(commands) else { return nil }
        var offsets: [String: Int64] = [:]
        for (client, reply) in zip(clients, replies.dropFirst()) { offsets[client] = reply.integer ?? 0 }
        return (replies[0].text ?? "", offsets)
    }

    /// Everything.
    func facts() async throws -> Facts {
        var facts = Facts()
        let rows = try await stage.sql(
            """
            select 'o', sale_id || '-' || sequence, sale_id, client_id, ticket, status
                from orders where sale_id in (\(sales))
            union all select 'o', sale_id || '-' || sequence, sale_id, client_id, ticket, 'failed'
                from failed_orders f where sale_id in (\(sales)) and status = 'failed'
                and not exists (select from orders o where o.sale_id = f.sale_id and o.sequence = f.sequence);
            select 'r', performance_id || '-' || sequence, performance_id, client_id,
                case when cause = 'superseded' then 'held' else status end, price, bool_or(s.is_live), string_agg(s.seat::text, ',' order by s.seat)
                from reservations join reservation_seats s using (performance_id, sequence)
                where performance_id in (\(performances)) group by performance_id, sequence, client_id, status, cause, price;
            select 'a', client_id, balance, coalesce(sum(amount), 0), count(*) filter (where kind = 'charge')
                from accounts left join ledger_entries using (client_id) group by client_id, balance
            """)
        for row in rows {
            let words = row.split(separator: "|", omittingEmptySubsequences: false).map(String.init)
            switch words[0] {
            case "o":
                facts.orders.append(
                    Facts.Order(
                        id: words[1], sale: Int64(words[2]) ?? 0, client: words[3], ticket: Int64(words[4]) ?? 0,
                        status: words[5]))
            case "r":
                facts.reservations.append(
                    Facts.Reservation(
                        id: words[1], performance: Int64(words[2]) ?? 0, client: words[3], status: words[4],
                        seats: words[7].split(separator: ",").compactMap { Int64($0) }, price: Int64(words[5]) ?? 0,
                        isLive: words[6] == "t"))
            default:
                facts.accounts[words[1]] = Facts.Account(
                    balance: Int64(words[2]) ?? 0, ledger: Int64(words[3]) ?? 0, charges: Int(words[4]) ?? 0)
            }
        }
        try await addRedis(to: &facts)
        return facts
    }

    private func addRedis(to facts: inout Facts) async throws {
        for sale in offer.sales {
            let key = "dibs:{sale:\(sale.id)}"
            let replies = await stage.probe.ask([
                ["HGET", key, "left"], ["HVALS", key + ":clients"], ["XLEN", key + ":orders"],
            ])
            guard let replies else { throw StageFailure(description: "Redis does not answer") }
            guard let left = replies[0].integer else { continue }
            let owned = replies[1].list.reduce(0) { $0 + Int64($1.text?.split(separator: " ").count ?? 0) }
            facts.stocks[sale.id] = Facts.Stock(left: left, owned: owned, unsettled: replies[2].integer ?? -1)
        }
        for performance in offer.performances {
            facts.seats[performance.id] =
                await stage.probe.ask("GET", "dibs:{performance:\(performance.id)}:seats")?.text
        }
        let answer = await stage.call(.get, "/api/audit", as: .admin, timeout: 15_000)
        if let answer, answer.isSuccess {
            facts.drift = answer.message.integer("drift") ?? -1
        } else {
            facts.drift = -1
            facts.driftDetails = answer.map { "\($0.status) \($0.code)" } ?? "no answer"
        }
    }
}
