import Model

/// What a sale must do, in the plainest words: the engine is compared with it.
struct SaleModel {
    struct Owned: Equatable {
        var sequence: Int64
        var ticket: Int64
        var slot: Int64
        var isConfirmed: Bool
    }

    struct Entry {
        var client: String
        var sequence: Int64
        var isOpen = true
    }

    let sale: SaleID
    let quantity: Int64
    let limit: Int64
    let reject: Int64
    var window: SaleWindow
    var now: Int64

    private(set) var owned: [String: [Owned]] = [:]
    private(set) var keys: [String: Owned] = [:]
    private(set) var free: [Int64]
    private(set) var sequence = SaleEpoch.base(1)
    private(set) var counts = Counts()
    /// By the entry's number in the stream.
    private(set) var stream: [Int64: Entry] = [:]

    init(_ state: SaleState, now: Int64) {
        sale = state.sale.id
        quantity = state.sale.quantity
        limit = state.sale.perClientLimit
        reject = state.sale.rejectPercent
        window = state.window
        self.now = now
        free = Array(1...state.sale.quantity)
    }

    /// Tickets that came back are sold first, in the order in which they came; the rest by number.
    private var returned = 0

    var left: Int64 { Int64(free.count) }
    var unsettled: Int { stream.values.filter(\.isOpen).count }

    mutating func claim(_ client: String, key: String?, roll: Int64) -> ClaimDecision {
        if let key, let before = keys["\(client) \(key)"] {
            return .repeated(Acceptance(order: order(before.sequence), ticket: before.ticket, remaining: nil))
        }
        func decide() -> (Refusal, OrderID?)? {
            if window.isCancelled { return (.cancelled, nil) }
            if now < window.opensAt.milliseconds { return (.notOpen, nil) }
            if now >= window.closesAt.milliseconds { return (.closed, nil) }
            let mine = owned[client] ?? []
            if mine.count >= limit { return (.duplicate, order(mine.last!.sequence)) }
            if roll < reject { return (.rejected, nil) }
            if free.isEmpty { return (.soldOut, nil) }
            return nil
        }
        counts[.requests] += 1
        if let (refusal, order) = decide() {
            counts[.refused(refusal)] += 1
            return .refused(refusal, order: order)
        }
        counts[.accepted] += 1
        sequence += 1
        let got = take(for: client, sequence: sequence)
        if let key { keys["\(client) \(key)"] = got }
        stream[sequence] = Entry(client: client, sequence: sequence)
        return .accepted(
            Acceptance(
                order: order(got.sequence), ticket: got.ticket, remaining: left,
                allowance: limit - Int64(owned[client]!.count), slot: got.slot))
    }

    mutating func settle(entry: Int64, _ status: OrderStatus) {
        guard let found = stream[entry], found.isOpen else { return }
        stream[entry]?.isOpen = false
        if status == .confirmed {
            counts[.confirmed] += 1
            if let index = owned[found.client]?.firstIndex(where: { $0.sequence == found.sequence }) {
                owned[found.client]![index].isConfirmed = true
            }
        } else if giveBack(found.client, found.sequence) {
            // A replayed order that fails again has failed once.
            if status == .cancelled { counts[.cancelled] += 1 } else if entry == found.sequence { counts[.failed] += 1 }
        }
    }

    mutating func release(_ client: String, _ sequence: Int64) {
        if giveBack(client, sequence) { counts[.cancelled] += 1 }
    }

    mutating func retry(_ client: String, _ old: Int64) -> (ticket: Int64, entry: Int64)? {
        let mine = owned[client] ?? []
        guard !mine.contains(where: { $0.sequence == old }), !window.isCancelled, mine.count < limit, !free.isEmpty
        else { return nil }
        sequence += 1
        let got = take(for: client, sequence: old)
        stream[sequence] = Entry(client: client, sequence: old)
        return (got.ticket, sequence)
    }

    private func order(_ sequence: Int64) -> OrderID { OrderID(sale: sale, sequence: sequence) }

    private mutating func take(for client: String, sequence: Int64) -> Owned {
        let ticket = free.removeFirst()
        if returned > 0 { returned -= 1 }
        let taken = Set((owned[client] ?? []).map(\.slot))
        let slot = (1...limit).first { !taken.contains($0) }!
        let got = Owned(sequence: sequence, ticket: ticket, slot: slot, isConfirmed: false)
        owned[client, default: []].append(got)
        return got
    }

    private mutating func giveBack(_ client: String, _ sequence: Int64) -> Bool {
        guard let index = owned[client]?.firstIndex(where: { $0.sequence == sequence }) else { return false }
        let item = owned[client]!.remove(at: index)
        free.insert(item.ticket, at: returned)
        returned += 1
        return true
    }
}
