import EventLoop
import Foundation
import Gateway
import Glibc
import TestServices
import Testing

/// `rush` as it is built, against servers as they are built.
@Suite(.timeLimit(.minutes(2 * patience)))
struct WholeRunTests {
    init() { EventLoop.startInBackground() }

    private static let adminKey = "admin-key-of-a-test"
    private static let secret = "jwt-secret-of-a-test"

    /// Two instances, and what they need.
    private struct Place {
        let redis: RedisServer
        let postgres: PostgresServer
        let instances: [DibsProcess]

        @LoopActor var urls: String { instances.map { $0.url }.joined(separator: ",") }

        @LoopActor
        init() async throws {
            redis = try await RedisServer.start(RedisServer.Options())
            postgres = try await PostgresServer.shared()
            let environment = [
                "DIBS_LISTEN": "127.0.0.1:0", "DIBS_REDIS_URL": redis.url,
                "DIBS_DATABASE_URL": try await postgres.makeDatabase(), "DIBS_ADMIN_KEY": adminKey,
                "DIBS_SERVICE_KEY": "service-key-of-a-test", "DIBS_JWT_SECRET": secret, "DIBS_RATE_LIMIT": "off",
            ]
            instances = [
                try await DibsProcess.serve(environment: environment),
                try await DibsProcess.serve(environment: environment),
            ]
        }
    }

    @LoopActor private func rush(_ arguments: String, secret: String = WholeRunTests.secret) throws -> Program {
        let path = (DibsProcess.path as NSString).deletingLastPathComponent + "/rush"
        return try Program(
            path, arguments.split(separator: " ").map(String.init),
            environment: ["DIBS_ADMIN_KEY": WholeRunTests.adminKey, "DIBS_JWT_SECRET": secret])
    }

    /// Its figures, and its status.
    @LoopActor private func run(_ arguments: String, secret: String = WholeRunTests.secret) async throws -> (
        JSON, Int64
    ) {
        let program = try rush("--json - " + arguments, secret: secret)
        let exit = try await program.waitForExit()
        return (JSON(parsing: (program.output.items.last ?? "").utf8) ?? .null, exit.status)
    }

    @Test @LoopActor func moreBuyersThanTickets() async throws {
        let place = try await Place()
        let (figures, status) = try await run("--buyers 300 --quantity 30 --processes 2 --instances \(place.urls)")
        #expect(status == 0, "\(figures)")
        #expect(figures["holds"].isTrue && figures["processes"] == 2 && figures["instances"] == 2)
        #expect(figures["outcomes"] == ["accepted": 30, "sold_out": 270])
        #expect(figures["sales"][0]["confirmedAfter"] == 30)
        #expect(figures["faults"] == [:])
    }

    @Test @LoopActor func buyersWhoPayClaimTwiceAndAreWatched() async throws {
        let place = try await Place()
        let (figures, status) = try await run(
            "--buyers 20 --claims 2 --limit 2 --quantity 30 --price 5 --rate 500 --watchers 3 --instances \(place.urls)",
            secret: "")
        #expect(status == 0, "\(figures)")
        #expect(figures["outcomes"] == ["accepted": 30, "sold_out": 10])
        #expect((figures["watched"].integer ?? 0) >= 3)
    }

    /// Some hundred, of every kind: whatever the machine's pace is, what is checked has to be true.
    @Test @LoopActor func throughAWaitingRoom() async throws {
        let place = try await Place()
        let (figures, status) = try await run(
            "--room noon --buyers 300 --quantity 90 --max-active 20 --pass-seconds 5 --grace-seconds 5 "
                + "--leave 10 --vanish 10 --return 20 --poll 10 --depart-after 0 --processes 2 --instances \(place.urls)"
        )
        #expect(status == 0, "\(figures)")
        #expect(figures["faults"] == [:] && figures["outcomes"]["accepted"] == 90)
        let line = figures["line"]
        #expect(line["joined"] == 300 && line["rejected"] == 0 && line["risen"] == 0 && line["lostPlaces"] == 0)
        // Whoever was due to go may have been admitted before.
        #expect((210...300).contains(line["admitted"].integer ?? 0))
        #expect((1...30).contains(line["left"].integer ?? 0) && (1...30).contains(line["vanished"].integer ?? 0))
        #expect((line["ranks"].integer ?? 0) > 0 && (line["polls"].integer ?? 0) > 0)
        #expect((line["mostAtOnce"].integer ?? 99) <= 20)
    }

