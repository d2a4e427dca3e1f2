import EventLoop
import Foundation
import Glibc
import Model

/// A run from its beginning to its end: the sale, the parts, the figures, the check.
@LoopActor
public struct Run {
    let options: Options
    let api: ServerAPI
    let secret: String?
    let name: String

    /// Does what the command line says, and returns the process's status.
    public static func main(_ arguments: [String]) async -> Int32 {
        let environment = ProcessInfo.processInfo.environment
        // A part that is gone, or a reader of our output, is an error like any other and not our end.
        signal(SIGPIPE, SIG_IGN)
        switch Command(arguments, environment: environment) {
        case .help:
            print(Command.helpText, terminator: "")
            return 0
        case .usage(let words):
            complain(words + "; --help lists the options")
            return 64
        case .part: return await Part.run()
        case .run(let options):
            do {
                return try await Run(options, environment).run()
            } catch {
                complain("\(error)")
                return 1
            }
        }
    }

    private static func complain(_ words: String) {
        FileHandle.standardError.write(Data("rush: \(words)\n".utf8))
    }

    private init(_ options: Options, _ environment: [String: String]) throws {
        self.options = options
        guard let key = environment["DIBS_ADMIN_KEY"], !key.isEmpty else {
            throw RushError("DIBS_ADMIN_KEY is not set: it reads the audit, which the check needs")
        }
        let secret = environment["DIBS_JWT_SECRET"] ?? ""
        self.secret = secret.isEmpty ? nil : secret
        api = ServerAPI(instances: options.instances, key: key)
        name = String(UInt32.random(in: .min ... .max), radix: 36)
    }

    private func run() async throws -> Int32 {
        if !options.echo { try await awaitInstances() }
        if let seats = options.seats { return try await run(seats) }
        var line = try await line()
        let sales = options.echo || options.line?.claims == false ? [] : try await sales()
        var truths: [SaleTruth] = []
        for sale in sales { truths.append(try await truth(of: sale)) }

        let crew = try Crew(jobs(sales, line))
        let display = ProgressDisplay(crew, options)
        defer { display.end() }
        guard try await crew.ready(within: options.timeout) else {
            let connected = crew.progress.connected
            throw RushError("only \(connected) of \(options.connections) are connected after \(options.timeout) s")
        }
        if options.connectOnly {
            display.end()
            return try await hold(crew)
        }
        // A moment ahead, so that all parts have heard of it when it comes.
        crew.say(.go(at: EventLoop.nanoseconds + 50_000_000))
        var cutAt: UInt64?
        if options.buyers > 0 {
            let isSettled = try await crew.settled(within: options.timeout)
            if !isSettled && line != nil {
                cutAt = EventLoop.nanoseconds
                line?.wasCut = true
                try await crew.windDown()
            }
            // Whatever is told twice comes now.
            await EventLoop.sleep(milliseconds: 300)
        } else {
            await EventLoop.sleep(milliseconds: Int64(options.timeout) * 1000)
        }
        let tally = try await crew.finish()
        display.end()
        // A server that is full of them could not be asked anything.
        crew.dismiss()
        if !truths.isEmpty { await ask(&truths, tally) }
        if let before = line { line = await after(before) }
        return try report(tally, truths, line, cutAt, crew)
    }

    /// The sales to claim from; a new one when none are named.
    private func sales() async throws -> [ServerAPI.Sale] {
        guard !options.sales.isEmpty else { return [try await api.register(name: "Rush \(name)", options)] }
        var sales: [ServerAPI.Sale] = []
        try await awaitCalm()
        for id in options.sales {
            let sale = try await api.sale(id)
            guard sale.room == options.line?.room else {
                throw RushError("sale \(id) " + (sale.room.map { "has the room \($0)" } ?? "has no room"))
            }
            sales.append(sale)
        }
        return sales
    }

    private func awaitInstances() async throws {
        for instance in options.instances {
            let problem = await ServerAPI.isReady(instance)
            if let problem { throw RushError("\(instance) is not ready: \(problem)") }
        }
    }

    /// The room to go through; a new one when there is none of its name.
    private func line() async throws -> LineTruth? {
        guard let line = options.line else { return nil }
        var room = try await api.room(line.room)
        if room == nil {
            try await api.register(line)
            room = try await api.room(line.room)
        }
        guard let room else { throw RushError("the room \(line.room) is not there after it was created") }
        let asked = [
            ("--max-active", line.maxActive, room.maxActive), ("--pass-seconds", line.passSeconds, room.passSeconds),
            ("--admit-per-minute", line.admitPerMinute, room.admitPerMinute),
            ("--grace-seconds", line.graceSeconds, room.graceSeconds),
        ]
        for (name, asked, value) in asked {
            guard let asked, Int64(asked) != value else { continue }
            let has = value.map { "with \($0)" } ?? "without a limit"
            throw RushError("\(name) \(asked): the room \(line.room) exists, \(has)")
        }
        if let ordering = line.ordering, ordering != room.ordering {
            throw RushError("--ordering \(ordering): the room \(line.room) exists, and is \(room.ordering)")
        }
        if line.comeBack > 0 && room.graceSeconds == 0 {
            throw RushError("nobody can --return: the room \(line.room) keeps no places")
        }
        return LineTruth(
            room: line.room, maxActive: room.maxActive, passSeconds: room.passSeconds,
            admitPerMinute: room.admitPerMinute, graceSeconds: room.graceSeconds, ordering: room.ordering,
            before: room.waiting + room.active, clockTolerance: options.isLocal ? 20 : 1000)
    }

