import Testing

@testable import Model

private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }

@Suite struct SaleTests {
    private let window = SaleWindow(opensAt: at(1000), closesAt: at(2000))

    @Test func opensAndClosesToTheMillisecond() {
        #expect(SaleStatus(window: window, remaining: 1, at: at(999)) == .scheduled)
        #expect(SaleStatus(window: window, remaining: 1, at: at(1000)) == .open)
        #expect(SaleStatus(window: window, remaining: 1, at: at(1999)) == .open)
        #expect(SaleStatus(window: window, remaining: 1, at: at(2000)) == .closed)
    }

    @Test func soldOutOnlyWhileItWouldBeOpen() {
        #expect(SaleStatus(window: window, remaining: 0, at: at(999)) == .scheduled)
        #expect(SaleStatus(window: window, remaining: 0, at: at(1500)) == .soldOut)
        #expect(SaleStatus(window: window, remaining: 0, at: at(2000)) == .closed)
    }

    @Test func aReturnedTicketReopensIt() {
        #expect(SaleStatus(window: window, remaining: 1, at: at(1500)) == .open)
    }

    @Test func commands() throws {
        let opened = try SaleCommand.open.apply(to: window, at: at(500))
        #expect(opened == SaleWindow(opensAt: at(500), closesAt: at(2000), version: 2))
        #expect(try SaleCommand.open.apply(to: window, at: at(1500)) == window)
        #expect(throws: Refusal.closed) { try SaleCommand.open.apply(to: window, at: at(2000)) }
        let closed = try SaleCommand.close.apply(to: window, at: at(1500))
        #expect(closed.closesAt == at(1500))
        #expect(SaleStatus(window: closed, remaining: 5, at: at(1500)) == .closed)
        #expect(try SaleCommand.close.apply(to: closed, at: at(1600)) == closed)
        let early = try SaleCommand.close.apply(to: window, at: at(500))
        #expect(SaleStatus(window: early, remaining: 5, at: at(500)) == .closed)
        let cancelled = try SaleCommand.cancel.apply(to: window, at: at(1500))
        #expect(SaleStatus(window: cancelled, remaining: 5, at: at(1500)) == .cancelled)
        #expect(try SaleCommand.cancel.apply(to: cancelled, at: at(1600)) == cancelled)
        #expect(throws: Refusal.cancelled) { try SaleCommand.open.apply(to: cancelled, at: at(1600)) }
        #expect(throws: Refusal.cancelled) { try SaleCommand.close.apply(to: cancelled, at: at(1600)) }
    }

    @Test func knowsWhenItChangesByTheClock() {
        let sale = Sale(
            id: SaleID(1), name: "x", quantity: 1, price: 0, perClientLimit: 1, room: nil, rejectPercent: 0)
        var state = SaleState(sale: sale, window: window, remaining: 1)
        #expect(state.nextChange(after: at(0)) == at(1000))
        #expect(state.nextChange(after: at(1000)) == at(2000))
        #expect(state.nextChange(after: at(2000)) == nil)
        state.window.isCancelled = true
        #expect(state.nextChange(after: at(0)) == nil)
    }
}

