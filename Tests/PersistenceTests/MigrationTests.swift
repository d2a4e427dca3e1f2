import EventLoop
import Model
import TestServices
import Testing

@testable import Persistence

/// The schema is brought up to date by any number of processes, and never guessed at.
@Suite(.onLoop) struct MigrationTests {
    @LoopActor
    private func store(_ connectionString: String) throws -> Store {
        let store = try Store(StoreConfiguration(connectionString: connectionString, poolSize: 1), log: .none)
        store.start()
        return store
    }

    @Test @LoopActor func severalAtOnceApplyEachOnce() async throws {
        let database = try await PostgresServer.shared().makeDatabase()
        let stores = try (0..<6).map { _ in try store(database) }
        let applied = try await concurrently(6) { try await stores[$0].migrate() }
        #expect(applied.flatMap { $0 }.sorted() == Migration.all.map(\.name))
        #expect(try await stores[0].migrate().isEmpty)
        for store in stores { await store.stop() }
    }

    @Test @LoopActor func changedMigrationIsAnError() async throws {
        let fixture = try await Fixture()
        var migrations = Migration.all
        migrations[0] = Migration(version: 1, name: "0001_tables", script: migrations[0].script + "\n")
        await #expect(throws: MigrationError.changed(name: "0001_tables")) {
            try await Migrator(pool: fixture.store.pool, migrations: migrations).run()
        }
    }

    @Test @LoopActor func newerSchemaIsAnError() async throws {
        let fixture = try await Fixture()
        let known = Int64(Migration.all.count)
        await #expect(throws: MigrationError.newerSchema(found: known, known: known - 1)) {
            try await Migrator(pool: fixture.store.pool, migrations: Migration.all.dropLast()).run()
        }
    }

    @Test @LoopActor func failedMigrationLeavesNothing() async throws {
        let fixture = try await Fixture()
        let next = Int64(Migration.all.count) + 1
        let broken = Migration(version: next, name: "broken", script: "create table half (a int); select 1/0;")
        await #expect(throws: DatabaseError.self) {
            try await Migrator(pool: fixture.store.pool, migrations: Migration.all + [broken]).run()
        }
        #expect(try await fixture.number("select count(*) from pg_tables where tablename = 'half'") == 0)
        let mended = Migration(version: next, name: "mended", script: "create table half (a int)")
        #expect(
            try await Migrator(pool: fixture.store.pool, migrations: Migration.all + [mended]).run() == ["mended"])
    }

    @Test @LoopActor func databaseThatIsNotUnicodeIsRefused() async throws {
        let database = try await PostgresServer.shared().makeDatabase(encoding: "LATIN1")
        let store = try store(database)
        await #expect {
            _ = try await store.migrate()
        } throws: { "\($0)".contains("UTF8") }
        await store.stop()
    }

    @Test func versionsAreConsecutive() {
        #expect(Migration.all.map(\.version) == (1...Int64(Migration.all.count)).map { $0 })
        #expect(Migration.all.allSatisfy { $0.name.hasPrefix("000\($0.version)_") })
    }
}
