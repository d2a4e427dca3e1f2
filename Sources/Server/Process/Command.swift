import EventLoop
import Foundation
import Model
import Persistence

/// The command line.
public enum Command {
    /// What `dibs` was asked to do.
    enum Wish: Equatable {
        case serve(workers: Int?)
        case migrate
        case checkConfiguration
        case audit(AuditCommand)
        case help
        case version
        case wrong(String)
    }

    /// The version that `dibs --version` tells.
    public static let version = "0.1.0"

    /// Exit codes of sysexits.h.
    enum ExitCode {
        static let usage: Int32 = 64
        static let unavailable: Int32 = 69
        static let configuration: Int32 = 78
    }

    static func parse(_ arguments: [String]) -> Wish {
        guard let first = arguments.first else { return .wrong("a command is missing") }
        let rest = Array(arguments.dropFirst())
        if arguments.contains("--help") || arguments.contains("-h") || first == "help" { return .help }
        switch first {
        case "--version", "version": return .version
        case "serve": return parseServe(rest)
        case "migrate": return rest.isEmpty ? .migrate : .wrong("migrate takes no arguments")
        case "check-config": return rest.isEmpty ? .checkConfiguration : .wrong("check-config takes no arguments")
        case "audit": return AuditCommand.parse(rest)
        default: return .wrong("there is no command \(first)")
        }
    }

    private static func parseServe(_ arguments: [String]) -> Wish {
        var arguments = arguments
        var workers: Int?
        while !arguments.isEmpty {
            let argument = arguments.removeFirst()
            let value: String
            if argument == "--workers", !arguments.isEmpty {
                value = arguments.removeFirst()
            } else if argument.hasPrefix("--workers=") {
                value = String(argument.dropFirst("--workers=".count))
            } else {
                return .wrong("serve does not understand \(argument)")
            }
            guard let number = Int(value), (1...64).contains(number) else {
                return .wrong("--workers takes a number from 1 to 64")
            }
            workers = number
        }
        return .serve(workers: workers)
    }

    /// Does what the command line says; to be called on the main thread, once.
    /// - Returns: The status to end with.
    public static func run(_ arguments: [String], environment: [String: String]) -> Int32 {
        // That the certificate is to be read anew may be told before anybody listens: it is read then anyway.
        if environment["DIBS_TLS_CERTIFICATE"]?.isEmpty == false { signal(SIGHUP, SIG_IGN) }
        // A peer that closes its end must not end the process.
        signal(SIGPIPE, SIG_IGN)
        switch parse(arguments) {
        case .help:
            print(help)
            return 0
        case .version:
            print("dibs \(version)")
            return 0
        case .wrong(let problem):
            report(["dibs: \(problem)", "Try dibs --help"])
            return ExitCode.usage
        case .checkConfiguration:
            return withConfiguration(environment) { configuration in
                print("The configuration is good: listens on \(configuration.address):\(configuration.port).")
                for name in configuration.unknownVariables { print("Unknown and ignored: \(name)") }
                return 0
            }
        case .migrate:
            return withConfiguration(environment) { configuration in EventLoop.run { await migrate(configuration) } }
        case .audit(let command):
            return withConfiguration(environment) { configuration in
                EventLoop.run { await command.run(configuration) }
            }
        case .serve(let workers):
            return withConfiguration(environment) { configuration in
                var configuration = configuration
                if let workers { configuration.workers = workers }
                let decided = configuration
                return EventLoop.run { await serve(decided, environment) }
            }
        }
    }

    private static func withConfiguration(
        _ environment: [String: String], _ body: (Configuration) -> Int32
    ) -> Int32 {
        do {
            return body(try Configuration(environment: environment))
        } catch {
            report(error.messages)
            return ExitCode.configuration
        }
    }

    static func report(_ lines: [String]) {
        for line in lines { FileHandle.standardError.write(Data((line + "\n").utf8)) }
    }

    @LoopActor
    private static func serve(_ configuration: Configuration, _ environment: [String: String]) async -> Int32 {
        var fields: [String: LogValue] = ["pid": .init(Int(getpid()))]
        if let worker = environment["DIBS_WORKER"].flatMap({ Int($0) }) { fields["worker"] = .init(worker) }
        let log = Log.lines(from: configuration.logLevel, fields: fields)
        if configuration.workers > 1 {
            return await Supervisor(configuration, environment: environment, log: log).run()
        }
        do {
            return await (try Application(configuration, log: log)).run()
        } catch {
            log(.error, "start_failed", ["error": .init("\(error)")])
            return 1
        }
    }

    @LoopActor
    private static func migrate(_ configuration: Configuration) async -> Int32 {
        let log = Log.lines(from: configuration.logLevel)
        do {
            let store = try Store(StoreConfiguration(connectionString: configuration.database), log: log)
            store.start()
            defer { EventLoop.task { await store.stop() } }
            let applied = try await store.migrate()
            log(.info, "migrated", ["migrations": .init(applied.isEmpty ? "none" : applied.joined(separator: " "))])
            return 0
        } catch {
            log(.error, "migration_failed", ["error": .init("\(error)")])
            return 1
        }
    }

    static var help: String {
        var text = """
            dibs: first come, first served, told at once and true for ever.

            dibs serve [--workers N]   serve; N processes on one port
            dibs migrate               bring the database's schema up to date, and end
            dibs audit [--repair] [--json] [--sale ID] [--performance ID] [--room ID] [--client ID]
                                       compare Redis with PostgreSQL, and end: with 0 when they agree, 1 when not,
                                       69 when one of them can't be asked; --repair mends what has one right answer
            dibs check-config          check the environment, and end
            dibs --help | --version

            Configuration, from the environment. A wrong value ends with status 78.


            """
        for variable in Configuration.variables {
            let fallback = variable.defaultValue.map { "default \($0)" } ?? "required"
            text += "  \(variable.name)\n      \(variable.meaning) (\(fallback))\n"
        }
        return text
    }
}
