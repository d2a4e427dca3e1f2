import EventLoop

/// Shares the loop's time among connections that send more than a person does, and the new ones of an address that opens very
/// many of them.
///
/// Who sends little is read at once. Who sends much stands in line with its like, and a few of the line are read in each
/// turn: however many they are, a turn stays short, and the others are answered in the next. While others are there, all
/// of the line together get a third of the loop's time: the rest is for them, and for Redis and PostgreSQL where they
/// share the machine. With nobody else there, the next turn comes at once. What waits is in the senders' own systems.
@LoopActor
final class FairReading {
    /// Whether so much waits for decisions that it would only grow: then the line is read rarely.
    var isBusy: @LoopActor () -> Bool = { false }
    /// So often it is read all the same, in milliseconds: who is in it may have one message that matters, or a pong.
    private let patience: Int64

    private let company: Company
    /// How many of the line are read in one turn of the loop, each once: as many as make a turn take a third of a millisecond.
    private var readInTurn = 1
    /// So many at least, if that doesn't take as long.
    private let leastInTurn: Int
    private static let mostInTurn = 128
    private static let turnNanoseconds: UInt64 = 300_000
    /// Those who sent in this turn what was too much for a person.
    private var noted: [Peer] = []
    private var line: [Peer] = []
    private var first = 0
    private var isAwaitingTurn = false
    /// When some of the line were read, or it began, in the loop's milliseconds.
    private var movedAt: Int64 = 0

    /// Ends the time that is left to others, or to what it is busy with.
    private let pause = LoopTimer()

    /// Whether the loop's thread works for more than a third of the time, as of the last look at that.
    private(set) var isLoopBusy = false
    private var lookedAt: UInt64 = 0
    private var worked: UInt64 = 0

    init(_ company: Company, leastInTurn: Int = 1, patience: Int64 = 20) {
        self.company = company
        self.leastInTurn = leastInTurn
        self.patience = patience
    }

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
        if first == line.count { movedAt = EventLoop.monotonicMilliseconds }
        line.append(contentsOf: noted)
        noted.removeAll(keepingCapacity: true)
        awaitTurn()
    }

    private func awaitTurn() {
        guard first < line.count, !isAwaitingTurn else { return }
        isAwaitingTurn = true
        let isBusy = isBusy()
        // What it is busy with ends by an event, which begins a turn, or not in time.
        if isBusy { pause.start(after: patience) { Turn.atNextEnd(atOnce: true) {} } }
        Turn.atNextEnd(atOnce: !isBusy) {
            self.isAwaitingTurn = false
            if self.isBusy(), EventLoop.monotonicMilliseconds - self.movedAt < self.patience {
                self.awaitTurn()
            } else {
                self.readSome()
            }
        }
    }

    private func readSome() {
        movedAt = EventLoop.monotonicMilliseconds
        let began = (time: EventLoop.nanoseconds, work: EventLoop.workNanoseconds)
        var again: [Peer] = []
        for _ in 0..<max(readInTurn, leastInTurn) where first < line.count {
            let peer = line[first]
            first += 1
            peer.leaveLine()
            if peer.staysInLine { again.append(peer) }
            // To let one in may take as long as a hundred readings.
            if EventLoop.nanoseconds - began.time > Self.turnNanoseconds { break }
        }
        if first == line.count {
            line.removeAll(keepingCapacity: line.count < 1024)
            first = 0
        } else if first > 1024, first * 2 > line.count {
            line.removeFirst(first)
            first = 0
        }
        // They are read in the poll to come, if anything came of them. Until it is over, nobody else is.
        isAwaitingTurn = true
        Turn.atNextEnd(atOnce: true) {
            self.isAwaitingTurn = false
            for peer in again { self.note(peer) }
            let took = EventLoop.workNanoseconds - began.work
            self.adapt(took)
            self.leaveTime(took, since: began)
        }
    }

    /// Makes turns longer or shorter.
    private func adapt(_ took: UInt64) {
        if took > Self.turnNanoseconds * 3 / 2 {
            readInTurn = max(1, readInTurn / 2)
        } else if took < Self.turnNanoseconds {
            readInTurn = min(Self.mostInTurn, readInTurn + 1)
        }
    }

    /// Leaves others twice the time that the line took, if there are any, and reads on then. What was read may take more
    /// of the loop than its reading, answers that come from Redis for one: while the loop works for more than a third of the
    /// time, the line waits on, as long as its patience lasts.
    private func leaveTime(_ took: UInt64, since began: (time: UInt64, work: UInt64)) {
        guard company.isPresent else { return awaitTurn() }
        isAwaitingTurn = true
        // Timers know milliseconds. What else a long turn did is not the line's to pay for.
        pause.start(after: min(patience, max(1, Int64((took * 2 + 500_000) / 1_000_000)))) {
            self.isAwaitingTurn = false
            let (elapsed, worked) = (EventLoop.nanoseconds - began.time, EventLoop.workNanoseconds - began.work)
            if worked * 3 > elapsed, EventLoop.monotonicMilliseconds - self.movedAt < self.patience {
                self.leaveTime(0, since: began)
            } else {
                self.awaitTurn()
            }
        }
    }
}
