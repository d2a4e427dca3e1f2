import Engine
import EventLoop
import Foundation
import Gateway
import Identity
import Model
import Persistence

/// One serving process, from its start to its end.
@LoopActor
public final class Application {
    private let configuration: Configuration
    private let log: Log
    private let services: Services
    private let frontend: Frontend
    private let hub: SessionHub
    private let orderCommitter: StreamFollower<OrderCommitter>
    private let reservationCommitter: StreamFollower<ReservationCommitter>
    private let heartbeat: Heartbeat
    private let keeper: RoomKeeper
    private let seatKeeper: SeatKeeper
    private let roles: Set<Configuration.Role>
    private var signals: [SignalWatcher] = []
    private var stopping: Task<Void, Never>?
    private let parentTimer = LoopTimer()

    /// Puts the parts together; nothing is connected or listening yet.
    public init(_ configuration: Configuration, log: Log) throws {
        self.configuration = configuration
        self.log = log
        roles = configuration.roles
        services = try Services(configuration, log: log)
        let name = "\(ProcessInfo.processInfo.hostName):\(getpid()):\(UInt32.random(in: 0 ... .max))"
        let orderWork = OrderCommitter(
            engine: services.engine, store: services.store, verification: services.verification,
            rooms: services.rooms, metrics: services.metrics, log: log)
        orderCommitter = StreamFollower(
            orderWork, engine: services.engine, log: log, consumer: name, batchSize: configuration.commitBatch)
        let reservationWork = ReservationCommitter(
            engine: services.engine, store: services.store, directory: services.performances,
            metrics: services.metrics, log: log)
        reservationCommitter = StreamFollower(
            reservationWork, engine: services.engine, log: log, consumer: name, batchSize: configuration.commitBatch)
        heartbeat = Heartbeat(engine: services.engine, log: log)
        keeper = RoomKeeper(
            engine: services.engine, store: services.store, directory: services.roomDirectory,
            verification: services.verification, log: log)
        seatKeeper = SeatKeeper(
            engine: services.engine, store: services.store, directory: services.performances,
            payments: services.payments, verification: services.verification, log: log)
        services.unconfirmed.commitOrders = orderWork.finish
        services.unconfirmed.commitHolds = reservationWork.finish
        services.directory.commit = orderWork.finish
        services.performanceVerifier.commit = reservationWork.finish
        let watches = WatchHub(engine: services.engine, directory: services.directory)
        let seats = SeatHub(engine: services.engine, directory: services.performances)
        hub = SessionHub(
            engine: services.engine, store: services.store, claims: services.claims, directory: services.directory,
            credentials: services.credentials,
            watches: watches,
            rooms: RoomHub(
                engine: services.engine, rooms: services.rooms, heartbeat: heartbeat, watches: watches, seats: seats,
                metrics: services.metrics, log: log),
            seats: seats, seatService: services.seats, metrics: services.metrics,
            limits: SessionLimits(
                isOn: configuration.limitsRates, messages: configuration.rates.connectionMessages,
                rates: services.rates,
                connectionsPerClient: configuration.maxConnectionsPerClient,
                connectMilliseconds: configuration.connectSeconds * 1000),
            epochs: ResumeEpochs(engine: services.engine, outcomeSeconds: configuration.outcomeSeconds),
            outcomeSeconds: configuration.outcomeSeconds, log: log)
        services.engine.onConnected = {
            [weak hub, services, orderCommitter, reservationCommitter, heartbeat, keeper, seatKeeper] isOtherRun in
            if isOtherRun {
                // Before connections are closed whose outcomes are counted anew.
                services.recall.remember(hub?.rooms.waiting ?? [:])
                services.verification.redisChanged()
                services.roomDirectory.redisChanged()
                heartbeat.redisChanged()
            }
            keeper.redisChanged()
            seatKeeper.redisChanged()
            orderCommitter.lookEverywhereSoon()
            reservationCommitter.lookEverywhereSoon()
        }
        services.credentials.onRevoked = { [weak hub] in hub?.revoked($0) }
        frontend = Frontend(configuration: configuration, services: services, hub: hub)
    }

