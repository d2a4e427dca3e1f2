import EventLoop
import Model

/// Waiting rooms. `docs/waiting-room.md` explains the line.
///
/// Calls return nil when Redis doesn't know the room: it has to be defined from PostgreSQL first. Whoever is admitted, or
/// whose pass runs out, in one of them is told by the engine afterwards.
extension Engine {
    /// Makes a room known, or its limits, unless a newer version is known. What the room's sales say is taken over where
    /// the room is new to Redis.
    /// - Throws: ``Outage``.
    public func define(_ room: Room, sales: RoomSales) async throws(Outage) {
        let limits = room.limits
        var command = rooms.command(.roomDefine, room.id, passes: 0)
        command.append(Keys.roomsChannel)
        command.append(room.id.rawValue)
        command.append(room.version)
        command.append(limits.maxActive)
        command.append(limits.passSeconds)
        command.append(limits.admitPerMinute ?? 0)
        command.append(limits.graceSeconds)
        command.append(limits.ordering.rawValue)
        command.append(room.drawnAt == nil ? 0 : 1)
        sales.append(to: &command)
        _ = try await router.ask(calling: command, about: Keys.Room(room.id).state)
    }

    /// Lets a client join, or finds it where it is. Merged with the other joins of that room in this turn of the loop,
    /// in their order.
    /// - Parameter holder: the number of the gateway that has a connection of the client; 0 for one that polls.
    /// - Throws: ``Outage``: then it may have joined; joining again keeps the place.
    public func join(
        _ client: ClientID, room: RoomID, holder: Int64
    ) async throws(Outage) -> (standing: RoomStanding, summary: RoomSummary)? {
        try await rooms.join(client, room: room, holder: holder)
    }

    /// A gateway lost the last connection of a client: the place runs out after the grace. Nobody waits for it;
    /// `failed` is called when Redis may not have heard of it.
    public func away(
        _ client: ClientID, room: RoomID, holder: Int64, failed: @escaping @LoopActor () -> Void = {}
    ) {
        rooms.away(client, room: room, holder: holder, failed: failed)
    }

    /// A gateway has connections of these clients: it holds their places. In the order of `clients`.
    /// - Throws: ``Outage``.
    public func hold(
        _ clients: [ClientID], room: RoomID, holder: Int64
    ) async throws(Outage) -> (standings: [RoomStanding], summary: RoomSummary)? {
        var standings: [RoomStanding] = []
        var summary: RoomSummary?
        for chunk in clients.chunks(of: RoomCalls.clientsPerCall) {
            let parts = try await rooms.ask(.roomHold, room, passes: 0) { command in
                command.append(holder)
                for client in chunk { command.append(client.rawValue) }
            }
            guard let parts else { return nil }
            summary = parts.first?.string.flatMap { RoomSummary($0) }
            standings += parts.dropFirst().map { RoomStanding(word: $0.string ?? "") }
        }
        guard let summary, standings.count == clients.count else { return nil }
        return (standings, summary)
    }

    /// A client leaves the line, or gives its pass back.
    /// - Parameter connection: the connection by which it does, which gets its own answer; 0 for REST.
    /// - Returns: whether it waited or had a pass; nil when Redis does not know the room.
    /// - Throws: ``Outage``.
    public func leave(
        _ client: ClientID, room: RoomID, by connection: UInt64 = 0
    ) async throws(Outage) -> (wasThere: Bool, summary: RoomSummary)? {
        // What was shown before was shown in time.
        passBatcher.sendChecks(of: room)
        guard let (stood, summary) = try await rooms.leave(client, room: room) else { return nil }
        if stood.contains("p") {
            // Its other connections think that they have a pass. The line's other departures are announced to all.
            let channel = Keys.client(client)
            _ = try? await router.ask(
                RedisCommand("PUBLISH", channel, ClientChannel.left(room, by: connection, asOf: summary.event)),
                about: channel)
        }
        return (stood != ["n"], summary)
    }

