import EventLoop
import Model
import Testing

@testable import Persistence

extension Fixture {
    /// A performance of a concert of its own, with numbered seats, that begins in an hour.
    func performance(seats: Int64 = 50, price: Int64 = 10) async throws -> PerformanceID {
        let concert = try await store.insertConcert(name: "a concert")
        return try #require(
            try await store.insertPerformance(
                of: concert.id, startsAt: Timestamp(milliseconds: EventLoop.wallMilliseconds) + 3_600_000, price: price,
                room: .main, holdSeconds: 300, perClientLimit: nil, layout: SeatLayout(numbered: seats))
        ).id
    }

    /// Gives clients points.
    func give(_ points: Int64, to clients: String...) async throws {
        for client in clients { _ = try await store.charge(ClientID(client)!, points: points, reference: "given") }
    }

    /// Nothing is lost, doubled or out of place.
    func expectInOrder(
        _ performances: PerformanceID..., location: SourceLocation = #_sourceLocation
    ) async throws {
        for audit in try await store.auditPerformances(performances) {
            #expect(audit.misplaced == 0, sourceLocation: location)
            #expect(audit.unpaid == 0, sourceLocation: location)
        }
        #expect(try await store.audit(sales: []).ledgerDrift == 0, sourceLocation: location)
        #expect(
            try await number("select coalesce(sum(amount), 0)::bigint from ledger_legs") == 0, sourceLocation: location)
    }

    /// Who has a seat, of live reservations.
    func holder(of seat: Int64, _ performance: PerformanceID) async throws -> Int64? {
        try await sql(
            "select sequence from reservation_seats where performance_id = $1 and seat = $2 and is_live",
            .integer(performance.rawValue), .integer(seat))[0].first?.integer(0)
    }
}

extension Hold {
    /// The hold of client `c<sequence>`.
    static func test(
        _ performance: PerformanceID, _ sequence: Int64, seats: [Int64], client: String? = nil, price: Int64? = nil,
        epoch: Int64 = 0
    ) -> Hold {
        Hold(
            id: ReservationID(performance: performance, sequence: sequence),
            client: ClientID(client ?? "c\(sequence)")!, seats: seats, price: price ?? 10 * Int64(seats.count),
            heldAt: .at(1_700_000_000_123 + sequence), expiresAt: .at(1_700_000_300_123 + sequence), epoch: epoch)
    }

    /// What the log says of it.
    func event(_ status: ReservationStatus = .held) -> ReservationEvent {
        ReservationEvent(entry: "\(id.sequence)-0", hold: self, status: status)
    }

    /// As PostgreSQL has it when it was just written.
    var held: Reservation { Reservation(self) }
}

extension Store {
    func status(_ hold: Hold) async throws -> ReservationStatus? { try await reservation(hold.id)?.status }
}
