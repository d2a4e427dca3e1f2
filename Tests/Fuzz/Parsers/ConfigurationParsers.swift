@testable import Engine
@testable import Persistence
@testable import Server

/// What an operator writes.
enum ConfigurationParsers {
    private static let good = [
        "DIBS_ADMIN_KEY": "the-admins-key-0", "DIBS_SERVICE_KEY": "the-shops-key-00",
        "DIBS_JWT_SECRET": "the-secret-00000",
    ]

    static func configuration(_ bytes: [UInt8]) -> String? {
        let text = String(decoding: bytes, as: UTF8.self)
        return first(environment(text), { redis(text) }, { secrecy(text) })
    }

    /// Lines of `NAME=value`, on top of what is good. What is wrong is said with the variable's name.
    private static func environment(_ text: String) -> String? {
        var environment = good
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
            // The folder would be looked for on this machine's disk.
            if parts.count == 2, parts[0] != "DIBS_WEB_ROOT" { environment[parts[0]] = parts[1] }
        }
        do {
            let configuration = try Configuration(environment: environment)
            return (0...65535).contains(configuration.port) ? nil : "a port that is none"
        } catch {
            let named = error.messages.allSatisfy { $0.contains("DIBS_") }
            return !error.messages.isEmpty && named ? nil : "no word of the variable: \(error)"
        }
    }

    private static func redis(_ text: String) -> String? {
        guard let url = try? RedisURL(text) else { return nil }
        // A path with something to be escaped isn't shown so that it could be read again.
        if case .unix(let path) = url.endpoint, path.contains("%") || path.contains("?") { return nil }
        guard let again = try? RedisURL(url.description) else { return "\(url) can't be read back" }
        return again.endpoint == url.endpoint && again.database == url.database ? nil : "\(url) came back as \(again)"
    }

    /// No part of a password is in what is said of a bad URL.
    private static func secrecy(_ text: String) -> String? {
        let password = "hunter2"
        for url in [
            "redis://user:\(password)@\(text)", "postgresql://user:\(password)@\(text)", "\(text):\(password)@h",
        ] {
            do {
                _ = try RedisURL(url)
            } catch {
                if error.description.contains(password) { return "shows the password: \(error)" }
            }
            do {
                _ = try ConnectionParameters(url)
            } catch {
                if error.description.contains(password) { return "shows the password: \(error)" }
            }
        }
        return nil
    }
}
