import FaultKit
import Testing

/// A small round in which all went well: each test changes one thing in it.
struct World {
    var offer = Offer()
    var journals: [String: ClientJournal] = [:]
    var facts = Facts()
    var promises = Promises()

    /// Ada has an order, Bob was told no, Cem waited and has one, Dana gave hers back, Eve has a seat.
    init() {
        offer.sales = [.init(id: 1, quantity: 2), .init(id: 2, quantity: 5, room: "line")]
        offer.rooms = [.init(id: "line", maxActive: 1, passSeconds: 60)]
        offer.performances = [.init(id: 7, seats: 3, price: 10, holdSeconds: 5)]
        facts.epoch = "e"
        add("ada", connected(), claimed(1), note(30, .accepted(order: "1-1", ticket: 1), 1, isAnswer: true))
        add("ada", note(40, .order("1-1", status: "confirmed", ticket: 1), 2))
        add("bob", connected(), claimed(1), note(30, .refused(sale: 1, code: "sold_out", order: nil)))
        add("cem", connected(), note(20, .joining(room: "line")), note(25, .joined(room: "line")))
        add("cem", note(110, .admitted(room: "line", pass: "p-cem", expiresAt: 60_100), 1))
        add("cem", claimed(2, at: 120, pass: "p-cem"), note(130, .accepted(order: "2-1", ticket: 1), 2, isAnswer: true))
        add("cem", note(140, .order("2-1", status: "confirmed", ticket: 1), 3))
        add("dana", connected(), claimed(1), note(30, .accepted(order: "1-2", ticket: 2), 1, isAnswer: true))
        add("dana", note(40, .order("1-2", status: "confirmed", ticket: 2), 2), note(50, .cancelling(order: "1-2")))
        add("dana", note(60, .order("1-2", status: "cancelled", ticket: 2), 3))
        add("eve", connected(), note(20, .charged(points: 100)), note(30, .holding(performance: 7, seats: [2])))
        add("eve", note(40, .held(reservation: "7-1", seats: [2], expiresAt: 5040), isAnswer: true))
        add("eve", note(50, .paying(reservation: "7-1")), note(60, .reservation("7-1", status: "paid"), 1))
        add("fay", connected(), note(200, .joining(room: "line")), note(205, .joined(room: "line")))
        add("fay", note(220, .admitted(room: "line", pass: "p-fay", expiresAt: 60_215), 1))
        facts.orders = [
            order("1-1", "ada", 1), order("1-2", "dana", 2, "cancelled"), order("2-1", "cem", 1),
        ]
        facts.stocks = [1: .init(left: 1, owned: 1, unsettled: 0), 2: .init(left: 4, owned: 1, unsettled: 0)]
        facts.reservations = [reservation("7-1", "eve", "paid", [2])]
        facts.seats = [7: "fsf"]
        facts.accounts = ["eve": .init(balance: 90, ledger: 90, charges: 1)]
        facts.offsets = ["ada": 2, "bob": 0, "cem": 3, "dana": 3, "eve": 1, "fay": 1]
        facts.mostAdmitted = ["line": 1]
    }

    mutating func add(_ client: String, _ notes: Note...) {
        var journal = journals[client] ?? ClientJournal(client)
        journal.isConnected = true
        journal.notes += notes
        journals[client] = journal
    }

    /// The rules that are broken.
    var broken: Set<String> { Set(check.violations.map(\.rule)) }
    var check: Checker { Checker(offer, journals.values.sorted { $0.client < $1.client }, facts, promises) }
}

func note(_ at: Int64, _ event: Event, _ offset: Int64? = nil, isAnswer: Bool = false) -> Note {
    Note(at: at, event, offset: offset, isAnswer: isAnswer)
}

func connected(_ epoch: String = "e.1", _ offset: Int64 = 0, recovered: Bool = false) -> Note {
    note(10, .connected(epoch: epoch, offset: offset, recovered: recovered))
}

func claimed(_ sale: Int64, at: Int64 = 20, pass: String? = nil) -> Note {
    note(at, .claimed(sale: sale, key: "k", pass: pass))
}

