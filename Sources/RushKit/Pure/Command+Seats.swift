/// The options about seats.
extension Command {
    /// What an option about seats changes; nil when the option is about something else.
    static func seatOption(
        _ name: String, _ value: () throws(Mistake) -> String
    ) throws(Mistake) -> ((inout SeatOptions) -> Void)? {
        switch name {
        case "--seats":
            let seats = try number(value(), name, 1...100_000)
            return { $0.seats = seats }
        case "--pair": return { $0.want = .pair }
        case "--one": return { $0.want = .one }
        case "--own": return { $0.want = .own }
        case "--pay":
            let percent = try number(value(), name, 0...100)
            return { $0.pay = percent }
        case "--unpaid":
            let text = try value()
            guard let way = SeatOptions.Unpaid(rawValue: text) else {
                let all = SeatOptions.Unpaid.allCases.map(\.rawValue).joined(separator: ", ")
                throw Mistake(words: "--unpaid wants one of \(all), not \(text)")
            }
            return { $0.unpaid = way }
        case "--hold-seconds":
            let seconds = try number(value(), name, 1...86_400)
            return { $0.holdSeconds = seconds }
        case "--think":
            let text = try value()
            guard let seconds = Double(text), (0...86_400).contains(seconds) else {
                throw Mistake(words: "--think wants seconds from 0 to 86400, not \(text)")
            }
            return { $0.think = seconds }
        case "--watch":
            let percent = try number(value(), name, 0...100)
            return { $0.watch = percent }
        case "--compact": return { $0.isCompact = true }
        default: return nil
        }
    }

    /// What does not go together.
    static func seatMistake(_ options: Options, _ seats: SeatOptions, _ given: Set<String>) -> String? {
        if given.contains("--follow"), options.watchers == 0 { return "--follow needs --watchers" }
        guard given.contains("--seats") else {
            if given.contains("--follow"), options.sales.count > 1 || options.claims > 1 {
                return "--follow wants one sale, and one claim of each buyer"
            }
            return SeatOptions.names.first(where: given.contains).map { "\($0) is about seats: --seats says how many" }
        }
        let others = ["--room", "--sale", "--quantity", "--limit", "--echo", "--connect-only", "--rate"]
        if let other = others.first(where: given.contains) {
            return "\(other) does not go with --seats" + (other == "--rate" ? "; --join-rate does" : "")
        }
        if ["--pair", "--one", "--own"].count(where: given.contains) > 1 {
            return "--pair, --one and --own exclude one another"
        }
        if given.contains("--claims"), seats.want == .any || seats.want == .pair {
            return "--claims goes with --one and --own: the others go on until they have what they want"
        }
        if seats.want == .own, options.claims * options.buyers > seats.seats {
            return "--own wants \(options.claims * options.buyers) seats, and there are \(seats.seats)"
        }
        if seats.want == .pair, seats.seats < 2 { return "there is no pair among 1 seat" }
        if given.contains("--follow"), seats.want != .own {
            return "--follow goes with --own, where each hold is of its own seat"
        }
        return nil
    }
}
