import Engine
import EventLoop
import Model
import Persistence

/// Audits all the time, in the background, by a bounded share of it: every few seconds the numbers of all that is on sale,
/// and page by page, round and round, the orders, reservations, rooms and accounts themselves. Of all schedulers one does it.
@LoopActor
final class AuditWatch {
    private enum Subject: Hashable {
        case sale(SaleID)
        case performance(PerformanceID)
        case room(RoomID)
        case accounts
    }

    private let auditor: Auditor
    private let verification: Verification
    private let metrics: Metrics
    private let log: Log
    private let token = String(UInt64.random(in: .min ... .max), radix: 36)
    private var task: Task<Void, Never>?
    private var isStopping = false
    /// What one was found to be when it was looked at last.
    private struct Finding {
        var counts: [DriftKind: Int64]
        /// What was logged, and is still so.
        var logged: Set<String>
    }

    /// By its numbers, and by its parts.
    private var found: [Subject: Finding] = [:]
    private var foundByNumbers: [Subject: Finding] = [:]
    /// Which Redis this round looks at.
    private var identity: String?
    private var lookedAt: Int64 = 0

    /// How often the numbers are looked at, and for how long this process then is the one that looks.
    static let everyMilliseconds: Int64 = 5000
    static let leaseMilliseconds: Int64 = 15_000
    /// The pause after each page: at least this, and so many times as long as the page took.
    static let pauseMilliseconds: Int64 = 100
    static let pauseFactor: Int64 = 9
    /// How many drifts are remembered as logged.
    private static let loggedLimit = 10_000
    /// How many suspects of one sale, performance or room are looked at again.
    static let suspects = 10_000

    init(auditor: Auditor, verification: Verification, metrics: Metrics, log: Log) {
        self.auditor = auditor
        self.verification = verification
        self.metrics = metrics
        self.log = log
    }

    func start() {
        task = EventLoop.task {
            await EventLoop.sleep(milliseconds: 2000)
            while !self.isStopping {
                do {
                    try await self.round()
                } catch {
                    self.log(.debug, "audit_waits", ["error": .init("\(error)")])
                }
                await EventLoop.sleep(milliseconds: 1000)
            }
        }
    }

    /// No page is begun any more.
    func stop() { isStopping = true }

    private struct Ended: Error {}

    /// Looks at everything once.
    private func round() async throws {
        guard try await keepsLease() else { return forget() }
        identity = auditor.engine.identity
        let began = EventLoop.monotonicMilliseconds
        let sales = try await auditor.store.activeSales().map(\.sale)
        let performances = try await auditor.store.activePerformances().map(\.performance.id)
        let rooms = try await auditor.store.rooms().map(\.id)
        let subjects = Set(
            sales.map { Subject.sale($0.id) } + performances.map(Subject.performance) + rooms.map(Subject.room)
                + [.accounts])
        found = found.filter { subjects.contains($0.key) }
        foundByNumbers = foundByNumbers.filter { subjects.contains($0.key) }
        try await pause(after: began)
        for sale in sales { try await compare(sale) }
        for performance in performances { try await compare(performance) }
        for room in rooms {
            let comparison = RoomComparison(room, engine: auditor.engine, pace: pace())
            if try await comparison.run() != nil {
                var list = comparison.list
                // Looked at more often.
                list.remove(.roomCount)
                try report(.room(room), list)
            }
            metrics.auditChecked["room", default: 0] += comparison.compared
            try await pause(after: EventLoop.monotonicMilliseconds)
        }
        try await compareAccounts()
        metrics.auditRoundSeconds = Double(EventLoop.monotonicMilliseconds - began) / 1000
        metrics.auditRoundAt = EventLoop.wallMilliseconds
    }

    private func compare(_ sale: Sale) async throws {
        let comparison = SaleComparison(sale, engine: auditor.engine, store: auditor.store, pace: pace())
        var began = EventLoop.monotonicMilliseconds
        while try await !comparison.advance() {
            try await pause(after: began)
            began = EventLoop.monotonicMilliseconds
        }
        if try await comparison.confirm() {
            let sums = try await auditor.auditSales([sale.id], restores: false).flatMap(\.sums)
            var list = comparison.list
            // What is left is looked at more often, and what is sold was compared one by one.
            list.add(sums.filter { $0.kind == .statistics })
            try report(.sale(sale.id), list)
        }
        metrics.auditChecked["order", default: 0] += comparison.compared
        try await pause(after: began)
    }

    private func compare(_ performance: PerformanceID) async throws {
        let comparison = SeatComparison(performance, engine: auditor.engine, store: auditor.store, pace: pace())
        var began = EventLoop.monotonicMilliseconds
        while try await !comparison.advance() {
            try await pause(after: began)
            began = EventLoop.monotonicMilliseconds
        }
        if try await comparison.confirm() {
            var list = comparison.list
            for audit in try await auditor.auditSeats([performance], restores: false) {
                // What Redis says of itself is looked at more often.
                list.add(audit.sums.filter { $0.database != nil })
                list.add(try await auditor.namedDrifts(audit))
            }
            try report(.performance(performance), list)
        }
        metrics.auditChecked["reservation", default: 0] += comparison.compared
        try await pause(after: began)
    }