    /// Where a client stands.
    /// - Parameter asksItself: whether it is a sign of life.
    /// - Throws: ``Outage``.
    public func standing(
        of client: ClientID, room: RoomID, asksItself: Bool
    ) async throws(Outage) -> (standing: RoomStanding, summary: RoomSummary)? {
        let parts = try await rooms.ask(.roomStatus, room, passes: 0) { command in
            command.append(client.rawValue)
            command.append(asksItself ? 1 : 0)
        }
        guard let parts, parts.count >= 2, let summary = parts[0].string.flatMap({ RoomSummary($0) }) else {
            return nil
        }
        return (RoomStanding(word: parts[1].string ?? ""), summary)
    }

    /// Does what is due by the clock: ends passes and places that have run out, admits as the pace allows, tells what
    /// nobody told.
    /// - Parameter admissible: how many seem to have a place; as many can be admitted, within bounds.
    /// - Returns: nil when Redis doesn't know the room.
    /// - Throws: ``Outage``.
    public func tick(_ room: RoomID, admissible: Int64 = 0) async throws(Outage) -> RoomSummary? {
        let passes = Int(max(Int64(RoomCalls.passesPerTick), min(Int64(RoomCalls.mostPassesPerTick), admissible)))
        guard let parts = try await rooms.ask(.roomTick, room, passes: passes, { _ in }), parts.count >= 2
        else { return nil }
        rooms.deliver(parts[1], of: room)
        return parts[0].string.flatMap { RoomSummary($0) }
    }

    /// Whether a client has this pass of a room. If so, its place does not fall free before ``endCheck(_:of:room:)``, or
    /// five seconds have passed. Merged with the other checks of that room in this turn of the loop.
    /// - Returns: nil when Redis doesn't know the room; whether it is valid, and whether it is kept beyond its time.
    /// - Throws: ``Outage``.
    public func check(
        _ token: String, of client: ClientID, room: RoomID
    ) async throws(Outage) -> (isValid: Bool, isKept: Bool)? {
        guard let letter = try await passBatcher.check(token, of: client, room: room) else { return nil }
        return (letter != UInt8(ascii: "0"), letter == UInt8(ascii: "2"))
    }

    /// Whose a pass of a room is, if its time is not over.
    /// - Throws: ``Outage``.
    public func owner(of pass: String, room: RoomID) async throws(Outage) -> PassOwner {
        guard let parts = try await rooms.ask(.roomOwner, room, passes: 0, { $0.append(pass) }) else {
            return .unknownRoom
        }
        return parts.first?.string.map { .client(ClientID(trusted: $0)) } ?? .nobody
    }

    /// What a pass was checked for is decided: it ends when its time is over again.
    /// - Throws: ``Outage``: then its place falls free when the five seconds are over.
    public func endCheck(_ token: String, of client: ClientID, room: RoomID) async throws(Outage) {
        _ = try await passBatcher.endCheck(token, of: client, room: room)
    }

    /// Spends passes: their places are given on. A client without one is passed over.
    /// - Parameter passes: for each client its pass, or nil for whichever it has, if it was issued until `before`.
    /// - Throws: ``Outage``: to be called again, which spends nothing twice.
    public func spend(
        _ passes: [(client: ClientID, token: String?, before: Timestamp)], room: RoomID
    ) async throws(Outage) {
        passBatcher.sendChecks(of: room)
        for chunk in passes.chunks(of: 64) {
            let parts = try await rooms.ask(.roomSpend, room, passes: chunk.count + 4) { command in
                for pass in chunk {
                    command.append(pass.client.rawValue)
                    command.append(pass.token ?? "")
                    command.append(pass.before.milliseconds)
                }
            }
            if let parts, parts.count >= 2 { rooms.deliver(parts[1], of: room) }
        }
    }

