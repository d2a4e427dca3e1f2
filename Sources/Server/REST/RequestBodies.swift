import Foundation
import Model

/// A whole number in JSON. `5.0` is 5; `5.5` is not one.
struct WholeNumber: Decodable, Sendable {
    let value: Int64

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode(Int64.self) {
            self.value = value
        } else {
            let number = try container.decode(Double.self)
            guard number.rounded() == number else {
                throw DecodingError.typeMismatch(
                    Int64.self, .init(codingPath: container.codingPath, debugDescription: "not a whole number"))
            }
            // Beyond Int64 it is out of every range too: whoever checks says so.
            value = Int64(exactly: number) ?? (number < 0 ? .min : .max)
        }
    }
}

/// An id in JSON: a string, or a number that stands for its decimal string.
struct FlexibleID: Decodable, Sendable {
    let text: String

    init(text: String) { self.text = text }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let text = try? container.decode(String.self) {
            self.text = text
        } else {
            let number = try WholeNumber(from: decoder).value
            guard (0..<1 << 53).contains(number) else {
                throw DecodingError.typeMismatch(
                    String.self,
                    .init(codingPath: container.codingPath, debugDescription: "an id below 0 or above 2^53-1"))
            }
            text = String(number)
        }
    }

    /// - Throws: `invalid`, naming the field.
    func client(_ field: String) throws(WireError) -> ClientID {
        guard let client = ClientID(text) else {
            throw WireError(.invalid, "\(field): 1 to 64 characters of A-Z a-z 0-9 . _ : -")
        }
        return client
    }
}

extension FlexibleID {
    /// - Throws: `invalid`, naming the field.
    func room(_ field: String) throws(WireError) -> RoomID {
        guard let room = RoomID(text) else {
            throw WireError(.invalid, "\(field): 1 to 64 characters of A-Z a-z 0-9 . _ : -")
        }
        return room
    }
}

/// `POST /api/sales`.
struct RegisterSaleBody: Decodable, Sendable {
    let name: String
    let quantity: WholeNumber
    let opensAt: String
    let closesAt: String
    let price: WholeNumber?
    let perClientLimit: WholeNumber?
    let room: FlexibleID?
    let rejectPercent: WholeNumber?
}

/// `POST /api/sales/{id}/claims`.
struct ClaimBody: Decodable, Sendable {
    let userId: FlexibleID
}

/// A member that may be missing, null, or there.
enum Maybe<Value: Decodable & Sendable>: Sendable {
    case absent
    case null
    case value(Value)
}

/// What `POST /api/rooms` and `PATCH /api/rooms/{id}` say of a room's limits.
struct RoomLimitsBody: Decodable, Sendable {
    let id: FlexibleID?
    let maxActive: WholeNumber?
    let passSeconds: WholeNumber?
    let admitPerMinute: Maybe<WholeNumber>
    let graceSeconds: WholeNumber?
    let ordering: String?

    private enum CodingKeys: String, CodingKey {
        case id, maxActive, passSeconds, admitPerMinute, graceSeconds, ordering
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        id = try container.decodeIfPresent(FlexibleID.self, forKey: .id)
        maxActive = try container.decodeIfPresent(WholeNumber.self, forKey: .maxActive)
        passSeconds = try container.decodeIfPresent(WholeNumber.self, forKey: .passSeconds)
        graceSeconds = try container.decodeIfPresent(WholeNumber.self, forKey: .graceSeconds)
        ordering = try container.decodeIfPresent(String.self, forKey: .ordering)
        if !container.contains(.admitPerMinute) {
            admitPerMinute = .absent
        } else if let value = try container.decodeIfPresent(WholeNumber.self, forKey: .admitPerMinute) {
            admitPerMinute = .value(value)
        } else {
            admitPerMinute = .null
        }
    }
}

/// `POST /api/users/token`.
struct JoinBody: Decodable, Sendable {
    let userId: FlexibleID
    let room: FlexibleID?
}

/// `POST /api/concerts`.
struct RegisterConcertBody: Decodable, Sendable {
    let name: String
}

/// As ``FlexibleID``, for what is nearly always written as a number. A decoder that finds something else than it is asked
/// for throws, which costs more than the rest of a frame: so the usual is tried first.
struct NumericID: Decodable, Sendable {
    let text: String

