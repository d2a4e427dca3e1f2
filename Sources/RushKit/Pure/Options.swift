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

    /// How many connections there are in all.
    public var clients: Int { buyers + watchers }
}

/// What the command line asks for.
public enum Command: Equatable, Sendable {
    /// The usual.
    case run(Options)
    /// Part of a run, started by a `rush`; its job comes over standard input.
    case part
    /// Words about the options.
    case help
    /// A mistake, in words.
    case usage(String)
}

extension Command {
    /// Reads a command line, without the program's name.
    ///
    /// `DIBS_URL` of the environment is where the server is when the options don't say.
    public init(_ arguments: [String], environment: [String: String] = [:]) {
        do throws(Mistake) {
            self = try Command.parse(arguments, environment)
        } catch {
            self = .usage(error.words)
        }
    }

    private struct Mistake: Error {
        let words: String
    }

    private static func parse(_ arguments: [String], _ environment: [String: String]) throws(Mistake) -> Command {
        var options = Options()
        if let url = environment["DIBS_URL"], !url.isEmpty { options.instances = try urls(url, "DIBS_URL") }
        var rest = arguments[...]
        var given: Set<String> = []
        while let argument = rest.popFirst() {
            var name = argument
            var attached: String?
            if argument.hasPrefix("--"), let equals = argument.firstIndex(of: "=") {
                name = String(argument[..<equals])
                attached = String(argument[argument.index(after: equals)...])
            }
            func value() throws(Mistake) -> String {
                guard let value = attached ?? rest.popFirst() else { throw Mistake(words: "\(name) wants a value") }
                return value
            }
            given.insert(name)
            switch name {
            case "--help", "-h": return .help
            case "--part": return .part
            case "--connect-only": options.connectOnly = true
            case "--echo": options.echo = true
            case "--buyers": options.buyers = try number(value(), name, 0...1_000_000)
            case "--watchers": options.watchers = try number(value(), name, 0...1_000_000)
            case "--claims": options.claims = try number(value(), name, 1...1_000_000)
            case "--quantity": options.quantity = try number(value(), name, 1...10_000_000)
            case "--price": options.price = try number(value(), name, 0...1_000_000_000_000)
            case "--limit": options.limit = try number(value(), name, 1...1000)
            case "--processes": options.processes = try number(value(), name, 1...256)
            case "--timeout": options.timeout = try number(value(), name, 1...86_400)
            case "--rate": options.rate = try rate(value())
            case "--instances": options.instances = try urls(value(), name)
            case "--sale": options.sales = try sales(value())
            case "--json": options.json = try value()
            default: throw Mistake(words: "there is no option \(argument)")
            }
        }
        if !options.sales.isEmpty, let other = ["--quantity", "--price", "--limit"].first(where: given.contains) {
            throw Mistake(words: "\(other) is of a new sale, and --sale names one that exists")
        }
        if options.clients == 0 { throw Mistake(words: "nobody takes part: --buyers is 0, and so is --watchers") }
        return .run(options)
    }

    private static func number(_ text: String, _ name: String, _ range: ClosedRange<Int>) throws(Mistake) -> Int {
        guard let value = Int(text), range.contains(value) else {
            throw Mistake(words: "\(name) wants a number from \(range.lowerBound) to \(range.upperBound), not \(text)")
        }
        return value
    }

    private static func rate(_ text: String) throws(Mistake) -> Double {
        guard let value = Double(text), value > 0, value <= 10_000_000 else {
            throw Mistake(words: "--rate wants claims a second, above 0, not \(text)")
        }
        return value
    }

    private static func urls(_ text: String, _ name: String) throws(Mistake) -> [String] {
        let urls = text.split(separator: ",").map { url in
            String(url.hasSuffix("/") ? url.dropLast() : url)
        }
        guard !urls.isEmpty, urls.allSatisfy({ $0.hasPrefix("http://") && $0.utf8.count > 7 }) else {
            throw Mistake(words: "\(name) wants http://host:port, or several with commas between, not \(text)")
        }
        return urls
    }

    private static func sales(_ text: String) throws(Mistake) -> [String] {
        let sales = text.split(separator: ",").map(String.init)
        guard !sales.isEmpty, sales.allSatisfy({ Int64($0).map { $0 > 0 } ?? false }) else {
            throw Mistake(words: "--sale wants a sale's id, or several with commas between, not \(text)")
        }
        return sales
    }

    /// What ``help`` is answered by.
    public static let helpText = """
        Sends simulated buyers to a Dibs server, and checks what it told them against what it knows.

          rush [options]

          --buyers N         clients that claim (1000)
          --quantity N       registers a sale of so many (100), …
          --price P          … each for so many points (0), which the buyers get before, …
          --limit K          … at most so many for a client (1)
          --sale ID[,ID]     claims from these sales in turn, instead of a new one
          --claims N         each buyer claims so often, one claim after the other (1)
          --rate R           claims a second over all buyers; without it all claim at the same moment
          --watchers N       more clients, that only watch the sale and count what they are told (0)
          --instances URLS   where the servers are, separated by commas (DIBS_URL, else http://127.0.0.1:8080)
          --processes N      uses at least so many processes (1); there are more when one cannot hold its part
          --timeout S        seconds to connect in, and again until all is decided and settled (120)
          --connect-only     connects, says so, and leaves when standard input ends
          --echo             the server is bench/build/echo_lws: measures the generator itself
          --json FILE        writes the figures there as well; `-`: to standard output instead of the table
          --help             this

        DIBS_ADMIN_KEY registers the sale and reads the audit. DIBS_JWT_SECRET signs the buyers' tokens; without it the
        server is asked for them.

        Status 0: everything that was told is true. 1: it isn't, or something could not be done. 64: a wrong option.

        """
}
