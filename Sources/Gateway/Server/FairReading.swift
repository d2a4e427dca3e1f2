import EventLoop

/// Shares the loop's time among connections that send more than a person does.
///
/// Who sends little is read at once. Who sends much stands in line with its like, and a few of the line are read in each
/// turn: however many they are, a turn stays short, and the others are answered in the next. This limits nobody: when
/// nothing else is to be done, the next turn comes at once. What waits is in the senders' own systems.
@LoopActor
final class FairReading {
    /// Whether so much waits for decisions that it would only grow: then nobody of the line is read.
    var isBusy: @LoopActor () -> Bool = { false }

    /// How many of the line are read in one turn of the loop, each once: as many as make a turn take a third of a millisecond.
    private var readInTurn = 1
    private static let mostInTurn = 128
    private static let turnNanoseconds: UInt64 = 300_000
    /// When the last of them were read, if the loop has not slept since.
    private var lastRead: UInt64 = 0
    /// Those who sent in this turn what was too much for a person.
    private var noted: [Peer] = []
    private var line: [Peer] = []
    private var first = 0
    private var isAwaitingTurn = false

    /// Whether the loop's thread works for more than a third of the time, as of the last look at that.
    private(set) var isLoopBusy = false
    private var lookedAt: UInt64 = 0
    private var worked: UInt64 = 0

    /// Looks at how much the loop's thread works. To be called many times a second.
    func lookAtLoop() {
        let now = EventLoop.nanoseconds
        let work = EventLoop.workNanoseconds
        isLoopBusy = lookedAt > 0 && (work - worked) * 3 > now - lookedAt
        (lookedAt, worked) = (now, work)
    }

    /// Puts a connection in line, as of the end of this turn.
    func note(_ peer: Peer) {
        if noted.isEmpty { Turn.atEnd(.flush) { self.endTurn() } }
        noted.append(peer)
    }

    private func endTurn() {
        for peer in noted { peer.standInLine() }
        line.append(contentsOf: noted)
        noted.removeAll(keepingCapacity: true)
        awaitTurn()
    }

    private func awaitTurn() {
        guard first < line.count, !isAwaitingTurn else { return }
        isAwaitingTurn = true
        let isBusy = isBusy()
        if isBusy { lastRead = 0 }
        // What it is busy with ends by an event, which begins a turn.
        Turn.atNextEnd(atOnce: !isBusy) {
            self.isAwaitingTurn = false
            if !self.isBusy() { self.readSome() }
            self.awaitTurn()
        }
    }

    /// Makes turns longer or shorter.
    private func adapt() {
        let now = EventLoop.nanoseconds
        if lastRead > 0 {
            let took = now - lastRead
            if took > Self.turnNanoseconds * 3 / 2 {
                readInTurn = max(1, readInTurn / 2)
            } else if took < Self.turnNanoseconds {
                readInTurn = min(Self.mostInTurn, readInTurn + 1)
            }
        }
        lastRead = now
    }

    private func readSome() {
        adapt()
        var again: [Peer] = []
        for _ in 0..<readInTurn where first < line.count {
            let peer = line[first]
            first += 1
            peer.leaveLine()
            if peer.staysInLine { again.append(peer) }
        }
        // They are read in the poll to come.
        if !again.isEmpty { Turn.atNextEnd(atOnce: false) { for peer in again { self.note(peer) } } }
        if first == line.count {
            line.removeAll(keepingCapacity: line.count < 1024)
            first = 0
            // Without a line, the loop may sleep.
            lastRead = 0
        } else if first > 1024, first * 2 > line.count {
            line.removeFirst(first)
            first = 0
        }
    }
}
