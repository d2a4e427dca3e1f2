/// Which seats a buyer asks for next: by what it wants, and by what it was told of seats that are taken.
struct SeatChoice: Sendable {
    private let want: SeatOptions.Want
    private let count: Int
    /// Which of the buyers, and of how many.
    private let buyer: Int
    private let buyers: Int
    /// By seat, from 0 on; empty while nothing is known to be taken.
    private var isTaken: [Bool] = []

    init(_ want: SeatOptions.Want, seats: Int, buyer: Int, of buyers: Int) {
        self.want = want
        count = seats
        self.buyer = buyer
        self.buyers = buyers
    }

    /// What to ask for as the `attempt`-th, from 1; nil when there is nothing more to ask for.
    func seats(_ attempt: Int) -> [Int64]? {
        switch want {
        case .one: return [1]
        case .own:
            let seat = (attempt - 1) * buyers + buyer + 1
            return seat <= count ? [Int64(seat)] : nil
        case .any: return free(attempt, places: count, width: 1)
        // Neighbours overlap: 1-2, 2-3, …
        case .pair: return free(attempt, places: count - 1, width: 2)
        }
    }

    /// The first free from somewhere on, which is elsewhere for each buyer and attempt.
    private func free(_ attempt: Int, places: Int, width: Int) -> [Int64]? {
        guard places > 0 else { return nil }
        let start = (buyer &* 7919 &+ attempt &* 104_729) % places
        for step in 0..<places {
            let first = (start + step) % places
            if isTaken.isEmpty || !isTaken[first..<first + width].contains(true) {
                return (first..<first + width).map { Int64($0 + 1) }
            }
        }
        return nil
    }

    /// Seats were told to be taken, or to be free again.
    mutating func told(_ seats: some Sequence<Int64>, isTaken: Bool) {
        // For these it makes no difference.
        if want == .one || want == .own { return }
        if self.isTaken.isEmpty { self.isTaken = Array(repeating: false, count: count) }
        for seat in seats where seat >= 1 && seat <= count { self.isTaken[Int(seat) - 1] = isTaken }
    }

    /// All seats were told, a letter each.
    mutating func told(letters: String) {
        if want == .one || want == .own { return }
        let letters = letters.utf8
        guard letters.count == count else { return }
        isTaken = letters.map { $0 != UInt8(ascii: "f") }
    }
}
