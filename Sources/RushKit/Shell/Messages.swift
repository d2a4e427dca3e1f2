/// What a part is to do; the first line that it gets.
struct Job: Codable, Sendable {
    let options: Options
    /// Which part, and of how many: it has the clients whose number leaves this remainder.
    let part: Int
    let parts: Int
    /// See `Buyer.Plan`.
    let run: String
    let sales: [String]
    /// What signs the buyers' tokens; nil: they are asked of the server, with this key.
    let secret: String?
    let key: String
    /// Points that each buyer needs; 0: none.
    let points: Int64
    /// How many a client may have of each sale.
    let limits: [Int64]
    /// The waiting room that all go through.
    let line: LineTruth?
    /// The performance whose seats all want, and its room.
    var seats: SeatJob?
}

/// What a part has to know of the seats that are wanted.
struct SeatJob: Codable, Sendable {
    let performance: String
    let room: String
    let options: SeatOptions
    /// See `SeatTruth`.
    let clockTolerance: Int64
}

/// What the whole says to a part after its job.
enum Instruction: Codable, Sendable {
    /// Everybody is connected: claims begin at this moment of the monotonic clock, in nanoseconds.
    case go(at: UInt64)
    /// Time is up: nothing new is claimed; what is on its way is waited for.
    case windDown
    /// All is over: report.
    case stop
}

/// What a part says to the whole.
enum Message: Codable, Sendable {
    /// It lives; how far it is.
    case progress(Progress)
    /// All its clients are connected.
    case ready
    /// All its buyers' claims are answered and settled; where nobody buys, all who watch were answered.
    case settled
    /// Everything, after it was told to stop.
    case done(Tally)
    /// It can't go on.
    case failed(String)
}
