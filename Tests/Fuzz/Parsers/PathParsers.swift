import Model

@testable import Gateway
@testable import Server

/// What is asked for: paths, and what is written in them.
enum PathParsers {
    /// Routes of every form that there is.
    private static let patterns = [
        "/api/sales", "/api/sales/{sale}", "/api/sales/{sale}/claims", "/api/orders/{order}", "/healthz",
        "/api/rooms/{room}/clients/{userId}", "/api/users/{userId}/token",
    ]

    static func path(_ bytes: [UInt8]) -> String? {
        let text = String(decoding: bytes, as: UTF8.self)
        return first(route(text), { file(text) }, { identifiers(text) }, { moment(text) })
    }

    private static func route(_ path: String) -> String? {
        let router = Router(patterns.map { Route(.get, $0, .open) { _ in HTTPResponse(status: 204) } })
        guard case .found(let route, let parameters) = router.match(.get, path) else { return nil }
        // The path that the route and its parameters make, but for doubled slashes.
        let segments = route.pattern.map {
            $0.hasPrefix("{") ? parameters[String($0.dropFirst().dropLast())] ?? "" : $0
        }
        return segments == path.split(separator: "/").map(String.init) ? nil : "\(path) is not \(segments)"
    }

    private static func file(_ path: String) -> String? {
        guard let name = StaticFiles.name(for: path) else { return nil }
        guard name.utf8.count <= 512, !name.utf8.contains(0) else { return "no name of a file: \(name)" }
        let leaves = name.split(separator: "/", omittingEmptySubsequences: false).contains { $0.utf8.first == 0x2E }
        return leaves || name.hasPrefix("/") || name.isEmpty ? "leads out of the folder: \(name)" : nil
    }

    private static func identifiers(_ text: String) -> String? {
        let written = [
            SaleID(parsing: text)?.description, OrderID(parsing: text)?.description,
            PerformanceID(parsing: text)?.description, ReservationID(parsing: text)?.description,
            ClientID(text)?.description, RoomID(text)?.description, IdempotencyKey(text)?.rawValue,
        ]
        return written.compactMap { $0 }.first { Array($0.utf8) != Array(text.utf8) }.map {
            "\(text) came back as \($0)"
        }
    }

    private static func moment(_ text: String) -> String? {
        guard let moment = Timestamp(rfc3339: text) else { return nil }
        return Timestamp(rfc3339: moment.description) == moment ? nil : "\(text) came back as \(moment)"
    }
}
