import EventLoop
import Model
import TestServices

/// What is on offer in a round: made anew for each.
@LoopActor
struct Scene {
    let plain: Offer.Sale
    let priced: Offer.Sale
    let roomSale: Offer.Sale
    let probed: Offer.Sale
    let room: Offer.Room
    let seatRoom: Offer.Room
    let performance: Offer.Performance

    /// All of it, for the checker.
    var offer: Offer {
        var offer = Offer()
        offer.sales = [plain, priced, roomSale, probed]
        offer.rooms = [room, seatRoom]
        offer.performances = [performance]
        return offer
    }

    /// Registers it all.
    static func open(_ stage: Stage, clients: Int, name: String, losesRedisData: Bool) async throws -> Scene {
        let clients = Int64(clients)
        // A pass that Redis has forgotten to be spent takes a place until its time is over.
        let room = Offer.Room(
            id: "line-\(name)", maxActive: max(2, Int(clients) / 100), passSeconds: losesRedisData ? 8 : 30)
        let seatRoom = Offer.Room(id: "seats-\(name)", maxActive: Int(clients), passSeconds: 120)
        try await define(stage, room)
        try await define(stage, seatRoom)
        return Scene(
            plain: try await sale(stage, quantity: max(5, clients / 5)),
            priced: try await sale(stage, quantity: max(3, clients / 12), price: 10),
            roomSale: try await sale(stage, quantity: max(5, clients / 10), room: room.id),
            probed: try await sale(stage, quantity: 100_000),
            room: room, seatRoom: seatRoom,
            performance: try await performance(stage, seats: max(10, clients / 12), room: seatRoom.id))
    }

    /// Closes the sales: what is over costs later rounds nothing.
    func close(_ stage: Stage) async {
        for sale in offer.sales { _ = await stage.call(.post, "/api/sales/\(sale.id)/close", as: .admin) }
    }

    private static func moment(in milliseconds: Int64) -> JSON {
        .text(Timestamp(milliseconds: EventLoop.wallMilliseconds + milliseconds).description)
    }

    private static func made(_ what: String, _ answer: Stage.Answer?, _ member: String) throws -> Int64 {
        guard let answer, answer.isSuccess, let id = answer.message.integer(member) else {
            throw StageFailure(description: "\(what): \(answer.map { "\($0.status) \($0.code)" } ?? "no answer")")
        }
        return id
    }

    private static func sale(
        _ stage: Stage, quantity: Int64, price: Int64 = 0, room: String? = nil
    ) async throws -> Offer.Sale {
        let answer = await stage.call(
            .post, "/api/sales", as: .admin,
            [
                "name": "Chaos", "quantity": .integer(quantity), "price": .integer(price),
                "room": room.map { .text($0) } ?? .null, "opensAt": moment(in: -1000),
                "closesAt": moment(in: 3_600_000),
            ])
        return Offer.Sale(id: try made("a sale", answer, "id"), quantity: quantity, price: price, room: room)
    }

    private static func define(_ stage: Stage, _ room: Offer.Room) async throws {
        let answer = await stage.call(
            .post, "/api/rooms", as: .admin,
            [
                "id": .text(room.id), "maxActive": .integer(Int64(room.maxActive)),
                "passSeconds": .integer(room.passSeconds), "graceSeconds": 60,
            ])
        guard let answer, answer.isSuccess else { throw StageFailure(description: "a room: \(answer?.code ?? "none")") }
    }

    private static let holdSeconds: Int64 = 3

    private static func performance(_ stage: Stage, seats: Int64, room: String) async throws -> Offer.Performance {
        let concert = try made(
            "a concert", await stage.call(.post, "/api/concerts", as: .admin, ["name": "Chaos"]), "concertId")
        let answer = await stage.call(
            .post, "/api/concerts/\(concert)/dates", as: .admin,
            [
                "startsAt": moment(in: 600_000), "price": 10, "room": .text(room), "holdSeconds": .integer(holdSeconds),
                "seats": .integer(seats),
            ])
        let id = try made("a performance", answer, "concertDetailId")
        return Offer.Performance(id: id, seats: seats, price: 10, holdSeconds: holdSeconds)
    }
}
