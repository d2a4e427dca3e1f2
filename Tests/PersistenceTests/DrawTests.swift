import EventLoop
import Model
import Testing

@testable import Persistence

/// Drawing lots. What is expected was computed with Python's `hashlib`, by the rule that is published.
@Suite(.onLoop) struct DrawTests {
    static let seed = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
    private static let clients = [
        "ada", "bob", "cleo", "a.b_c:D-9", "Zoe", "zoe", "0", "client-17", String(repeating: "x", count: 64), "mia",
    ]
    /// `sorted(clients, key=lambda client: sha256((seed + ":" + client).encode()).hexdigest())`
    private static let drawn = [
        "0", String(repeating: "x", count: 64), "ada", "a.b_c:D-9", "cleo", "client-17", "zoe", "mia", "bob", "Zoe",
    ]

    @LoopActor
    private func fixture() async throws -> Fixture {
        let fixture = try await Fixture()
        try await fixture.sql("update rooms set seed = $1", .text(Self.seed))
        return fixture
    }

    private func ids(_ names: [String]) -> [ClientID] { names.map { ClientID($0)! } }

    @LoopActor
    private func positions(_ store: Store, _ room: RoomID = .main) async throws -> [String] {
        let entries = try await store.drawEntries(room, after: 0, limit: 1_000_000)
        #expect(entries.map(\.position) == entries.indices.map { Int64($0) + 1 })
        return entries.map(\.client.rawValue)
    }

    @Test @LoopActor func thePlacesAreThoseThatAnybodyComputes() async throws {
        let store = try await fixture().store
        try await store.addDrawEntries(.main, clients: ids(Array(Self.clients[..<6])))
        try await store.addDrawEntries(.main, clients: ids(Array(Self.clients[4...] + ["mia", "mia"])))
        try await store.addDrawEntries(.main, clients: [])
        #expect(try await positions(store).isEmpty)
        #expect(try await store.draw(.main) == 10)
        #expect(try await positions(store) == Self.drawn)
        let page = try await store.drawEntries(.main, after: 3, limit: 2)
        #expect(page.map(\.position) == [4, 5])
        #expect(page.map(\.client.rawValue) == ["a.b_c:D-9", "cleo"])
        #expect(try await store.drawEntries(.main, after: 10, limit: 2).isEmpty)
    }

    @Test @LoopActor func aThousand() async throws {
        let fixture = try await fixture()
        let store = fixture.store
        // In chunks that overlap, several at once and in orders of their own.
        _ = try await concurrently(8) { part in
            let low = part * 120 + 1
            let numbers = Array(low...min(1000, low + 200))
            let names = (part % 2 == 0 ? numbers : numbers.reversed()).map { ClientID("c\($0)")! }
            try await store.addDrawEntries(.main, clients: names)
        }
        #expect(try await store.draw(.main) == 1000)
        let places = try await positions(store)
        #expect(Array(places.prefix(8)) == ["c845", "c498", "c595", "c956", "c918", "c652", "c531", "c60"])
        #expect(Array(places.suffix(3)) == ["c45", "c636", "c576"])
        // `sha256(",".join(places).encode()).hexdigest()`
        let digest = try await fixture.sql(
            "select encode(sha256(convert_to($1, 'UTF8')), 'hex')", .text(places.joined(separator: ",")))
        #expect(digest[0].first!.text(0) == "4d804e6e56b14cb972c4b138d69fe15ff1c753a0786f1bc060c84939f2407cc4")
    }

    /// Who drew may die at any step; who begins anew comes to the same result.
    @Test @LoopActor func aDrawThatIsMadeAgainIsTheSame() async throws {
        let store = try await fixture().store
        try await store.addDrawEntries(.main, clients: ids(Array(Self.clients.dropLast(3))))
        #expect(try await concurrently(4) { _ in try await store.draw(.main) } == [7, 7, 7, 7])
        let first = try await positions(store)
        #expect(first == Self.drawn.filter { Self.clients.dropLast(3).contains($0) })
        // Others came in between: places move.
        try await store.addDrawEntries(.main, clients: ids(Self.clients))
        #expect(try await positions(store) == first)
        #expect(try await store.draw(.main) == 10)
        #expect(try await positions(store) == Self.drawn)
        try await store.clearDraw(.main)
        #expect(try await positions(store).isEmpty)
        #expect(try await store.draw(.main) == 0)
        try await store.addDrawEntries(.main, clients: ids(Self.clients.reversed()))
        #expect(try await store.draw(.main) == 10)
        #expect(try await positions(store) == Self.drawn)
    }

    @Test @LoopActor func whatIsDrawnStays() async throws {
        let fixture = try await fixture()
        let store = fixture.store
        let before = try await store.rooms()
        try await store.addDrawEntries(.main, clients: ids(Self.clients))
        #expect(try await store.draw(.main) == 10)
        try await store.markDrawn(.main)
        let marked = try #require(try await store.room(.main))
        let drawnAt = try #require(marked.drawnAt)
        #expect(abs(drawnAt.milliseconds - EventLoop.wallMilliseconds) < 60_000)
        #expect(marked.version == before[0].version)
        try await fixture.sql("update rooms set drawn_at = drawn_at - interval '1 hour'")
        try await store.markDrawn(.main)
        #expect(try await store.room(.main)?.drawnAt == drawnAt + -3_600_000)
        try await store.addDrawEntries(.main, clients: ids(["late"]))
        try await store.clearDraw(.main)
        #expect(try await store.draw(.main) == 10)
        #expect(try await positions(store) == Self.drawn)
    }

    @Test @LoopActor func roomsDrawOnTheirOwn() async throws {
        let store = try await fixture().store
        let (other, none) = (RoomID("other")!, RoomID("none")!)
        _ = try await store.insertRoom(other, limits: RoomLimits(ordering: .random))
        for room in [.main, other, none] { try await store.addDrawEntries(room, clients: ids(Self.clients)) }
        #expect(try await store.draw(other) == 10)
        #expect(try await positions(store).isEmpty)
        #expect(try await store.draw(.main) == 10)
        #expect(try await positions(store) == Self.drawn)
        #expect(try await positions(store, other).sorted() == Self.clients.sorted())
        try await store.clearDraw(other)
        #expect(try await positions(store) == Self.drawn)
        // There is no such room.
        try await store.markDrawn(none)
        try await store.clearDraw(none)
        #expect(try await store.draw(none) == 0)
    }

    /// A draw of a million takes a while, in which the limits have to stay changeable: it waits here until they changed.
    @Test @LoopActor func aDrawDoesNotHoldTheRoom() async throws {
        let fixture = try await fixture()
        let store = fixture.store
        try await store.addDrawEntries(.main, clients: ids(Self.clients))
        try await fixture.sql(
            """
            create function wait_for_change() returns trigger language plpgsql as $$
            begin
                while not exists (select from rooms where version = 2) loop perform pg_sleep(0.01); end loop;
                return null;
            end $$
            """)
        try await fixture.sql(
            "create trigger slow before insert on draw_places for each statement execute function wait_for_change()")
        let draw = EventLoop.task { () async -> Int64? in try? await store.draw(.main) }
        while try await fixture.number(
            """
            select count(*) from pg_locks join pg_database d on d.oid = database
            where datname = current_database() and classid = 7302 and granted
            """) == 0
        {}
        #expect(try await store.updateRoom(.main, from: 1, limits: RoomLimits(maxActive: 5))?.version == 2)
        #expect(await draw.value == 10)
        #expect(try await positions(store) == Self.drawn)
    }
}
