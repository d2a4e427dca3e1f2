import Testing

@testable import Model

@Suite struct JSONSyntaxTests {
    @Test(arguments: [
        "null", " true ", "false", "0", "-0", "1.5e+10", "2E-3", "[]", "[ ]", "{}", "[1,[2,{\"a\":[]}]]", "\"\"",
        "{\"a\":1,\"a\":2}", #""\u00e9\ud83d\n\/""#, "\"한글\"", "\t{\"a\" : [1 , 2]}\r\n",
    ])
    func takes(text: String) {
        #expect(JSONSyntax.isValid(Array(text.utf8)))
    }

    @Test(arguments: [
        "", " ", "nul", "nulll", "TRUE", "01", "1.", ".5", "+1", "1e", "--1", "0x1", "NaN", "Infinity", "[1,]", "[,1]",
        "[1 2]", "{\"a\":1,}", "{a:1}", "{'a':1}", "{\"a\"}", "{\"a\":}", "{\"a\" 1}", "{,}", "[", "]", "{", "\"",
        "\"\\",
        #""\x""#, #""\u12""#, "\"\n\"", "\"\u{0}\"", "1 2", "{}{}", "// c\n1", "/**/1", "\u{FEFF}1", "\u{A0}1",
    ])
    func refuses(text: String) {
        #expect(!JSONSyntax.isValid(Array(text.utf8)), "\(text)")
    }

    @Test func boundsTheDepth() {
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        #expect(JSONSyntax.isValid(nested(JSONSyntax.maximumDepth)))
        #expect(!JSONSyntax.isValid(nested(JSONSyntax.maximumDepth + 1)))
        #expect(!JSONSyntax.isValid([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)))
    }

    @Test func refusesInvalidUTF8() {
        #expect(!JSONSyntax.isValid([0x22, 0xC3, 0x28, 0x22]))
        #expect(!JSONSyntax.isValid([0x22, 0xED, 0xA0, 0x80, 0x22]))
        #expect(!JSONSyntax.isValid([0x22, 0xC0, 0x80, 0x22]))
    }
}
