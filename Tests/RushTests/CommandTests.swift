import Testing

@testable import RushKit

struct CommandTests {
    private func options(_ arguments: String, _ environment: [String: String] = [:]) -> Options? {
        guard case .run(let options) = Command(words(arguments), environment: environment) else { return nil }
        return options
    }

    private func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }

    @Test func nothingSaid() {
        #expect(options("") == Options())
        #expect(options("")?.buyers == 1000)
        #expect(options("")?.quantity == 100)
    }

    @Test func everythingSaid() {
        let text =
            "--buyers 20 --quantity=7 --price 3 --limit 2 --claims 4 --rate 1.5 --watchers 9 --processes 3 "
            + "--timeout 8 --json - --connect-only --instances http://a:1/,http://b:2"
        var expected = Options()
        expected.buyers = 20
        expected.quantity = 7
        expected.price = 3
        expected.limit = 2
        expected.claims = 4
        expected.rate = 1.5
        expected.watchers = 9
        expected.processes = 3
        expected.timeout = 8
        expected.json = "-"
        expected.connectOnly = true
        expected.instances = ["http://a:1", "http://b:2"]
        #expect(options(text) == expected)
        #expect(expected.clients == 29)
    }

    @Test func salesThatExist() {
        #expect(options("--sale 42")?.sales == ["42"])
        #expect(options("--sale 42,7")?.sales == ["42", "7"])
    }

    @Test func whereTheServerIs() {
        #expect(options("", ["DIBS_URL": "http://c:3"])?.instances == ["http://c:3"])
        #expect(options("--instances http://d:4", ["DIBS_URL": "http://c:3"])?.instances == ["http://d:4"])
        #expect(options("", ["DIBS_URL": ""])?.instances == Options().instances)
    }

    @Test(arguments: ["--help", "-h", "--buyers 3 --help"])
    func help(text: String) {
        #expect(Command(words(text)) == .help)
        for option in ["--buyers", "--sale", "--rate", "--instances", "--json"] {
            #expect(Command.helpText.contains(option))
        }
    }

    @Test func aRoom() {
        let text =
            "--room noon --max-active 5 --pass-seconds 6 --admit-per-minute 7 --grace-seconds 8 --ordering random "
            + "--leave 10 --vanish 20 --return 30 --poll 40 --join-rate 2.5 --depart-after 0.5 "
            + "--open-after 4"
        var expected = LineOptions()
        expected.room = "noon"
        expected.maxActive = 5
        expected.passSeconds = 6
        expected.admitPerMinute = 7
        expected.graceSeconds = 8
        expected.ordering = "random"
        expected.leave = 10
        expected.vanish = 20
        expected.comeBack = 30
        expected.poll = 40
        expected.joinRate = 2.5
        expected.departAfter = 0.5
        expected.openAfter = 4
        #expect(options(text)?.line == expected)
        expected = LineOptions()
        expected.room = "main"
        #expect(options("--room main")?.line == expected)
        expected.claims = false
        #expect(options("--no-claim --room=main")?.line == expected)
    }

    @Test func everyHundredAreMixedAlike() {
        var line = LineOptions()
        (line.leave, line.vanish, line.comeBack, line.poll) = (10, 20, 30, 15)
        for start in [0, 100, 4700] {
            let manners = (start..<start + 100).map(line.manner)
            #expect(manners.count { $0 == .leaves } == 10)
            #expect(manners.count { $0 == .vanishes } == 20)
            #expect(manners.count { $0 == .returns } == 30)
            #expect(manners.count { $0 == .polls } == 15)
            // Of each kind about half on either of two instances.
            let even = stride(from: 0, to: 100, by: 2).map { manners[$0] }
            #expect(even.count { $0 == .returns } == 15)
        }
    }

    @Test func partOfARun() { #expect(Command(["--part"]) == .part) }

    @Test(arguments: [
        "--buyers", "--buyers x", "--buyers -1", "--buyers 1000001", "--buyers 0", "--rate 0", "--rate x", "--limit 0",
        "--instances ftp://a", "--instances ,", "--instances http://", "--sale x", "--sale 0", "--sale ,", "--frogs 3",
        "--room", "--room ü", "--leave 10", "--no-claim", "--room r --rate 5", "--room r --echo",
        "--room r --leave 101", "--room r --leave 50 --poll 51", "--room r --ordering lifo",
        "--room r --max-active 0", "--room r --join-rate 0",
        "--room r --depart-after -1", "--room r --no-claim --quantity 5", "--room r --no-claim --sale 5",
        "--room r --sale 5 --open-after 3", "--room r --no-claim --open-after 3",
        "--room r --no-claim --watchers 1", "--room r --return 1 --grace-seconds 0", "--room r --connect-only",
        "frogs", "--sale 3 --quantity 5", "--sale 3 --price 5", "--limit 2 --sale 3",
    ])
    func mistakes(text: String) {
        guard case .usage(let words) = Command(words(text)) else {
            Issue.record("taken: \(text)")
            return
        }
        #expect(!words.isEmpty)
    }

    @Test func aMistakeInTheEnvironment() {
        guard case .usage(let words) = Command([], environment: ["DIBS_URL": "nowhere"]) else {
            Issue.record("taken")
            return
        }
        #expect(words.contains("DIBS_URL"))
    }

    @Test func seats() {
        let text =
            "--seats 50 --pair --buyers 9 --pay 40 --unpaid release --hold-seconds 7 --think 0.5 --watch 20 "
            + "--compact --poll 10 --join-rate 5 --price 4 --watchers 2"
        var seats = SeatOptions()
        (seats.seats, seats.want, seats.pay, seats.unpaid) = (50, .pair, 40, .release)
        (seats.holdSeconds, seats.think, seats.watch, seats.isCompact, seats.poll) = (7, 0.5, 20, true, 10)
        #expect(options(text)?.seats == seats)
        #expect(options(text)?.rate == 5 && options(text)?.price == 4 && options(text)?.line == nil)
        #expect(options("--seats 9")?.price == 1 && options("--seats 9")?.seats?.want == .any)
        #expect(options("--seats 9 --one --claims 3")?.claims == 3)
        #expect(options("--seats 30 --own --buyers 10 --claims 3 --watchers 1 --follow")?.isFollowed == true)
    }

    @Test(arguments: [
        "--pair", "--pay 3", "--seats 0", "--seats 100001", "--seats 9 --room r", "--seats 9 --sale 3",
        "--seats 9 --quantity 3", "--seats 9 --pair --one", "--seats 9 --claims 2", "--seats 1 --pair",
        "--seats 29 --own --buyers 10 --claims 3", "--seats 9 --unpaid maybe", "--seats 9 --pay 101",
        "--seats 9 --max-active 3", "--seats 9 --rate 3", "--follow", "--seats 9 --watchers 3 --follow",
        "--watchers 3 --follow --claims 2",
    ])
    func wrongOptionsOfSeats(text: String) {
        guard case .usage = Command(words(text)) else { return #expect(Bool(false), "\(text)") }
    }

    @Test func everyHundredBuyersHaveAsManyOfAKind() {
        for kind in 0..<4 {
            for percent in [0, 1, 20, 99, 100] {
                #expect((300..<400).count { SeatOptions.isAmong(percent, $0, kind: kind) } == percent)
            }
        }
    }
}
