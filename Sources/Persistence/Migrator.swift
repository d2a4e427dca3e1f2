import EventLoop

/// A numbered SQL file.
struct Migration: Sendable {
    let version: Int64
    let name: String
    let script: String

    /// All of them, in order. Files are named by number and content; the build tool embeds them with the first digit
    /// replaced.
    static let all: [Migration] = [
        Migration(version: 1, name: "0001_tables", bytes: PackageResources._001_tables_sql),
        Migration(version: 2, name: "0002_orders", bytes: PackageResources._002_orders_sql),
        Migration(version: 3, name: "0003_rooms", bytes: PackageResources._003_rooms_sql),
        Migration(version: 4, name: "0004_concerts", bytes: PackageResources._004_concerts_sql),
        Migration(version: 5, name: "0005_reservations", bytes: PackageResources._005_reservations_sql),
        Migration(version: 6, name: "0006_ends", bytes: PackageResources._006_ends_sql),
    ]

    init(version: Int64, name: String, script: String) {
        self.version = version
        self.name = name
        self.script = script
    }

    private init(version: Int64, name: String, bytes: [UInt8]) {
        self.init(version: version, name: name, script: String(decoding: bytes, as: UTF8.self))
    }
}

/// Why the database's schema can't be used.
public enum MigrationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The database was migrated by a newer program.
    case newerSchema(found: Int64, known: Int64)
    /// A migration that was applied is not the one that this program has.
    case changed(name: String)

    /// In words.
    public var description: String {
        switch self {
        case .newerSchema(let found, let known):
            "the database has schema version \(found), this program knows up to \(known): run a newer one"
        case .changed(let name):
            "migration \(name) was applied to this database with another content: an applied migration must not change"
        }
    }
}

/// Applies migrations, each in a transaction of its own that holds an advisory lock and records it with its checksum.
@LoopActor
struct Migrator {
    let pool: PostgresPool
    let migrations: [Migration]

    private static let patience = Statement("select set_config('statement_timeout', '0', true)")
    private static let lock = Statement("select pg_advisory_xact_lock(7301)")

    func run() async throws -> [String] {
        let known = migrations.last?.version ?? 0
        let found = try await prepare()
        guard found <= known else { throw MigrationError.newerSchema(found: found, known: known) }
        var applied: [String] = []
        for migration in migrations where try await apply(migration) { applied.append(migration.name) }
        return applied
    }

    /// Makes the table that the migrations are recorded in; answers the newest one.
    private func prepare() async throws -> Int64 {
        let results = try await pool.perform(
            Self.patience, Self.lock,
            Statement(
                """
                create table if not exists schema_migrations (
                    version bigint primary key,
                    name text not null,
                    checksum text not null,
                    applied_at timestamptz not null default now()
                )
                """),
            Statement("select coalesce(max(version), 0) from schema_migrations"),
            timeout: Store.migrationPatience)
        return results.last!.first!.integer(0)
    }

    /// Applies one, unless it was; answers whether it did.
    ///
    /// A script has many statements, which only a function can execute as one. It is made for this session.
    private func apply(_ migration: Migration) async throws -> Bool {
        do {
            let results = try await pool.perform(
                Self.patience, Self.lock,
                Statement(
                    """
                    create or replace function pg_temp.dibs_migrate(a_version bigint, a_name text, script text)
                    returns boolean
                        language plpgsql
                    as $$
                    declare
                        sum text := encode(sha256(convert_to(script, 'UTF8')), 'hex');
                        recorded text := (select checksum from schema_migrations where version = a_version);
                    begin
                        if recorded is null then
                            execute script;
                            insert into schema_migrations (version, name, checksum) values (a_version, a_name, sum);
                            return true;
                        elsif recorded <> sum then
                            raise exception 'changed' using errcode = 'DM001';
                        end if;
                        return false;
                    end $$
                    """),
                Statement(
                    "select pg_temp.dibs_migrate($1, $2, $3)", .integer(migration.version), .text(migration.name),
                    .text(migration.script)),
                timeout: Store.migrationPatience)
            return results.last!.first!.flag(0)
        } catch let error as DatabaseError where error.sqlstate == "DM001" {
            throw MigrationError.changed(name: migration.name)
        }
    }
}
