import EventLoop

/// The new connections of addresses that open very many: each waits with its socket until it is let in, and however many
/// are of one address, those of the others take turns with them.
@LoopActor
final class Newcomers {
    private struct Queue {
        /// So many are in the line.
        var inLine = 0
        /// Those who wait for a place in it, from `first` on.
        var waiting: [HTTPConnection] = []
        var first = 0
    }

    private let line: FairReading
    private var queues: [PeerAddress: Queue] = [:]
    /// So many of one address are in the line at a time.
    private static let mostInLine = 64

    init(_ line: FairReading) { self.line = line }

    /// How many addresses have somebody who waits.
    var addressCount: Int { queues.count }

    func add(_ connection: HTTPConnection) {
        let address = connection.address.subscriber
        if queues[address, default: Queue()].inLine < Self.mostInLine {
            queues[address, default: Queue()].inLine += 1
            line.note(connection)
        } else {
            queues[address]?.waiting.append(connection)
        }
    }

    /// A connection has had its turn: the next of its address gets into the line. Those who have gone are passed over.
    func left(_ connection: HTTPConnection) {
        let address = connection.address.subscriber
        guard var queue = queues.removeValue(forKey: address) else { return }
        var next: HTTPConnection?
        while next == nil, queue.first < queue.waiting.count {
            if queue.waiting[queue.first].isOutside { next = queue.waiting[queue.first] }
            queue.first += 1
        }
        if queue.first == queue.waiting.count || queue.first > 1024 && queue.first * 2 > queue.waiting.count {
            queue.waiting.removeFirst(queue.first)
            queue.first = 0
        }
        if let next {
            line.note(next)
        } else {
            queue.inLine -= 1
        }
        if queue.inLine > 0 { queues[address] = queue }
    }
}
