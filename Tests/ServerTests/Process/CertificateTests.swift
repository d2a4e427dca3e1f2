import EventLoop
import Foundation
import TestServices
import Testing

/// TLS in the whole program, by a client that isn't ours.
@Suite struct CertificateTests {
    @Test func workersTakeNewCertificates() async throws {
        try await withShop { shop in
            let files = try await Certificates("one.example")
            let instance = try await shop.start(
                [
                    "DIBS_TLS_CERTIFICATE": files.certificate, "DIBS_TLS_KEY": files.key, "DIBS_HSTS_SECONDS": "300",
                ], workers: 2)
            let process = shop.instances[instance]
            #expect(process.url.hasPrefix("https://127.0.0.1:"))
            func ask() async throws -> String {
                // All that openssl tells of a certificate is in what curl says of its handshake.
                try await Program.run(
                    "/bin/sh", ["-c", "exec curl -skvi --http1.1 \"$0/healthz\" 2>&1", process.url])
            }
            let first = try await ask()
            #expect(first.contains("CN=one.example") && first.contains("strict-transport-security: max-age=300"))
            #expect(first.contains("HTTP/1.1 200 OK") && first.contains("{\"result\":{\"status\":\"ok\"}"))

            // By the signal, which the supervisor hands on.
            try await files.make("two.example")
            process.signal(SIGHUP)
            for _ in 0..<2 { try await process.waitFor(event: "certificate_loaded") }
            for _ in 0..<4 { #expect(try await ask().contains("CN=two.example")) }

            // What is no good is told, and not taken.
            let good = try files.read(files.certificate)
            try files.write(Data("nonsense".utf8), files.certificate)
            process.signal(SIGHUP)
            for _ in 0..<2 { try await process.waitFor(event: "certificate_refused") }
            for _ in 0..<4 { #expect(try await ask().contains("CN=two.example")) }
            try files.write(good, files.certificate)

            // Without a signal, by looking at the files.
            try await files.make("three.example")
            try await eventually("both workers show it") {
                for _ in 0..<6 where try await !ask().contains("CN=three.example") { return false }
                return true
            }
        }
    }

    @Test func theEnvironmentIsCheckedWithTheFiles() async throws {
        try await withShop { shop in
            let files = try await Certificates("one.example")
            let good = ["DIBS_TLS_CERTIFICATE": files.certificate, "DIBS_TLS_KEY": files.key]
            @LoopActor func check() throws -> DibsProcess {
                try DibsProcess(["check-config"], environment: shop.environment.merging(good) { $1 })
            }
            #expect(try await check().waitForExit().status == 0)
            try files.write(Data("nonsense".utf8), files.key)
            let process = try check()
            #expect(try await process.waitForExit().status == 78)
            #expect(process.errors.contains { $0.hasPrefix("DIBS_TLS_CERTIFICATE, DIBS_TLS_KEY: the key") })
        }
    }
}