    private func compareAccounts() async throws {
        var list = DriftList()
        var client: String? = ""
        while let after = client {
            let began = EventLoop.monotonicMilliseconds
            let page = try await auditor.store.auditAccounts(after: after, limit: SaleComparison.page)
            list.add(page.accounts.map(Auditor.drift))
            metrics.auditChecked["account", default: 0] += Int64(page.count)
            client = page.last
            try await pause(after: began)
        }
        try report(.accounts, list)
    }

    // MARK: Numbers

    /// All that is there, by its numbers alone: one short call to Redis for each, and none to PostgreSQL but for what there is.
    private func lookAtNumbers() async throws {
        for sale in try await auditor.store.activeSales().map(\.sale.id) {
            let numbers = try await auditor.engine.auditNumbers(of: sale)
            try reportNumbers(.sale(sale), numbers.map(Auditor.stock) ?? [])
            metrics.auditChecked["sale", default: 0] += 1
        }
        for performance in try await auditor.performances.activeIDs() {
            let live = try await auditor.engine.auditNumbers(of: performance)
            try reportNumbers(
                .performance(performance), live.map { Auditor.tally($0, $0.counted, of: performance) } ?? [])
            metrics.auditChecked["performance", default: 0] += 1
        }
        for room in try await auditor.store.rooms().map(\.id) {
            let comparison = RoomComparison(room, engine: auditor.engine)
            try await comparison.runNumbers()
            try reportNumbers(.room(room), comparison.drifts)
        }
        tell()
    }

    // MARK: Pace

    /// Waits, so that the audit has its share and no more; looks at the numbers when it is time.
    private func pause(after began: Int64) async throws {
        let took = EventLoop.monotonicMilliseconds - began
        await EventLoop.sleep(milliseconds: max(Self.pauseMilliseconds, min(took * Self.pauseFactor, 5000)))
        guard !isStopping else { throw Ended() }
        guard EventLoop.monotonicMilliseconds - lookedAt >= Self.everyMilliseconds else { return }
        guard try await keepsLease() else { throw Ended() }
        lookedAt = EventLoop.monotonicMilliseconds
        try await lookAtNumbers()
    }

    /// For what pauses by itself.
    private func pace() -> ComparisonPace {
        var began = EventLoop.monotonicMilliseconds
        return ComparisonPace(suspects: Self.suspects, keepsAll: false) {
            try await self.pause(after: began)
            began = EventLoop.monotonicMilliseconds
        }
    }

    private func keepsLease() async throws -> Bool {
        guard verification.isDone else { return false }
        return try await auditor.engine.keepAuditing(token, milliseconds: Self.leaseMilliseconds)
    }

    // MARK: What was found

    /// Another process audits: what this one found may not be so any more.
    private func forget() {
        found = [:]
        foundByNumbers = [:]
        metrics.auditDrift = [:]
    }

    private func report(_ subject: Subject, _ list: DriftList) throws {
        try note(list, of: subject, in: &found, besides: foundByNumbers)
        tell()
    }

    private func reportNumbers(_ subject: Subject, _ drifts: [Drift]) throws {
        var list = DriftList()
        list.add(drifts)
        try note(list, of: subject, in: &foundByNumbers, besides: found)
    }

    /// Keeps what was found, and logs what was not so before.
    private func note(
        _ list: DriftList, of subject: Subject, in findings: inout [Subject: Finding],
        besides others: [Subject: Finding]
    ) throws {
        // Redis may have lost something meanwhile: then what drifts is what is being rebuilt.
        guard verification.isDone, identity == auditor.engine.identity else { throw Ended() }
        let before = findings[subject]?.logged ?? []
        var logged: Set<String> = []
        var count = -before.count
        for all in [findings.values, others.values] { for finding in all { count += finding.logged.count } }
        for drift in list.drifts {
            let identity = drift.identity
            if others[subject]?.logged.contains(identity) == true { continue }
            guard count < Self.loggedLimit, logged.insert(identity).inserted else { continue }
            count += 1
            if !before.contains(identity) { log(.error, "audit_drift", drift.fields) }
        }
        findings[subject] = Finding(counts: list.counts, logged: logged)
    }

    private func tell() {
        var sums = Dictionary(uniqueKeysWithValues: DriftKind.allCases.map { ($0.rawValue, Int64(0)) })
        for finding in [found.values, foundByNumbers.values].joined() {
            for (kind, count) in finding.counts { sums[kind.rawValue, default: 0] += count }
        }
        metrics.auditDrift = sums
    }
}

extension Drift {
    /// As a log line has it.
    var fields: [String: LogValue] {
        var fields: [String: LogValue] = ["kind": .text(kind.rawValue)]
        if let sale { fields["sale"] = .init(sale) }
        if let performance { fields["performance"] = .init(performance) }
        if let room { fields["room"] = .init(room) }
        if let client { fields["client"] = .init(client) }
        if let order { fields["order"] = .init(order) }
        if let reservation { fields["reservation"] = .init(reservation) }
        if let ticket { fields[performance == nil ? "ticket" : "seat"] = .init(ticket) }
        if let redis { fields["redis"] = .text(redis) }
        if let database { fields["database"] = .text(database) }
        return fields
    }
}
