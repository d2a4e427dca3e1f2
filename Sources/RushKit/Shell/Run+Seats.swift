import EventLoop
import Foundation

/// A run for seats.
extension Run {
    func run(_ seats: SeatOptions) async throws -> Int32 {
        // With place for all of them, those who look afterwards, and passes that outlast the run.
        var line = LineOptions()
        line.room = "rush-" + name
        line.maxActive = options.clients + 100
        line.passSeconds = 86_400
        try await api.register(line)
        let performance = try await api.performance(
            name: "Rush \(name)", seats, price: options.price, room: line.room)
        let pays = options.buyers > 0 && seats.pay > 0
        var truth = SeatTruth(
            performance: performance, seats: seats.seats, options: seats, clockTolerance: options.isLocal ? 20 : 1000,
            points: pays ? Int64(options.price * seats.seatsPerHold) : 0, watchers: options.watchers,
            isFollowed: options.isFollowed)

        let crew = try Crew(jobs(truth, room: line.room))
        let display = ProgressDisplay(crew, options)
        defer { display.end() }
        guard try await crew.ready(within: options.timeout) else {
            let connected = crew.progress.connected
            throw RushError("only \(connected) of \(options.connections) are connected after \(options.timeout) s")
        }
        // A moment ahead, so that all parts have heard of it when it comes.
        crew.say(.go(at: EventLoop.nanoseconds + 50_000_000))
        if try await !crew.settled(within: options.timeout) {
            truth.wasCut = true
            try await crew.windDown()
        }
        // Whatever is told twice, or late to a watcher, comes now.
        await EventLoop.sleep(milliseconds: options.isFollowed ? 2000 : 300)
        let tally = try await crew.finish()
        display.end()
        crew.dismiss()
        await ask(&truth, tally, room: line.room)
        var report = Report(
            buyers: options.buyers, watchers: options.watchers, instances: options.instances.count,
            processes: crew.size, truths: [], tally: tally, verdict: Verdict(tally, truth))
        report.seats = truth
        if options.json != "-" { print(report.text, terminator: "") }
        try write(report)
        return report.verdict.holds ? 0 : 1
    }

    private func jobs(_ truth: SeatTruth, room: String) -> [Job] {
        let most = Descriptors.clientsPerProcess(limit: Descriptors.raiseLimit())
        let parts = min(options.clients, max(options.processes, (options.clients + most - 1) / most))
        let seats = SeatJob(
            performance: truth.performance, room: room, options: truth.options, clockTolerance: truth.clockTolerance)
        return (0..<parts).map { part in
            Job(
                options: options, part: part, parts: parts, run: name, sales: [], secret: secret, key: api.key,
                points: truth.points, limits: [], line: nil, seats: seats)
        }
    }

    /// Asks the server until nothing is on its way any more; but not for ever.
    private func ask(_ truth: inout SeatTruth, _ tally: Tally, room: String) async {
        let deadline = EventLoop.nanoseconds + UInt64(min(60, options.timeout)) * 1_000_000_000
        var api = api
        api.attempts = 1
        repeat {
            if let audit = try? await api.audit(),
                let seats = audit.performances.first(where: { $0.performance.text == truth.performance })
            {
                truth.audit = SeatTruth.Audit(
                    sold: seats.sold, held: seats.held, free: seats.free, soldInDatabase: seats.soldInDatabase,
                    heldInDatabase: seats.heldInDatabase, inFlight: seats.inFlight, drift: seats.drift,
                    ledgerDrift: audit.ledgerDrift)
                if seats.inFlight == 0 && seats.drift == 0 && audit.ledgerDrift == 0 { break }
            }
            await EventLoop.sleep(milliseconds: 200)
        } while EventLoop.nanoseconds < deadline
        truth.letters = try? await self.api.seats(
            of: truth.performance, room: room, as: Buyer.client(options.clients, run: name))
        guard truth.points > 0 else { return }
        // Those who hold something, and some who don't.
        var buyers = Set(tally.seats.holds.map(\.buyer))
        buyers.formUnion(0..<min(100, options.buyers))
        for buyer in buyers {
            truth.balances[buyer] = try? await self.api.balance(of: Buyer.client(buyer, run: name))
        }
    }
}
