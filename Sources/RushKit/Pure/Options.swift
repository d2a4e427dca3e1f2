/// What `rush` was asked to do.
public struct Options: Equatable, Sendable, Codable {
    /// How many clients claim.
    public var buyers = 1000
    /// How many clients only watch the sale.
    public var watchers = 0
    /// How many claims each buyer makes, one after the other, each with a key of its own.
    public var claims = 1
    /// The sales to claim from, in turn; empty: a new one is registered.
    public var sales: [String] = []
    /// Of the new sale: how many there are.
    public var quantity = 100
    /// Of the new sale: what one costs, in points.
    public var price = 0
    /// Of the new sale: how many a client may have.
    public var limit = 1
    /// Claims a second; nil: all at the same moment.
    public var rate: Double?
    /// The servers' URLs, without a slash at the end.
    public var instances = ["http://127.0.0.1:8080"]
    /// How many processes to use at least; more are used when these cannot hold all.
    public var processes = 1
    /// Seconds to connect in, and again to have every claim answered and every order settled in.
    public var timeout = 120
    /// Where the figures go as JSON; `-` is standard output, and the table is left out.
    public var json: String?
    /// Connect, say so, wait for the end of standard input, and leave.
    public var connectOnly = false
    /// The server only echoes, like `bench/echo_lws`: for finding out what the generator itself can do.
    public var echo = false

    /// The waiting room that the buyers go through; nil: they claim at once.
    public var line: LineOptions?

    /// The seats that the buyers want; nil: they claim from a sale.
    public var seats: SeatOptions?
    /// Whether each change is followed to the last watcher.
    public var isFollowed = false

    /// Whether the servers run on this machine, and so have its clock.
    var isLocal: Bool {
        instances.allSatisfy { url in
            ["http://127.", "http://localhost", "http://[::1]"].contains { url.hasPrefix($0) }
        }
    }

    /// How many clients there are in all.
    public var clients: Int { buyers + watchers }
    /// How many of them have a connection.
    var connections: Int {
        if let seats { return clients - (0..<buyers).count { SeatOptions.isAmong(seats.poll, $0, kind: 2) } }
        return clients - (line.map { line in (0..<buyers).count { line.manner(of: $0) == .polls } } ?? 0)
    }
}