    /// All that is needed to compute ranks.
    /// - Throws: ``Outage``.
    public func snapshot(of room: RoomID) async throws(Outage) -> (summary: RoomSummary, map: LineMap)? {
        let parts = try await rooms.ask(.roomSnapshot, room, passes: 0, { _ in })
        guard let parts, parts.count >= 3, let summary = parts[0].string.flatMap({ RoomSummary($0) }) else {
            return nil
        }
        let map = LineMap(
            event: summary.event, head: summary.head, next: summary.next, origin: parts[1].number ?? 0,
            gone: parts[2].bytes)
        return (summary, map)
    }

    /// Tells a room what its sales say. When the last has ended, everybody who waits is sent home.
    /// - Returns: how many were sent home.
    /// - Throws: ``Outage``.
    public func setSales(of room: RoomID, _ sales: RoomSales) async throws(Outage) -> Int64? {
        let parts = try await rooms.ask(.roomWindow, room, passes: RoomCalls.passesPerTick) { sales.append(to: &$0) }
        guard let parts, parts.count >= 3 else { return nil }
        rooms.deliver(parts[1], of: room)
        return parts[2].number
    }

    /// A room as it stands; nil when Redis doesn't know it.
    /// - Throws: ``Outage``.
    public func inspect(room: RoomID) async throws(Outage) -> RoomInspection? {
        let parts = try await rooms.ask(.roomInspect, room, passes: 0, { _ in })
        guard let parts, parts.count >= 2, let summary = parts[0].string.flatMap({ RoomSummary($0) }) else {
            return nil
        }
        let fields = parts[1].fields
        func number(_ name: String) -> Int64 { fields[name].flatMap { Int64($0) } ?? 0 }
        let opens = number("opens")
        return RoomInspection(
            summary: summary, version: number("version"), joined: number("joined"), admitted: number("admitted"),
            left: number("left"), vanished: number("vanished"), closed: number("closed"), expired: number("expired"),
            noShow: number("noshow"), spent: number("spent"),
            opensAt: opens == 0 ? nil : Timestamp(milliseconds: opens), isLive: number("live") == 1,
            isDrawn: number("drawn") == 1)
    }

    // MARK: channels

