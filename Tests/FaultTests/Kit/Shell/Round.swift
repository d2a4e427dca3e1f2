import EventLoop
import TestServices

/// One round: load, faults, peace, and the questions.
@LoopActor
struct Round {
    /// What came of it.
    struct Result: Sendable {
        let schedule: Schedule
        let clients: Int
        var outcomes = 0
        var violations: [Violation] = []
        var recoveries: [(kind: Fault.Kind, recovery: Recovery)] = []
        var milliseconds: Int64 = 0
        var journals: [ClientJournal] = []
        var facts = Facts()
    }

    let stage: Stage
    let schedule: Schedule
    let clients: Int
    let loadMilliseconds: Int64
    let name: String

    /// How long the system may take to decide claims again after a fault, and to end all that was begun.
    private static let patience: Int64 = 60_000

    func run() async throws -> Result {
        let began = EventLoop.wallMilliseconds
        var result = Result(schedule: schedule, clients: clients)
        let scene = try await Scene.open(
            stage, clients: clients, name: name, losesRedisData: schedule.losesRedisData)
        let offer = scene.offer
        let inquiry = Inquiry(stage: stage, offer: offer)
        let crowd = Crowd(stage, prefix: "\(name)-")
        crowd.gather(clients, scene, schedule)
        let sampler = Sampler(stage, offer.rooms)
        sampler.start()
        crowd.probe(scene.probed.id)
        crowd.start(within: loadMilliseconds, seed: schedule.seed)

        var ends: [(kind: Fault.Kind, at: Int64, decided: Int64)] = []
        do {
            ends = try await injectAll(crowd, &result)
        } catch {
            result.violations.append(Violation("harness", "\(error)"))
        }

        await crowd.stopProbing()
        _ = await crowd.waitUntilDone(within: Self.patience)
        try await settle(crowd, inquiry, &result)
        sampler.stop()
        await askEverywhere(crowd, scene)
        // Before they go: what comes later, as the end of a pass, nobody is told.
        let logs = await inquiry.offsets(of: crowd.shoppers.map(\.name))
        await crowd.waitUntilTold(logs?.offsets ?? [:], of: logs?.epoch ?? "")
        await crowd.stop()

        var facts = try await inquiry.facts()
        facts.epoch = logs?.epoch ?? ""
        facts.offsets = logs?.offsets ?? [:]
        facts.mostAdmitted = sampler.most
        let journals = crowd.journals
        let promises = Promises(redisLostData: schedule.losesRedisData, passesAreKnown: !schedule.endsProcesses)
        let checker = Checker(offer, journals, facts, promises)
        result.violations += checker.violations
        result.outcomes = checker.outcomes
        for end in ends {
            let told = Recovery.lastTold(journals, faultEnd: end.at)
            result.recoveries.append((end.kind, Recovery(decided: end.decided, told: told)))
        }
        result.journals = journals
        result.facts = facts
        await scene.close(stage)
        result.milliseconds = EventLoop.wallMilliseconds - began
        return result
    }

    /// Makes the faults happen, each at its time.
    private func injectAll(
        _ crowd: Crowd, _ result: inout Result
    ) async throws -> [(kind: Fault.Kind, at: Int64, decided: Int64)] {
        let injector = Injector(stage: stage) { crowd.cut(every: $0) }
        var ends: [(kind: Fault.Kind, at: Int64, decided: Int64)] = []
        var running: [(kind: Fault.Kind, task: Task<Swift.Result<Int64, any Error>, Never>)] = []
        for step in schedule.steps {
            switch step.start {
            case .load(let pause), .together(let pause): await EventLoop.sleep(milliseconds: pause)
            case .recovered(let pause):
                try await over(&running, &ends, crowd, &result)
                await EventLoop.sleep(milliseconds: pause)
            }
            let fault = step.fault
            let task = EventLoop.task { () async -> Swift.Result<Int64, any Error> in
                do { return .success(try await injector.inject(fault)) } catch { return .failure(error) }
            }
            running.append((fault.kind, task))
        }
        try await over(&running, &ends, crowd, &result)
        return ends
    }

