import Engine
import EventLoop
import Model
import Persistence

/// What a scheduler does for seats: ends holds in the second in which their time is over, has PostgreSQL close those whose
/// payment is under way, and finishes payments and refunds that a dead process left. Any number of processes may do it.
@LoopActor
final class SeatKeeper {
    private let engine: Engine
    private let store: Store
    private let directory: PerformanceDirectory
    private let payments: PaymentService
    private let verification: Verification
    private let log: Log
    private var clocks: [PerformanceID: SeatClock] = [:]
    private var subscription: Subscription?
    private let sweepTimer = LoopTimer()
    private var isSweeping = false

    private static let sweepMilliseconds: Int64 = 2000

    init(
        engine: Engine, store: Store, directory: PerformanceDirectory, payments: PaymentService,
        verification: Verification, log: Log
    ) {
        self.engine = engine
        self.store = store
        self.directory = directory
        self.payments = payments
        self.verification = verification
        self.log = log
    }

    func start() {
        EventLoop.task { await self.listen() }
        sweepTimer.start(after: 0, every: Self.sweepMilliseconds) { [weak self] in self?.sweep() }
    }

    func stop() {
        sweepTimer.stop()
        subscription?.cancel()
        subscription = nil
        for clock in clocks.values { clock.stop() }
        clocks = [:]
    }

    /// Redis is another than before.
    func redisChanged() {
        for clock in clocks.values { clock.tickSoon() }
    }

    private func listen() async {
        var backoff = Backoff(base: 50, cap: 2000)
        while sweepTimer.isRunning, subscription == nil {
            do {
                let new = try await engine.subscribePerformances { [weak self] event in
                    switch event {
                    case .changed(let performance): self?.follow(performance)
                    case .renewed: self?.sweep()
                    }
                }
                if sweepTimer.isRunning { subscription = new } else { new.cancel() }
            } catch {
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
    }

    private func follow(_ performance: PerformanceID) {
        guard sweepTimer.isRunning, clocks[performance] == nil else { return }
        clocks[performance] = SeatClock(
            performance: performance, engine: engine, directory: directory, payments: payments,
            verification: verification, log: log)
    }

    private func sweep() {
        guard !isSweeping else { return }
        isSweeping = true
        EventLoop.task {
            defer { self.isSweeping = false }
            do {
                let active = Set(try await self.store.activePerformances().map(\.performance.id))
                for performance in active { self.follow(performance) }
                for (performance, clock) in self.clocks where !active.contains(performance) {
                    clock.stop()
                    self.clocks[performance] = nil
                }
                try await self.payments.finishLeftOver()
            } catch {
                self.log(.debug, "seats_wait", ["error": .init("\(error)")])
            }
        }
    }
}

/// One performance's deadlines.
@LoopActor
private final class SeatClock {
    private let performance: PerformanceID
    private let engine: Engine
    private let directory: PerformanceDirectory
    private let payments: PaymentService
    private let verification: Verification
    private let log: Log
    /// Holds that PostgreSQL is asked to close.
    private var closing: Set<ReservationID> = []
    private var subscription: Subscription?
    private var hasEnded = false
    private lazy var alarm = Alarm { [weak self] in await self?.tick() }

    /// How often it is looked at, whatever it says: clocks may differ.
    private static let longestMilliseconds: Int64 = 1000

    init(
        performance: PerformanceID, engine: Engine, directory: PerformanceDirectory, payments: PaymentService,
        verification: Verification, log: Log
    ) {
        self.performance = performance
        self.engine = engine
        self.directory = directory
        self.payments = payments
        self.verification = verification
        self.log = log
        EventLoop.task { await self.listen() }
        tickSoon()
    }

    func stop() {
        hasEnded = true
        alarm.stop()
        subscription?.cancel()
        subscription = nil
    }

    func tickSoon() { alarm.ring(in: 0) }

    private func listen() async {
        var backoff = Backoff(base: 50, cap: 2000)
        while !hasEnded, subscription == nil {
            do {
                let new = try await engine.subscribe(performance: performance) { [weak self] event in
                    switch event {
                    case .changed(_, _, let due, _): self?.plan(due)
                    case .renewed: self?.tickSoon()
                    }
                }
                if hasEnded { new.cancel() } else { subscription = new }
                // What was held before nobody has told.
                tickSoon()
            } catch {
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
    }

    private func plan(_ due: Timestamp?) {
        guard let due else { return }
        alarm.ring(in: min(Self.longestMilliseconds, max(0, due.milliseconds - EventLoop.wallMilliseconds)))
    }

    private func tick() async {
        // A Redis that has lost a payment would end the hold that was paid.
        guard verification.isDone else { return alarm.ring(in: 100) }
        do {
            let tick = try await directory.with(performance) {
                try await self.engine.tickSeats(of: self.performance)
            }
            for hold in tick.closing { close(hold) }
            if tick.isMore { return alarm.ring(in: 0) }
            // Redis' clock may be a little behind: not asked again at once.
            if let due = tick.due {
                let pause = due.milliseconds - EventLoop.wallMilliseconds
                alarm.ring(in: min(Self.longestMilliseconds, pause > 0 ? pause : 20))
            }
        } catch let error as WireError where error.code == .notFound {
            // Its performance is of another database.
        } catch {
            log(.debug, "seats_wait", ["performance": .init(performance), "error": .init("\(error)")])
            alarm.ring(in: 200)
        }
    }

    /// Has PostgreSQL close a hold. The others don't wait for it: it may be slow, or away.
    private func close(_ hold: Hold) {
        guard closing.insert(hold.id).inserted else { return }
        EventLoop.task {
            defer { self.closing.remove(hold.id) }
            do {
                try await self.payments.close(hold)
            } catch {
                self.log(.debug, "seats_wait", ["reservation": .init(hold.id), "error": .init("\(error)")])
            }
        }
    }
}
