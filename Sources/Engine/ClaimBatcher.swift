import EventLoop
import Model

/// Merges the claims of a turn: one call of `dibs_claim` for each sale, and another for every `claimsPerCall` more.
@LoopActor
final class ClaimBatcher {
    private typealias Claims = TurnMerger<SaleID, Claim, ClaimDecision>

    private let router: CommandRouter
    private let configuration: EngineConfiguration
    private let claims: Claims

    init(router: CommandRouter, configuration: EngineConfiguration) {
        self.router = router
        self.configuration = configuration
        claims = TurnMerger(limit: configuration.claimsPerCall)
        claims.send = { [weak self] in self?.send($0, of: $1) }
    }

    func decide(_ claim: Claim, on sale: SaleID) async throws(Outage) -> ClaimDecision {
        let result = await withCheckedContinuation { continuation in
            decide(claim, on: sale) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// As ``decide(_:on:)``, without a task.
    func decide(
        _ claim: Claim, on sale: SaleID,
        _ answer: @escaping @LoopActor @Sendable (Result<ClaimDecision, Outage>) -> Void
    ) {
        // At once, not at the end of the turn: Redis may be back by then, and would be asked before anybody could check
        // what it has kept.
        guard router.isReady(for: Keys.Sale(sale).state) else {
            return answer(.failure(Outage(.redis, "not connected")))
        }
        claims.ask(claim, of: sale, answer)
    }

    private func send(_ batch: ArraySlice<Claims.Waiting>, of sale: SaleID) {
        let keys = Keys.Sale(sale)
        var command = RedisCommand(
            function: .claim,
            keys: [
                keys.state, keys.clients, keys.keys, keys.returned, keys.orders, keys.counts, keys.series,
            ],
            reserving: 512 + 32 * batch.count)
        command.append(configuration.now)
        command.append(keys.events)
        var rolls: [UInt8] = []
        rolls.reserveCapacity(2 * batch.count)
        for waiting in batch {
            guard waiting.wish.mayClaim else {
                rolls.append(UInt8(ascii: "n"))
                rolls.append(UInt8(ascii: "p"))
                continue
            }
            let roll = UInt8(min(max(0, waiting.wish.roll), 99))
            rolls.append(0x30 + roll / 10)
            rolls.append(0x30 + roll % 10)
        }
        command.append(rolls)
        let hasKeys = batch.contains { $0.wish.key != nil }
        command.append(hasKeys ? batch.count : 0)
        for waiting in batch { command.append(waiting.wish.client.rawValue) }
        if hasKeys {
            for waiting in batch {
                if let key = waiting.wish.key {
                    command.append(waiting.wish.client.rawValue, " ", key.rawValue)
                } else {
                    command.append("")
                }
            }
        }
        router.call(command, about: keys.state) { result in
            switch result {
            case .failure(let outage): for waiting in batch { waiting.answer(.failure(outage)) }
            case .success(let reply):
                var replies = ClaimReplies(reply.string ?? "", sale: sale)
                for waiting in batch { waiting.answer(replies.next()) }
            }
        }
    }
}

/// Reads the reply of `dibs_claim`, word by word.
struct ClaimReplies {
    private let text: String
    private var position: String.Index
    private let sale: SaleID
    private let isUnknown: Bool

    init(_ text: String, sale: SaleID) {
        var text = text
        text.makeContiguousUTF8()
        self.text = text
        self.sale = sale
        position = text.startIndex
        isUnknown = text == "?"
    }

    /// The next decision; an outage when the reply is not what was agreed, as an older library's may be.
    mutating func next() -> Result<ClaimDecision, Outage> {
        guard !isUnknown else { return .success(.unknownSale) }
        let bytes = text.utf8
        guard position < bytes.endIndex else { return .failure(Outage(.redis, "too few answers to claims")) }
        let kind = bytes[position]
        bytes.formIndex(after: &position)
        var numbers: (Int64, Int64, Int64, Int64, Int64) = (0, 0, 0, 0, 0)
        var index = 0
        while position < bytes.endIndex {
            let byte = bytes[position]
            bytes.formIndex(after: &position)
            if byte == UInt8(ascii: " ") { break }
            if byte == UInt8(ascii: ":") {
                index += 1
            } else {
                let digit = Int64(byte) - 0x30
                switch index {
                case 0: numbers.0 = numbers.0 &* 10 &+ digit
                case 1: numbers.1 = numbers.1 &* 10 &+ digit
                case 2: numbers.2 = numbers.2 &* 10 &+ digit
                case 3: numbers.3 = numbers.3 &* 10 &+ digit
                default: numbers.4 = numbers.4 &* 10 &+ digit
                }
            }
        }
        let order = OrderID(sale: sale, sequence: numbers.0)
        switch kind {
        case UInt8(ascii: "a"):
            return .success(
                .accepted(
                    Acceptance(
                        order: order, ticket: numbers.1, remaining: numbers.2, allowance: index >= 3 ? numbers.3 : nil,
                        slot: index >= 4 ? numbers.4 : nil)))
        case UInt8(ascii: "r"):
            return .success(.repeated(Acceptance(order: order, ticket: numbers.1, remaining: nil)))
        case UInt8(ascii: "d"): return .success(.refused(.duplicate, order: order))
        case UInt8(ascii: "s"): return .success(.refused(.soldOut, order: nil))
        case UInt8(ascii: "x"): return .success(.refused(.cancelled, order: nil))
        case UInt8(ascii: "n"): return .success(.refused(.notOpen, order: nil))
        case UInt8(ascii: "c"): return .success(.refused(.closed, order: nil))
        case UInt8(ascii: "p"): return .success(.refused(.notAdmitted, order: nil))
        case UInt8(ascii: "j"): return .success(.refused(.rejected, order: nil))
        default: return .failure(Outage(.redis, "an unknown answer to a claim"))
        }
    }
}