    /// Serves until it is told to stop.
    /// - Returns: The status for the process to end with.
    public func run() async -> Int32 {
        await withCheckedContinuation { (continuation: CheckedContinuation<Int32, Never>) in
            let stop: @LoopActor (String) -> Void = { [weak self] signal in
                guard let self, self.stopping == nil else { return }
                self.log(.info, "draining", ["signal": .init(signal)])
                self.stopping = EventLoop.task {
                    await self.drain()
                    continuation.resume(returning: 0)
                }
            }
            signals = [SignalWatcher(SIGTERM) { stop("SIGTERM") }, SignalWatcher(SIGINT) { stop("SIGINT") }]
            if frontend.hasTLS {
                signals.append(SignalWatcher(SIGHUP) { [weak self] in self?.frontend.reloadCertificate() })
            }
            if configuration.isWorker { watchSupervisor { stop("supervisor gone") } }
            EventLoop.task {
                do {
                    try await self.start()
                } catch {
                    guard self.stopping == nil else { return }
                    self.log(.error, "start_failed", ["error": .init("\(error)")])
                    self.stopping = EventLoop.task { continuation.resume(returning: 1) }
                }
            }
        }
    }

    /// A supervisor that was killed can't end its workers: they see for themselves that they have another parent.
    private func watchSupervisor(_ gone: @escaping @LoopActor () -> Void) {
        let supervisor = getppid()
        parentTimer.start(after: 1000, every: 1000) { if getppid() != supervisor { gone() } }
    }

    private func start() async throws {
        for name in configuration.unknownVariables { log(.warning, "unknown_variable", ["name": .init(name)]) }
        services.engine.start()
        services.store.start()
        if roles.contains(.gateway) {
            let port = try frontend.listen()
            log(
                .info, "listening",
                [
                    "address": .init(configuration.address), "port": .init(port),
                    "url": .init("\(frontend.hasTLS ? "https" : "http")://\(configuration.address):\(port)"),
                ])
        }
        // Clients are served as soon as Redis and PostgreSQL are there; until then they get `unavailable`.
        var backoff = Backoff(base: 50, cap: 2000)
        while stopping == nil {
            do {
                let applied = try await services.store.migrate()
                if !applied.isEmpty { log(.info, "migrated", ["migrations": .init(applied.joined(separator: " "))]) }
                break
            } catch let outage as Outage {
                log(.warning, "waiting_for_postgres", ["error": .init(outage)])
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
        await services.engine.waitUntilConnected()
        // Before Redis is compared: what its streams have goes to PostgreSQL first.
        if roles.contains(.committer) {
            await orderCommitter.start()
            await reservationCommitter.start()
        }
        await services.verification.wait()
        services.recall.start { [services] in services.verification.isDone && services.engine.isConnected }
        guard stopping == nil else { return }
        await services.credentials.start()
        await services.roomDirectory.start()
        if roles.contains(.gateway) { heartbeat.start() }
        if roles.contains(.scheduler) {
            services.statistics.start()
            services.orders.startSweeping()
            keeper.start()
            seatKeeper.start()
            services.auditWatch.start()
        }
        guard stopping == nil else { return }
        services.phase = .serving
        log(.info, "ready", ["roles": .init(roles.map(\.rawValue).sorted().joined(separator: ","))])
    }

    /// Stops accepting, tells clients to go elsewhere, finishes what is in flight, acknowledges, leaves.
    private func drain() async {
        services.phase = .draining
        let deadline = LoopTimer()
        deadline.start(after: configuration.drainSeconds * 1000 + 2000) { [log] in
            log(.error, "drain_took_too_long")
            exit(0)
        }
        await frontend.shutdown(deadlineMilliseconds: configuration.drainSeconds * 1000)
        await heartbeat.stop()
        keeper.stop()
        seatKeeper.stop()
        services.auditWatch.stop()
        services.roomDirectory.stop()
        if roles.contains(.committer) {
            await orderCommitter.stop()
            await reservationCommitter.stop()
        }
        if roles.contains(.scheduler) {
            services.orders.stopSweeping()
            await services.statistics.stop()
        }
        await services.store.stop()
        await services.engine.stop()
        deadline.stop()
        log(.info, "stopped")
    }
}
