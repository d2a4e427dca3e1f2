/// Seats and points.
extension Checker {
    private struct Told {
        var client = ""
        var seats: [Int64] = []
        var deadlines: Set<Int64> = []
        var statuses: [String] = []
        var paying = false
        /// When its client first asked for its end.
        var releasing: Int64?
    }

    private func gatherReservations() -> [String: Told] {
        var reservations: [String: Told] = [:]
        for journal in journals {
            func note(_ reservation: String, _ change: (inout Told) -> Void) {
                var told = reservations[reservation] ?? Told()
                if told.client.isEmpty { told.client = journal.client }
                change(&told)
                reservations[reservation] = told
            }
            for entry in journal.notes {
                switch entry.event {
                case .held(let reservation, let seats, let expires):
                    note(reservation) {
                        $0.seats = seats
                        $0.deadlines.insert(expires)
                        if $0.client != journal.client { $0.statuses.append("held by \(journal.client)") }
                    }
                case .reservation(let reservation, let status):
                    note(reservation) { if !$0.statuses.contains(status) { $0.statuses.append(status) } }
                case .paying(let reservation): note(reservation) { $0.paying = true }
                case .releasing(let reservation):
                    note(reservation) { if $0.releasing == nil { $0.releasing = entry.at } }
                default: break
                }
            }
        }
        return reservations
    }

    /// What was told of reservations was true, and its end was told (I8).
    mutating func checkReservations() {
        let told = gatherReservations()
        let stored = Dictionary(facts.reservations.map { ($0.id, $0) }) { first, _ in first }
        for (id, told) in told.sorted(by: { $0.key < $1.key }) {
            if told.deadlines.count > 1 {
                found("I8 deadline", "\(id) of \(told.client) ran out at \(told.deadlines.sorted())")
            }
            for (first, second) in zip(told.statuses, told.statuses.dropFirst())
            where !(first == "paid" && second == "released") {
                found("I4 told otherwise", "\(told.client) was told reservation \(id) \(first), and then \(second)")
            }
            let words = (["held"] + told.statuses).joined(separator: ", ")
            guard let fact = stored[id] else {
                found("I8 lost", "\(told.client) was told reservation \(id) \(words), and PostgreSQL does not have it")
                continue
            }
            if fact.client != told.client || (!told.seats.isEmpty && told.seats.sorted() != fact.seats) {
                found(
                    "I8 holder",
                    "\(told.client) was told \(id) for \(told.seats); it is \(fact.client)'s, for \(fact.seats)")
            }
            let last = told.statuses.last ?? "held"
            if last != fact.status {
                found(
                    "I8 end", "\(told.client) was told reservation \(id) \(words), and PostgreSQL has it \(fact.status)"
                )
            }
            if told.statuses.contains("released"), told.releasing == nil {
                found("I8 released", "\(told.client) was told \(id) released, and never asked for that")
            }
            if told.statuses.contains("paid"), !told.paying {
                found("I8 paid", "\(told.client) was told \(id) paid, and never paid")
            }
        }
        for fact in facts.reservations where fact.status == "paid" && told[fact.id] == nil {
            found("silent", "\(fact.client) owns reservation \(fact.id), and was told nothing of it")
        }
        checkOverlaps(told)
    }

    /// Nobody was told that it holds a seat while another did.
    private mutating func checkOverlaps(_ told: [String: Told]) {
        for performance in offer.performances {
            var bySeat: [Int64: [(from: Int64, to: Int64, id: String)]] = [:]
            for (id, told) in told where id.hasPrefix("\(performance.id)-") {
                guard let expires = told.deadlines.first else { continue }
                let from = expires - performance.holdSeconds * 1000
                var to = told.statuses.first == "paid" ? Int64.max : expires
                if let releasing = told.releasing { to = min(to, releasing) }
                for seat in told.seats where from < to { bySeat[seat, default: []].append((from, to, id)) }
            }
            for (seat, holds) in bySeat.sorted(by: { $0.key < $1.key }) {
                let sorted = holds.sorted { $0.from < $1.from }
                for (first, second) in zip(sorted, sorted.dropFirst()) where second.from < first.to {
                    found(
                        "I8 two holders",
                        "seat \(seat) of \(performance.id) was held by \(first.id) and \(second.id) at once")
                }
            }
        }
    }

    /// No seat has two owners, nothing is held any more, and Redis and PostgreSQL agree about what is sold.
    mutating func checkSeats() {
        for performance in offer.performances {
            let all = facts.reservations.filter { $0.performance == performance.id }
            var owners: [Int64: String] = [:]
            for reservation in all {
                if reservation.status == "held" { found("I8 unended", "\(reservation.id) is held still") }
                if (reservation.status == "paid") != reservation.isLive {
                    found(
                        "I8 seats",
                        "\(reservation.id) is \(reservation.status), and its seats are \(reservation.isLive)")
                }
                guard reservation.status == "paid" else { continue }
                for seat in reservation.seats {
                    if let other = owners.updateValue(reservation.id, forKey: seat) {
                        found("I8 two owners", "seat \(seat) of \(performance.id): \(other) and \(reservation.id)")
                    }
                    if !(1...performance.seats).contains(seat) {
                        found("I8 seats", "\(reservation.id) has seat \(seat)")
                    }
                }
            }
            let expected = (1...performance.seats).map { owners[$0] == nil ? "f" : "s" }.joined()
            guard let letters = facts.seats[performance.id] else {
                found("I8 redis", "Redis does not know performance \(performance.id)")
                continue
            }
            if letters != expected {
                found("I8 redis", "performance \(performance.id): Redis \(letters), PostgreSQL \(expected)")
            }
        }
    }

    /// A balance is the sum of its ledger, and each was charged once and paid for once what it has (I9).
    mutating func checkAccounts() {
        for (client, account) in facts.accounts.sorted(by: { $0.key < $1.key }) {
            if account.balance != account.ledger || account.balance < 0 {
                found("I9 ledger", "\(client) has \(account.balance), and its ledger \(account.ledger)")
            }
        }
        let sales = Dictionary(offer.sales.map { ($0.id, $0) }) { first, _ in first }
        let orders = Dictionary(grouping: facts.orders.filter { $0.status == "confirmed" }, by: \.client)
        let reservations = Dictionary(grouping: facts.reservations.filter { $0.status == "paid" }, by: \.client)
        for journal in journals {
            var points: Int64 = 0
            var wasCharged = false
            for note in journal.notes {
                if case .charged(let charged) = note.event {
                    points = charged
                    wasCharged = true
                }
            }
            let spent =
                (orders[journal.client] ?? []).reduce(0) { $0 + (sales[$1.sale]?.price ?? 0) }
                + (reservations[journal.client] ?? []).reduce(0) { $0 + $1.price }
            let account = facts.accounts[journal.client] ?? Facts.Account()
            if wasCharged, account.charges != 1 {
                found("I9 charged", "\(journal.client) was charged \(account.charges) times")
            }
            guard wasCharged || account.charges == 0 else { continue }
            if account.balance != points - spent {
                found("I9 balance", "\(journal.client) has \(account.balance) of \(points), and spent \(spent)")
            }
        }
    }
}
