import Model

/// What a room's own numbers say at one instant.
public struct RoomNumbers: Hashable, Sendable {
    /// How many may be admitted at once.
    public let maxActive: Int64
    /// How often its limits were changed, from 1.
    public let version: Int64
    /// How many were ever admitted.
    public let admittedEver: Int64
    /// Whether lots are being drawn: then nothing is said about the line.
    public let isDrawing: Bool
    /// Whether its line is being put together, after Redis may have lost something.
    public let isRecalling: Bool
    /// Every number up to it is done with.
    public let head: Int64
    /// The last number given.
    public let next: Int64
    /// Clients that wait.
    public let members: Int64
    /// The line, those that left out of turn included.
    public let lineLength: Int64
    /// Those that left out of turn.
    public let gone: Int64
    /// Clients that are admitted.
    public let active: Int64
    /// Passes.
    public let passes: Int64
    /// Owners of passes.
    public let owners: Int64
}

/// What is wrong with a client of a room.
public enum RoomFault: String, Hashable, Sendable {
    /// The line has it at a number that is not its own.
    case place = "m"
    /// Nobody keeps its place.
    case presence = "p"
    /// It is admitted without a pass, or has a pass without being admitted.
    case pass = "a"
    /// It is admitted, and waits too.
    case twice = "w"
    /// Its pass has another owner.
    case owner = "o"
}

/// What the auditor asks Redis about rooms.
extension Engine {
    /// What a room's numbers say; nil when Redis doesn't know it.
    /// - Throws: ``Outage``.
    public func auditNumbers(of room: RoomID) async throws(Outage) -> RoomNumbers? {
        let keys = Keys.Room(room)
        var command = RedisCommand(function: .auditRoom, keys: keys.all)
        command.append(now)
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 13 else { return nil }
        func number(_ at: Int) -> Int64 { parts[at].number ?? 0 }
        return RoomNumbers(
            maxActive: number(0), version: number(1), admittedEver: number(2),
            isDrawing: parts[3].string?.isEmpty == false, isRecalling: number(12) == 1, head: number(4),
            next: number(5), members: number(6),
            lineLength: number(7), gone: number(8), active: number(9), passes: number(10), owners: number(11))
    }

    /// What is wrong in a piece of a room's line.
    /// - Returns: the number to go on with, nil at the end; and the clients.
    /// - Throws: ``Outage``.
    public func auditLine(
        of room: RoomID, from number: Int64
    ) async throws(Outage) -> (next: Int64?, wrong: [(client: ClientID, fault: RoomFault)]) {
        let keys = Keys.Room(room)
        var command = RedisCommand(function: .auditLine, keys: keys.all, reserving: 1024)
        command.append(number)
        command.append(Engine.auditPage)
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 2 else { throw Outage(.redis, "an audit that isn't one") }
        let words = parts[1].elements
        let next = parts[0].number ?? 0
        return (
            next > 0 ? next : nil,
            stride(from: 0, to: words.count - 2, by: 3).compactMap { at in
                guard let fault = words[at].string.flatMap({ RoomFault(rawValue: $0) }) else { return nil }
                return (ClientID(trusted: words[at + 1].string ?? ""), fault)
            }
        )
    }

    /// What is wrong with a page of those who are admitted (`active`), of their `passes`, or of the `owners` of these.
    /// - Returns: the cursor to go on with, nil at the end; and the clients.
    /// - Throws: ``Outage``.
    public func auditPasses(
        of room: RoomID, _ what: String, from cursor: String
    ) async throws(Outage) -> (next: String?, wrong: [(client: ClientID, fault: RoomFault)]) {
        let keys = Keys.Room(room)
        var command = RedisCommand(function: .auditPasses, keys: keys.all, reserving: 1024)
        command.append(what)
        command.append(cursor)
        command.append(Engine.auditPage)
        let parts = try await router.ask(calling: command, about: keys.state).elements
        guard parts.count == 2, let next = parts[0].string else { throw Outage(.redis, "an audit that isn't one") }
        let words = parts[1].elements
        return (
            next == "0" ? nil : next,
            stride(from: 0, to: words.count - 1, by: 2).compactMap { at in
                guard let fault = words[at].string.flatMap({ RoomFault(rawValue: $0) }) else { return nil }
                return (ClientID(trusted: words[at + 1].string ?? ""), fault)
            }
        )
    }
}
