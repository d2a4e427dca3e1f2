import Engine
import EventLoop
import Model
import TestServices
import Testing

/// Clients' logs, and telling.
@Suite struct OutcomeTests {
    private static let alice = ClientID(trusted: "alice")

    private static func accepted(_ sequence: Int64, sale: Int64 = 1) -> Outcome {
        .accepted(order: OrderID(sale: SaleID(sale), sequence: sequence), ticket: sequence, remaining: 5)
    }

    private static func confirmed(_ sequence: Int64) -> Outcome {
        .order(OrderID(sale: SaleID(1), sequence: sequence), .confirmed, ticket: sequence, reason: nil)
    }

    @Test func offsetsRiseByOneAndTellingTwiceAddsNothing() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let other = try await fixture.another()
            let heard = Heard<ClientEvent>()
            let subscription = try await other.subscribe(client: OutcomeTests.alice) { heard.hear($0) }
            let one = OutcomeTests.accepted(1)
            let order = OrderID(sale: SaleID(1), sequence: 1)
            let two = Outcome.order(order, .failed, ticket: 1, reason: "insufficient_points")
            #expect(try await fixture.engine.tell([(OutcomeTests.alice, one)]) == [1])
            #expect(try await other.tell([(OutcomeTests.alice, one), (OutcomeTests.alice, two)]) == [1, 2])
            #expect(try await fixture.engine.tell([(OutcomeTests.alice, two), (OutcomeTests.alice, one)]) == [2, 1])
            let log = try await fixture.engine.outcomes(of: OutcomeTests.alice, after: 0)
            #expect(log.last == 2)
            let expected = [LoggedOutcome(offset: 1, outcome: one), LoggedOutcome(offset: 2, outcome: two)]
            #expect(log.outcomes == expected)
            #expect(try await fixture.engine.outcomes(of: OutcomeTests.alice, after: 1).outcomes == [expected[1]])
            #expect(try await fixture.engine.outcomes(of: OutcomeTests.alice, after: 2).outcomes.isEmpty)
            #expect(try await fixture.engine.outcomes(of: OutcomeTests.alice, after: 9).last == 2)
            let nobody = try await fixture.engine.outcomes(of: ClientID(trusted: "nobody"), after: 0)
            #expect(nobody.last == 0)
            #expect(nobody.outcomes.isEmpty)
            // Published once each: the one told after them comes next.
            _ = try await fixture.engine.tell([(OutcomeTests.alice, OutcomeTests.accepted(3))])
            try await heard.wait(for: 3)
            #expect(
                heard.events == expected.map { .outcome($0) } + [
                    .outcome(LoggedOutcome(offset: 3, outcome: OutcomeTests.accepted(3)))
                ])
            subscription.cancel()
            await other.stop()
        }
    }

    @Test func manyClientsInOneTurn() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let clients = (1...700).map { ClientID(trusted: "c\($0)") }
            let tasks = clients.map { client in
                EventLoop.task { () async -> [Int64]? in
                    try? await fixture.engine.tell([
                        (client, OutcomeTests.accepted(1)), (OutcomeTests.alice, OutcomeTests.accepted(1)),
                        (client, OutcomeTests.accepted(2)),
                    ])
                }
            }
            for task in tasks { #expect(await task.value == [1, 1, 2]) }
            #expect(try await fixture.engine.outcomes(of: OutcomeTests.alice, after: 0).last == 1)
            #expect(try await fixture.engine.tell([]).isEmpty)
        }
    }

    @Test func theLogIsBounded() async throws {
        try await onLoop {
            let fixture = try await EngineFixture { $0.outcomeLimit = 4 }
            for sequence in Int64(1)...10 {
                let offsets = try await fixture.engine.tell([
                    (OutcomeTests.alice, OutcomeTests.accepted(sequence)),
                    (OutcomeTests.alice, OutcomeTests.confirmed(sequence)),
                ])
                #expect(offsets == [2 * sequence - 1, 2 * sequence])
            }
            let log = try await fixture.engine.outcomes(of: OutcomeTests.alice, after: 0)
            #expect(log.last == 20)
            #expect(log.outcomes.map(\.offset) == [17, 18, 19, 20])
            #expect(try await fixture.redis("HLEN", "dibs:{client:alice}") == "13")
            let life = try #require(Int64(try await fixture.redis("TTL", "dibs:{client:alice}")))
            #expect((172_000...172_800).contains(life))
        }
    }

    /// Many orders are accepted before the first is committed: their committer tells of both once more.
    @Test func thatAnOrderWasAcceptedIsRememberedUntilItsEnd() async throws {
        try await onLoop {
            let fixture = try await EngineFixture { $0.outcomeLimit = 2 }
            let engine = fixture.engine
            @LoopActor func tell(_ outcomes: Outcome...) async throws -> [Int64] {
                try await engine.tell(outcomes.map { (OutcomeTests.alice, $0) })
            }
            for sequence in Int64(1)...4 { #expect(try await tell(OutcomeTests.accepted(sequence)) == [sequence]) }
            #expect(try await tell(OutcomeTests.accepted(1), OutcomeTests.confirmed(1)) == [1, 5])
            #expect(try await tell(OutcomeTests.accepted(2), OutcomeTests.confirmed(2)) == [2, 6])
            #expect(try await tell(OutcomeTests.accepted(1), OutcomeTests.confirmed(1)) == [1, 5])
            #expect(try await engine.outcomes(of: OutcomeTests.alice, after: 0).outcomes.map(\.offset) == [5, 6])
            // With the end it is forgotten.
            #expect(try await tell(OutcomeTests.confirmed(3), OutcomeTests.confirmed(4)) == [7, 8])
            #expect(try await engine.offset(of: OutcomeTests.accepted(2), for: OutcomeTests.alice) == nil)
            #expect(try await engine.offset(of: OutcomeTests.accepted(3), for: OutcomeTests.alice) == 3)
        }
    }

    @Test func anOffsetIsLookedUpWithoutTelling() async throws {
        try await onLoop {
            let fixture = try await EngineFixture { $0.outcomeLimit = 2 }
            let engine = fixture.engine
            #expect(try await engine.offset(of: OutcomeTests.accepted(1), for: OutcomeTests.alice) == nil)
            #expect(try await engine.outcomes(of: OutcomeTests.alice, after: 0).last == 0)
            _ = try await engine.tell(
                [OutcomeTests.confirmed(1), OutcomeTests.accepted(2), OutcomeTests.accepted(3)]
                    .map { (OutcomeTests.alice, $0) })
            // What is left is no part of its identity.
            let repeated = Outcome.accepted(order: OrderID(sale: SaleID(1), sequence: 3), ticket: 3, remaining: nil)
            #expect(try await engine.offset(of: repeated, for: OutcomeTests.alice) == 3)
            #expect(try await engine.offset(of: OutcomeTests.accepted(2), for: OutcomeTests.alice) == 2)
            #expect(try await engine.offset(of: OutcomeTests.confirmed(1), for: OutcomeTests.alice) == nil)
            #expect(try await engine.offset(of: repeated, for: ClientID(trusted: "bob")) == nil)
            #expect(try await engine.outcomes(of: OutcomeTests.alice, after: 0).last == 3)
        }
    }

    @Test func logsOfConnectedClientsAreRenewed() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            let clients = (1...1200).map { ClientID(trusted: "c\($0)") }
            _ = try await fixture.engine.tell(clients.map { ($0, OutcomeTests.accepted(1)) })
            for index in [1, 1200] { try await fixture.redis("EXPIRE", "dibs:{client:c\(index)}", "10") }
            try await fixture.engine.renewLogs(of: clients + [ClientID(trusted: "none")])
            for index in [1, 1200] {
                let life = try #require(Int64(try await fixture.redis("TTL", "dibs:{client:c\(index)}")))
                #expect(life > 172_000)
            }
            #expect(try await fixture.redis("EXISTS", "dibs:{client:none}") == "0")
            try await fixture.engine.renewLogs(of: [])
        }
    }

    @Test func readingRenewsTheLog() async throws {
        try await onLoop {
            let fixture = try await EngineFixture()
            _ = try await fixture.engine.tell([(OutcomeTests.alice, OutcomeTests.accepted(1))])
            _ = try await fixture.redis("EXPIRE", "dibs:{client:alice}", "10")
            _ = try await fixture.engine.outcomes(of: OutcomeTests.alice, after: 1)
            let life = try #require(Int64(try await fixture.redis("TTL", "dibs:{client:alice}")))
            #expect(life > 172_000)
        }
    }
}