    init(text: String) { self.text = text }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int64.self), (0..<1 << 53).contains(number) {
            text = String(number)
        } else {
            text = try FlexibleID(from: decoder).text
        }
    }
}

/// The id of a seat: a whole number, or its decimal form. Whether there is such a seat is looked at later.
struct SeatNumber: Decodable, Sendable {
    let value: Int64

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int64.self) {
            value = number
        } else if let text = try? container.decode(String.self) {
            guard (1...19).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int64(text)
            else {
                throw DecodingError.typeMismatch(
                    Int64.self, .init(codingPath: container.codingPath, debugDescription: "not a whole number"))
            }
            value = number
        } else {
            value = try WholeNumber(from: decoder).value
        }
    }
}

/// How many seats, or which sections.
enum SeatsBody: Decodable, Sendable {
    struct Section: Decodable, Sendable {
        let name: String
        let rows: WholeNumber
        let seatsPerRow: WholeNumber
    }

    private struct Sections: Decodable {
        let sections: [Section]
    }

    case count(WholeNumber)
    case sections([Section])

    init(from decoder: any Decoder) throws {
        if (try? decoder.container(keyedBy: AnyKey.self)) != nil {
            self = .sections(try Sections(from: decoder).sections)
        } else {
            self = .count(try WholeNumber(from: decoder))
        }
    }

    private struct AnyKey: CodingKey {
        let stringValue: String
        let intValue: Int? = nil
        init?(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}

/// `POST /api/concerts/{id}/dates`.
struct RegisterPerformanceBody: Decodable, Sendable {
    let startsAt: String
    let price: WholeNumber
    let room: FlexibleID?
    let holdSeconds: WholeNumber?
    let seats: SeatsBody?
    let perClientLimit: WholeNumber?
}

/// `POST /api/reservations`.
struct ReservationBody: Decodable, Sendable {
    let concertDetailId: FlexibleID
    let userId: FlexibleID
    let seatId: SeatNumber?
    let seatIds: [SeatNumber]?
}

/// `POST /api/payment`.
struct PaymentBody: Decodable, Sendable {
    let reservationId: FlexibleID
    let userId: FlexibleID
    let point: WholeNumber
}

/// `PATCH /api/users/point`.
struct ChargeBody: Decodable, Sendable {
    let userId: FlexibleID
    let point: WholeNumber
}

/// `POST /api/users`, `POST /api/sessions`.
struct CredentialsBody: Decodable, Sendable {
    let name: String
    let password: String
}

/// `POST /api/tokens`.
struct TokenBody: Decodable, Sendable {
    let userId: FlexibleID
    let expiresIn: WholeNumber?
}

extension Decodable {
    /// Decodes a request's body.
    /// - Throws: `bad_request`, naming the field.
    static func decode(from bytes: [UInt8]) throws(WireError) -> Self {
        guard JSONSyntax.isValid(bytes) else { throw WireError(.badRequest, "not JSON in UTF-8, or too deeply nested") }
        do {
            return try JSONDecoder().decode(Self.self, from: Data(bytes))
        } catch let error as DecodingError {
            throw WireError(error)
        } catch {
            throw WireError(.badRequest, "not readable JSON")
        }
    }
}

extension WireError {
    fileprivate init(_ error: DecodingError) {
        func field(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
        switch error {
        case .keyNotFound(let key, let context):
            self.init(.badRequest, "\(field(context.codingPath + [key])): missing")
        case .typeMismatch(_, let context) where !context.codingPath.isEmpty:
            self.init(.badRequest, "\(field(context.codingPath)): wrong type")
        case .valueNotFound(_, let context) where !context.codingPath.isEmpty:
            self.init(.badRequest, "\(field(context.codingPath)): must not be null")
        case .dataCorrupted(let context) where !context.codingPath.isEmpty:
            self.init(.badRequest, "\(field(context.codingPath)): not a value that can be read")
        case .typeMismatch, .valueNotFound:
            self.init(.badRequest, "a JSON object is needed")
        default:
            self.init(.badRequest, "not readable JSON")
        }
    }
}
