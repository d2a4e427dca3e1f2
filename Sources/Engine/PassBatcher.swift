import EventLoop
import Model

/// Merges the passes that clients show in a turn: one call of `dibs_room_check` for each room, and another for every 256
/// more.
@LoopActor
final class PassBatcher {
    private struct Shown: Sendable {
        let client: ClientID
        let token: String
    }

    /// A room, and how long what a pass is shown for may take, in ms; 0: it is decided.
    private struct Subject: Hashable {
        let room: RoomID
        let lease: Int64
    }

    /// A letter of the function's reply; nil when Redis does not know the room.
    private typealias Checks = TurnMerger<Subject, Shown, UInt8?>

    private let router: CommandRouter
    private let calls: RoomCalls
    private let checks = Checks(limit: RoomCalls.clientsPerCall)

    init(router: CommandRouter, calls: RoomCalls) {
        self.router = router
        self.calls = calls
        checks.send = { [weak self] in self?.send($0, $1) }
    }

    /// Checks a pass, and keeps its place.
    func check(_ token: String, of client: ClientID, room: RoomID) async throws(Outage) -> UInt8? {
        try await ask(token, client, Subject(room: room, lease: RoomCalls.leaseMilliseconds))
    }

    /// As ``check(_:of:room:)``, without a task that waits.
    func check(
        _ token: String, of client: ClientID, room: RoomID,
        _ answer: @escaping @LoopActor @Sendable (Result<UInt8?, Outage>) -> Void
    ) {
        guard router.isReady(for: Keys.Room(room).state) else {
            return answer(.failure(Outage(.redis, "not connected")))
        }
        let subject = Subject(room: room, lease: RoomCalls.leaseMilliseconds)
        checks.ask(Shown(client: client, token: token), of: subject, answer)
    }

    /// What the pass was shown for is decided.
    func endCheck(_ token: String, of client: ClientID, room: RoomID) async throws(Outage) -> UInt8? {
        try await ask(token, client, Subject(room: room, lease: 0))
    }

    /// Sends the checks of this turn: whoever ends passes next must not come before them.
    func sendChecks(of room: RoomID) {
        checks.sendNow(Subject(room: room, lease: RoomCalls.leaseMilliseconds))
    }

    private func ask(_ token: String, _ client: ClientID, _ subject: Subject) async throws(Outage) -> UInt8? {
        // As for claims: not sent to a Redis that comes back within the turn.
        guard router.isReady(for: Keys.Room(subject.room).state) else { throw Outage(.redis, "not connected") }
        return try await checks.ask(Shown(client: client, token: token), of: subject)
    }

    private func send(_ batch: ArraySlice<Checks.Waiting>, _ subject: Subject) {
        calls.call(.roomCheck, subject.room) { command in
            command.append(subject.lease)
            for waiting in batch {
                command.append(waiting.wish.client.rawValue)
                command.append(waiting.wish.token)
            }
        } then: { result in
            switch result {
            case .failure(let outage): for waiting in batch { waiting.answer(.failure(outage)) }
            case .success(.string("?")): for waiting in batch { waiting.answer(.success(nil)) }
            case .success(let reply):
                let letters = Array((reply.string ?? "").utf8)
                for (waiting, index) in zip(batch, 0...) {
                    waiting.answer(
                        index < letters.count
                            ? .success(letters[index]) : .failure(Outage(.redis, "too few answers to passes")))
                }
            }
        }
    }
}