func order(_ id: String, _ client: String, _ ticket: Int64, _ status: String = "confirmed") -> Facts.Order {
    Facts.Order(id: id, sale: Int64(id.prefix(1)) ?? 0, client: client, ticket: ticket, status: status)
}

func reservation(_ id: String, _ client: String, _ status: String, _ seats: [Int64]) -> Facts.Reservation {
    Facts.Reservation(
        id: id, performance: 7, client: client, status: status, seats: seats, price: 10 * Int64(seats.count),
        isLive: status == "paid")
}

@Suite struct CheckerTests {
    @Test func nothingIsWrong() {
        let check = World().check
        #expect(check.violations.isEmpty, "\(check.violations)")
        #expect(check.outcomes == 10)
    }

    @Test(arguments: Case.all) func finds(_ wrong: Case) {
        var world = World()
        wrong.change(&world)
        #expect(world.broken.contains(wrong.rule), "\(world.check.violations)")
    }

    /// A pass outlives a loss of Redis' data where a process knows it, and only there.
    @Test(arguments: [(true, true), (false, false)])
    func aPassIsKnownToWhoToldIt(passesAreKnown: Bool, isWrong: Bool) {
        var world = World()
        world.add(
            "fay", claimed(2, at: 230, pass: "p-fay"),
            note(240, .refused(sale: 2, code: "not_admitted", order: nil)))
        world.promises = Promises(redisLostData: true, passesAreKnown: passesAreKnown)
        #expect(world.broken.contains("not_admitted") == isWrong)
        world.promises = Promises(passesAreKnown: passesAreKnown)
        #expect(world.broken.contains("not_admitted"))
    }

    /// What looks wrong, and is as it should be.
    @Test func allows() {
        // A resume tells again under the same offsets; an answer repeats what came before; a truth without offset.
        var world = World()
        world.add("ada", connected("e.2", 2, recovered: true), claimed(1))
        world.add("ada", note(90, .accepted(order: "1-1", ticket: 1), 1, isAnswer: true))
        world.add("ada", connected("f.1", 0), note(95, .order("1-1", status: "confirmed", ticket: 1)))
        world.facts.offsets["ada"] = nil
        // Another run of Redis has lost some, and gives their offsets anew; or has not, and goes on.
        world.add("bob", connected("e.1.r1", 0), note(60, .expired(room: "line", pass: "x"), 1))
        world.add("bob", connected("e.2.r2", 0), note(70, .expired(room: "line", pass: "y"), 1))
        world.add("bob", connected("e.3.r3", 1, recovered: true), note(80, .expired(room: "line", pass: "z"), 2))
        world.facts.offsets["bob"] = 2
        // The same key is refused as long as the answer is not known, and then accepted.
        world.journals["cem"]?.notes.insert(note(22, .refused(sale: 2, code: "not_admitted", order: nil)), at: 2)
        world.add("dana", note(80, .refused(sale: 1, code: "duplicate", order: "1-2")))
        // Who left the line has no place to keep.
        world.add("gus", connected(), note(15, .joining(room: "line")), note(16, .joined(room: "line")))
        world.add("gus", note(18, .leaving(room: "line")), note(300, .joining(room: "line")))
        world.add("gus", note(70_000, .admitted(room: "line", pass: "p-gus", expiresAt: 130_000), 1))
        world.facts.offsets["gus"] = 1
        #expect(world.check.violations.isEmpty, "\(world.check.violations)")
    }

    /// A change to the world, and the rule that has to find it.
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let rule: String
        let change: @Sendable (inout World) -> Void
        var testDescription: String { name }

        init(_ name: String, _ rule: String, _ change: @escaping @Sendable (inout World) -> Void) {
            self.name = name
            self.rule = rule
            self.change = change
        }

        static let all = sales + offsets + rooms + seats
    }
}

