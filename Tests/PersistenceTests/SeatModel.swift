import Model

/// A plain model of what Redis does with a performance's seats, and of what PostgreSQL is told of it: every event goes
/// into a log that is delivered in any order, late, and more than once.
struct SeatModel {
    /// What Redis knows of a reservation, and what became of it in the end.
    struct Entry {
        let hold: Hold
        var status = ReservationStatus.held
        /// A payment has begun, and its end is not known.
        var isPaying = false
        var payment: Int64?
    }

    let performance: PerformanceID
    let price: Int64
    private(set) var free: Set<Int64>
    private(set) var entries: [Entry] = []
    private(set) var balances: [ClientID: Int64]
    /// What was not delivered yet, or may be delivered again.
    var undelivered: [ReservationEvent] = []

    init(_ performance: PerformanceID, seats: Int64, price: Int64, balances: [ClientID: Int64]) {
        self.performance = performance
        self.price = price
        self.balances = balances
        free = Set(1...seats)
    }

    /// Indices of the entries that are in a status, and have no payment under way unless that is asked for.
    func indices(_ status: ReservationStatus, paying: Bool = false) -> [Int] {
        entries.indices.filter { entries[$0].status == status && entries[$0].isPaying == paying }
    }

    mutating func hold(_ seats: [Int64], client: ClientID) {
        guard free.isSuperset(of: seats) else { return }
        free.subtract(seats)
        let hold = Hold.test(performance, Int64(entries.count + 1), seats: seats, client: client.rawValue)
        entries.append(Entry(hold: hold))
        undelivered.append(hold.event())
    }

    /// The deadline, or the client's wish, in Redis.
    mutating func end(_ index: Int, _ status: ReservationStatus) {
        entries[index].status = status
        free.formUnion(entries[index].hold.seats)
        undelivered.append(entries[index].hold.event(status))
    }

    mutating func beginPayment(_ index: Int) { entries[index].isPaying = true }

    /// What `pay` has to answer now.
    func canPay(_ index: Int) -> Bool {
        balances[entries[index].hold.client]! >= cost(index)
    }

    func cost(_ index: Int) -> Int64 { price * Int64(entries[index].hold.seats.count) }

    mutating func paid(_ index: Int, _ payment: Int64) {
        entries[index].isPaying = false
        entries[index].status = .paid
        entries[index].payment = payment
        balances[entries[index].hold.client]! -= cost(index)
    }

    mutating func refused(_ index: Int) { entries[index].isPaying = false }

    /// PostgreSQL closed it: the log does not say so.
    mutating func closed(_ index: Int) {
        entries[index].isPaying = false
        entries[index].status = .expired
        free.formUnion(entries[index].hold.seats)
    }

    mutating func refunded(_ index: Int) {
        entries[index].status = .released
        free.formUnion(entries[index].hold.seats)
        balances[entries[index].hold.client]! += cost(index)
    }
}
