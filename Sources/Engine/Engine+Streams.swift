import Model

/// Reading a stream as one of the committers.
extension Engine {
    /// Entries that no committer has read yet, oldest first, without waiting for any.
    func unread(of stream: String, consumer: String, count: Int) async throws(Outage) -> [RedisReply] {
        let command = RedisCommand(
            "XREADGROUP", "GROUP", Keys.committers, consumer, "COUNT", "\(count)", "STREAMS", stream, ">")
        // [[key, [entry, …]]], or nothing.
        let reply = try await askGroup(command, of: stream)
        guard let found = reply.elements.first, found.elements.count == 2 else { return [] }
        return found.elements[1].elements
    }

    /// Entries that another committer (or this one, in an earlier life) has read and not taken out for
    /// `idleMilliseconds`, oldest first, as `read` reads them.
    func takeOver<Entry>(
        from stream: String, consumer: String, idleMilliseconds: Int64, count: Int, _ read: ([RedisReply]) -> [Entry]
    ) async throws(Outage) -> [Entry] {
        var cursor = "0-0"
        var taken: [Entry] = []
        repeat {
            let command = RedisCommand(
                "XAUTOCLAIM", stream, Keys.committers, consumer, "\(idleMilliseconds)", cursor, "COUNT",
                "\(count - taken.count)")
            // [next cursor, [entry, …], [id that was deleted, …]]
            let parts = try await askGroup(command, of: stream).elements
            guard parts.count >= 2, let next = parts[0].string else { break }
            taken += read(parts[1].elements)
            cursor = next
        } while cursor != "0-0" && taken.count < count
        return taken
    }

    /// Asks something of the consumer group, and makes the group when there is none.
    private func askGroup(_ command: RedisCommand, of key: String) async throws(Outage) -> RedisReply {
        var reply = try await router.ask(command, about: key)
        if case .error(let error) = reply, error.code == "NOGROUP" {
            // Another process may be faster (BUSYGROUP): the second try tells.
            _ = try await router.ask(
                RedisCommand("XGROUP", "CREATE", key, Keys.committers, "0", "MKSTREAM"), about: key)
            reply = try await router.ask(command, about: key)
        }
        if case .error(let error) = reply { throw error.outage }
        return reply
    }
}
