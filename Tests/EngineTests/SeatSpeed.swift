import EventLoop
import Glibc
import Model
import TestServices
import Testing

@testable import Engine

/// How long Redis takes to decide holds, against claims, on the same machine. Runs when `DIBS_MEASURE` is set, as its
/// result is a figure to read. It is in processor time of Redis, so it does not matter how this was built.
@Suite(.serialized, .enabled(if: getenv("DIBS_MEASURE") != nil)) struct SeatSpeed {
    @Test func merged() async throws {
        try await onLoop {
            for limit in [1, 16, 128] {
                try await report("claims, sold out", limit) { fixture, round in
                    let sale = try await fixture.sale(Int64(round), quantity: 1)
                    _ = try await fixture.claim("first", on: sale)
                    return { _ = try await fixture.claims(clients(round), on: sale) }
                }
                try await report("claims, accepted", limit) { fixture, round in
                    let sale = try await fixture.sale(Int64(round), quantity: Int64(count))
                    return { _ = try await fixture.claims(clients(round), on: sale) }
                }
                try await report("holds of one taken seat", limit) { fixture, round in
                    let performance = try await fixture.performance(Int64(round), seats: 50)
                    try await fixture.hold("first", 17, of: performance)
                    return { _ = try await fixture.holds(clients(round).map { ($0, [17]) }, of: performance) }
                }
                try await report("holds of taken seats among 50", limit) { fixture, round in
                    let performance = try await fixture.performance(Int64(round), seats: 50)
                    _ = try await fixture.holds((1...50).map { ("first", [$0]) }, of: performance)
                    return {
                        _ = try await fixture.holds(
                            clients(round).enumerated().map { ($1, [Int64($0 % 50 + 1)]) }, of: performance)
                    }
                }
                try await report("holds of taken seats, of clients that have some, limit 4", limit) { fixture, round in
                    let performance = try await fixture.performance(Int64(round), seats: 50_000, limit: 4)
                    _ = try await fixture.holds(
                        clients(round).enumerated().map { ($1, [Int64($0 + 1)]) }, of: performance)
                    return { _ = try await fixture.holds(clients(round).map { ($0, [17]) }, of: performance) }
                }
                try await report("holds of free seats, in order", limit) { fixture, round in
                    let performance = try await fixture.performance(Int64(round), seats: 100_000)
                    return {
                        _ = try await fixture.holds(
                            clients(round).enumerated().map { ($1, [Int64($0 + 1)]) }, of: performance)
                    }
                }
                try await report("holds of free seats, anywhere among 100,000", limit) { fixture, round in
                    let performance = try await fixture.performance(Int64(round), seats: 100_000)
                    var generator = SeededGenerator(seed: UInt64(round))
                    let seats = Array((1...100_000).map(Int64.init).shuffled(using: &generator).prefix(count))
                    return {
                        _ = try await fixture.holds(
                            clients(round).enumerated().map { ($1, [seats[$0]]) }, of: performance)
                    }
                }
                try await report("holds of free pairs", limit) { fixture, round in
                    let performance = try await fixture.performance(Int64(round), seats: 100_000)
                    return {
                        _ = try await fixture.holds(
                            clients(round).enumerated().map { ($1, [Int64(2 * $0 + 1), Int64(2 * $0 + 2)]) },
                            of: performance)
                    }
                }
            }
        }
    }

    /// Prints the median of three rounds.
    @LoopActor
    private func report(
        _ name: String, _ limit: Int,
        _ prepare: @LoopActor (EngineFixture, Int) async throws -> @LoopActor () async throws -> Void
    ) async throws {
        let fixture = try await EngineFixture { $0.claimsPerCall = limit }
        var rates: [Double] = []
        for round in 1...3 {
            let body = try await prepare(fixture, round)
            let before = try await processorTime(fixture)
            try await body()
            rates.append(Double(count) / (try await processorTime(fixture) - before))
        }
        rates.sort()
        print("\(limit) a call: \(name): \(Int(rates[1])) a second of Redis (\(Int(rates[0]))–\(Int(rates[2])))")
    }

    /// Seconds of the processor that Redis has taken: other than the time that passes they do not depend on who else works.
    @LoopActor
    private func processorTime(_ fixture: EngineFixture) async throws -> Double {
        let info = try await fixture.redis("INFO", "cpu").split(whereSeparator: \.isNewline)
        return ["used_cpu_user_main_thread:", "used_cpu_sys_main_thread:"].reduce(0) { sum, name in
            sum + (info.first { $0.hasPrefix(name) }.flatMap { Double($0.dropFirst(name.count)) } ?? 0)
        }
    }
}

private let count = 20_000

private func clients(_ round: Int) -> [String] { (1...count).map { "client-\(round)-\($0)" } }
