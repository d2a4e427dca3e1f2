import Foundation
import Model

@testable import Server

/// What clients send as JSON.
enum JSONParsers {
    /// What is said about a bad frame goes back to whoever sent it: it must not grow with it.
    private static let longestComplaint = 300

    static func message(_ bytes: [UInt8]) -> String? {
        do {
            // What the quick reader takes, the general one has to take for the same.
            if let quick = MessageScanner.read(bytes) {
                guard let general = try? ClientMessage.decode(from: bytes) else { return "only the scanner reads it" }
                if String(describing: quick) != String(describing: general) { return "\(quick) is \(general)" }
            }
            let message = try ClientMessage.decode(bytes)
            guard JSONSyntax.isValid(bytes) else { return "took what is no JSON" }
            return wrong(with: message.id)
        } catch {
            return wrong(with: error.error) ?? wrong(with: error.id)
        }
    }

    /// An id goes back as it came.
    private static func wrong(with id: MessageID?) -> String? {
        guard let id else { return nil }
        var writer = JSONWriter()
        writer.object {
            $0.member("type", "ping")
            $0.member(id: id)
        }
        guard let again = try? ClientMessage.decode(writer.bytes).id else { return "can't read its own id \(id)" }
        return again == id ? nil : "the id \(id) came back as \(again)"
    }

    private static func wrong(with error: WireError) -> String? {
        guard error.message.utf8.count <= longestComplaint else { return "says too much: \(error.message)" }
        return error.code == .badRequest || error.code == .invalid ? nil : "an unexpected code: \(error.code)"
    }

    static func body(_ bytes: [UInt8]) -> String? {
        let readers: [([UInt8]) throws(WireError) -> Void] = [
            reader(RegisterSaleBody.self), reader(ClaimBody.self), reader(RoomLimitsBody.self), reader(JoinBody.self),
            reader(RegisterConcertBody.self), reader(RegisterPerformanceBody.self), reader(ReservationBody.self),
            reader(PaymentBody.self), reader(ChargeBody.self), reader(CredentialsBody.self), reader(TokenBody.self),
        ]
        let isJSON = JSONSyntax.isValid(bytes)
        for read in readers {
            do {
                try read(bytes)
                guard isJSON else { return "took what is no JSON" }
            } catch {
                if let complaint = wrong(with: error) { return complaint }
            }
        }
        return nil
    }

    private static func reader<Body: Decodable>(_ type: Body.Type) -> ([UInt8]) throws(WireError) -> Void {
        { (bytes: [UInt8]) throws(WireError) in _ = try Body.decode(from: bytes) }
    }

    static func syntax(_ bytes: [UInt8]) -> String? {
        let isValid = JSONSyntax.isValid(bytes)
        // What is refused within an array is refused alone, and the other way round, but for the depth and commas.
        let wrapped = JSONSyntax.isValid([UInt8(ascii: "[")] + bytes + [UInt8(ascii: "]")])
        if isValid && !wrapped && depth(bytes) < JSONSyntax.maximumDepth { return "not valid in an array" }
        // Nothing that another reader refuses, but for halves of surrogates and numbers beyond a Double.
        if isValid && !bytes.contains(UInt8(ascii: "\\")) && !hasLongNumber(bytes) {
            guard (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil else {
                return "Foundation refuses it"
            }
        }
        return roundTrip(String(decoding: bytes, as: UTF8.self))
    }

    /// Any text that we write comes back.
    private static func roundTrip(_ text: String) -> String? {
        var writer = JSONWriter()
        writer.object { $0.member("text", text) }
        guard JSONSyntax.isValid(writer.bytes) else { return "our own JSON is none" }
        let read = try? JSONDecoder().decode([String: String].self, from: Data(writer.bytes))["text"]
        // By bytes: strings are equal by meaning.
        return read.map { Array($0.utf8) } == Array(text.utf8) ? nil : "a text came back another"
    }

    private static func depth(_ bytes: [UInt8]) -> Int {
        bytes.count { $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "{") }
    }

    private static func hasLongNumber(_ bytes: [UInt8]) -> Bool {
        bytes.contains { $0 == UInt8(ascii: "e") || $0 == UInt8(ascii: "E") }
            || bytes.split { !(0x30...0x39).contains($0) }.contains { $0.count > 18 }
    }
}
