import Testing

@testable import RushKit

struct FrameTests {
    private func frame(_ text: String) -> Frame? { Frame(Array(text.utf8)) }

    @Test func connected() {
        let frame = frame(#"{"type":"connected","client":"a","epoch":"7d.1f","offset":17,"recovered":true}"#)
        #expect(frame == Frame(kind: .connected, offset: 17, epoch: "7d.1f", recovered: true))
    }

    @Test func result() {
        let text =
            #"{"type":"result","sale":42,"outcome":"accepted","ticket":17,"order":"42-17","remaining":83,"offset":18,"id":2}"#
        #expect(
            frame(text)
                == Frame(
                    kind: .result, id: 2, offset: 18, sale: "42", outcome: "accepted", order: "42-17", ticket: 17,
                    remaining: 83))
    }

    @Test func seats() {
        #expect(
            frame(
                #"{"type":"held","reservationId":"7-1","seats":[2,"3"],"expiresAt":"1970-01-01T00:00:40Z","price":6,"id":4}"#
            )
                == Frame(kind: .held, id: 4, expiresAt: 40_000, reservation: "7-1", seats: [2, 3], price: 6))
        let changed =
            #"{"type":"seats","remaining":8,"changes":[{"seatId":2,"status":"held"},{"status":"free","seatId":3}]}"#
        #expect(
            frame(changed)
                == Frame(
                    kind: .seats, changes: [SeatChange(seat: 2), SeatChange(seat: 3, isFree: true)], remaining: 8))
        #expect(frame(#"{"type":"seats","letters":"fhs"}"#) == Frame(kind: .seats, letters: "fhs"))
        #expect(
            Frame(answer: Array(#"{"result":{"reservationId":"7-1","seatIds":[5],"status":"paid"},"error":null}"#.utf8))
                == Frame(status: "paid", reservation: "7-1", seats: [5]))
        for broken in [#"{"seats":[1,2}"#, #"{"seats":[1 2]}"#, #"{"changes":[{"seatId":1]}"#, #"{"changes":[{"#] {
            #expect(frame(broken) == nil)
        }
        #expect(frame(#"{"seats":null,"changes":[],"type":"seats"}"#) == Frame(kind: .seats))
    }

    @Test func idsAsTextAndInAnotherOrder() {
        let text = #" { "id" : "2" , "order" : 17, "sale":"42","outcome":"sold_out" ,"type" : "result" } "#
        #expect(frame(text) == Frame(kind: .result, id: 2, sale: "42", outcome: "sold_out", order: "17"))
    }

    @Test func places() {
        let text =
            #"{"type":"rank","room":"r","rank":17,"waiting":90,"estimatedSeconds":1.5,"reachable":false,"seq":12}"#
        #expect(
            frame(text)
                == Frame(kind: .rank, rank: 17, waiting: 90, estimatedSeconds: 1.5, reachable: false, seq: 12))
        let joined =
            #"{"type":"joined","room":"r","rank":1,"waiting":1,"estimatedSeconds":null,"provisional":true,"id":0}"#
        #expect(frame(joined) == Frame(kind: .joined, id: 0, rank: 1, waiting: 1, provisional: true))
    }

    @Test func passes() {
        let text =
            #"{"type":"admitted","room":"r","token":"a-b","expiresAt":"1970-01-01T00:00:01.500Z","offset":3,"id":-1}"#
        #expect(frame(text) == Frame(kind: .admitted, id: -1, offset: 3, token: "a-b", expiresAt: 1500))
        #expect(frame(#"{"type":"expired","token":"a-b"}"#) == Frame(kind: .expired, token: "a-b"))
        #expect(frame(#"{"type":"left","reason":"closed"}"#) == Frame(kind: .left, reason: "closed"))
    }

    @Test func answersOfREST() {
        func answer(_ text: String) -> Frame? { Frame(answer: Array(text.utf8)) }
        #expect(
            answer(#"{"result":{"rank":3,"token":null,"status":"WAITING","refreshSeconds":2},"error":null}"#)
                == Frame(status: "WAITING", rank: 3, refreshSeconds: 2))
        #expect(answer(#"{"result":null,"error":{"code":"rejected","message":"no"}}"#)?.code == "rejected")
        #expect(answer(#"{"result":"SUCCESS","error":null}"#) == Frame())
        #expect(answer(#"{"result":{"rank":3,"error":null}"#) == nil)
        #expect(answer(#"{"result":{"rank":3}x,"error":null}"#) == nil)
        // Of a frame they are members like others.
        #expect(frame(#"{"type":"sale","result":{"rank":3}}"#) == Frame(kind: .sale))
    }

    @Test(arguments: ["12", "\"12\"", "-12", "0", "999999999999999999", "9223372036854775807", "-0"])
    func wholeNumbers(text: String) {
        let digits = text.filter { $0 != "\"" }
        #expect(frame(#"{"rank":\#(text)}"#)?.rank == Int64(digits))
        #expect(frame(#"{"rank": \#(text) ,"seq":1}"#) == Frame(rank: Int64(digits), seq: 1))
    }

    @Test(arguments: ["12345678901234567890", "1.5", "x", "null", "true", "[1]", "{\"a\":1}"])
    func noWholeNumbers(text: String) {
        #expect(frame(#"{"rank":\#(text),"seq":1}"#) == Frame(seq: 1))
    }

    @Test func nullIsNothing() {
        #expect(
            frame(#"{"type":"order","reason":null,"status":"confirmed"}"#) == Frame(kind: .order, status: "confirmed"))
    }

    @Test func whatNobodyAsksForIsSkipped() {
        let text =
            #"{"a":{"b":[1,{"c":"]}\"{"}]},"d":[[],{}],"e":-1.5e3,"f":"x","type":"error","code":"unavailable","g":true}"#
        #expect(frame(text) == Frame(kind: .error, code: "unavailable"))
    }

    @Test func escapes() {
        #expect(frame(#"{"type":"error","message":"a\"b\\c\/\n\u00e9\ud800 ü"}"#)?.message == "a\"b\\c/\né\u{FFFD} ü")
        #expect(frame(#"{"t\u0079pe":"sale"}"#)?.kind == .sale)
    }

    @Test func emptyAndUnknown() {
        #expect(frame("{}") == Frame())
        #expect(frame(#"{"type":"pong","at":"x"}"#) == Frame())
        #expect(frame(#"{"type":["sale"]}"#) == Frame())
    }

    @Test(arguments: [
        "", " ", "[]", "1", "{", #"{"type""#, #"{"type":"#, #"{"type":"sale"#, #"{"type":"sale""#, #"{"type":"sale",}"#,
        #"{"type":"sale"}x"#, #"{"a":{"b":1}"#, #"{"a":[1,2}"#, #"{type:"sale"}"#, #"{"a":}"#, #"{"a":"\u12"}"#,
        #"{"a":"\"#,
    ])
    func broken(text: String) {
        #expect(frame(text) == nil)
    }

    /// What any prefix of a frame, or a frame with any byte changed, must not do is trap.
    @Test func hostile() {
        let text = Array(
            #"{"type":"result","x":[{"y":"\u0041\n"}],"result":{"rank":1},"estimatedSeconds":1.5,"offset":99999999999999999999}"#
                .utf8)
        for end in text.indices { #expect(Frame(Array(text[..<end])) == nil) }
        for index in text.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = text
                changed[index] = byte
                _ = Frame(changed)
                _ = Frame(answer: changed)
            }
        }
    }
}
