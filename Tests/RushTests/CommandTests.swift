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

    @Test func partOfARun() { #expect(Command(["--part"]) == .part) }

    @Test(arguments: [
        "--buyers", "--buyers x", "--buyers -1", "--buyers 1000001", "--buyers 0", "--rate 0", "--rate x", "--limit 0",
        "--instances ftp://a", "--instances ,", "--instances http://", "--sale x", "--sale 0", "--sale ,", "--frogs 3",
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
}