extension CheckerTests.Case {
    static let sales = [
        Self("an accepted order that is not there", "I5 lost") { $0.facts.orders.removeFirst() },
        Self("an order that is another's", "owner") { $0.facts.orders[0] = order("1-1", "bob", 1) },
        Self("an order with another ticket", "I4 ticket") { $0.facts.orders[0] = order("1-1", "ada", 2) },
        Self("an order told with two tickets", "I4 ticket") {
            $0.add("ada", note(50, .order("1-1", status: "confirmed", ticket: 2)))
        },
        Self("one that failed after it was confirmed", "I4 told otherwise") {
            $0.add("ada", note(50, .order("1-1", status: "failed", ticket: 1), 3))
        },
        Self("one that is cancelled, and its client was not told", "I5 end") {
            $0.facts.orders[0] = order("1-1", "ada", 1, "cancelled")
        },
        Self("one whose end was not told", "I5 end") { $0.journals["ada"]?.notes.removeLast() },
        Self("one that was told cancelled, and nobody asked", "I4 cancelled") {
            $0.journals["dana"]?.notes.remove(at: 4)
        },
        Self("a free one that failed", "I5 failed") {
            $0.journals["ada"]?.notes[3] = note(40, .order("1-1", status: "failed", ticket: 1), 2)
            $0.facts.orders[0] = order("1-1", "ada", 1, "failed")
        },
        Self("an order that nobody was told of", "silent") { $0.facts.orders.append(order("1-3", "bob", 2)) },
        Self("an order told to two", "I4 told otherwise") {
            $0.add("bob", note(50, .order("1-1", status: "confirmed", ticket: 1), 1))
            $0.add("bob", note(51, .accepted(order: "1-1", ticket: 1), 2))
        },
        Self("sold out, while there are some", "sold_out") { $0.facts.orders.remove(at: 1) },
        Self("duplicate, of nothing", "duplicate") {
            $0.add("bob", note(50, .refused(sale: 1, code: "duplicate", order: "1-9")))
        },
        Self("closed, while it is open", "refused") {
            $0.add("bob", note(50, .refused(sale: 1, code: "closed", order: nil)))
        },
        Self("more than one of one client", "I2 limit") {
            $0.facts.orders.append(order("1-3", "ada", 2))
            $0.add("ada", note(60, .accepted(order: "1-3", ticket: 2), 3))
        },
        Self("more than there are", "I1 oversold") {
            $0.facts.orders += [order("1-3", "bob", 2), order("1-4", "bob", 3)]
        },
        Self("a ticket twice", "I1 ticket") { $0.facts.orders.append(order("1-3", "bob", 1)) },
        Self("a ticket beyond the last", "I1 ticket") { $0.facts.orders[2] = order("2-1", "cem", 6) },
        Self("stock that came back twice", "I3 stock") { $0.facts.stocks[1] = .init(left: 2, owned: 1, unsettled: 0) },
        Self("stock that did not come back", "I3 stock") {
            $0.facts.stocks[1] = .init(left: 0, owned: 2, unsettled: 0)
        },
        Self("an order that is not settled", "I3 unsettled") {
            $0.facts.stocks[1] = .init(left: 1, owned: 1, unsettled: 1)
        },
        Self("a sale that Redis does not know", "I3 stock") { $0.facts.stocks[1] = nil },
        Self("a truth that forgets", "I4 truth") {
            $0.add("ada", note(60, .truth(sale: 1, status: "none", order: nil, ticket: nil, instance: 0, askedAt: 55)))
        },
        Self("a truth that is not so", "I4 truth") {
            $0.add(
                "ada", note(60, .truth(sale: 1, status: "failed", order: "1-1", ticket: 1, instance: 1, askedAt: 55)))
        },
        Self("a client that never learned", "no end") { $0.journals["ada"]?.isDone = false },
        Self("an audit that drifts", "audit") { $0.facts.drift = 1 },
    ]

