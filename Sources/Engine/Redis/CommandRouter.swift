import EventLoop
import Model

/// The seam through which every command goes: it names the key that the command is about, and the router picks the
/// connection.
///
/// Today there is one server. A cluster client belongs here and nowhere else: a connection per node, the map of slots,
/// `MOVED` and `ASK`. Commands are ready for it: each touches keys of one ``HashSlot`` only, given by its key.
@LoopActor
final class CommandRouter {
    private let connection: RedisConnection

    init(connection: RedisConnection) { self.connection = connection }

    /// Whether keys of different slots may be in one command.
    var takesSeveralSlots: Bool { true }

    /// Whether a command about a key could be sent now.
    func isReady(for key: String) -> Bool { connection(for: key).isReady }

    /// The connection to the server that has a key.
    private func connection(for key: String) -> RedisConnection { connection }

    /// Sends a command about a key. Its completion gets the reply, or the outage; an error of Redis is an outage.
    func send(_ command: consuming RedisCommand, about key: String, _ completion: @escaping ReplyQueue.Completion) {
        connection(for: key).send(command) { result in
            if case .success(.error(let error)) = result {
                completion(.failure(error.outage))
            } else {
                completion(result)
            }
        }
    }

    /// Sends a call of a function about a key, as ``send(_:about:_:)``. When the library is missing, which Redis says
    /// before it does anything, it is loaded, and the call sent again.
    func call(_ command: consuming RedisCommand, about key: String, _ completion: @escaping ReplyQueue.Completion) {
        command.seal()
        let call = command
        let connection = connection(for: key)
        connection.send(call) { result in
            switch result {
            case .success(.error(let error)) where error.isMissingFunction:
                connection.send(FunctionLibrary.load, nil)
                self.send(call, about: key, completion)
            case .success(.error(let error)): completion(.failure(error.outage))
            default: completion(result)
            }
        }
    }

    /// Sends a command and waits for its reply, which may be an error of Redis.
    func ask(_ command: consuming RedisCommand, about key: String) async throws(Outage) -> RedisReply {
        let connection = connection(for: key)
        let command = command
        let result = await withCheckedContinuation { continuation in
            connection.send(command) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// Calls a function and waits for its reply; an error of Redis is thrown.
    func ask(calling command: consuming RedisCommand, about key: String) async throws(Outage) -> RedisReply {
        let command = command
        let result: Result<RedisReply, Outage> = await withCheckedContinuation { continuation in
            call(command, about: key) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }
}

extension CommandRouter {
    /// A command, the key that it is about, and whether it calls a function.
    typealias Question = (command: RedisCommand, key: String)

    /// Sends many commands or calls at once and waits for all replies, which come in order.
    /// - Throws: the first outage; the others were sent nonetheless.
    func ask(all questions: [Question], areCalls: Bool = true) async throws(Outage) -> [RedisReply] {
        guard !questions.isEmpty else { return [] }
        let result = await withCheckedContinuation { continuation in
            let answers = Answers(count: questions.count, continuation)
            for (index, question) in questions.enumerated() {
                if areCalls {
                    call(question.command, about: question.key) { answers.came($0, for: index) }
                } else {
                    send(question.command, about: question.key) { answers.came($0, for: index) }
                }
            }
        }
        return try result.get()
    }
}

/// Collects the replies to several questions; who asked goes on when the last has come.
@LoopActor
private final class Answers {
    private var replies: [RedisReply]
    private var missing: Int
    private var outage: Outage?
    private let continuation: CheckedContinuation<Result<[RedisReply], Outage>, Never>

    init(count: Int, _ continuation: CheckedContinuation<Result<[RedisReply], Outage>, Never>) {
        replies = Array(repeating: .null, count: count)
        missing = count
        self.continuation = continuation
    }

    func came(_ result: Result<RedisReply, Outage>, for index: Int) {
        switch result {
        case .success(let reply): replies[index] = reply
        case .failure(let failure): outage = outage ?? failure
        }
        missing -= 1
        guard missing == 0 else { return }
        if let outage {
            continuation.resume(returning: .failure(outage))
        } else {
            continuation.resume(returning: .success(replies))
        }
    }
}
