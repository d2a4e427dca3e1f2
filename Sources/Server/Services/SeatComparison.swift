import Engine
import EventLoop
import Model
import Persistence

/// Compares the reservations of one performance, page by page, as ``SaleComparison`` does the orders of a sale.
@LoopActor
final class SeatComparison {
    private enum Step {
        case holds(cursor: String)
        case reservations(after: Int64)
        case done
    }

    private let performance: PerformanceID
    private let engine: Engine
    private let store: Store
    private let pace: ComparisonPace
    private var step = Step.holds(cursor: "0")
    private var suspects: Set<Int64> = []
    private var covered: Set<Int64> = []
    private var first: SeatNumbers?

    /// What is wrong for certain.
    private(set) var list: DriftList
    var drifts: [Drift] { list.drifts }
    /// Reservations that were compared.
    private(set) var compared: Int64 = 0

    init(_ performance: PerformanceID, engine: Engine, store: Store, pace: ComparisonPace = ComparisonPace()) {
        self.pace = pace
        list = DriftList(keepsAll: pace.keepsAll)
        self.performance = performance
        self.engine = engine
        self.store = store
    }

    /// Compares all of it.
    /// - Returns: false when Redis doesn't know the performance, or it was rebuilt meanwhile.
    func run() async throws -> Bool {
        while try await !advance() {}
        return try await confirm()
    }

    /// Compares one page.
    /// - Returns: whether it was the last; ``confirm()`` is left to do.
    func advance() async throws -> Bool {
        switch step {
        case .holds(let cursor): try await compareHolds(from: cursor)
        case .reservations(let sequence): try await compareReservations(after: sequence)
        case .done: break
        }
        if case .done = step { return true }
        return false
    }

    private func compareHolds(from cursor: String) async throws {
        if first == nil { first = try await engine.auditNumbers(of: performance) }
        let page = try await engine.auditHolds(of: performance, from: cursor)
        let rows = try await store.auditReservations(of: performance, Array(page.holds.keys))
        for (sequence, hold) in page.holds {
            compared += 1
            covered.formUnion(hold.record.hold.seats)
            let row = rows[sequence]
            if Self.verdict(hold, isInFlight: page.isInFlight(sequence), before: row, after: row) != nil {
                suspect(sequence)
            }
        }
        if let next = page.next {
            step = .holds(cursor: next)
        } else {
            try await compareLetters()
            step = .reservations(after: 0)
        }
    }

    private func suspect(_ sequence: Int64) {
        if suspects.count < pace.suspects { suspects.insert(sequence) }
    }

    /// Seats that are held or sold, and of no reservation: known where nothing changed while they were read.
    private func compareLetters() async throws {
        guard let first, let last = try await engine.auditNumbers(of: performance), first.event == last.event else {
            return
        }
        for (at, letter) in last.letters.enumerated() where letter != Character("f").asciiValue {
            guard !covered.contains(Int64(at) + 1) else { continue }
            list.add(
                Drift(
                    kind: .seatState, performance: performance, ticket: Int64(at) + 1,
                    redis: "\(letter == Character("h").asciiValue ? "held" : "sold"), by no reservation"))
        }
    }

    private func compareReservations(after sequence: Int64) async throws {
        let rows = try await store.auditReservations(of: performance, after: sequence, limit: Engine.auditPage)
        let page = try await engine.auditHolds(of: performance, rows.map(\.sequence))
        for row in rows {
            compared += 1
            let isInFlight = page.isInFlight(row.sequence)
            if Self.verdict(page.holds[row.sequence], isInFlight: isInFlight, before: row, after: row) != nil {
                suspect(row.sequence)
            }
        }
        step = rows.count < Engine.auditPage ? .done : .reservations(after: rows.last!.sequence)
    }

    /// Looks at the suspects again, until each has turned out to be right or not.
    /// - Returns: false when Redis doesn't know the performance, or it was rebuilt meanwhile: then nothing is known.
    func confirm() async throws -> Bool {
        guard let numbers = try await engine.auditNumbers(of: performance) else { return false }
        var found: [Int64: Drift] = [:]
        for look in 0..<SaleComparison.looks where !suspects.isEmpty {
            if look > 0 { await EventLoop.sleep(milliseconds: SaleComparison.pauseMilliseconds) }
            found = [:]
            for chunk in Array(suspects).chunks(of: Engine.auditPage) {
                try await pace.pause()
                for drift in try await self.look(at: Array(chunk)) { found[drift.key] = drift.value }
            }
            suspects = Set(found.keys)
        }
        list.add(found.values.sorted { ($0.reservation?.sequence ?? 0) < ($1.reservation?.sequence ?? 0) })
        return try await engine.auditNumbers(of: performance)?.epoch == numbers.epoch
    }

    private func look(at sequences: [Int64]) async throws -> [Int64: Drift] {
        let before = try await store.auditReservations(of: performance, sequences)
        let page = try await engine.auditHolds(of: performance, sequences)
        let after = try await store.auditReservations(of: performance, sequences)
        guard page.epoch != nil else { return [:] }
        var found: [Int64: Drift] = [:]
        for sequence in sequences {
            let (hold, row) = (page.holds[sequence], after[sequence])
            let verdict = Self.verdict(
                hold, isInFlight: page.isInFlight(sequence), before: before[sequence], after: row)
            guard let verdict else { continue }
            found[sequence] = Drift(
                kind: verdict, performance: performance, client: hold?.record.hold.client ?? row?.client,
                reservation: ReservationID(performance: performance, sequence: sequence),
                redis: hold.map(Self.text), database: row.map(Self.text))
        }
        return found
    }

    // MARK: What is right

    /// What is wrong with a reservation; nil when nothing is, or it is on its way.
    nonisolated static func verdict(
        _ hold: AuditedHold?, isInFlight: Bool, before: AuditedReservation?, after row: AuditedReservation?
    ) -> DriftKind? {
        // Within Redis all is written at one instant.
        if let hold, hold.hasWrongSeats || hold.isUnlisted { return .seatState }
        guard !isInFlight, before == row, row?.isSettled != false, row?.isSuperseded != true else { return nil }
        guard let row else {
            guard let hold, hold.record.paymentsUnderWay == 0 else { return nil }
            return hold.record.isSold ? .paidMissingInDatabase : .reservationMissingInDatabase
        }
        guard let hold else { return row.status.ownsSeats ? .reservationMissingInRedis : nil }
        let record = hold.record
        if record.hold.client != row.client || record.hold.seats.sorted() != row.seats { return .holderDiffers }
        switch row.status {
        case .paid: return record.isSold ? nil : .paidState
        // A payment that is under way keeps the seats: it was refused, and Redis hears of it next.
        case .held: return record.isSold ? .paidMissingInDatabase : nil
        case .expired, .released:
            // Nothing is sold in Redis before it is paid in PostgreSQL: that was lost there.
            if record.isSold, !row.wasPaid { return .paidMissingInDatabase }
            return record.paymentsUnderWay > 0 ? nil : .holdNotEnded
        }
    }

    private static func text(_ hold: AuditedHold) -> String {
        let seats = hold.record.hold.seats.map(String.init).joined(separator: ",")
        let status = hold.record.isSold ? "paid" : "held"
        let fault = hold.hasWrongSeats ? ", seats have another status" : hold.isUnlisted ? ", not listed" : ""
        return "\(status), seats \(seats) of \(hold.record.hold.client)\(fault)"
    }

    private static func text(_ row: AuditedReservation) -> String {
        "\(row.status.rawValue), seats \(row.seats.map(String.init).joined(separator: ",")) of \(row.client)"
    }
}
