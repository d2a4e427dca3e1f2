import EventLoop
import Model
import Testing

@testable import Persistence

/// Rooms and their limits.
@Suite(.onLoop) struct RoomTests {
    private let vip = RoomID("vip:2026")!
    private let limits = RoomLimits(
        maxActive: 0, passSeconds: 604_800, admitPerMinute: 60, graceSeconds: 5, ordering: .random)

    @Test @LoopActor func theMainRoomIsThereFromTheBeginning() async throws {
        let store = try await Fixture().store
        let room = try #require(try await store.room(.main))
        #expect(room.limits == RoomLimits())
        #expect(room.version == 1)
        #expect(room.drawnAt == nil)
        #expect(try await store.rooms() == [room])
        #expect(try await store.insertRoom(.main, limits: limits) == nil)
        #expect(try await store.room(.main) == room)
    }

    @Test @LoopActor func whatIsMadeIsRead() async throws {
        let store = try await Fixture().store
        let room = try #require(try await store.insertRoom(vip, limits: limits))
        #expect(room.id == vip)
        #expect(room.limits == limits)
        #expect(room.version == 1)
        #expect(try await store.room(vip) == room)
        #expect(try await store.insertRoom(vip, limits: RoomLimits()) == nil)
        #expect(try await store.room(RoomID("none")!) == nil)
        // By their characters, whatever a language would say.
        for name in ["a", "B", "main2"] { _ = try await store.insertRoom(RoomID(name)!, limits: limits) }
        #expect(try await store.rooms().map(\.id.rawValue) == ["B", "a", "main", "main2", "vip:2026"])
    }

    @Test @LoopActor func oneOfSeveralMakesIt() async throws {
        let store = try await Fixture().store
        let made = try await concurrently(6) {
            try await store.insertRoom(vip, limits: RoomLimits(maxActive: Int64($0)))
        }
        #expect(made.compactMap { $0 }.count == 1)
        #expect(try await store.room(vip) == made.compactMap { $0 }.first)
    }

    @Test @LoopActor func everyRoomHasASeedOfItsOwn() async throws {
        let fixture = try await Fixture()
        for name in ["a", "b", "c"] { _ = try await fixture.store.insertRoom(RoomID(name)!, limits: limits) }
        let rooms = try await fixture.store.rooms()
        #expect(Set(rooms.map(\.seed)).count == 4)
        for room in rooms {
            for text in [room.seed, room.seedSHA256] {
                #expect(text.utf8.count == 64)
                #expect(text.allSatisfy { $0.isHexDigit && !$0.isUppercase })
            }
        }
        // `printf %s 0011… | sha256sum`
        try await fixture.sql("update rooms set seed = $1 where id = 'main'", .text(DrawTests.seed))
        #expect(
            try await fixture.store.room(.main)?.seedSHA256
                == "2a8abfa8cb9906290437854193ca6bca41d4d4e26d1d454bd66a35158095e737")
    }

    @Test @LoopActor func limitsChangeOneVersionAfterTheOther() async throws {
        let store = try await Fixture().store
        let before = try #require(try await store.room(.main))
        let changed = try #require(try await store.updateRoom(.main, from: 1, limits: limits))
        #expect(changed.limits == limits)
        #expect(changed.version == 2)
        #expect(changed.seed == before.seed)
        #expect(try await store.room(.main) == changed)
        for version in [0, 1, 3] as [Int64] {
            #expect(try await store.updateRoom(.main, from: version, limits: RoomLimits()) == nil)
        }
        #expect(try await store.updateRoom(vip, from: 1, limits: RoomLimits()) == nil)
        // A limit can be taken away again.
        #expect(try await store.updateRoom(.main, from: 2, limits: RoomLimits())?.limits.admitPerMinute == nil)
        let won = try await concurrently(6) {
            try await store.updateRoom(.main, from: 3, limits: RoomLimits(maxActive: Int64($0)))
        }.compactMap { $0 }
        #expect(won.map(\.version) == [4])
        #expect(try await store.room(.main) == won.first)
    }

    @Test @LoopActor func nonsenseIsRefused() async throws {
        let store = try await Fixture().store
        let wrong = [
            RoomLimits(maxActive: -1), RoomLimits(maxActive: 10_000_001), RoomLimits(passSeconds: 0),
            RoomLimits(passSeconds: 604_801), RoomLimits(admitPerMinute: 0), RoomLimits(graceSeconds: 0),
            RoomLimits(graceSeconds: 86_401),
        ]
        for limits in wrong {
            await #expect {
                _ = try await store.insertRoom(vip, limits: limits)
            } throws: { ($0 as? DatabaseError)?.sqlstate == "23514" }
            await #expect {
                _ = try await store.updateRoom(.main, from: 1, limits: limits)
            } throws: { ($0 as? DatabaseError)?.sqlstate == "23514" }
        }
        for name in ["", "a b", "a/b", "ä", "a\n", String(repeating: "a", count: 65)] {
            await #expect {
                _ = try await store.insertRoom(RoomID(trusted: name), limits: RoomLimits())
            } throws: { ($0 as? DatabaseError)?.sqlstate == "23514" }
        }
        #expect(try await store.rooms().map(\.version) == [1])
    }

    @Test @LoopActor func salesOfRooms() async throws {
        let fixture = try await Fixture()
        let store = fixture.store
        _ = try await store.insertRoom(vip, limits: limits)
        let now = EventLoop.wallMilliseconds
        var ids: [SaleID] = []
        for (room, closes) in [
            ("main", now - 60_000), ("vip:2026", now + 60_000), (nil, now + 60_000), ("main", now + 60_000),
            ("main", now + 60_000),
        ] as [(String?, Int64)] {
            ids.append(
                try await store.insertSale(
                    name: "x", quantity: 7, price: 0, perClientLimit: 1, room: room, rejectPercent: 0,
                    window: SaleWindow(opensAt: .at(1000), closesAt: .at(closes))
                ).sale.id)
        }
        _ = try await store.setWindow(
            SaleWindow(opensAt: .at(1000), closesAt: .at(now + 60_000), isCancelled: true, version: 2), of: ids[3])
        let active = try await store.activeRoomSales()
        #expect(active.map(\.sale.id) == [ids[1], ids[4]])
        #expect(active.map(\.sale.room) == ["vip:2026", "main"])
        #expect(active[0] == (try await store.sale(ids[1])))
        await #expect {
            _ = try await store.insertSale(
                name: "x", quantity: 1, price: 0, perClientLimit: 1, room: "nowhere", rejectPercent: 0,
                window: SaleWindow(opensAt: .at(1000), closesAt: .at(2000)))
        } throws: { ($0 as? DatabaseError)?.constraint == "sales_room_fkey" }
    }
}
