import EventLoop
import Model

/// Calls the functions of performances, and tells whose holds ended in them.
@LoopActor
final class SeatCalls {
    private let router: CommandRouter
    private let configuration: EngineConfiguration
    private let tells: TellBatcher
    private let log: Log

    init(router: CommandRouter, configuration: EngineConfiguration, tells: TellBatcher, log: Log) {
        self.router = router
        self.configuration = configuration
        self.tells = tells
        self.log = log
    }

    /// A call with the keys and arguments that all functions which change seats take.
    func command(
        _ function: FunctionLibrary.Function, _ performance: PerformanceID, reserving capacity: Int = 512
    ) -> RedisCommand {
        let keys = Keys.Performance(performance)
        var command = RedisCommand(function: function, keys: keys.changing, reserving: capacity)
        command.append(configuration.now)
        command.append(keys.events)
        return command
    }

    /// Calls a function about a reservation, whose reply has a word, what ended, a record, and perhaps an epoch; nil when Redis doesn't know
    /// the performance.
    func ask(
        _ function: FunctionLibrary.Function, _ id: ReservationID, _ append: (inout RedisCommand) -> Void
    ) async throws(Outage) -> (word: String, hold: Hold?, epoch: Int64)? {
        var command = command(function, id.performance)
        command.append(id.sequence)
        append(&command)
        let reply = try await router.ask(calling: command, about: Keys.Performance(id.performance).state)
        if reply.string == "?" { return nil }
        let parts = reply.elements
        guard parts.count >= 3, let word = parts[0].string, let text = parts[2].string else {
            throw Outage(.redis, "an unknown answer about a reservation")
        }
        tell(parts[1], of: id.performance)
        return (word, SeatTexts.record(text, of: id)?.hold, parts.count > 3 ? parts[3].number ?? 0 : 0)
    }

    /// Tells clients that a call ended their holds. Nobody waits for it: the committer tells it again.
    func tell(_ ended: RedisReply, of performance: PerformanceID) {
        let items: [TellBatcher.Item] = ended.elements.compactMap { word in
            let parts = (word.string ?? "").words
            guard parts.count == 3, let status = ReservationStatus(letter: parts[0]), let sequence = Int64(parts[1])
            else { return nil }
            let id = ReservationID(performance: performance, sequence: sequence)
            return (ClientID(trusted: String(parts[2])), .reservation(id, status))
        }
        guard !items.isEmpty else { return }
        EventLoop.task {
            do throws(Outage) {
                _ = try await self.tells.tell(items)
            } catch {
                self.log(
                    .debug, "reservation_outcomes_wait",
                    ["performance": .init(performance), "error": .init(error)])
            }
        }
    }
}
