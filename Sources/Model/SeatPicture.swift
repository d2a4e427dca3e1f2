/// The seats of a performance as somebody who listens knows them, and what changed lately: whoever was told of an earlier
/// state is told of the difference only.
///
/// A pure state machine. Changes come numbered without gaps, or the whole is read anew.
public struct SeatPicture: Sendable {
    /// A letter a seat: ``SeatStatus/letter``.
    public private(set) var letters: [UInt8]
    /// How many are in which status.
    public private(set) var tally: SeatTally
    /// The number of the last change.
    public private(set) var event: Int64

    /// Which seat changed by which change, oldest first.
    private var journal: [(event: Int64, seat: Int32)] = []
    /// Changes after this one are all in the journal.
    private var journalStart: Int64

    /// What a change that came leads to.
    public enum Action: Equatable, Sendable {
        /// The picture has it.
        case applied
        /// The picture had it.
        case known
        /// Something was missed: the seats have to be read anew.
        case read
    }

    /// A picture as it was read.
    public init(letters: [UInt8], tally: SeatTally, event: Int64) {
        self.letters = letters
        self.tally = tally
        self.event = event
        journalStart = event
    }

    /// A change came.
    public mutating func apply(
        _ event: Int64, _ tally: SeatTally, _ changes: [(range: ClosedRange<Int64>, status: SeatStatus)]
    ) -> Action {
        guard event > self.event else { return .known }
        guard event == self.event + 1 else { return .read }
        for (range, status) in changes {
            guard range.lowerBound >= 1, range.upperBound <= Int64(letters.count) else { return .read }
            for seat in range { set(Int(seat) - 1, status.letter, event) }
        }
        self.tally = tally
        self.event = event
        trim()
        return .applied
    }

    /// The seats were read anew.
    public mutating func replace(letters new: [UInt8], tally: SeatTally, event: Int64) {
        guard new.count == letters.count, event >= self.event else {
            // Other seats, or counted anew: nobody's old state compares with it.
            self = SeatPicture(letters: new, tally: tally, event: event)
            journalStart = event + 1
            return
        }
        for index in new.indices where new[index] != letters[index] { set(index, new[index], event) }
        self.tally = tally
        self.event = event
        trim()
    }

    /// The seats that changed after `event`, ascending, each once; nil when that is not known: then all may have.
    public func changes(after event: Int64) -> [Int]? {
        guard event >= journalStart, event <= self.event else { return nil }
        var low = 0
        var high = journal.count
        while low < high {
            let middle = (low + high) / 2
            if journal[middle].event > event { high = middle } else { low = middle + 1 }
        }
        return Set(journal[low...].map { Int($0.seat) }).sorted()
    }

    private mutating func set(_ index: Int, _ letter: UInt8, _ event: Int64) {
        letters[index] = letter
        journal.append((event, Int32(index + 1)))
    }

    /// A journal longer than this costs more than telling all seats.
    private mutating func trim() {
        guard journal.count > 4096 + 2 * letters.count else { return }
        let kept = journal.count / 2
        journalStart = journal[kept - 1].event
        journal.removeFirst(kept)
    }
}
