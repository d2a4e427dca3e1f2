import EventLoop
import Glibc
import Testing

@testable import Identity

@Suite("Passwords")
struct PasswordTests {
    /// The least that libargon2 takes, for tests of everything but the cost.
    private static let cheap = PasswordCost(memory: 8, passes: 1)

    init() { EventLoop.startInBackground() }

    /// From libargon2's own tests (`src/test.c`): Argon2id, version 0x13.
    @Test @LoopActor func knownAnswers() throws {
        let salt = Array("somesalt".utf8)
        #expect(
            try Argon2id.hash("password", cost: PasswordCost(memory: 65536, passes: 2), salt: salt)
                == "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
        #expect(
            try Argon2id.hash("password", cost: PasswordCost(memory: 256, passes: 2), salt: salt)
                == "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
    }

    @Test @LoopActor func aPasswordIsRecognised() async throws {
        let hasher = PasswordHasher()
        let encoded = try await hasher.hash("비밀번호 🔑")
        #expect(encoded.hasPrefix("$argon2id$v=19$m=19456,t=2,p=1$"))
        #expect(try await hasher.verify("비밀번호 🔑", against: encoded))
        #expect(try await !hasher.verify("비밀번호", against: encoded))
        #expect(try await !hasher.verify("", against: encoded))
        #expect(try await !hasher.verify("비밀번호 🔑", against: nil))
        #expect(try await hasher.hash("비밀번호 🔑") != encoded)
    }

    @Test @LoopActor func nothingIsCutOff() async throws {
        let hasher = PasswordHasher(cost: Self.cheap)
        let long = String(repeating: "x", count: 4096)
        let encoded = try await hasher.hash(long + "a\u{0}b")
        #expect(try await hasher.verify(long + "a\u{0}b", against: encoded))
        #expect(try await !hasher.verify(long + "a\u{0}c", against: encoded))
        #expect(try await !hasher.verify(long + "a", against: encoded))
        let empty = try await hasher.hash("")
        #expect(try await hasher.verify("", against: empty))
        #expect(try await !hasher.verify(" ", against: empty))
    }

    @Test @LoopActor func aStoredHashThatIsNoneIsAnError() async throws {
        let hasher = PasswordHasher(cost: Self.cheap)
        for encoded in [
            "", "x", "$2b$10$abc", "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ", "$argon2id$v=19$m=8,t=1,p=1$$",
        ] {
            await #expect(throws: PasswordError.self) { try await hasher.verify("x", against: encoded) }
        }
    }

    @Test func anUnknownUserTakesAsLong() throws {
        let encoded = try Argon2id.hash("right", cost: .recommended, salt: Argon2id.randomSalt())
        // This thread's own time: what else the machine does hardly counts.
        func fastest(_ encoded: String?) throws -> Int64 {
            var best = Int64.max
            for _ in 0..<3 {
                let began = threadNanoseconds()
                #expect(try !Argon2id.verify("wrong", against: encoded, cost: .recommended))
                best = min(best, threadNanoseconds() - began)
            }
            return best
        }
        let (known, unknown) = (try fastest(encoded), try fastest(nil))
        // Wide all the same; without the work it would be a thousandth.
        #expect(unknown > known / 3 && unknown < known * 3, "known: \(known) ns, unknown: \(unknown) ns")
    }

    @Test @LoopActor func manyAtOnceAllGetTheirAnswer() async throws {
        let hasher = PasswordHasher(cost: Self.cheap, running: 3, waiting: 64)
        let encoded = try await hasher.hash("right")
        let attempts = (0..<40).map { index in
            EventLoop.task { try? await hasher.verify(index % 2 == 0 ? "right" : "wrong", against: encoded) }
        }
        for (index, attempt) in attempts.enumerated() {
            #expect(await attempt.value == (index % 2 == 0))
        }
    }

    @Test @LoopActor func whoWaitsTooLongIsToldSo() async throws {
        let long = PasswordCost(memory: 65536, passes: 40)
        let hasher = PasswordHasher(cost: long, running: 1, waiting: 2, patience: 20)
        let first = EventLoop.task { try? await hasher.hash("x") }
        let second = EventLoop.task {
            _ = await #expect(throws: PasswordError.busy) { try await hasher.hash("x") }
        }
        // It comes before the end of the first, which takes some seconds.
        await second.value
        #expect(await first.value?.hasPrefix("$argon2id$") == true)
        // The place is free again.
        #expect(try await hasher.hash("x").hasPrefix("$argon2id$"))
    }

    @Test @LoopActor func tooManyAtOnceAreToldSo() async throws {
        let hasher = PasswordHasher(cost: Self.cheap, running: 1, waiting: 2)
        // All start in one turn of the loop, before the first can be done: one runs, two wait, two are refused.
        let attempts = (0..<5).map { _ in
            EventLoop.task { () -> Result<String, PasswordError> in
                do { return .success(try await hasher.hash("x")) } catch { return .failure(error as! PasswordError) }
            }
        }
        var outcomes: [Bool] = []
        for attempt in attempts {
            switch await attempt.value {
            case .success: outcomes.append(true)
            case .failure(let error):
                #expect(error == .busy)
                outcomes.append(false)
            }
        }
        #expect(outcomes == [true, true, true, false, false])
        // Their places are free again, also after errors.
        for _ in 0..<4 { _ = try? await hasher.verify("x", against: "not a hash") }
        #expect(try await hasher.hash("x").hasPrefix("$argon2id$"))
    }
}

/// What the calling thread has used of the processor.
private func threadNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
