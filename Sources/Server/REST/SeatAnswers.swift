import Engine
import EventLoop
import Gateway
import Model

/// Answers about all seats of performances, written once for each change; those about many seats a few times a second at
/// most, as writing them takes milliseconds.
@LoopActor
final class SeatAnswers {
    private struct Written {
        let answer: HTTPResponse
        let event: Int64
        let at: Int64
    }

    private final class Known {
        var snapshot: SeatsSnapshot
        var written: [Bool: Written] = [:]

        init(_ snapshot: SeatsSnapshot) { self.snapshot = snapshot }
    }

    private let engine: Engine
    private let directory: PerformanceDirectory
    private var known: [PerformanceID: Known] = [:]

    /// Answers about more seats than this may be older than the newest change.
    private static let manySeats: Int64 = 2000
    /// So old at most, in milliseconds.
    private static func longest(isDetailed: Bool) -> Int64 { isDetailed ? 500 : 100 }
    private static let performancesKept = 16

    init(engine: Engine, directory: PerformanceDirectory) {
        self.engine = engine
        self.directory = directory
    }

    /// The free seats, or all with their places and statuses.
    /// - Throws: `not_found`, ``Outage``.
    func answer(_ performance: Performance, isDetailed: Bool) async throws -> HTTPResponse {
        let id = performance.id
        if performance.layout.count > Self.manySeats, let written = known[id]?.written[isDetailed],
            EventLoop.monotonicMilliseconds - written.at < Self.longest(isDetailed: isDetailed)
        {
            return written.answer
        }
        let snapshot = try await read(id)
        let current = known[id].flatMap { $0.snapshot.event == snapshot.event ? $0 : nil }
        if let written = current?.written[isDetailed], written.event == snapshot.event { return written.answer }
        let answer =
            isDetailed ? Self.detailed(performance, snapshot.letters) : Self.free(snapshot.letters)
        current?.written[isDetailed] = Written(
            answer: answer, event: snapshot.event, at: EventLoop.monotonicMilliseconds)
        return answer
    }

    private func read(_ id: PerformanceID) async throws -> SeatsSnapshot {
        let event = known[id]?.snapshot.event
        let reading = try await directory.with(id) { try await self.engine.seats(of: id, unless: event) }
        switch reading {
        case .seats(let snapshot):
            if known.count >= Self.performancesKept, known[id] == nil { known.removeAll() }
            if let before = known[id] {
                before.snapshot = snapshot
            } else {
                known[id] = Known(snapshot)
            }
            return snapshot
        case .unchanged:
            if let snapshot = known[id]?.snapshot, snapshot.event == event { return snapshot }
            // Another request read something newer, or made room, meanwhile.
            let again = try await directory.with(id) { try await self.engine.seats(of: id, unless: nil) }
            guard case .seats(let snapshot) = again else { throw WireError.unavailable }
            return snapshot
        }
    }

    private static func free(_ letters: [UInt8]) -> HTTPResponse {
        .result { json in
            json.array { json in
                for (index, letter) in letters.enumerated() where letter == SeatStatus.free.letter {
                    json.number(Int64(index + 1))
                }
            }
        }
    }

    private static func detailed(_ performance: Performance, _ letters: [UInt8]) -> HTTPResponse {
        .result { json in
            json.array { json in
                for (index, letter) in letters.enumerated() {
                    let seat = Int64(index + 1)
                    let place = performance.layout.place(of: seat)
                    json.object { json in
                        json.member("seatId", seat)
                        json.member("section", place?.section)
                        json.member("row", place?.row)
                        json.member("number", place?.number)
                        json.member("status", (SeatStatus(letter: letter) ?? .free).rawValue)
                        json.member("price", performance.price)
                    }
                }
            }
        }
    }
}
