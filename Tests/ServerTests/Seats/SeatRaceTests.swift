import EventLoop
import TestServices
import Testing

/// Many want the same at the same moment, on two instances.
@Suite struct SeatRaceTests {
    @Test func aThousandForOneSeat() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(50)
            let visitors = try await concurrently(1000) { try await shop.enter("c\($0)", on: $0 % 2) }
            let buyers = try await concurrently(100) { try await Buyer.connect(shop, as: "c\($0)", on: $0 % 2) }
            // A tenth over the WebSocket, the others over REST.
            let codes = try await concurrently(1000) { index in
                if index < 100 {
                    let answer = try await buyers[index].hold(date, [17], pass: visitors[index].pass)
                    return answer["type"] == "held" ? "held" : answer["code"].text
                }
                let answer = try await shop.hold(date, [17], visitors[index], on: index % 2)
                return answer.status == 201 ? "held" : answer.code
            }
            #expect(codes.filter { $0 == "held" }.count == 1)
            #expect(codes.filter { $0 == "seat_taken" }.count == 999)
            try await shop.expectSeatBooks(date, sold: 0, held: 1)
        }
    }

    /// Every one of 500 goes on until it has a pair, or there is none left; those who have one pay for it.
    @Test func fiveHundredForPairsAmongFifty() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(50, price: 7)
            let results = try await concurrently(500) { index -> [Int64]? in
                let visitor = try await shop.enter("c\(index)", on: index % 2)
                try await shop.charge(visitor.client, 14, on: index % 2)
                // Neighbours overlap: 1-2, 2-3, …; each begins elsewhere.
                for step in 0..<49 {
                    let first = Int64((index * 13 + step) % 49 + 1)
                    let answer = try await shop.hold(date, [first + 1, first], visitor, on: (index + step) % 2)
                    if answer.status == 201 {
                        let id = try #require(answer.result["reservationId"].text)
                        // Some can't make up their minds, and give it back.
                        if index % 5 == 0 {
                            #expect(try await shop.giveBack(id, visitor.client, on: index % 2).status == 200)
                            continue
                        }
                        let paid = try await shop.pay(id, 14, visitor, on: index % 2)
                        #expect(paid.status == 201, "\(paid.text)")
                        return [first, first + 1]
                    }
                    #expect(answer.code == "seat_taken", "\(answer.text)")
                }
                return nil
            }
            let pairs = results.compactMap { $0 }
            let seats = pairs.flatMap { $0 }
            #expect(Set(seats).count == seats.count)
            // No two free neighbours are left.
            let sold = Set(seats)
            #expect((1...49).allSatisfy { sold.contains($0) || sold.contains($0 + 1) })
            try await shop.expectSeatBooks(date, sold: Int64(seats.count))
            let owners = try await shop.sql(
                """
                select count(*), count(distinct seat), min(n), max(n) from (
                    select seat, count(*) over (partition by sequence) as n from reservation_seats
                    where performance_id = \(date) and is_live) as s
                """)
            #expect(owners == "\(seats.count)|\(seats.count)|2|2")
        }
    }

    @Test func chargesAndPaymentsOfOneAccount() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(100, price: 10)
            let visitor = try await shop.enter("ada")
            let held = try await concurrently(100) { try await shop.held(date, [Int64($0 + 1)], visitor, on: $0 % 2) }
            // 100 charges of 3, and 100 payments of 10, of which 30 can be covered in the end. The pass is spent with the
            // first payment, so each pays with a pass of its own, which the shop's backend gets for it anew.
            try await shop.change("hall", ["passSeconds": 600])
            let codes = try await concurrently(200) { index -> String? in
                guard index % 2 == 0 else {
                    try await shop.charge("ada", 3, on: index / 2 % 2)
                    return nil
                }
                while true {
                    let pass = try await shop.enter("ada", on: index / 2 % 2)
                    let answer = try await shop.pay(held[index / 2], 10, pass, on: index / 2 % 2)
                    if answer.code == "not_admitted" { continue }
                    return answer.status == 201 ? "paid" : answer.code
                }
            }
            let paid = codes.filter { $0 == "paid" }.count
            #expect(codes.compactMap { $0 }.allSatisfy { $0 == "paid" || $0 == "insufficient_points" }, "\(codes)")
            #expect(try await shop.balance("ada") == 300 - Int64(paid) * 10)
            // Whatever was refused can be paid as long as there are points.
            for id in held {
                let pass = try await shop.enter("ada")
                let answer = try await shop.pay(id, 10, pass)
                #expect(["already_paid", "insufficient_points", nil].contains(answer.code), "\(answer.text)")
            }
            #expect(try await shop.balance("ada") == 0)
            try await shop.expectSeatBooks(date, sold: 30, held: 70)
        }
    }

    @Test func oneReservationPaidAHundredTimes() async throws {
        try await withShop(2) { shop in
            let date = try await shop.hall(10, price: 10)
            let visitor = try await shop.enter("ada")
            try await shop.charge("ada", 1000)
            let id = try await shop.held(date, [1, 2, 3], visitor)
            let answers = try await concurrently(100) { index in
                try await shop.pay(id, 30, visitor, key: index < 50 ? "k" : nil, on: index % 2)
            }
            #expect(answers.filter { $0.status == 201 }.count == 1)
            for answer in answers where answer.status != 201 {
                #expect(answer.status == 200 || answer.code == "already_paid", "\(answer.text)")
            }
            let ids = Set(
                answers.compactMap { $0.result["paymentId"].integer ?? $0.json["error"]["paymentId"].integer })
            #expect(ids.count == 1)
            #expect(try await shop.balance("ada") == 970)
            try await shop.expectSeatBooks(date, sold: 3)
        }
    }
}