    /// Listens to the changes of a room's line.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribe(
        room: RoomID, _ handler: @escaping @LoopActor (RoomEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.Room(room).events) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message(let text):
                let parts = text.split(separator: "|", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2, let summary = RoomSummary(parts[0].dropFirst(2)),
                    let left = NumberRanges.parse(parts[1])
                else { return }
                let kind: RoomEvent.Kind =
                    switch text.first {
                    case "x": .closed
                    case "d": .drawn
                    default: .changed
                    }
                handler(.changed(summary, kind: kind, left: left))
            }
        }
    }

    /// Listens to which rooms are made or get other limits.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribeRooms(
        _ handler: @escaping @LoopActor (RoomsEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.roomsChannel) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message("\tdead"): handler(.gatewayDied)
            case .message(let text): if let room = RoomID(text) { handler(.changed(room)) }
            }
        }
    }

    // MARK: gateways

    /// A gateway lives.
    /// - Parameter number: its number; 0 to get one.
    /// - Returns: its number; another one when it was given up for dead meanwhile, and has to hold its clients again.
    /// - Throws: ``Outage``.
    public func beat(_ number: Int64) async throws(Outage) -> Int64 {
        var command = RedisCommand(
            function: .beat, keys: [Keys.processes, Keys.deadProcesses, Keys.lastProcess])
        command.append(now)
        command.append(number)
        guard let number = try await router.ask(calling: command, about: Keys.processes).number else {
            throw Outage(.redis, "no number for a gateway")
        }
        return number
    }

    /// Gives up for dead whoever has not beaten for some time.
    /// - Parameters:
    ///   - goodbye: a gateway that ends by itself; 0 for none.
    ///   - finished: a dead one all of whose places were let go; 0 for none.
    /// - Returns: the dead whose places are to be let go, with their last beats.
    /// - Throws: ``Outage``.
    public func buryDead(
        silentMilliseconds: Int64, goodbye: Int64 = 0, finished: Int64 = 0
    ) async throws(Outage) -> [(number: Int64, lastBeat: Timestamp)] {
        var command = RedisCommand(function: .bury, keys: [Keys.processes, Keys.deadProcesses, Keys.watch])
        command.append(now)
        command.append(silentMilliseconds)
        command.append(goodbye)
        command.append(finished)
        command.append(Keys.roomsChannel)
        let parts = try await router.ask(calling: command, about: Keys.processes).elements
        return stride(from: 0, to: parts.count - 1, by: 2).compactMap { index in
            guard let number = parts[index].number, let beat = parts[index + 1].number else { return nil }
            return (number, Timestamp(milliseconds: beat))
        }
    }

    /// Lets go of the places that a dead gateway held in a room: they run out after the grace, from its last beat on.
    /// - Returns: false when lots are being drawn in the room: to be done anew, later.
    /// - Throws: ``Outage``; then to be done anew.
    public func letGo(of gateway: Int64, lastBeat: Timestamp, room: RoomID) async throws(Outage) -> Bool {
        var block: Int64 = 0
        while block >= 0 {
            let reply = try await rooms.reply(.roomOrphans, room, passes: 0) { command in
                command.append(gateway)
                command.append(lastBeat.milliseconds)
                command.append(block)
            }
            guard let next = reply.number else { throw Outage(.redis, "no answer to dibs_room_orphans") }
            if next == block { return false }
            block = next
        }
        return true
    }

    // MARK: the draw

    /// Begins to draw lots.
    /// - Throws: ``Outage``.
    public func beginDraw(_ room: RoomID, token: String) async throws(Outage) -> DrawStep {
        let parts = try await draw(room, token, "b") { _ in }
        guard parts.first?.number == 1, parts.count >= 2, let length = parts[1].number else { return .notOurs }
        return .begun(length: length)
    }

    /// Reads those who wait, a part of the line; nil when the draw is no longer ours.
    /// - Throws: ``Outage``.
    public func readDraw(
        _ room: RoomID, token: String, offset: Int64, count: Int64
    ) async throws(Outage) -> [ClientID]? {
        let parts = try await draw(room, token, "r") { command in
            command.append(offset)
            command.append(count)
        }
        guard parts.first?.number == 1, parts.count >= 2 else { return nil }
        return parts[1].elements.compactMap { $0.string.map { ClientID(trusted: $0) } }
    }

    /// Keeps the draw ours while something else takes its time; false when it no longer is.
    /// - Throws: ``Outage``.
    public func keepDraw(_ room: RoomID, token: String) async throws(Outage) -> Bool {
        try await draw(room, token, "k") { _ in }.first?.number == 1
    }

    /// Gives a draw up, so that another may begin at once; does nothing when it is no longer ours.
    /// - Throws: ``Outage``; then another may begin ten seconds later.
    public func abandonDraw(_ room: RoomID, token: String) async throws(Outage) {
        _ = try await draw(room, token, "a") { _ in }
    }

    /// Writes a part of the new line; false when the draw is no longer ours.
    /// - Throws: ``Outage``.
    public func writeDraw(
        _ room: RoomID, token: String, position: Int64, clients: [ClientID]
    ) async throws(Outage) -> Bool {
        let parts = try await draw(room, token, "w") { command in
            command.append(position)
            for client in clients { command.append(client.rawValue) }
        }
        return parts.first?.number == 1
    }

    /// Puts the new line in place of the old; false when the draw is no longer ours, or not complete.
    /// - Throws: ``Outage``.
    public func endDraw(_ room: RoomID, token: String, count: Int64) async throws(Outage) -> Bool {
        try await draw(room, token, "e") { $0.append(count) }.first?.number == 1
    }

    private func draw(
        _ room: RoomID, _ token: String, _ step: String, _ append: (inout RedisCommand) -> Void
    ) async throws(Outage) -> [RedisReply] {
        var command = rooms.command(.roomDraw, room, passes: 0)
        command.append(token)
        command.append(step)
        append(&command)
        return try await router.ask(calling: command, about: Keys.Room(room).state).elements
    }
}
