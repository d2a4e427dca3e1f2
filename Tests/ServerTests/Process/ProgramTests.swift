import EventLoop
import Foundation
import TestServices
import Testing

/// The command line and the environment, as the operator meets them.
@Suite struct ProgramTests {
    @Test func wrongConfigurationEndsWith78AndNamesTheVariable() async throws {
        try await withShop(0) { shop in
            let table: [(String, String)] = [
                ("DIBS_LISTEN", "8080"), ("DIBS_LISTEN", "127.0.0.1:99999"), ("DIBS_REDIS_URL", "http://localhost"),
                ("DIBS_REDIS_URL", "redis://:topsecretpassword@host:x"),
                ("DIBS_DATABASE_URL", "nonsense=topsecretword"),
                ("DIBS_ADMIN_KEY", ""), ("DIBS_ADMIN_KEY", "tooshortsecret"), ("DIBS_SERVICE_KEY", ""),
                ("DIBS_JWT_SECRET", ""), ("DIBS_JWT_SECRET", "with a space in it secret"), ("DIBS_WORKERS", "0"),
                ("DIBS_WORKERS", "many"), ("DIBS_ROLES", "gateway,cook"), ("DIBS_ROLES", ","),
                ("DIBS_LOG_LEVEL", "loud"), ("DIBS_RATE_LIMIT", "maybe"), ("DIBS_OUTCOME_LIMIT", "7"),
                ("DIBS_CONNECT_SECONDS", "-1"), ("DIBS_WEB_ROOT", "/nonexistent/folder"),
                ("DIBS_COMMIT_BATCH", "10001"), ("DIBS_DATABASE_POOL", "1e3"),
            ]
            for command in ["serve", "check-config"] {
                let processes = try table.map { try shop.run([command], [$0.0: $0.1]) }
                for (process, (name, value)) in zip(processes, table) {
                    #expect(try await process.waitForExit() == ChildProcess.Exit(status: 78, signal: 0))
                    let told = process.errors.joined(separator: "\n")
                    #expect(told.contains(name) && process.output.isEmpty, "\(name): \(told)")
                    #expect(!value.contains("secret") || !told.contains(value), "\(told)")
                    #expect(!told.contains("topsecret"))
                }
            }
            // All that is wrong at once.
            let all = try shop.run(["serve"], ["DIBS_LISTEN": "x", "DIBS_JWT_SECRET": "", "DIBS_WORKERS": "65"])
            _ = try await all.waitForExit()
            for name in ["DIBS_LISTEN", "DIBS_JWT_SECRET", "DIBS_WORKERS"] {
                #expect(all.errors.contains { $0.contains(name) })
            }
            let same = try shop.run(["serve"], ["DIBS_SERVICE_KEY": shop.adminKey])
            #expect(try await same.waitForExit().status == 78)
        }
    }

    @Test func whatItDoesNotUnderstandEndsWith64() async throws {
        try await withShop(0) { shop in
            for arguments in [
                [], ["sell"], ["serve", "--port", "1"], ["serve", "--workers"], ["serve", "--workers", "0"],
                ["serve", "--workers=65"], ["migrate", "x"], ["check-config", "x"], ["--serve"],
            ] {
                let process = try shop.run(arguments)
                #expect(try await process.waitForExit() == ChildProcess.Exit(status: 64, signal: 0), "\(arguments)")
                #expect(!process.errors.isEmpty && process.output.isEmpty)
            }
        }
    }

    @Test func helpsAndChecksAndMigrates() async throws {
        try await withShop(0) { shop in
            for arguments in [["--help"], ["serve", "--help"], ["help"]] {
                let process = try DibsProcess(arguments, environment: [:])
                #expect(try await process.waitForExit().status == 0)
                for name in ["DIBS_LISTEN", "DIBS_JWT_SECRET", "dibs serve", "dibs migrate", "dibs check-config"] {
                    #expect(process.output.contains { $0.contains(name) }, "\(arguments): \(name)")
                }
            }
            for (arguments, word) in [(["--version"], "dibs "), (["check-config"], "configuration is good")] {
                let process = try DibsProcess(arguments, environment: shop.environment)
                #expect(try await process.waitForExit().status == 0)
                #expect(process.output.first?.contains(word) == true)
            }
            for expected in ["none applied", "already there"] {
                let process = try shop.run(["migrate"])
                #expect(try await process.waitForExit().status == 0)
                let line = try await process.waitFor(event: "migrated")
                #expect((line.json["migrations"] == "none") == (expected == "already there"))
            }
            let nowhere = try shop.run(
                ["migrate"], ["DIBS_DATABASE_URL": "host=/nonexistent dbname=x", "DIBS_DATABASE_TIMEOUT_MS": "300"])
            #expect(try await nowhere.waitForExit().status == 1)
            #expect(nowhere.log.items.contains { $0.event == "migration_failed" })
        }
    }

    @Test func aTakenPortEndsTheStartAtOnce() async throws {
        try await withShop { shop in
            let port = shop.instances[0].url.split(separator: ":").last ?? ""
            for arguments in [["serve"], ["serve", "--workers", "2"]] {
                let second = try shop.run(arguments, ["DIBS_LISTEN": "127.0.0.1:\(port)"])
                #expect(try await second.waitForExit() == ChildProcess.Exit(status: 1, signal: 0), "\(arguments)")
                #expect(second.log.items.contains { $0.event == "start_failed" && $0.json["level"] == "error" })
            }
            #expect(try await shop.call(.get, "/readyz").status == 200)
        }
    }

    /// Four begin with an empty database at the same time: each migration is applied once, by whichever, and all serve.
    @Test func manyMayMigrateAtOnce() async throws {
        try await withShop(0) { shop in
            _ = try await concurrently(4) { _ in try await shop.start() }
            let sale = try await shop.sale(4)
            let answers = try await concurrently(4) { try await shop.claim(sale, "c\($0)", on: $0) }
            #expect(Set(answers.compactMap(\.ticket)) == [1, 2, 3, 4])
            let applied = shop.instances.flatMap { $0.log.items.filter { $0.event == "migrated" } }
                .flatMap { ($0.json["migrations"].text ?? "").split(separator: " ") }
            #expect(!applied.isEmpty && Set(applied).count == applied.count, "\(applied)")
            #expect(try await shop.sql("select count(*) from schema_migrations") == String(applied.count))
            try await shop.expectBooks(sale, sold: 4)
        }
    }
}