    /// Waits until what goes wrong now is over, and claims are decided again.
    private func over(
        _ running: inout [(kind: Fault.Kind, task: Task<Swift.Result<Int64, any Error>, Never>)],
        _ ends: inout [(kind: Fault.Kind, at: Int64, decided: Int64)], _ crowd: Crowd, _ result: inout Result
    ) async throws {
        var last: Int64 = 0
        let kinds = running.map(\.kind)
        for (_, task) in running { last = max(last, try await task.value.get()) }
        running = []
        guard let decided = await crowd.decided(after: last, within: Self.patience) else {
            result.violations.append(
                Violation(
                    "recovery", "\(Self.patience) ms after \(kinds.map(\.rawValue)) not every instance decides claims"))
            return
        }
        // Of two at once, what came after is both's.
        for kind in kinds { ends.append((kind, last, decided)) }
    }

    /// Waits until nothing is on its way.
    private func settle(_ crowd: Crowd, _ inquiry: Inquiry, _ result: inout Result) async throws {
        var left = ""
        do {
            try await eventually("nothing is in flight", within: Self.patience) {
                left = await inquiry.inFlight()
                return left.isEmpty
            }
        } catch {
            result.violations.append(Violation("unsettled", "\(Self.patience) ms after the end there were \(left)"))
        }
    }

    /// Asks every instance what became of some claims.
    private func askEverywhere(_ crowd: Crowd, _ scene: Scene) async {
        var random = SeededGenerator(seed: schedule.seed ^ 0xA5C)
        let asked = crowd.shoppers.compactMap { shopper -> (Shopper, Int64)? in
            switch shopper {
            case is RoomBuyer: (shopper, scene.roomSale.id)
            case let buyer as OpenSaleBuyer: (buyer, buyer.sale)
            default: nil
            }
        }.shuffled(using: &random).prefix(120)
        var tasks: [Task<Void, Never>] = []
        for (shopper, sale) in asked {
            tasks.append(
                EventLoop.task {
                    for instance in self.stage.gateways { await shopper.ask(of: sale, on: instance) }
                })
        }
        for task in tasks { await task.value }
        tasks = []
        // Whoever only claimed by REST hears the end of it by asking.
        let silent = crowd.probes.filter(\.isAccepted)
        for (index, probe) in silent.enumerated() {
            let instance = stage.gateways[index % stage.gateways.count]
            tasks.append(
                EventLoop.task {
                    var asked = 0
                    while asked < 5, await probe.ask(of: scene.probed.id, on: instance) == nil { asked += 1 }
                })
        }
        for task in tasks { await task.value }
    }
}

/// Looks at how many are admitted, again and again.
@LoopActor
final class Sampler {
    private(set) var most: [String: Int] = [:]
    private let rooms: [Offer.Room]
    private let probe: RedisProbe
    private let timer = LoopTimer()
    private var isLooking = false

    init(_ stage: Stage, _ rooms: [Offer.Room]) {
        self.rooms = rooms
        probe = RedisProbe { stage.redis.socketPath }
    }

    func start() {
        timer.start(after: 0, every: 100) { [weak self] in
            guard let self, !self.isLooking else { return }
            self.isLooking = true
            EventLoop.task {
                await self.look()
                self.isLooking = false
            }
        }
    }

    func stop() { timer.stop() }

    private func look() async {
        let commands = rooms.map { ["ZCARD", "dibs:{room:\($0.id)}:active"] }
        guard let replies = await probe.ask(commands) else { return }
        for (room, reply) in zip(rooms, replies) {
            most[room.id] = max(most[room.id] ?? 0, Int(reply.integer ?? 0))
        }
    }
}