    /// What the server says of the room when all is over.
    private func after(_ line: LineTruth) async -> LineTruth {
        var line = line
        guard let room = try? await api.room(line.room) else { return line }
        line.isUnchanged =
            room.maxActive == line.maxActive && room.passSeconds == line.passSeconds
            && room.admitPerMinute == line.admitPerMinute && room.graceSeconds == line.graceSeconds
            && room.ordering == line.ordering
        line.waitingAfter = room.waiting
        line.activeAfter = room.active
        return line
    }

    /// Waits until nobody's earlier order is on its way: confirmed during the run, it would count as one of ours.
    private func awaitCalm() async throws {
        let deadline = EventLoop.nanoseconds + 10_000_000_000
        let ours = Set(options.sales)
        while EventLoop.nanoseconds < deadline {
            let flying = try await api.audit().sales.filter { ours.contains($0.sale.text) && $0.inFlight > 0 }
            if flying.isEmpty { return }
            await EventLoop.sleep(milliseconds: 100)
        }
    }

    private func truth(of sale: ServerAPI.Sale) async throws -> SaleTruth {
        let confirmed = try await api.statistics(sale.id.text).confirmed
        return SaleTruth(
            sale: sale.id.text, quantity: sale.quantity, limit: sale.perClientLimit, leftBefore: sale.remaining,
            confirmedBefore: confirmed)
    }

    private func jobs(_ sales: [ServerAPI.Sale], _ line: LineTruth?) -> [Job] {
        let most = Descriptors.clientsPerProcess(limit: Descriptors.raiseLimit())
        let parts = min(options.clients, max(options.processes, (options.clients + most - 1) / most))
        // The claims take the sales in turn, so no buyer needs more than all claims at the highest price.
        let price = sales.map(\.price).max() ?? 0
        return (0..<parts).map { part in
            Job(
                options: options, part: part, parts: parts, run: name,
                sales: options.echo ? ["1"] : sales.map(\.id.text),
                secret: secret, key: api.key, points: price * Int64(options.claims),
                limits: sales.map(\.perClientLimit), line: line)
        }
    }

    /// Waits for the end of standard input, for whoever measures idle connections.
    private func hold(_ crew: Crew) async throws -> Int32 {
        let tally = try await crew.finish()
        try write(Report(buyers: options, tally, [], Verdict(checks: []), crew.size))
        try await EventLoop.offload {
            var byte: UInt8 = 0
            while read(0, &byte, 1) > 0 {}
        }
        return tally.faults.isEmpty ? 0 : 1
    }

    /// Asks the server until nothing is on its way any more, and its counts have caught up with what was told; but not
    /// for ever.
    private func ask(_ truths: inout [SaleTruth], _ tally: Tally) async {
        let told = Dictionary(grouping: tally.orders.filter { $0.end == "confirmed" }, by: \.sale).mapValues(\.count)
        let deadline = EventLoop.nanoseconds + UInt64(min(15, options.timeout)) * 1_000_000_000
        var api = api
        api.attempts = 1
        while true {
            var isCalm = true
            let audit = try? await api.audit()
            for index in truths.indices {
                let sale = truths[index].sale
                truths[index].confirmedAfter = try? await api.statistics(sale).confirmed
                truths[index].audit = audit?.sales.first { $0.sale.text == sale }.map {
                    SaleTruth.Audit(sold: $0.sold, inFlight: $0.inFlight, drift: $0.drift)
                }
                let grown = truths[index].confirmedAfter.map { Int($0 - truths[index].confirmedBefore) }
                if grown != told[sale] ?? 0 { isCalm = false }
                if truths[index].audit?.inFlight != 0 || truths[index].audit?.drift != 0 { isCalm = false }
            }
            if isCalm || EventLoop.nanoseconds >= deadline { return }
            await EventLoop.sleep(milliseconds: 200)
        }
    }

    private func report(
        _ tally: Tally, _ truths: [SaleTruth], _ line: LineTruth?, _ cutAt: UInt64?, _ crew: Crew
    ) throws -> Int32 {
        let claims = options.line?.claims == false ? 0 : options.claims
        let verdict =
            line.map { Verdict(tally, claims: claims, truths: truths, line: $0, cutAt: cutAt) }
            ?? Verdict(tally, buyers: options.buyers, claims: options.claims, truths: truths)
        var report = Report(buyers: options, tally, truths, verdict, crew.size)
        report.line = line
        if options.json != "-" { print(report.text, terminator: "") }
        try write(report)
        return verdict.holds ? 0 : 1
    }

    func write(_ report: Report) throws {
        guard let path = options.json else { return }
        let line = try report.json() + Data("\n".utf8)
        if path == "-" {
            FileHandle.standardOutput.write(line)
        } else {
            try line.write(to: URL(fileURLWithPath: path))
        }
    }
}

extension Report {
    fileprivate init(buyers options: Options, _ tally: Tally, _ truths: [SaleTruth], _ verdict: Verdict, _ size: Int) {
        self.init(
            buyers: options.buyers, watchers: options.watchers, instances: options.instances.count, processes: size,
            truths: truths, tally: tally, verdict: verdict)
    }
}
