import Foundation
import Model

/// What a client calls a message by; its direct answer carries it.
enum MessageID: Decodable, Sendable, Equatable {
    case number(Int64)
    case fraction(Double)
    case text(String)

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int64.self) {
            self = .number(number)
        } else if let text = try? container.decode(String.self) {
            guard text.utf8.count <= 128 else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: container.codingPath, debugDescription: "an id of over 128 bytes"))
            }
            self = .text(text)
        } else {
            self = .fraction(try container.decode(Double.self))
        }
    }
}

extension JSONWriter {
    /// The member `id`, where the client gave one.
    mutating func member(id: MessageID?) {
        switch id {
        case nil: break
        case .number(let number): member("id", number)
        case .text(let text): member("id", text)
        case .fraction(let fraction):
            key("id")
            raw(fraction.description)
        }
    }
}

/// One frame from a client, as the contract has them.
struct ClientMessage: Decodable, Sendable {
    let type: String
    let id: MessageID?
    let token: String?
    let client: FlexibleID?
    let resume: Resume?
    let sale: NumericID?
    let performance: NumericID?
    let key: FlexibleID?
    let room: FlexibleID?
    let seats: [SeatNumber]?
    /// Whether one letter a seat is enough; for a `watch` of a performance.
    let compact: Bool?

    struct Resume: Decodable, Sendable {
        let epoch: String
        let offset: WholeNumber
    }

    /// Decodes a frame.
    /// - Throws: `bad_request`, naming the field; and the message's id if it can be made out.
    static func decode(_ bytes: [UInt8]) throws(MalformedMessage) -> ClientMessage {
        if let message = MessageScanner.read(bytes) { return message }
        do {
            return try ClientMessage.decode(from: bytes)
        } catch {
            let id = (try? OnlyID.decode(from: bytes))?.id
            throw MalformedMessage(error: error, id: id)
        }
    }

    private struct OnlyID: Decodable {
        let id: MessageID?
    }
}

/// A frame that can't be read.
struct MalformedMessage: Error {
    let error: WireError
    let id: MessageID?
}
