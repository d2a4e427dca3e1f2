import EventLoop
import Foundation
import Model
import Testing

@testable import Server

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct ClientMessageTests {
    @Test func readsTheContractsFrames() throws {
        let connect = try ClientMessage.decode(
            bytes(#"{"type":"connect","token":"t","resume":{"epoch":"e.1","offset":17},"id":"x"}"#))
        #expect(connect.token == "t")
        #expect(connect.resume?.epoch == "e.1")
        #expect(connect.resume?.offset.value == 17)
        #expect(connect.id == .text("x"))
        let claim = try ClientMessage.decode(bytes(#"{"type":"claim","sale":42,"key":"k","id":1.5}"#))
        #expect(claim.sale?.text == "42")
        #expect(claim.key?.text == "k")
        #expect(claim.id == .fraction(1.5))
        let watch = try ClientMessage.decode(bytes(#"{"type":"watch","sale":"42","id":7,"more":[{}]}"#))
        #expect(watch.sale?.text == "42")
        #expect(watch.id == .number(7))
    }

    @Test(arguments: [
        "", "null", "[]", "1", "{", "{}", #"{"type":1}"#, #"{"type":"claim","sale":{}}"#,
        #"{"type":"claim","sale":-1}"#, #"{"type":"claim","sale":1.5}"#, #"{"type":"claim","sale":1e400}"#,
        #"{"type":"connect","token":1}"#, #"{"type":"connect","token":"t","resume":{"epoch":"e"}}"#,
        #"{"type":"connect","token":"t","resume":{"epoch":"e","offset":"1"}}"#, #"{"type":"ping","id":{}}"#,
        #"{"type":"ping",}"#, "{\"type\":\"pi\u{0}ng\"", #"{"type":"ping"} x"#, #"{'type':'ping'}"#,
        String(repeating: "[", count: 16_000), String(repeating: #"{"a":"#, count: 3000),
    ])
    func refusesWhatIsNotOne(text: String) {
        #expect(throws: MalformedMessage.self) { try ClientMessage.decode(bytes(text)) }
    }

    @Test func refusesInvalidUTF8() {
        #expect(throws: MalformedMessage.self) {
            try ClientMessage.decode(bytes(#"{"type":"pi"#) + [0xC3, 0x28] + bytes(#"ng"}"#))
        }
        // UTF-16, which Foundation would guess.
        #expect(throws: MalformedMessage.self) {
            try ClientMessage.decode(Array(#"{"type":"ping"}"#.data(using: .utf16LittleEndian)!) + [0xD8])
        }
    }

    @Test func theErrorKeepsTheIDAndNamesTheField() {
        do {
            _ = try ClientMessage.decode(bytes(#"{"type":"claim","sale":true,"id":9}"#))
            Issue.record("it should have thrown")
        } catch {
            #expect(error.id == .number(9))
            #expect(error.error.code == .badRequest)
            #expect(error.error.message.contains("sale"))
        }
    }
}

@Suite struct ServerFrameTests {
    private func decoded(_ frame: [UInt8]) throws -> NSDictionary {
        try #require(JSONSerialization.jsonObject(with: Data(frame)) as? NSDictionary)
    }

    private let order = OrderID(sale: SaleID(42), sequence: 17)

    @Test func outcomes() throws {
        #expect(
            try decoded(
                ServerFrame.outcome(.accepted(order: order, ticket: 9, remaining: 3), offset: 5, id: .number(1)))
                == [
                    "type": "result", "id": 1, "sale": 42, "outcome": "accepted", "ticket": 9, "order": "42-17",
                    "remaining": 3, "offset": 5,
                ])
        #expect(
            try decoded(
                ServerFrame.outcome(.order(order, .failed, ticket: 9, reason: "insufficient_points"), offset: 6))
                == [
                    "type": "order", "sale": 42, "order": "42-17", "status": "failed", "ticket": 9,
                    "reason": "insufficient_points",
                    "offset": 6,
                ])
    }

    /// Written without the general writer: by the contract's members all the same.
    @Test func ranks() async throws {
        try await onLoop {
            let rank = RankFrame(room: RoomID(trusted: "a\"b"))
            let plain = PlaceInLine(
                rank: 12, waiting: 345, estimatedSeconds: nil, isReachable: nil, isProvisional: false, event: 6)
            #expect(
                String(decoding: rank(plain).bytes, as: UTF8.self)
                    == #"{"type":"rank","room":"a\"b","rank":12,"waiting":345,"estimatedSeconds":null,"seq":6}"#)
            let full = PlaceInLine(
                rank: 1, waiting: 2, estimatedSeconds: 70, isReachable: false, isProvisional: true, event: 1 << 53)
            #expect(
                try self.decoded(rank(full).bytes)
                    == [
                        "type": "rank", "room": "a\"b", "rank": 1, "waiting": 2, "estimatedSeconds": 70,
                        "reachable": false, "provisional": true, "seq": 1 << 53,
                    ])
            // The same members as the answer to a join.
            let answer = ServerFrame.joined(full, of: RoomID(trusted: "a\"b"))
            var joined = try #require(self.decoded(answer) as? [String: AnyHashable])
            joined["type"] = "rank"
            #expect(try self.decoded(rank(full).bytes) as? [String: AnyHashable] == joined)
        }
    }

    @Test func refusalsAndErrors() throws {
        #expect(
            try decoded(ServerFrame.refused(WireError(.duplicate, order: order), sale: "42", id: .text("a")))
                == ["type": "result", "id": "a", "sale": 42, "outcome": "duplicate", "order": "42-17"])
        let error = try decoded(ServerFrame.error(.unavailable, id: nil))
        #expect(error["code"] as? String == "unavailable")
        #expect(error["id"] == nil)
    }
}

@Suite struct RouterTests {
    private let router = Router([
        Route(.get, "/api/sales", .open) { _ in .noContent }, Route(.post, "/api/sales", .admin) { _ in .noContent },
        Route(.get, "/api/sales/{sale}", .open) { _ in .noContent },
        Route(.post, "/api/failed-orders/retry", .admin) { _ in .noContent },
        Route(.post, "/api/failed-orders/{order}/retry", .admin) { _ in .noContent },
    ])

    @Test func findsRoutesAndTheirParameters() {
        guard case .found(let route, let parameters) = router.match(.get, "/api/sales/42") else {
            Issue.record("not found")
            return
        }
        #expect(route.access == .open)
        #expect(parameters == ["sale": "42"])
        guard case .found = router.match(.head, "/api/sales") else {
            Issue.record("HEAD is answered like GET")
            return
        }
        guard case .found(let retry, let order) = router.match(.post, "/api/failed-orders/1-2/retry") else {
            Issue.record("not found")
            return
        }
        #expect(retry.access == .admin)
        #expect(order == ["order": "1-2"])
    }

    @Test func tellsWhatWouldBeAllowed() {
        guard case .methodNotAllowed(let allowed) = router.match(.put, "/api/sales/42") else {
            Issue.record("405 expected")
            return
        }
        #expect(allowed == [.get, .head])
        for path in ["/", "", "/api", "/api/sales/", "/api/sales/1/2", "/API/sales"] {
            guard case .notFound = router.match(.get, path) else {
                Issue.record("\(path) should not be found")
                continue
            }
        }
    }
}

@Suite struct RequestBodyTests {
    private func register(_ text: String) throws -> SaleDefinition {
        try SaleDefinition(RegisterSaleBody.decode(from: bytes(text)))
    }

    private func message(_ text: String) -> (WireError.Code, String)? {
        do {
            _ = try register(text)
            return nil
        } catch let error as WireError {
            return (error.code, error.message)
        } catch {
            return nil
        }
    }

    private static let times = #""opensAt":"2026-01-01T00:00:00Z","closesAt":"2027-01-01T00:00:00+09:00""#

    @Test func defaults() throws {
        let definition = try register(#"{"name":"x","quantity":5.0,\#(Self.times)}"#)
        #expect(definition.quantity == 5)
        #expect(definition.price == 0)
        #expect(definition.perClientLimit == 1)
        #expect(definition.rejectPercent == 0)
        #expect(definition.room == nil)
    }

    @Test(arguments: [
        (#"{"quantity":5,\#(times)}"#, WireError.Code.badRequest, "name"),
        (#"{"name":5,"quantity":5,\#(times)}"#, .badRequest, "name"),
        (#"{"name":"x","quantity":"5",\#(times)}"#, .badRequest, "quantity"),
        (#"{"name":"x","quantity":5.5,\#(times)}"#, .badRequest, "quantity"),
        (#"{"name":"x","quantity":null,\#(times)}"#, .badRequest, "quantity"),
        (#"{"name":"x","quantity":0,\#(times)}"#, .invalid, "quantity"),
        (#"{"name":"x","quantity":-1,\#(times)}"#, .invalid, "quantity"),
        (#"{"name":"x","quantity":99999999999999999999,\#(times)}"#, .invalid, "quantity"),
        (#"{"name":"  ","quantity":5,\#(times)}"#, .invalid, "name"),
        (#"{"name":"a\u0000b","quantity":5,\#(times)}"#, .invalid, "name"),
        (#"{"name":"x","quantity":5,"price":-1,\#(times)}"#, .invalid, "price"),
        (#"{"name":"x","quantity":5,"rejectPercent":101,\#(times)}"#, .invalid, "rejectPercent"),
        (#"{"name":"x","quantity":5,"perClientLimit":0,\#(times)}"#, .invalid, "perClientLimit"),
        (#"{"name":"x","quantity":5,"room":"no room",\#(times)}"#, .invalid, "room"),
        (
            #"{"name":"x","quantity":5,"opensAt":"2027-01-01T00:00:00Z","closesAt":"2026-01-01T00:00:00Z"}"#, .invalid,
            "closesAt"
        ),
        (
            #"{"name":"x","quantity":5,"opensAt":"tomorrow","closesAt":"2026-01-01T00:00:00Z"}"#, .invalid, "opensAt"
        ),
    ])
    func theErrorNamesTheField(text: String, code: WireError.Code, field: String) {
        let found = message(text)
        #expect(found?.0 == code)
        #expect(found?.1.contains(field) == true, "\(found?.1 ?? "")")
    }
}
