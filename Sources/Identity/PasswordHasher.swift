import CArgon2
import EventLoop

/// Why a password could not be dealt with.
public enum PasswordError: Error, Hashable, Sendable {
    /// Too many are being hashed and waiting already. Another try later may succeed.
    case busy
    /// libargon2's own code: out of memory, or a stored hash that isn't one.
    case argon2(Int32)
}

/// What hashing one password costs.
public struct PasswordCost: Hashable, Sendable {
    /// Memory, in KiB.
    public let memory: UInt32
    /// How often the memory is gone through.
    public let passes: UInt32

    /// A cost; one lane, because the machine's cores have other work.
    public init(memory: UInt32, passes: UInt32) {
        self.memory = memory
        self.passes = passes
    }

    /// 19 MiB, two passes: what OWASP's Password Storage Cheat Sheet asks of Argon2id at least
    /// (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html).
    public static let recommended = PasswordCost(memory: 19 * 1024, passes: 2)
}

/// Hashes passwords with Argon2id (RFC 9106, by libargon2) beside the event loop, a few at a time.
///
/// How many run and wait is bounded, because each takes a core and 19 MiB for some 20 ms: a flood of log-ins must cost
/// neither the machine's memory nor the sales their time. Beyond the bound, and after some seconds of waiting, it throws
/// ``PasswordError/busy``: a machine whose cores are all at work has no time for it.
@LoopActor
public final class PasswordHasher {
    private let cost: PasswordCost
    private let maximumWaiting: Int
    private let patience: Int64
    private var free: Int
    private var waiting: [(turn: CheckedContinuation<Void, any Error>, until: Int64)] = []
    private let timer = LoopTimer()

    /// A hasher that lets so many run, and so many wait for at most `patience` milliseconds. By default one runs, or two
    /// where that leaves half of the cores to others.
    public init(cost: PasswordCost = .recommended, running: Int? = nil, waiting: Int = 64, patience: Int64 = 5000) {
        let running = running ?? max(1, min(2, EventLoop.availableProcessors / 2))
        precondition(running > 0 && waiting >= 0)
        self.cost = cost
        free = running
        maximumWaiting = waiting
        self.patience = patience
    }

    /// A new password's hash with a random salt, as text that says how it was made (`$argon2id$v=19$…`).
    public func hash(_ password: String) async throws -> String {
        let cost = self.cost
        return try await inTurn { try Argon2id.hash(password, cost: cost, salt: Argon2id.randomSalt()) }
    }

    /// Whether this is the password that was hashed. For an unknown user pass nil: it takes as long, so that the time
    /// doesn't tell which names exist, and is false.
    public func verify(_ password: String, against encoded: String?) async throws -> Bool {
        let cost = self.cost
        return try await inTurn { try Argon2id.verify(password, against: encoded, cost: cost) }
    }

    private func inTurn<Success: Sendable>(_ work: @escaping @Sendable () throws -> Success) async throws -> Success {
        if free > 0 {
            free -= 1
        } else {
            guard waiting.count < maximumWaiting else { throw PasswordError.busy }
            // Whoever ends hands its place on without giving it back.
            try await withCheckedThrowingContinuation { turn in
                waiting.append((turn, EventLoop.monotonicMilliseconds + patience))
                if !timer.isRunning { watchWaiting() }
            }
        }
        defer {
            if waiting.isEmpty { free += 1 } else { waiting.removeFirst().turn.resume() }
        }
        return try await EventLoop.offloadPolitely(work)
    }

    private func watchWaiting() {
        guard let first = waiting.first else { return }
        timer.start(after: max(1, first.until - EventLoop.monotonicMilliseconds)) { [weak self] in
            self?.sendAwayWhoWaitedTooLong()
        }
    }

    private func sendAwayWhoWaitedTooLong() {
        while let first = waiting.first, first.until <= EventLoop.monotonicMilliseconds {
            waiting.removeFirst().turn.resume(throwing: PasswordError.busy)
        }
        watchWaiting()
    }
}

/// All calls of libargon2. They may come from any thread: it keeps no state between them.
enum Argon2id {
    private static let saltLength = 16
    private static let hashLength = 32

    static func randomSalt() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<saltLength).map { _ in generator.next() }
    }

    static func hash(_ password: String, cost: PasswordCost, salt: [UInt8]) throws(PasswordError) -> String {
        var encoded = [CChar](
            repeating: 0,
            count: argon2_encodedlen(
                cost.passes, cost.memory, 1, UInt32(salt.count), UInt32(hashLength), Argon2_id))
        let secret = Array(password.utf8)
        let status = argon2id_hash_encoded(
            cost.passes, cost.memory, 1, secret, secret.count, salt, salt.count, hashLength, &encoded, encoded.count)
        guard status == ARGON2_OK.rawValue else { throw .argon2(status) }
        return String(decoding: encoded.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// libargon2 compares the hashes without regard to how much of them agrees. Without a hash to compare with, one is
    /// made at `cost`, and it is false.
    static func verify(
        _ password: String, against encoded: String?, cost: PasswordCost
    ) throws(PasswordError) -> Bool {
        guard let encoded else {
            _ = try hash(password, cost: cost, salt: randomSalt())
            return false
        }
        let secret = Array(password.utf8)
        let status = argon2id_verify(encoded, secret, secret.count)
        switch status {
        case ARGON2_OK.rawValue: return true
        case ARGON2_VERIFY_MISMATCH.rawValue: return false
        default: throw .argon2(status)
        }
    }
}
