import EventLoop
import Model
import TestServices
import Testing

@testable import Engine

/// A wish to hold seats, in a test.
typealias SeatWish = (client: String, seats: [Int64])

extension EngineFixture {
    static func performance(
        _ id: Int64 = 7, seats: Int64, price: Int64 = 10, hold: Int64 = 60, limit: Int64? = nil
    ) -> Performance {
        Performance(
            id: PerformanceID(id), concert: ConcertID(1), startsAt: Timestamp(milliseconds: closing), price: price,
            room: .main, holdSeconds: hold, perClientLimit: limit, layout: SeatLayout(numbered: seats))
    }

    /// Makes a performance known that is new.
    func performance(
        _ id: Int64 = 7, seats: Int64, price: Int64 = 10, hold: Int64 = 60, limit: Int64? = nil
    ) async throws -> PerformanceID {
        let performance = EngineFixture.performance(id, seats: seats, price: price, hold: hold, limit: limit)
        try await engine.register(performance, epoch: 1)
        return performance.id
    }

    @discardableResult
    func hold(_ client: String, _ seats: Int64..., of performance: PerformanceID) async throws -> HoldDecision {
        try await engine.hold(seats, for: ClientID(trusted: client), of: performance)
    }

    /// Holds, all in one turn; the decisions in the order of the wishes.
    func holds(_ wishes: [SeatWish], of performance: PerformanceID) async throws -> [HoldDecision] {
        let tasks = wishes.map { wish in
            EventLoop.task { () async -> Result<HoldDecision, Outage> in
                do throws(Outage) {
                    return .success(
                        try await self.engine.hold(
                            wish.seats, for: ClientID(trusted: wish.client), of: performance))
                } catch { return .failure(error) }
            }
        }
        var decisions: [HoldDecision] = []
        for task in tasks { decisions.append(try await task.value.get()) }
        return decisions
    }

    func pay(_ hold: Hold, by client: String? = nil) async throws -> PaymentStart {
        try await engine.beginPayment(hold.id, by: client.map { ClientID(trusted: $0) } ?? hold.client)
    }

    func tickSeats(_ performance: PerformanceID) async throws -> SeatTick {
        try #require(try await engine.tickSeats(of: performance))
    }

    /// The seats as a word.
    func seats(of performance: PerformanceID) async throws -> String {
        guard case .seats(let snapshot) = try await engine.seats(of: performance, unless: nil) else { return "?" }
        return String(decoding: snapshot.letters, as: UTF8.self)
    }

    /// What a client was told, oldest first, once the engine has told what it knows.
    func toldOfSeats(_ client: String) async throws -> [Outcome] {
        // What is told is sent when the turn is over, and Redis answers in order.
        await EventLoop.nextTurn()
        try await engine.ping()
        return try await engine.outcomes(of: ClientID(trusted: client), after: 0).outcomes.map(\.outcome)
    }

    /// Fails when hash, seats and records don't agree, or the counts don't add up.
    @discardableResult
    func seatBalance(
        _ performance: PerformanceID, isFirstEpoch: Bool = true, _ location: SourceLocation = #_sourceLocation
    ) async throws -> SeatInspection {
        let found = try #require(try await engine.inspect(performance), sourceLocation: location)
        #expect(found.tally == found.counted, sourceLocation: location)
        #expect(found.tally.held == found.heldInRecords, sourceLocation: location)
        #expect(found.tally.sold == found.soldInRecords, sourceLocation: location)
        func count(_ name: String) -> Int64 { found.counts[name] ?? 0 }
        let refused = count("refused:seat_taken") + count("refused:duplicate")
        #expect(count("requests") == count("held") + refused, sourceLocation: location)
        if isFirstEpoch {
            let ended = count("expired") + count("released") + count("paid")
            #expect(count("held") - ended == found.heldRecords, sourceLocation: location)
            #expect(count("paid") - count("refunded") == found.soldRecords, sourceLocation: location)
        }
        return found
    }
}

extension HoldDecision {
    /// The hold that was taken now.
    var held: Hold? { if case .held(let hold) = self { hold } else { nil } }
    /// The hold that was there already.
    var repeated: Hold? { if case .repeated(let hold) = self { hold } else { nil } }
}

/// What a performance's channel says, and seats that know nothing else.
@LoopActor
final class SeatWatch {
    struct Message {
        let event: Int64
        let tally: SeatTally
        let due: Timestamp?
        let changes: [(range: ClosedRange<Int64>, status: SeatStatus)]
    }

    private let heard = Heard<Message>()
    private var subscription: Subscription?
    private let engine: Engine
    private let performance: PerformanceID
    private var first: Int64 = 0
    private var applied = 0
    private(set) var letters: [UInt8] = []
    var messages: [Message] { heard.events }

    init(_ engine: Engine, _ performance: PerformanceID) async throws {
        self.engine = engine
        self.performance = performance
        let heard = heard
        subscription = try await engine.subscribe(performance: performance) { event in
            if case .changed(let event, let tally, let due, let changes) = event {
                heard.hear(Message(event: event, tally: tally, due: due, changes: changes))
            } else {
                Issue.record("the connection was lost")
            }
        }
        try await readAll()
    }

    /// Reads all seats, as after a gap; what was said until now is passed over.
    func readAll() async throws {
        let snapshot = try await snapshot()
        letters = snapshot.letters
        first = snapshot.event
        // One that was said before may come later: it is told apart by its event.
        applied = messages.count
    }

    private func snapshot() async throws -> SeatsSnapshot {
        guard case .seats(let snapshot)? = try await engine.seats(of: performance, unless: nil) else {
            throw NotKnown()
        }
        return snapshot
    }

    struct NotKnown: Error {}

    /// Applies what was said until now: one message for each event, each of exactly what changed, and the seats are those
    /// of Redis.
    @discardableResult
    func follow(_ location: SourceLocation = #_sourceLocation) async throws -> SeatsSnapshot {
        let now = try await snapshot()
        if now.event > first { try await heard.wait { $0.contains { $0.event == now.event } } }
        var last = first
        for message in messages[applied...] {
            applied += 1
            // Said before all was read.
            guard message.event > first else { continue }
            last += 1
            #expect(message.event == last, "a gap", sourceLocation: location)
            for (range, status) in message.changes {
                for seat in range {
                    #expect(letters[Int(seat) - 1] != status.letter, "seat \(seat) was that", sourceLocation: location)
                    letters[Int(seat) - 1] = status.letter
                }
            }
            #expect(message.tally == SeatWatch.tally(letters), sourceLocation: location)
        }
        first = last
        #expect(last == now.event, sourceLocation: location)
        #expect(letters == now.letters, sourceLocation: location)
        #expect(now.tally == SeatWatch.tally(letters), sourceLocation: location)
        return now
    }

    nonisolated static func tally(_ letters: [UInt8]) -> SeatTally {
        func count(_ status: SeatStatus) -> Int64 { Int64(letters.count { $0 == status.letter }) }
        return SeatTally(free: count(.free), held: count(.held), sold: count(.sold))
    }
}
