import Engine
import EventLoop
import Foundation
import Model
import Persistence

/// `dibs audit`: compares Redis with PostgreSQL, without a server or beside any number of them.
struct AuditCommand: Equatable, Sendable {
    var sale: Int64?
    var performance: Int64?
    var room: String?
    var client: String?
    var isJSON = false
    var repairs = false

    /// How long Redis and PostgreSQL may take to be reached, in milliseconds.
    private static let patience: Int64 = 10_000

    static func parse(_ arguments: [String]) -> Command.Wish {
        var command = AuditCommand()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            var (name, value) = (argument, String?.none)
            if let equals = argument.firstIndex(of: "=") {
                (name, value) = (String(argument[..<equals]), String(argument[argument.index(after: equals)...]))
            }
            if name == "--json" || name == "--repair", value == nil {
                if name == "--json" { command.isJSON = true } else { command.repairs = true }
                continue
            }
            guard ["--sale", "--performance", "--room", "--client"].contains(name) else {
                return .wrong("audit does not understand \(argument)")
            }
            guard let value = value ?? rest.popFirst(), command.narrow(name, to: value) else {
                return .wrong("\(name) takes one that there may be")
            }
        }
        return .audit(command)
    }

    /// False when the value can't be one.
    private mutating func narrow(_ name: String, to value: String) -> Bool {
        switch name {
        case "--sale": sale = SaleID(parsing: value)?.rawValue
        case "--performance": performance = PerformanceID(parsing: value)?.rawValue
        case "--room": room = RoomID(value)?.rawValue
        default: client = ClientID(value)?.rawValue
        }
        switch name {
        case "--sale": return sale != nil
        case "--performance": return performance != nil
        case "--room": return room != nil
        default: return client != nil
        }
    }

    private var scope: AuditScope {
        AuditScope(
            sale: sale.map { SaleID($0) }, performance: performance.map { PerformanceID($0) },
            room: room.map { RoomID(trusted: $0) }, client: client.map { ClientID(trusted: $0) })
    }

    /// Audits, mends if that is asked for, and reports.
    /// - Returns: 0 when nothing drifts, in the end; 1 when something does; 69 when that can't be known.
    @LoopActor
    func run(_ configuration: Configuration) async -> Int32 {
        do {
            let services = try Services(configuration, log: .none)
            services.engine.start()
            services.store.start()
            defer {
                EventLoop.task {
                    await services.store.stop()
                    await services.engine.stop()
                }
            }
            guard await isReached(services) else {
                Command.report(["dibs: Redis and PostgreSQL can't both be reached"])
                return Command.ExitCode.unavailable
            }
            // What servers know of a Redis that lost something has to be there before anything is built anew.
            if repairs, try await !services.engine.isVerified(services.engine.identity ?? "") {
                Command.report(["dibs: Redis was restarted, or lost its data, and no server has compared it yet"])
                return Command.ExitCode.unavailable
            }
            return try await audit(services)
        } catch let error as WireError where error.code == .notFound {
            Command.report(["dibs: \(error.message)"])
            return Command.ExitCode.usage
        } catch {
            Command.report(["dibs: the audit was cut short: \(error)"])
            return Command.ExitCode.unavailable
        }
    }

    @LoopActor
    private func isReached(_ services: Services) async -> Bool {
        let until = EventLoop.monotonicMilliseconds + Self.patience
        while EventLoop.monotonicMilliseconds < until {
            if services.engine.isConnected, (try? await services.store.ping()) != nil { return true }
            await EventLoop.sleep(milliseconds: 20)
        }
        return false
    }

    @LoopActor
    private func audit(_ services: Services) async throws -> Int32 {
        if let room, try await services.store.room(RoomID(trusted: room)) == nil {
            throw WireError(.notFound, "no such room")
        }
        var audit = try await services.auditor.audit(scope, limit: .max, restores: false, keepsAll: repairs)
        var told: [String] = []
        if repairs, audit.drift > 0 {
            if !isJSON { print(report(audit)) }
            let repair = AuditRepair(services) { line in
                told.append(line)
                if !isJSON { print("repair: \(line)") }
            }
            try await repair.mend(audit)
            audit = try await services.auditor.audit(scope, limit: .max, restores: false)
        }
        if isJSON {
            var json = JSONWriter()
            json.audit(audit, repairs: repairs ? told : nil)
            print(json.text)
        } else {
            print(report(audit))
        }
        return audit.drift == 0 ? 0 : 1
    }

    /// What a person reads.
    private func report(_ audit: Audit) -> String {
        var lines: [String] = []
        for sale in audit.sales {
            lines.append(
                "sale \(sale.sale): \(sale.sold) of \(sale.quantity) sold, \(sale.free) free, \(sale.inFlight) in flight, "
                    + "drift \(sale.drift)" + (sale.orders == nil ? " (sums only)" : ""))
        }
        for seats in audit.performances {
            lines.append(
                "performance \(seats.performance): \(seats.counted.sold) of \(seats.stored.seats) sold, "
                    + "\(seats.counted.held) held, \(seats.counted.free) free, \(seats.inFlight) in flight, "
                    + "drift \(seats.drift)" + (seats.reservations == nil ? " (sums only)" : ""))
        }
        for room in audit.rooms {
            lines.append(
                "room \(room.room): \(room.numbers.members) wait, \(room.numbers.active) of \(room.numbers.maxActive) "
                    + "admitted, drift \(room.drift)")
        }
        if scope.isEverything || scope.client != nil {
            lines.append("accounts: \(audit.ledgerDrift) with a balance that is not the sum of the ledger")
        }
        for drift in audit.list.drifts.prefix(1000) {
            let about = drift.fields.filter { !["kind", "redis", "database"].contains($0.key) }
                .sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.words)" }.joined(separator: ", ")
            lines.append(
                "  \(drift.kind.rawValue): \(about); Redis: \(drift.redis ?? "nothing"); "
                    + "PostgreSQL: \(drift.database ?? "nothing")")
        }
        for (kind, count) in audit.list.counts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) where count > 0 {
            lines.append("\(kind.rawValue): \(count)" + (kind.mend == .none ? "" : " (--repair mends it)"))
        }
        lines.append(audit.drift == 0 ? "Redis and PostgreSQL agree." : "drift: \(audit.drift)")
        return lines.joined(separator: "\n")
    }
}

extension LogValue {
    /// As text.
    fileprivate var words: String {
        switch self {
        case .text(let text): text
        case .number(let number): String(number)
        case .flag(let flag): String(flag)
        }
    }
}