    static let offsets = [
        Self("an offset with two meanings", "offsets") {
            $0.add("ada", connected("e.2", 1, recovered: true))
            $0.add("ada", note(60, .order("1-9", status: "confirmed", ticket: 1), 2))
        },
        Self("an offset that was skipped", "offsets") {
            $0.add("ada", note(60, .reservation("7-9", status: "paid"), 4))
        },
        Self("an offset that came again", "offsets") {
            $0.add("ada", note(60, .order("1-1", status: "confirmed", ticket: 1), 2))
        },
        Self("a resume behind where it was", "offsets") { $0.add("ada", connected("e.2", 1, recovered: true)) },
        Self("a resume beyond where it was", "offsets") { $0.add("ada", connected("e.2", 3, recovered: true)) },
        Self("a resume of another data set", "offsets") { $0.add("ada", connected("f.2", 2, recovered: true)) },
        Self("an offset that means another thing after a resume", "offsets") {
            $0.add("ada", connected("e.2.r2", 2, recovered: true))
            $0.add("ada", note(60, .order("1-9", status: "confirmed", ticket: 1), 2, isAnswer: true))
        },
        Self("an outcome that was never sent", "offsets") { $0.facts.offsets["ada"] = 3 },
    ]

    static let rooms = [
        Self("the last is first", "I6 order") {
            $0.add("gus", connected(), note(15, .joining(room: "line")), note(19, .joined(room: "line")))
            $0.add("gus", note(50_000, .admitted(room: "line", pass: "p-gus", expiresAt: 110_000), 1))
        },
        Self("more in Redis than may be", "I7 admitted") { $0.facts.mostAdmitted["line"] = 2 },
        Self("two with a pass at once", "I7 passes") {
            $0.add("gus", connected(), note(400, .joining(room: "line")), note(405, .joined(room: "line")))
            $0.add("gus", note(410, .admitted(room: "line", pass: "p-gus", expiresAt: 60_216), 1))
            $0.add("fay", note(500, .leaving(room: "line")))
            $0.add("gus", note(500, .leaving(room: "line")))
        },
        Self("a good pass that is not taken", "not_admitted") {
            $0.add(
                "fay", claimed(2, at: 230, pass: "p-fay"),
                note(240, .refused(sale: 2, code: "not_admitted", order: nil)))
        },
    ]

    static let seats = [
        Self("a hold that is not there", "I8 lost") { $0.facts.reservations = [] },
        Self("a seat that is another's", "I8 holder") {
            $0.facts.reservations[0] = reservation("7-1", "bob", "paid", [2])
        },
        Self("another seat", "I8 holder") { $0.facts.reservations[0] = reservation("7-1", "eve", "paid", [3]) },
        Self("paid, and then expired", "I4 told otherwise") {
            $0.add("eve", note(70, .reservation("7-1", status: "expired"), 2))
        },
        Self("paid, and not told", "I8 end") { $0.journals["eve"]?.notes.removeLast() },
        Self("one that is held for ever", "I8 unended") {
            $0.facts.reservations.append(reservation("7-2", "bob", "held", [1]))
        },
        Self("a seat with two owners", "I8 two owners") {
            $0.facts.reservations.append(reservation("7-2", "bob", "paid", [2]))
        },
        Self("a seat held by two", "I8 two holders") {
            $0.add("bob", note(50, .held(reservation: "7-2", seats: [2], expiresAt: 5050)))
        },
        Self("a deadline that moves", "I8 deadline") {
            $0.add("eve", note(55, .held(reservation: "7-1", seats: [2], expiresAt: 5055), isAnswer: true))
        },
        Self("a seat that Redis has otherwise", "I8 redis") { $0.facts.seats[7] = "fff" },
        Self("a reservation that nobody was told of", "silent") {
            $0.facts.reservations.append(reservation("7-2", "bob", "paid", [1]))
        },
        Self("a balance that is not its ledger", "I9 ledger") {
            $0.facts.accounts["eve"] = .init(balance: 90, ledger: 80, charges: 1)
        },
        Self("charged twice", "I9 charged") { $0.facts.accounts["eve"] = .init(balance: 190, ledger: 190, charges: 2) },
        Self("paid twice", "I9 balance") { $0.facts.accounts["eve"] = .init(balance: 80, ledger: 80, charges: 1) },
    ]
}
