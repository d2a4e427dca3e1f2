import Model

/// Puts what the log of reservations says into rounds, to be written one after the other.
///
/// Within a round no two events are of the same reservation, and no two holds have a seat in common, so that one statement
/// can write them whatever their order. Nearly always there is one round.
struct ReservationRounds {
    /// The rounds.
    private(set) var rounds: [[ReservationEvent]] = []
    private var sequencesTaken: [Set<ReservationID>] = []
    private var seatsTaken: [Set<Seat>] = []

    private struct Seat: Hashable {
        let performance: PerformanceID
        let number: Int64
    }

    /// The rounds of a batch. Of several events of one hold the one that is furthest stays.
    init(_ events: [ReservationEvent]) {
        var folded: [ReservationEvent] = []
        var places: [Hold: Int] = [:]
        for event in events {
            if let place = places[event.hold] {
                if event.status.rank > folded[place].status.rank { folded[place] = event }
            } else {
                places[event.hold] = folded.count
                folded.append(event)
            }
        }
        for event in folded { add(event) }
    }

    private mutating func add(_ event: ReservationEvent) {
        let seats = event.status == .held ? event.hold.seats : []
        let claimed = Set(seats.map { Seat(performance: event.hold.id.performance, number: $0) })
        var round = 0
        while round < rounds.count,
            sequencesTaken[round].contains(event.hold.id) || !seatsTaken[round].isDisjoint(with: claimed)
        {
            round += 1
        }
        if round == rounds.count {
            rounds.append([])
            sequencesTaken.append([])
            seatsTaken.append([])
        }
        rounds[round].append(event)
        sequencesTaken[round].insert(event.hold.id)
        seatsTaken[round].formUnion(claimed)
    }
}

extension ReservationStatus {
    /// What is written last, whatever comes first. Of one hold Redis says only one of the two ends.
    fileprivate var rank: Int { self == .held ? 0 : self == .expired ? 1 : 2 }
}
