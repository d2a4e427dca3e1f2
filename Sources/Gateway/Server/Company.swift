import EventLoop

/// Says whether others than those who stand in a line are there.
@LoopActor
final class Company {
    /// When somebody was read who is not of a line, in the loop's milliseconds.
    private var heardAt: Int64 = .min / 2
    /// For so long after that, others count as being there: a rush has no such gap, and a load test is over by then.
    private static let stayMilliseconds: Int64 = 100
    /// The addresses that opened very many connections of late, and when. Never more than a few: the oldest gives way.
    private var crowds: [PeerAddress: Int64] = [:]
    private static let mostCrowds = 64
    private static let crowdStaysMilliseconds: Int64 = 1000

    /// Whether they were there a moment ago.
    var isPresent: Bool { EventLoop.monotonicMilliseconds - heardAt < Self.stayMilliseconds }

    /// Notes that somebody was read who sends no more than a person does. Who comes from an address that opens very many
    /// connections is one of many, and not another: with nobody else there, they come in as fast as they can.
    func note(_ address: PeerAddress) {
        let now = EventLoop.monotonicMilliseconds
        if !crowds.isEmpty, let seenAt = crowds[address.subscriber] {
            if now - seenAt < Self.crowdStaysMilliseconds { return }
            crowds[address.subscriber] = nil
        }
        heardAt = now
    }

    /// Notes the address of a connection that is about to stand in line for being one of very many.
    func noteCrowd(_ address: PeerAddress) {
        let address = address.subscriber
        if crowds[address] == nil, crowds.count >= Self.mostCrowds,
            let oldest = crowds.min(by: { $0.value < $1.value })?.key
        {
            crowds[oldest] = nil
        }
        crowds[address] = EventLoop.monotonicMilliseconds
    }
}
