import EventLoop
import Foundation
import TestServices

/// Everybody who wants something in a round.
@LoopActor
final class Crowd {
    private(set) var shoppers: [Shopper] = []
    private(set) var pollers: [PollingBuyer] = []
    private(set) var probes: [PollingBuyer] = []
    private var tasks: [Task<Void, Never>] = []
    private var probing: [Task<Void, Never>] = []
    private var open = 0
    private var whenDone: CheckedContinuation<Void, Never>?
    private let timer = LoopTimer()
    private var isProbing = true
    /// When each instance decided a claim that was sent after the moment: instance → (sent, decided).
    private var decisions: [Int: [(sent: Int64, decided: Int64)]] = [:]
    private var watchers: [CheckedContinuation<Void, Never>] = []

    let stage: Stage
    private let prefix: String

    init(_ stage: Stage, prefix: String) {
        self.stage = stage
        self.prefix = prefix
    }

    /// How many there are, but for the probes.
    var count: Int { shoppers.count + pollers.count }

    // MARK: who comes

    /// So many clients, in a mix that depends on the seed alone.
    func gather(_ clients: Int, _ scene: Scene, _ schedule: Schedule) {
        var random = SeededGenerator(seed: schedule.seed ^ 0xC0FFEE)
        for index in 0..<clients {
            let seed = random.next()
            switch random.next() % 100 {
            case 0..<50:
                let name = "\(prefix)o\(index)"
                let cancels = random.next() % 6 == 0
                shoppers.append(OpenSaleBuyer(name, stage, seed: seed, sale: scene.plain.id, cancels: cancels))
            case 50..<63:
                // Every other one has nothing to pay with.
                let points: Int64 = random.next() % 2 == 0 ? 100 : 0
                let name = "\(prefix)p\(index)"
                shoppers.append(OpenSaleBuyer(name, stage, seed: seed, sale: scene.priced.id, points: points))
            case 63..<83:
                shoppers.append(
                    RoomBuyer("\(prefix)w\(index)", stage, seed: seed, room: scene.room.id, sale: scene.roomSale.id))
            case 83..<96:
                let plans: [SeatBuyer.Plan] = [.pay, .pay, .pay, .payAndCancel, .release, .dawdle]
                let plan = plans[Int(random.next() % UInt64(plans.count))]
                shoppers.append(
                    SeatBuyer(
                        "\(prefix)s\(index)", stage, seed: seed, room: scene.seatRoom.id,
                        performance: scene.performance, plan: plan, asks: schedule.losesRedisData))
            default: pollers.append(PollingBuyer("\(prefix)r\(index)", stage, seed: seed, sale: scene.plain.id))
            }
        }
    }

    /// Lets them come within so many milliseconds.
    func start(within milliseconds: Int64, seed: UInt64) {
        var random = SeededGenerator(seed: seed ^ 0xFACADE)
        open = count
        for shopper in shoppers {
            let pause = Int64.random(in: 0...milliseconds, using: &random)
            shopper.onDone = { [weak self] in self?.oneDone() }
            tasks.append(
                EventLoop.task {
                    await EventLoop.sleep(milliseconds: pause)
                    await shopper.run()
                })
        }
        for poller in pollers {
            let pause = Int64.random(in: 0...milliseconds, using: &random)
            tasks.append(
                EventLoop.task {
                    await EventLoop.sleep(milliseconds: pause)
                    await poller.run()
                    if poller.journal.isDone { self.oneDone() }
                })
        }
    }

    private func oneDone() {
        open -= 1
        guard open == 0 else { return }
        timer.stop()
        whenDone?.resume()
        whenDone = nil
    }

    /// Waits until everybody knows what it wanted to know; false when that takes too long.
    func waitUntilDone(within milliseconds: Int64) async -> Bool {
        guard open > 0 else { return true }
        timer.start(after: milliseconds) { [weak self] in
            self?.whenDone?.resume()
            self?.whenDone = nil
        }
        await withCheckedContinuation { whenDone = $0 }
        return open == 0
    }

    /// Ends the probing; returns when the last of them is answered.
    func stopProbing() async {
        isProbing = false
        for task in probing { await task.value }
        probing = []
    }

    /// Waits until everybody was told what its log had, for a while.
    func waitUntilTold(_ offsets: [String: Int64], of epoch: String) async {
        try? await eventually("all are told", within: 20_000) {
            shoppers.allSatisfy { shopper in
                guard let position = shopper.position else { return false }
                return position.epoch != epoch || position.offset >= offsets[shopper.name] ?? 0
            }
        }
    }

    /// Cuts the connections of every nth client.
    func cut(every fraction: Int) {
        for (index, shopper) in shoppers.enumerated() where index % max(1, fraction) == 0 { shopper.cut() }
    }

    /// Sends everybody home; returns when they have gone.
    func stop() async {
        isProbing = false
        for shopper in shoppers { shopper.stop() }
        for poller in pollers { poller.stop() }
        for probe in probes { probe.stop() }
        for task in tasks + probing { await task.value }
    }

    /// What everybody noted.
    var journals: [ClientJournal] {
        shoppers.map(\.journal) + pollers.map(\.journal) + probes.filter { !$0.journal.notes.isEmpty }.map(\.journal)
    }

    // MARK: probing

    /// Claims at every gateway, one after the other, each for a client of its own: so it shows when claims are decided.
    func probe(_ sale: Int64) {
        for instance in stage.gateways {
            probing.append(
                EventLoop.task {
                    var number = 0
                    while self.isProbing {
                        number += 1
                        let name = "\(self.prefix)x\(instance)-\(number)"
                        let probe = PollingBuyer(name, self.stage, seed: UInt64(number), sale: sale)
                        self.probes.append(probe)
                        await self.decide(probe, instance)
                        await EventLoop.sleep(milliseconds: 60)
                    }
                })
        }
    }

    private func decide(_ probe: PollingBuyer, _ instance: Int) async {
        probe.onDecided = { [weak self] at in
            guard let self, let sent = probe.lastAsked else { return }
            self.decisions[instance, default: []].append((sent, at))
            let watchers = self.watchers
            self.watchers = []
            for watcher in watchers { watcher.resume() }
        }
        _ = await probe.claim(on: instance, timeout: 2500)
        probe.finish()
    }

    /// Waits until every gateway has decided a claim that was sent after that moment.
    /// - Returns: How long after it that was; nil when it takes too long.
    func decided(after moment: Int64, within milliseconds: Int64) async -> Int64? {
        let deadline = EventLoop.wallMilliseconds + milliseconds
        let timer = LoopTimer()
        timer.start(after: milliseconds) { [weak self] in
            let watchers = self?.watchers ?? []
            self?.watchers = []
            for watcher in watchers { watcher.resume() }
        }
        defer { timer.stop() }
        while true {
            let first = stage.gateways.map { decisions[$0]?.first { $0.sent >= moment }?.decided }
            if !first.contains(nil) { return (first.compactMap { $0 }.max() ?? moment) - moment }
            guard EventLoop.wallMilliseconds < deadline else { return nil }
            await withCheckedContinuation { watchers.append($0) }
        }
    }
}