@Suite struct OrderTests {
    @Test func onlyTheseStepsExist() {
        var steps: [String] = []
        for from in OrderStatus.allCases {
            for to in OrderStatus.allCases where from.canBecome(to) { steps.append("\(from)→\(to)") }
        }
        #expect(
            steps.sorted() == [
                "accepted→cancelled", "accepted→confirmed", "accepted→failed", "confirmed→cancelled", "failed→accepted",
            ])
    }

    @Test func outcomesSurviveTheLog() {
        let order = OrderID(sale: SaleID(42), sequence: 17)
        let outcomes: [Outcome] = [
            .accepted(order: order, ticket: 9, remaining: 3), .accepted(order: order, ticket: 9, remaining: nil),
            .order(order, .confirmed, ticket: 9, reason: nil),
            .order(order, .failed, ticket: 9, reason: "insufficient_points"),
            .order(order, .failed, ticket: 9, reason: "23514 some words"),
            .order(order, .cancelled, ticket: 9, reason: nil),
        ]
        for outcome in outcomes { #expect(Outcome(encoded: outcome.encoded) == outcome) }
        for text in [
            "", "a", "a 42-17", "z 42-17", "a x 1", "c 0-1", "c 42", "a 042-17 9", "a 42-017 9", "a 42-17-1 9",
            "a 42-17x 9", "c 42-17 9x", "a +42-17 9", "a 9007199254740992-17 9", "a 42-17 ", " a 42-17 9",
        ] {
            #expect(Outcome(encoded: text) == nil, "\(text)")
        }
        // What is read by its bytes and what isn't, but means the same.
        #expect(Outcome(encoded: "a 42-17 9 ") == .accepted(order: order, ticket: 9, remaining: nil))
        #expect(Outcome(encoded: "a 42-17 9 x") == .accepted(order: order, ticket: 9, remaining: nil))
        #expect(Outcome(encoded: "a 42-17 9 -3") == .accepted(order: order, ticket: 9, remaining: -3))
        #expect(Outcome(encoded: "a 42-17 09 0") == .accepted(order: order, ticket: 9, remaining: 0))
        #expect(Outcome(encoded: "a 42-17 9 00") == .accepted(order: order, ticket: 9, remaining: 0))
        #expect(Outcome(encoded: "c 42-17 9 words") == .order(order, .confirmed, ticket: 9, reason: nil))
        #expect(Outcome(encoded: "xa 42-17 9 3".dropFirst()) == .accepted(order: order, ticket: 9, remaining: 3))
    }

    @Test func numbersAreReadByTheirBytes() {
        func scan<Value>(_ text: String, _ body: (inout DecimalScanner) -> Value) -> Value {
            var text = text
            return text.withUTF8 {
                var scanner = DecimalScanner($0)
                return body(&scanner)
            }
        }
        let largest: Int64 = (1 << 53) - 1
        #expect(scan("\(largest)") { $0.number() } == largest)
        for text in ["", "-1", "+1", "00", "01", "\(largest + 1)", "99999999999999999999", "x", " 1"] {
            #expect(scan(text) { $0.number() } == nil, "\(text)")
        }
        #expect(scan("0") { $0.number() } == 0)
        #expect(scan("0") { [$0.positive(), $0.number()] } == [nil, 0])
        let words = scan("12 7-8") { scanner in
            [scanner.number(), scanner.skip(UInt8(ascii: " ")) ? 1 : 0, scanner.pair().map { $0.0 * 10 + $0.1 }]
        }
        #expect(words == [12, 1, 78])
        #expect(scan("5") { ($0.skip(0x35), $0.skip(0x35), $0.isAtEnd) } == (true, false, true))
    }

    @Test func outcomesOfRoomsSurviveTheLog() {
        let room = RoomID("vip:2026")!
        let token = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
        let admitted = Outcome.admitted(room, token: token, expiresAt: at(1_763_640_000_123))
        let expired = Outcome.expired(room, token: token)
        #expect(admitted.encoded == "g vip:2026 \(token) 1763640000123")
        #expect(expired.encoded == "t vip:2026 \(token)")
        for outcome in [admitted, expired] { #expect(Outcome(encoded: outcome.encoded) == outcome) }
        #expect([admitted, expired].map(\.identity) == ["g\(token)", "t\(token)"])
        // Of one pass, each is told once; the moment at which it ends is not what tells two of them apart.
        #expect(Outcome.admitted(.main, token: token, expiresAt: at(0)).identity == admitted.identity)
        for text in ["g", "g main", "g main x", "g main x y", "g ma/in x 1", "g  x 1", "t main", "t ma/in x"] {
            #expect(Outcome(encoded: text) == nil, "\(text)")
        }
    }
}
