import EventLoop
import Glibc
import Model
import TestServices
import Testing

@testable import Persistence

/// What happens when PostgreSQL is away, hangs or comes back: an outage in time, and nothing lost or done twice.
@Suite(.onLoop) struct FaultTests {
    @Test(.timeLimit(.minutes(patience))) @LoopActor func killedInTheMiddleOfCommits() async throws {
        let server = try await PostgresServer.launch()
        let fixture = try await Fixture(on: server)
        let store = fixture.store
        let free = try await fixture.sale()
        let priced = try await fixture.sale(price: 1, limit: 1_000_000)
        _ = try await store.charge(ClientID("rich")!, points: 1_000_000, reference: "r")

        // Two committers go on with batch after batch, each until it is through, as long as they are wanted.
        let progress = Progress()
        let committing = (0..<2).map { committer in
            EventLoop.task {
                var first = Int64(committer) * 500_000 + 1
                while !progress.isOver {
                    let batch = (first..<first + 50).flatMap { number -> [AcceptedOrder] in
                        [.test(free, number), .test(priced, number, client: "rich", slot: number)]
                    }
                    do {
                        progress.settled += try await store.commit(batch).count(.confirmed)
                        first += 50
                    } catch {
                        progress.errors.append(error)
                    }
                    progress.step()
                }
            }
        }
        for _ in 0..<3 {
            let (settled, errors) = (progress.settled, progress.errors.count)
            while progress.settled < settled + 500 { await progress.next() }
            try await server.kill()
            while progress.errors.count == errors { await progress.next() }
            try await server.start()
        }
        let settled = progress.settled
        while progress.settled < settled + 500 { await progress.next() }
        progress.isOver = true
        for task in committing { await task.value }

        #expect(progress.errors.allSatisfy { ($0 as? Outage)?.source == .postgres }, "\(progress.errors)")
        // A batch whose answer was lost may be there without having been settled; the last two may be such.
        let audit = try await store.audit(sales: [free, priced])
        let confirmed = audit.sales[0].confirmed
        #expect(confirmed % 50 == 0 && (Int64(progress.settled) / 2...Int64(progress.settled) / 2 + 100) ~= confirmed)
        #expect(audit.sales[1].confirmed == confirmed)
        #expect(audit.sales.map(\.countDrift) == [0, 0])
        #expect(audit.ledgerDrift == 0)
        #expect(try await store.balance(of: ClientID("rich")!) == 1_000_000 - confirmed)
        await store.stop()
    }

    @Test(.timeLimit(.minutes(patience))) @LoopActor func frozenServerIsAnOutageInTime() async throws {
        let server = try await PostgresServer.launch()
        let fixture = try await Fixture(on: server)
        let sale = try await fixture.sale()
        let store = try await fixture.impatient(timeout: 400)
        server.freeze()
        // On connections that were there, and on new ones, which connect but get no answer.
        for _ in 0..<3 {
            let before = EventLoop.nanoseconds
            let outages = await [
                outage { try await store.ping() }, outage { _ = try await store.commit([.test(sale, 1)]) },
            ]
            #expect(outages.allSatisfy { $0?.source == .postgres })
            // Who doesn't watch the time would wait until the kernel gives up, for minutes.
            #expect((EventLoop.nanoseconds - before) / 1_000_000_000 < 15)
        }
        server.thaw()
        try await eventually("it answers again") { (try? await store.ping()) != nil }
        _ = try await fixture.store.commit([.test(sale, 1)])
        #expect(try await fixture.store.audit(sales: [sale]).sales[0].confirmed == 1)
        await store.stop()
        await fixture.store.stop()
    }

    @Test @LoopActor func nobodyThereIsAnOutageInTime() async throws {
        let store = try Store(
            StoreConfiguration(
                connectionString: "host=/nowhere password=geheim", requestTimeoutMilliseconds: 200), log: .none)
        #expect(await outage { try await store.ping() } == Outage(.postgres, "not started, or stopped"))
        store.start()
        let failure = try #require(await outage { try await store.ping() })
        #expect(failure.detail.contains("/nowhere"))
        #expect(!store.isConnected)
        await store.stop()
    }

    /// Once it is known that nobody is there, nobody waits for as long as they would for an answer.
    @Test @LoopActor func knownOutageIsToldSoon() async throws {
        let (failures, failed) = AsyncStream<Void>.makeStream()
        let store = try Store(
            StoreConfiguration(connectionString: "host=/nowhere", poolSize: 1, requestTimeoutMilliseconds: 60_000),
            log: Log { _, event, _ in if event == "postgres_unavailable" { failed.yield() } })
        store.start()
        for await _ in failures { break }
        let before = EventLoop.nanoseconds
        #expect(await outage { try await store.ping() } != nil)
        #expect((EventLoop.nanoseconds - before) / 1_000_000_000 < 30)
        await store.stop()
    }

    @Test @LoopActor func wrongPasswordIsNamedButNotShown() async throws {
        let server = try await PostgresServer.shared()
        let warnings = Journal<String>()
        let store = try Store(
            StoreConfiguration(
                connectionString: server.connectionString(database: "guarded") + " password=geheim",
                requestTimeoutMilliseconds: patienceMilliseconds),
            log: Log { _, event, fields in EventLoop.task { warnings.add("\(event) \(fields)") } })
        store.start()
        let warning = try await warnings.next("that it is refused") { $0.hasPrefix("postgres_unavailable") }
        let failure = try #require(await outage { try await store.ping() })
        #expect(failure.detail.contains("authentication failed"))
        #expect(!"\(failure) \(warning)".contains("geheim"))
        await store.stop()
    }