    @Test @LoopActor func inTheOrderOfJoiningAndToTheEndOfThePass() async throws {
        let place = try await Place()
        let (figures, status) = try await run(
            "--room quiet --no-claim --buyers 120 --max-active 40 --pass-seconds 1 --join-rate 400 "
                + "--instances \(place.urls)")
        #expect(status == 0, "\(figures)")
        #expect(figures["line"]["admitted"] == 120 && figures["line"]["expired"] == 120 && figures["sales"] == [])
    }

    @Test @LoopActor func aRoomThatLetsNobodyIn() async throws {
        let place = try await Place()
        let (figures, status) = try await run(
            "--room shut --ordering reject --no-claim --buyers 20 --poll 50 --instances \(place.urls)")
        #expect(status == 0, "\(figures)")
        #expect(figures["line"]["rejected"] == 20 && figures["line"]["joined"] == 0)
        // The room is there now, and is another one.
        #expect(try await rush("--room shut --ordering fifo --instances \(place.urls)").waitForExit().status == 1)
    }

    /// Of every kind: over both ways, watching or not, paying, giving back, running out.
    @Test @LoopActor func pairsOfSeats() async throws {
        let place = try await Place()
        let (figures, status) = try await run(
            "--seats 60 --pair --buyers 200 --price 3 --pay 60 --hold-seconds 2 --think 0.5 --watch 30 --poll 20 "
                + "--watchers 5 --processes 2 --instances \(place.urls)")
        #expect(status == 0, "\(figures)")
        #expect(figures["faults"] == [:])
        let seats = figures["seats"]
        #expect((10...30).contains(seats["paid"].integer ?? 0) && seats["kept"] == 0)
        #expect((seats["released"].integer ?? 0) + (seats["expired"].integer ?? 0) > 0)
        #expect(seats["audit"]["drift"] == 0 && seats["audit"]["sold"] == seats["audit"]["soldInDatabase"])
    }

    @Test @LoopActor func allWantTheSameSeatAndAreWatched() async throws {
        let place = try await Place()
        let (figures, status) = try await run(
            "--seats 20 --one --claims 3 --buyers 60 --instances \(place.urls)")
        #expect(status == 0, "\(figures)")
        #expect(figures["outcomes"]["held"] == 1 && figures["seats"]["paid"] == 1)
        #expect((figures["outcomes"]["seat_taken"].integer ?? 0) >= 59)
        // Each its own, and every change reaches every watcher.
        let (own, good) = try await run(
            "--seats 5000 --own --buyers 10 --claims 2 --pay 0 --unpaid keep --watchers 20 --follow "
                + "--instances \(place.urls)")
        #expect(good == 0, "\(own)")
        #expect(own["followed"] == 20 && own["seats"]["kept"] == 20 && own["seats"]["audit"]["held"] == 20)
    }

    @Test @LoopActor func manyWhoWatchAtOnce() async throws {
        let place = try await Place()
        let (figures, status) = try await run(
            "--seats 100000 --buyers 0 --watchers 20 --compact --instances \(place.urls)")
        #expect(status == 0, "\(figures)")
        #expect((100_000...101_000).contains(figures["seats"]["firstAnswerBytes"].integer ?? 0))
    }

    @Test @LoopActor func aServerThatIsGoneIsNoSuccess() async throws {
        let place = try await Place()
        let program = try rush("--buyers 40 --quantity 40 --rate 4 --timeout 6 --instances \(place.urls)")
        _ = try await program.errors.next("buyers that claim") { $0.contains("decided") }
        for instance in place.instances { instance.signal(SIGKILL) }
        #expect(try await program.waitForExit().status == 1)
        let said = program.output.items + program.errors.items
        #expect(said.contains { $0.hasPrefix("  FALSE every claim was answered") }, "\(said.joined(separator: "\n"))")
    }

    @Test @LoopActor func wrongOptions() async throws {
        #expect(try await rush("--frogs 3").waitForExit().status == 64)
        #expect(try await rush("--help").waitForExit().status == 0)
        #expect(try await rush("--instances http://127.0.0.1:1").waitForExit().status == 1)
    }
}
