import Foundation
import Testing

/// The corpus of every parser, and inputs made from it by a fixed seed: what `make fuzz` looks for at length.
@Suite(.timeLimit(.minutes(4)))
struct ReplayTests {
    /// Inputs made of each parser's corpus. A connection costs more than a call.
    private static let made = 1500
    private static let madeOfConnections = 150

    @Test(arguments: Parser.all.map(\.name))
    func corpusAndItsLike(name: String) throws {
        let parser = try #require(Parser.all.first { $0.name == name })
        let corpus = try Self.corpus(of: name)
        for input in corpus { expectGood(parser, input) }
        var mutator = Mutator(seed: 0x5EED, corpus: corpus)
        for _ in 0..<(["http", "frames"].contains(name) ? Self.madeOfConnections : Self.made) {
            expectGood(parser, mutator.next())
        }
    }

    /// What can't fail tests nothing.
    @Test func aComplaintIsHeard() {
        let parser = Parser(name: "none") { $0.isEmpty ? "nothing" : nil }
        withKnownIssue { expectGood(parser, []) }
    }

    private func expectGood(_ parser: Parser, _ input: [UInt8]) {
        guard let complaint = parser.check(input) else { return }
        Issue.record("\(parser.name): \(complaint), of \(Data(input).base64EncodedString()) in base 64")
    }

    private static func corpus(of name: String) throws -> [[UInt8]] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "corpus/\(name)")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        // In the same order everywhere, or the seed would mean nothing.
        let inputs = try files.sorted { $0.lastPathComponent < $1.lastPathComponent }.map {
            Array(try Data(contentsOf: $0))
        }
        return try #require(inputs.isEmpty ? nil : inputs)
    }
}

/// Makes inputs that are nearly those of a corpus.
struct Mutator {
    private var generator: SplitMix
    private let corpus: [[UInt8]]
    private static let longest = 4096
    /// What is at the edge for somebody.
    private static let words: [[UInt8]] =
        [
            "0", "-1", "9007199254740991", "9007199254740992", "9223372036854775807", "-9223372036854775808", "1e309",
            "null",
            "\"", "{", "}", "[", "]", ",", ":", "\\u0000", "\\ud800", "\r\n", "\r\n\r\n", " ", "/", "..", "%2e%2e", "-",
            "=",
            "ü", "\u{202E}",
        ].map { Array($0.utf8) } + [[0], [0xFF], [0xC3], [0xED, 0xA0, 0x80], [0x7F, 0xFF, 0xFF, 0xFF]]

    init(seed: UInt64, corpus: [[UInt8]]) {
        generator = SplitMix(state: seed)
        self.corpus = corpus
    }

    mutating func next() -> [UInt8] {
        var bytes = corpus.randomElement(using: &generator)!
        for _ in 0..<Int.random(in: 1...6, using: &generator) { change(&bytes) }
        return Array(bytes.prefix(Self.longest))
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        let place = Int.random(in: 0...bytes.count, using: &generator)
        let end = min(bytes.count, place + Int.random(in: 0...16, using: &generator))
        switch Int.random(in: 0..<6, using: &generator) {
        case 0: if place < bytes.count { bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator) }
        case 1: if place < bytes.count { bytes[place] = UInt8.random(in: 0...255, using: &generator) }
        case 2: bytes.insert(contentsOf: Self.words.randomElement(using: &generator)!, at: place)
        case 3: bytes.removeSubrange(place..<end)
        case 4: bytes.insert(contentsOf: Array(bytes[place..<end]), at: place)
        default:
            let other = corpus.randomElement(using: &generator)!
            bytes.replaceSubrange(place..<end, with: other.suffix(Int.random(in: 0...other.count, using: &generator)))
        }
    }
}

/// Sebastiano Vigna's SplitMix64.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