    @Test @LoopActor func hostNamesAreResolved() async throws {
        let server = try await PostgresServer.shared()
        let database = try await server.makeDatabase().split(separator: "=").last!
        let store = try Store(
            StoreConfiguration(
                connectionString: server.uri(database: String(database)),
                requestTimeoutMilliseconds: patienceMilliseconds), log: .none)
        store.start()
        try await store.ping()
        #expect(store.isConnected)
        await store.stop()

        let nowhere = try Store(
            StoreConfiguration(
                connectionString: "postgresql://u:geheim@no-such-host.invalid/d", requestTimeoutMilliseconds: 1500),
            log: .none)
        nowhere.start()
        let failure = try #require(await outage { try await nowhere.ping() })
        #expect(!"\(failure)".contains("geheim"))
        await nowhere.stop()
    }

    @Test @LoopActor func slowStatementCostsNoConnection() async throws {
        // The server gives up a tenth of it earlier than we do: that has to be enough for its answer to come.
        let store = try await Fixture().impatient(timeout: 4000)
        @LoopActor func session() async throws -> Int64 {
            try await store.pool.perform(Statement("select pg_backend_pid()::bigint"))[0].first!.integer(0)
        }
        let before = try await session()
        await #expect {
            _ = try await store.pool.perform(Statement("select pg_sleep(60)"))
        } throws: { ($0 as? DatabaseError)?.sqlstate == "57014" }
        #expect(try await session() == before)
        await store.stop()
    }

    @Test @LoopActor func answerThatCameDuringALongTurnCounts() async throws {
        let store = try await Fixture().impatient(timeout: 300)
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        // What nothing may do, but a machine that others use as well does to us. In the callback of a socket, because
        // what is due then comes before what the other sockets have.
        var hasSlept = false
        let watcher = DescriptorWatcher(descriptor: ends[0]) { _ in
            if !hasSlept { usleep(600_000) }
            hasSlept = true
        }
        write(ends[1], "x", 1)
        let asking = EventLoop.task {
            watcher.watch(.readable)
            return (try? await store.pool.perform(Statement("select pg_sleep(0.05)"))) != nil
        }
        #expect(await asking.value)
        try await eventually("the long turn") { hasSlept }
        watcher.close()
        await store.stop()
    }

    @Test @LoopActor func lostTransactionIsTriedAgain() async throws {
        let fixture = try await Fixture()
        try await fixture.sql("create sequence tries")
        try await fixture.sql(
            """
            create function lose_twice() returns bigint language plpgsql as $$
            begin
                if nextval('tries') <= 2 then raise exception 'lost' using errcode = '40P01'; end if;
                return currval('tries');
            end $$
            """)
        #expect(try await fixture.number("select lose_twice()") == 3)
    }

    @Test @LoopActor func nobodyWaitsBehindTheCommitter() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale()
        let other = try Store(
            StoreConfiguration(connectionString: fixture.connectionString, poolSize: 1), log: .none)
        other.start()
        // What a rebuild holds for a moment.
        _ = try await other.pool.perform(Statement("select pg_advisory_lock(sale_lock($1))", .integer(sale.rawValue)))
        let store = fixture.store
        let committing = EventLoop.task { try? await store.commit([.test(sale, 1)]).count(.confirmed) }
        while try await fixture.number("select count(*) from pg_locks where locktype = 'advisory' and not granted") == 0
        {}
        #expect(try await store.order(OrderID(sale: sale, sequence: 1)) == nil)
        _ = try await other.pool.perform(Statement("select pg_advisory_unlock(sale_lock($1))", .integer(sale.rawValue)))
        #expect(await committing.value == 1)
        await other.stop()
    }

    @Test @LoopActor func stoppingLetsWhatIsInFlightFinish() async throws {
        let fixture = try await Fixture()
        let sale = try await fixture.sale()
        let store = fixture.store
        var isDone = false
        let committing = EventLoop.task {
            defer { isDone = true }
            return try? await store.commit(AcceptedOrder.many(sale, 1...500)).count(.confirmed)
        }
        // Yielding goes by another thread: it may be over before we look.
        while store.committer.load == 0, !isDone { await Task.yield() }
        await store.stop()
        #expect(await committing.value == 500)
        #expect(await outage { try await store.ping() } != nil)
        await store.stop()
    }

    /// A store that nobody has any more is no longer connected, also when nobody stopped it.
    @Test @LoopActor func forgottenStoreLetsGo() async throws {
        let fixture = try await Fixture()
        var store: Store? = try await fixture.impatient(timeout: 30_000)
        @LoopActor func sessions() async throws -> Int64 {
            try await fixture.number("select count(*) from pg_stat_activity where datname = current_database()")
        }
        try await eventually("all are connected") { try await sessions() == 6 }
        _ = try await store?.ping()
        store = nil
        try await eventually("two are gone") { try await sessions() == 4 }
    }

    @LoopActor
    private func outage(_ work: @LoopActor () async throws -> Void) async -> Outage? {
        do {
            try await work()
            return nil
        } catch {
            #expect(error is Outage, "\(error)")
            return error as? Outage
        }
    }
}

/// What a task has done so far, and who waits to see more of it.
@LoopActor
private final class Progress {
    var settled = 0
    var isOver = false
    var errors: [any Error] = []
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func step() {
        let woken = waiting
        waiting = []
        for continuation in woken { continuation.resume() }
    }

    func next() async { await withCheckedContinuation { waiting.append($0) } }
}
