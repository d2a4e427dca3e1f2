import CPostgres
import EventLoop
import Glibc
import Model

/// What is wrong with a connection string. It never repeats any part of it, as that may be the password.
public struct ConnectionStringError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public let description: String
}

/// A connection string, taken apart by libpq.
struct ConnectionParameters: Sendable {
    /// libpq's keywords and their values.
    private(set) var values: [String: String]

    /// Takes a connection string or URI apart.
    init(_ text: String) throws(ConnectionStringError) {
        guard !text.utf8.contains(0) else { throw ConnectionStringError(description: "contains a zero byte") }
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(text, &message) else {
            defer { PQfreemem(message) }
            throw ConnectionStringError(
                description: ConnectionParameters.explanation(message.map { String(cString: $0) } ?? ""))
        }
        defer { PQconninfoFree(options) }
        values = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        for port in ConnectionParameters.list(values["port"]) where !port.isEmpty {
            guard let number = Int(port), (1...65535).contains(number) else {
                throw ConnectionStringError(description: "a port is not a number from 1 to 65535")
            }
        }
        let (hosts, ports) = (ConnectionParameters.list(values["host"]), ConnectionParameters.list(values["port"]))
        guard ports.count <= 1 || ports.count == max(1, hosts.count) else {
            throw ConnectionStringError(description: "the numbers of hosts and of ports differ")
        }
    }

    /// libpq's message up to where it begins to quote.
    private static func explanation(_ message: String) -> String {
        if message.hasPrefix("missing \"=\"") { return "missing \"=\" after an option" }
        let head = message.prefix { $0 != "\"" }
        let words = singleLine(String(head))
        return words.isEmpty ? "neither a list of keywords and values nor a URI" : words
    }

    private static func list(_ value: String?) -> [String] {
        value.map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) } ?? []
    }

    /// The parameters with each host's name replaced by its addresses, so that libpq asks no resolver and blocks for
    /// nothing; and with what Dibs needs.
    @LoopActor
    func resolved() async throws -> ConnectionParameters {
        var parameters = self
        parameters.values["client_encoding"] = "UTF8"
        if values["fallback_application_name"] == nil { parameters.values["fallback_application_name"] = "dibs" }
        // Kerberos would be asked synchronously; who wants it says so.
        if values["gssencmode"] == nil && getenv("PGGSSENCMODE") == nil { parameters.values["gssencmode"] = "disable" }
        let named = values["host"] ?? getenv("PGHOST").map { String(cString: $0) } ?? ""
        guard values["hostaddr"] == nil, !named.isEmpty else { return parameters }
        let names = ConnectionParameters.list(named)
        let givenPorts = ConnectionParameters.list(values["port"])
        var (hosts, addresses, ports): ([String], [String], [String]) = ([], [], [])
        for (index, host) in names.enumerated() {
            let isSocket = host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@")
            for address in isSocket ? [""] : try await EventLoop.resolve(host) {
                hosts.append(host)
                addresses.append(address)
                ports.append(givenPorts.count > 1 ? givenPorts[index] : givenPorts.first ?? "")
            }
        }
        parameters.values["host"] = hosts.joined(separator: ",")
        if addresses.contains(where: { !$0.isEmpty }) {
            parameters.values["hostaddr"] = addresses.joined(separator: ",")
        }
        if !givenPorts.isEmpty { parameters.values["port"] = ports.joined(separator: ",") }
        return parameters
    }

    /// Begins a connection; nil when libpq has no memory for it.
    func start() -> OpaquePointer? {
        let pairs = values.sorted { $0.key < $1.key }
        var keywords: [UnsafePointer<CChar>?] = pairs.map { UnsafePointer(strdup($0.key)) } + [nil]
        var contents: [UnsafePointer<CChar>?] = pairs.map { UnsafePointer(strdup($0.value)) } + [nil]
        defer {
            for pointer in keywords + contents { free(UnsafeMutablePointer(mutating: pointer)) }
        }
        return PQconnectStartParams(&keywords, &contents, 0)
    }
}
