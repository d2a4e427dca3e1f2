import Model
import Testing

@testable import Server

/// What the scanner reads, the general decoder has to read alike; what it doesn't read is the decoder's.
@Suite struct MessageScannerTests {
    private static let plain = [
        #"{"type":"claim","sale":1,"key":"k-1","id":7}"#,
        #"{ "type": "claim", "sale": "17", "id": "seven" }"#,
        #"{"id":0,"type":"ping"}"#,
        #"{"type":"connect","token":"a.b.c"}"#,
        #"{"type":"connect","token":"user-1","client":"user-1","id":999999999999999999}"#,
        #"{"type":"join","room":"main"}"#,
        #"{"type":"join","room":12,"id":1}"#,
        #"{"type":"watch","performance":3}"#,
        #"{"type":"claim","sale":9007199254740991,"key":""}"#,
        #"{"type":""}"#,
    ]

    private static let others = [
        "", "{}", "[]", "null", #"{"type":"claim""#, #"{"type":"claim"}x"#, #"{"type":"claim",}"#,
        #"{"type":"claim","sale":1.0}"#, #"{"type":"claim","sale":1e3}"#, #"{"type":"claim","sale":-1}"#,
        #"{"type":"claim","sale":01}"#, #"{"type":"claim","sale":9007199254740992}"#, #"{"type":"ping","id":null}"#,
        #"{"type":"ping","id":1000000000000000000}"#, #"{"type":"ping","id":99999999999999999999}"#,
        #"{"type":"ping","id":1.5}"#, #"{"type":"p\u0069ng"}"#, #"{"type":"ping","id":"ä"}"#,
        #"{"type":"ping","type":"claim"}"#, #"{"type":"ping","x":1}"#, #"{"type":1}"#, #"{"type":"hold","seats":[1]}"#,
        #"{"type":"connect","token":1}"#, "{\"type\":\"pi\nng\"}", "{\"type\":\"ping\"\n}", #"{"type":"ping" "id":1}"#,
        #"{"type":"connect","token":"t","resume":{"epoch":"e","offset":1}}"#,
        #"{"type":"watch","performance":1,"compact":true}"#,
        #"{"type":"ping","id":"\#(String(repeating: "x", count: 129))"}"#,
    ]

    @Test(arguments: plain) func readsWhatIsPlain(text: String) throws {
        let scanned = try #require(MessageScanner.read(Array(text.utf8)))
        #expect(try Self.same(scanned, ClientMessage.decode(from: Array(text.utf8))))
    }

    @Test(arguments: others) func leavesTheRest(text: String) {
        #expect(MessageScanner.read(Array(text.utf8)) == nil)
    }

    /// Plain frames with some bytes changed, taken out or doubled.
    @Test(arguments: 0..<8) func readsNothingThatTheDecoderReadsOtherwise(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let spice = Array(#"{}[]",:\ 0123456789.eE+-nultrfas"#.utf8) + [0, 9, 10, 0x7F, 0x80, 0xC3, 0xFF]
        var read = 0
        for _ in 0..<4000 {
            var bytes = Array((Self.plain + Self.others).randomElement(using: &random)!.utf8)
            for _ in 0..<Int.random(in: 0...3, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: bytes.indices, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = spice.randomElement(using: &random)!
                case 1: bytes.remove(at: index)
                default: bytes.insert(bytes[index], at: index)
                }
            }
            guard let scanned = MessageScanner.read(bytes) else { continue }
            read += 1
            let text = String(decoding: bytes, as: UTF8.self)
            let decoded = try #require(try? ClientMessage.decode(from: bytes), "only the scanner reads \(text)")
            #expect(Self.same(scanned, decoded), "\(text)")
        }
        #expect(read > 200)
    }

    private static func same(_ one: ClientMessage, _ other: ClientMessage) -> Bool {
        one.type == other.type && one.id == other.id && one.token == other.token
            && one.client?.text == other.client?.text && one.sale?.text == other.sale?.text
            && one.performance?.text == other.performance?.text && one.key?.text == other.key?.text
            && one.room?.text == other.room?.text && other.resume == nil && other.seats == nil && other.compact == nil
    }
}
