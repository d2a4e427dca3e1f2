import Foundation
import Gateway
import Model

/// Limits, proxies, origins and TLS.
extension EnvironmentReader {
    /// `a/b`: so many a second in the long run, and so many at once. Nil for `off`.
    mutating func rate(_ name: String) -> TokenBucket.Limit? {
        let text = value(name) ?? ""
        if text == "off" { return nil }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Double($0) }
        if parts.count == 2, let perSecond = parts[0], let burst = parts[1], (0.01...1_000_000).contains(perSecond),
            (1...10_000_000).contains(burst)
        {
            return TokenBucket.Limit(perSecond: perSecond, burst: burst)
        }
        problems.append("\(name) must be off, or how many a second and how many at once, as 50/300")
        return nil
    }

    /// All limits of rates; none when they are off.
    mutating func rates(areOn: Bool) -> RateConfiguration {
        // Read in any case: what is wrong is told now and not on the day on which they are turned on.
        let rates = RateConfiguration(
            connectionMessages: rate("DIBS_CONNECTION_MESSAGE_RATE"), clientMessages: rate("DIBS_CLIENT_MESSAGE_RATE"),
            clientActions: rate("DIBS_CLIENT_ACTION_RATE"), addressMessages: rate("DIBS_ADDRESS_MESSAGE_RATE"),
            addressActions: rate("DIBS_ADDRESS_ACTION_RATE"),
            addressRequests: rate("DIBS_ADDRESS_REQUEST_RATE"), addressFailures: rate("DIBS_ADDRESS_FAILURE_RATE"),
            addressPasswords: rate("DIBS_ADDRESS_PASSWORD_RATE"), addressConnects: rate("DIBS_ADDRESS_CONNECT_RATE"),
            addressArrivals: rate("DIBS_ADDRESS_ARRIVAL_RATE"))
        return areOn ? rates : RateConfiguration()
    }

    /// Addresses and networks.
    mutating func networks(_ name: String) -> [AddressRange] {
        let words = list(name)
        let networks = words.compactMap { AddressRange($0) }
        if networks.count != words.count {
            problems.append("\(name) must be a list of addresses and networks, as 127.0.0.1,10.0.0.0/8,fd00::/8")
        }
        return networks
    }

    /// Whose pages may use this server.
    mutating func origins(_ name: String) -> OriginRule {
        if let rule = OriginRule(list(name)) { return rule }
        problems.append("\(name) must be *, or a list of origins, as https://shop.example,http://localhost:3000")
        return .same
    }

    /// The certificate and its key; nil without TLS.
    mutating func tls(_ certificate: String, _ key: String) -> TLSFiles? {
        switch (value(certificate), value(key)) {
        case (nil, nil): return nil
        case (let certificatePath?, let keyPath?):
            let files = TLSFiles(certificate: certificatePath, key: keyPath)
            if let problem = files.problem { problems.append("\(certificate), \(key): \(problem)") }
            return files
        case (nil, _?):
            problems.append("\(key) needs \(certificate) as well")
            return nil
        case (_?, nil):
            problems.append("\(certificate) needs \(key) as well")
            return nil
        }
    }

    private func list(_ name: String) -> [String] {
        (value(name) ?? "").split(separator: ",", omittingEmptySubsequences: false)
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
}
