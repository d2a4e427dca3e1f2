import Model

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

    struct Mistake: Error {
        let words: String
    }

    private static func parse(_ arguments: [String], _ environment: [String: String]) throws(Mistake) -> Command {
        var options = Options()
        if let url = environment["DIBS_URL"], !url.isEmpty { options.instances = try urls(url, "DIBS_URL") }
        var rest = arguments[...]
        var line = LineOptions()
        var seats = SeatOptions()
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
            if let change = try lineOption(name, value) {
                change(&line)
                continue
            }
            if let change = try seatOption(name, value) {
                change(&seats)
                continue
            }
            switch name {
            case "--help", "-h": return .help
            case "--part": return .part
            case "--connect-only": options.connectOnly = true
            case "--echo": options.echo = true
            case "--follow": options.isFollowed = true
            case "--buyers": options.buyers = try number(value(), name, 0...1_000_000)
            case "--watchers": options.watchers = try number(value(), name, 0...1_000_000)
            case "--claims": options.claims = try number(value(), name, 1...1_000_000)
            case "--quantity": options.quantity = try number(value(), name, 1...10_000_000)
            case "--price": options.price = try number(value(), name, 0...1_000_000_000_000)
            case "--limit": options.limit = try number(value(), name, 1...1000)
            case "--processes": options.processes = try number(value(), name, 1...256)
            case "--timeout": options.timeout = try number(value(), name, 1...86_400)
            case "--rate": options.rate = try rate(value(), name, "claims")
            case "--instances": options.instances = try urls(value(), name)
            case "--sale": options.sales = try sales(value())
            case "--json": options.json = try value()
            default: throw Mistake(words: "there is no option \(argument)")
            }
        }
        if !options.sales.isEmpty, let other = ["--quantity", "--price", "--limit"].first(where: given.contains) {
            throw Mistake(words: "\(other) is of a new sale, and --sale names one that exists")
        }
        if let words = seatMistake(options, seats, given) ?? mistake(line, given) { throw Mistake(words: words) }
        if given.contains("--seats") {
            seats.poll = line.poll
            options.rate = line.joinRate
            if !given.contains("--price") { options.price = 1 }
            options.seats = seats
        }
        if given.contains("--room") { options.line = line }
        if options.clients == 0 { throw Mistake(words: "nobody takes part: --buyers is 0, and so is --watchers") }
        return .run(options)
    }

    /// What an option about the room changes; nil when the option is about something else.
    private static func lineOption(
        _ name: String, _ value: () throws(Mistake) -> String
    ) throws(Mistake) -> ((inout LineOptions) -> Void)? {
        func number(_ range: ClosedRange<Int>) throws(Mistake) -> Int { try self.number(value(), name, range) }
        switch name {
        case "--room":
            let room = try value()
            guard RoomID(room) != nil else {
                throw Mistake(words: "--room wants 1 to 64 characters of A-Za-z0-9._:-, not \(room)")
            }
            return { $0.room = room }
        case "--max-active":
            let most = try number(1...1_000_000)
            return { $0.maxActive = most }
        case "--pass-seconds":
            let seconds = try number(1...86_400)
            return { $0.passSeconds = seconds }
        case "--admit-per-minute":
            let pace = try number(1...10_000_000)
            return { $0.admitPerMinute = pace }
        case "--grace-seconds":
            let seconds = try number(0...86_400)
            return { $0.graceSeconds = seconds }
        case "--ordering":
            let text = try value()
            guard let ordering = RoomOrdering(rawValue: text) else {
                let all = RoomOrdering.allCases.map(\.rawValue).joined(separator: ", ")
                throw Mistake(words: "--ordering wants one of \(all), not \(text)")
            }
            return { $0.ordering = ordering.rawValue }
        case "--no-claim": return { $0.claims = false }
        case "--open-after":
            let seconds = try number(0...86_400)
            return { $0.openAfter = seconds }
        case "--leave":
            let percent = try number(0...100)
            return { $0.leave = percent }
        case "--vanish":
            let percent = try number(0...100)
            return { $0.vanish = percent }
        case "--return":
            let percent = try number(0...100)
            return { $0.comeBack = percent }
        case "--poll":
            let percent = try number(0...100)
            return { $0.poll = percent }
        case "--join-rate":
            let rate = try rate(value(), name, "joins")
            return { $0.joinRate = rate }
        case "--depart-after":
            let text = try value()
            guard let seconds = Double(text), (0...86_400).contains(seconds) else {
                throw Mistake(words: "--depart-after wants seconds from 0 to 86400, not \(text)")
            }
            return { $0.departAfter = seconds }
        default: return nil
        }
    }

    /// What does not go together.
    private static func mistake(_ line: LineOptions, _ given: Set<String>) -> String? {
        guard given.contains("--room") else {
            let option = LineOptions.names.first { given.contains($0) && !isOfSeats($0, given) }
            return option.map { "\($0) is about a waiting room: --room names it" }
        }
        if let other = ["--rate", "--echo", "--connect-only"].first(where: given.contains) {
            return "\(other) does not go with --room" + (other == "--rate" ? "; --join-rate does" : "")
        }
        if given.contains("--sale") && given.contains("--open-after") {
            return "--open-after is of a new sale, and --sale names one that exists"
        }
        let ofSales = ["--open-after", "--sale", "--quantity", "--price", "--limit", "--claims", "--watchers"]
        if !line.claims, let other = ofSales.first(where: given.contains) {
            return "\(other) is about a sale, and with --no-claim there is none"
        }
        let percent = line.leave + line.vanish + line.comeBack + line.poll
        if percent > 100 { return "--leave, --vanish, --return and --poll are \(percent) % together: 100 is all" }
        if line.comeBack > 0, line.graceSeconds == 0 { return "nobody can --return when --grace-seconds is 0" }
        return nil
    }

    /// `--poll` and `--join-rate` are for buyers of seats too.
    private static func isOfSeats(_ name: String, _ given: Set<String>) -> Bool {
        given.contains("--seats") && (name == "--poll" || name == "--join-rate")
    }

    static func number(_ text: String, _ name: String, _ range: ClosedRange<Int>) throws(Mistake) -> Int {
        guard let value = Int(text), range.contains(value) else {
            throw Mistake(words: "\(name) wants a number from \(range.lowerBound) to \(range.upperBound), not \(text)")
        }
        return value
    }

    private static func rate(_ text: String, _ name: String, _ what: String) throws(Mistake) -> Double {
        guard let value = Double(text), value > 0, value <= 10_000_000 else {
            throw Mistake(words: "\(name) wants \(what) a second, above 0, not \(text)")
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
          --follow           measures how long each change takes to the last watcher
          --echo             the server is bench/build/echo_lws: measures the generator itself
          --json FILE        writes the figures there as well; `-`: to standard output instead of the table
          --help             this

        Through a waiting room: the buyers join its line, are told their rank as it falls, and claim when they are admitted.

          --room NAME        the room; it is created when there is none of that name, …
          --max-active N     … with so many admitted at most at any moment (100), …
          --pass-seconds N   … each for so long (300), …
          --admit-per-minute N  … and no more than so many in a minute (without it: as places fall free), …
          --grace-seconds N  … with places that are kept so long for who is away (30), …
          --ordering ORDER   … and admitted in this order: fifo, random, passthrough or reject (fifo)
          --join-rate R      joins a second; without it all join at the same moment
          --open-after S     the new sale opens so long after its registration (0); lots are drawn then
          --no-claim         whoever is admitted holds the pass until it ends; there is no sale
          --leave PERCENT    so many of the buyers leave the line in the middle, …
          --vanish PERCENT   … close their connection there and never come back, …
          --return PERCENT   … or come back in time, on another instance when there are several
          --depart-after S   these go so long after their join, instead of somewhere in the middle of the line
          --poll PERCENT     so many ask for their place over REST instead of being told

        For seats: the buyers get a pass of a room with place for all, hold seats, and pay for them.

          --seats N          makes a performance of so many seats, each for --price (1) points
          --pair             each wants two neighbours, until it has them or none are left; without it one seat
          --one              all want the same seat, each --claims times
          --own              each wants --claims seats that nobody else wants, one after the other
          --pay PERCENT      so many of those who hold pay for it (100), …
          --unpaid WAY       … the others: release, expire, mixed, or keep what they hold to the run's end (mixed)
          --hold-seconds S   how long a hold lasts (30)
          --think S          who holds seats thinks for up to so long before it pays or gives them back (0)
          --watch PERCENT    so many of the buyers watch the seats (0); --watchers only watch
          --compact          those who only watch ask for one letter a seat
          --poll PERCENT     so many of the buyers have no connection, and do all of it over REST (0)
          --join-rate R      buyers that begin in a second; without it all begin at the same moment

        DIBS_ADMIN_KEY registers the sale and the room, and reads the audit. DIBS_JWT_SECRET signs the buyers' tokens; without
        it the server is asked for them.

        Status 0: everything that was told is true. 1: it isn't, or something could not be done. 64: a wrong option.

        """
}
