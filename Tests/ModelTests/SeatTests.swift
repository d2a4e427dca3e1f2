import Testing

@testable import Model

@Suite struct SeatLayoutTests {
    private let hall = SeatLayout(sections: [
        .init(name: "Stalls", rows: 2, seatsPerRow: 3), .init(name: "Balcony", rows: 1, seatsPerRow: 2),
    ])

    @Test func seatsAreNumberedBySectionRowAndPlace() {
        #expect(hall.count == 8)
        #expect(hall.place(of: 1) == .init(section: "Stalls", row: 1, number: 1))
        #expect(hall.place(of: 3) == .init(section: "Stalls", row: 1, number: 3))
        #expect(hall.place(of: 4) == .init(section: "Stalls", row: 2, number: 1))
        #expect(hall.place(of: 7) == .init(section: "Balcony", row: 1, number: 1))
        #expect(hall.place(of: 8) == .init(section: "Balcony", row: 1, number: 2))
        #expect(hall.place(of: 9) == nil)
        #expect(hall.place(of: 0) == nil)
    }

    @Test func numberedSeatsHaveNoRows() {
        let hall = SeatLayout(numbered: 50)
        #expect(hall.place(of: 50) == .init(section: nil, row: nil, number: 50))
        #expect(hall.place(of: 51) == nil)
        #expect(hall.place(of: .max) == nil && hall.place(of: .min) == nil)
        #expect(SeatLayout(numbered: 0).place(of: 1) == nil)
    }
}

@Suite struct ReservationTests {
    @Test func onlyTheseStepsExist() {
        var steps: [String] = []
        for from in ReservationStatus.allCases {
            for to in ReservationStatus.allCases where from.canBecome(to) { steps.append("\(from)→\(to)") }
        }
        #expect(steps.sorted() == ["held→expired", "held→paid", "held→released", "paid→released"])
        #expect(ReservationStatus.allCases.filter(\.ownsSeats) == [.held, .paid])
    }

    @Test func lettersAndIdsSurviveTheLog() {
        let id = ReservationID(performance: PerformanceID(7), sequence: 12)
        #expect(id.description == "7-12" && ReservationID(parsing: "7-12") == id)
        for text in ["7", "7-", "-12", "7-0", "07-1", "7-1-2", "7-9007199254740992"] {
            #expect(ReservationID(parsing: text) == nil)
        }
        var identities: Set<String> = []
        for status in ReservationStatus.allCases {
            #expect(ReservationStatus(letter: status.letter) == status)
            let outcome = Outcome.reservation(id, status)
            #expect(Outcome(encoded: outcome.encoded) == outcome)
            identities.insert(outcome.identity)
        }
        #expect(identities.count == ReservationStatus.allCases.count)
        for text in ["v 7-12", "v 7-12 x", "v 7 p", "v 7-12 p p"] { #expect(Outcome(encoded: text) == nil) }
    }

    @Test func aRefundedOneWasPaid() {
        let id = ReservationID(performance: PerformanceID(7), sequence: 12)
        func outcomes(_ status: ReservationStatus, paidAt: Timestamp? = nil) -> [Outcome] {
            Reservation(
                id: id, client: ClientID(trusted: "ada"), seats: [1], status: status, price: 1,
                heldAt: Timestamp(milliseconds: 1), expiresAt: Timestamp(milliseconds: 2), paidAt: paidAt
            ).outcomes
        }
        #expect(outcomes(.held) == [])
        #expect(outcomes(.expired) == [.reservation(id, .expired)])
        #expect(outcomes(.released) == [.reservation(id, .released)])
        #expect(
            outcomes(.released, paidAt: Timestamp(milliseconds: 1)) == [
                .reservation(id, .paid), .reservation(id, .released),
            ])
    }
}

@Suite struct SeatPictureTests {
    private static func picture(_ text: String, event: Int64 = 10) -> SeatPicture {
        SeatPicture(letters: Array(text.utf8), tally: tally(text), event: event)
    }

    private static func tally(_ text: String) -> SeatTally {
        func count(_ letter: Character) -> Int64 { Int64(text.filter { $0 == letter }.count) }
        return SeatTally(free: count("f"), held: count("h"), sold: count("s"))
    }

    @Test func changesComeInOrder() {
        var picture = Self.picture("fffff")
        #expect(picture.apply(11, Self.tally("fhhff"), [(2...3, .held)]) == .applied)
        #expect(picture.apply(11, Self.tally("sssss"), [(1...5, .sold)]) == .known)
        #expect(picture.apply(13, Self.tally("sssss"), [(1...5, .sold)]) == .read)
        #expect(picture.apply(12, Self.tally("fhsff"), [(3...3, .sold)]) == .applied)
        #expect(picture.letters == Array("fhsff".utf8) && picture.event == 12 && picture.tally == Self.tally("fhsff"))
        #expect(picture.changes(after: 10) == [2, 3])
        #expect(picture.changes(after: 11) == [3])
        #expect(picture.changes(after: 12) == [])
        // What is older than what is known, or newer: all may have changed.
        #expect(picture.changes(after: 9) == nil)
        #expect(picture.changes(after: 13) == nil)
    }

    @Test func whatIsOutsideIsNotBelieved() {
        var picture = Self.picture("ff")
        #expect(picture.apply(11, Self.tally("ff"), [(2...3, .held)]) == .read)
        #expect(picture.event == 10)
    }

    @Test func readingAnewIsADifference() {
        var picture = Self.picture("ffff")
        picture.replace(letters: Array("fsff".utf8), tally: Self.tally("fsff"), event: 40)
        #expect(picture.changes(after: 10) == [2])
        #expect(picture.changes(after: 40) == [])
        // Counted anew: nothing from before compares.
        picture.replace(letters: Array("ffff".utf8), tally: Self.tally("ffff"), event: 5)
        #expect(picture.changes(after: 40) == nil && picture.changes(after: 5) == nil)
        #expect(picture.apply(6, Self.tally("hfff"), [(1...1, .held)]) == .applied)
        #expect(picture.changes(after: 6) == [])
    }

    /// Whoever applies the differences, from wherever it stands, has the picture; however long the journal grows.
    @Test func differencesLeadToThePicture() {
        var random = SeededGenerator(seed: 4)
        let count = 300
        var picture = SeatPicture(
            letters: Array(repeating: SeatStatus.free.letter, count: count),
            tally: SeatTally(free: Int64(count), held: 0, sold: 0), event: 0)
        var viewers = Array(repeating: (event: Int64(0), letters: picture.letters), count: 20)
        for event in Int64(1)...5000 {
            let first = Int64.random(in: 1...Int64(count), using: &random)
            let last = min(Int64(count), first + Int64.random(in: 0...4, using: &random))
            let status = SeatStatus.allCases.randomElement(using: &random)!
            #expect(picture.apply(event, picture.tally, [(first...last, status)]) == .applied)
            let viewer = Int.random(in: 0..<viewers.count, using: &random)
            // Some look seldom.
            guard viewer < 15 || event % 1000 == 0 else { continue }
            let seats = picture.changes(after: viewers[viewer].event) ?? Array(1...count)
            for seat in seats { viewers[viewer].letters[seat - 1] = picture.letters[seat - 1] }
            viewers[viewer].event = event
            #expect(viewers[viewer].letters == picture.letters)
        }
        #expect(picture.changes(after: 0) == nil)
    }
}
