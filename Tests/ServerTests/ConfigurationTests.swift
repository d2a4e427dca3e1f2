import Foundation
import Gateway
import Model
import Testing

@testable import Server

private let good = [
    "DIBS_ADMIN_KEY": "admin-0123456789abcdef", "DIBS_SERVICE_KEY": "service-0123456789abcdef",
    "DIBS_JWT_SECRET": "secret-0123456789abcdef",
]

private func problems(_ changes: [String: String]) -> [String] {
    do {
        _ = try Configuration(environment: good.merging(changes) { $1 })
        return []
    } catch {
        return error.messages
    }
}

@Suite struct ConfigurationTests {
    @Test func theRequiredOnesAreEnough() throws {
        let configuration = try Configuration(environment: good)
        #expect(configuration.address == "127.0.0.1")
        #expect(configuration.port == 8080)
        #expect(configuration.workers == 1)
        #expect(configuration.roles == Set(Configuration.Role.allCases))
        #expect(configuration.limitsRates)
    }

    @Test func everythingThatIsWrongIsTold() {
        do {
            _ = try Configuration(environment: [:])
            Issue.record("it should have thrown")
        } catch {
            #expect(
                error.messages.sorted() == [
                    "DIBS_ADMIN_KEY must be set", "DIBS_JWT_SECRET must be set", "DIBS_SERVICE_KEY must be set",
                ])
        }
    }

    @Test(arguments: [
        ("DIBS_LISTEN", "8080"), ("DIBS_LISTEN", "127.0.0.1:70000"), ("DIBS_LISTEN", ":80"),
        ("DIBS_LISTEN", "example.org:80"),
        ("DIBS_LISTEN", "999.0.0.1:80"),
        ("DIBS_ADMIN_KEY", "short"), ("DIBS_ADMIN_KEY", "with spaces in between"), ("DIBS_REDIS_URL", "http://x"),
        ("DIBS_DATABASE_URL", "nonsense='"), ("DIBS_WORKERS", "0"), ("DIBS_WORKERS", "many"),
        ("DIBS_ROLES", "gateway,butler"), ("DIBS_LOG_LEVEL", "loud"), ("DIBS_RATE_LIMIT", "maybe"),
        ("DIBS_WEB_ROOT", "/no/such/folder"), ("DIBS_OUTCOME_LIMIT", "-1"), ("DIBS_COMMIT_BATCH", "99999999"),
        ("DIBS_DATABASE_TIMEOUT_MS", "1e3"), ("DIBS_CLIENT_ACTION_RATE", "20"), ("DIBS_CLIENT_ACTION_RATE", "0/20"),
        ("DIBS_CLIENT_ACTION_RATE", "20/0"), ("DIBS_CLIENT_ACTION_RATE", "nan/5"), ("DIBS_CLIENT_ACTION_RATE", "1/2/3"),
        ("DIBS_ADDRESS_CONNECTIONS", "-1"), ("DIBS_TRUSTED_PROXIES", "proxy.example"),
        ("DIBS_TRUSTED_PROXIES", "10.0.0.0/33"), ("DIBS_ALLOWED_ORIGINS", "shop.example"),
        ("DIBS_ALLOWED_ORIGINS", "*,https://shop.example"), ("DIBS_TLS_KEY", "/no/such/file"),
        ("DIBS_HSTS_SECONDS", "-1"),
    ])
    func aWrongValueNamesItsVariable(name: String, value: String) {
        let messages = problems([name: value])
        #expect(messages.count == 1)
        #expect(messages.first?.hasPrefix(name) == true, "\(messages)")
    }

    @Test func noMessageRepeatsASecret() {
        let messages = problems([
            "DIBS_ADMIN_KEY": "hush hush", "DIBS_REDIS_URL": "redis://:sesame@host:port",
            "DIBS_DATABASE_URL": "postgresql://u:sesame@host:port/x",
        ])
        #expect(messages.count == 4)
        #expect(!messages.joined().contains("hush"))
        #expect(!messages.joined().contains("sesame"))
    }

    @Test func addresses() throws {
        let six = try Configuration(environment: good.merging(["DIBS_LISTEN": "[::1]:0"]) { $1 })
        #expect(six.address == "::1")
        #expect(six.port == 0)
    }

    @Test func limitsProxiesOriginsAndTLS() throws {
        func read(_ changes: [String: String]) throws -> Configuration {
            try Configuration(environment: good.merging(changes) { $1 })
        }
        let usual = try read([:])
        #expect(usual.rates.clientActions == TokenBucket.Limit(perSecond: 20, burst: 2000))
        #expect(usual.maxConnectionsPerAddress == 50000)
        #expect(usual.maxConnectionsPerClient == 16 && usual.hstsSeconds == 0)
        #expect(usual.trustedProxies.isEmpty && usual.origins == .same && usual.tls == nil)
        let off = try read(["DIBS_RATE_LIMIT": "off"])
        #expect(off.rates.clientActions == nil && off.rates.addressConnects == nil)
        #expect(off.rates.connectionMessages == nil && off.maxConnectionsPerAddress == nil)
        #expect(off.maxConnectionsPerClient == .max)
        let set = try read(["DIBS_RATE_LIMIT": "off", "DIBS_MAX_CONNECTIONS_PER_CLIENT": "16"])
        #expect(set.maxConnectionsPerClient == 16)
        let some = try read([
            "DIBS_CLIENT_ACTION_RATE": "0.5/3", "DIBS_CLIENT_MESSAGE_RATE": "off", "DIBS_ADDRESS_CONNECTIONS": "0",
            "DIBS_TRUSTED_PROXIES": "127.0.0.1, fd00::/8", "DIBS_ALLOWED_ORIGINS": "https://shop.example",
        ])
        #expect(some.rates.clientActions == TokenBucket.Limit(perSecond: 0.5, burst: 3))
        #expect(some.rates.clientMessages == nil && some.maxConnectionsPerAddress == nil)
        #expect(some.trustedProxies.count == 2 && some.origins == OriginRule(["https://shop.example"]))
        #expect(problems(["DIBS_TLS_CERTIFICATE": "/no/such", "DIBS_TLS_KEY": "/no/such"]).count == 1)
    }

    @Test func keysMustDiffer() {
        #expect(problems(["DIBS_SERVICE_KEY": good["DIBS_ADMIN_KEY"]!]).count == 1)
    }

    @Test func aMisspeltVariableIsNoticed() throws {
        let configuration = try Configuration(environment: good.merging(["DIBS_WROKERS": "2"]) { $1 })
        #expect(configuration.unknownVariables == ["DIBS_WROKERS"])
    }

    /// The table in the documentation and the one in the program are the same.
    @Test func everyVariableIsDocumented() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../docs/configuration.md")
        let text = try String(contentsOf: file, encoding: .utf8)
        for variable in Configuration.variables {
            let fallback = variable.defaultValue.map { "`\($0)`" } ?? "required"
            #expect(text.contains("| `\(variable.name)` | \(fallback) | \(variable.meaning) |"), "\(variable.name)")
        }
    }
}

@Suite struct CommandTests {
    @Test func understandsWhatItOffers() {
        #expect(Command.parse(["serve"]) == .serve(workers: nil))
        #expect(Command.parse(["serve", "--workers", "4"]) == .serve(workers: 4))
        #expect(Command.parse(["serve", "--workers=2"]) == .serve(workers: 2))
        #expect(Command.parse(["migrate"]) == .migrate)
        #expect(Command.parse(["check-config"]) == .checkConfiguration)
        #expect(Command.parse(["--help"]) == .help)
        #expect(Command.parse(["serve", "--help"]) == .help)
        #expect(Command.parse(["--version"]) == .version)
    }

    @Test(arguments: [
        [], ["dance"], ["serve", "--workers"], ["serve", "--workers", "0"], ["serve", "--workers", "x"],
        ["serve", "fast"], ["migrate", "now"],
    ])
    func refusesTheRest(arguments: [String]) {
        guard case .wrong = Command.parse(arguments) else {
            Issue.record("\(arguments) should be wrong")
            return
        }
    }

    @Test func theHelpNamesEveryVariable() {
        for variable in Configuration.variables { #expect(Command.help.contains(variable.name)) }
    }
}
