import Engine
import EventLoop
import Model

/// What a room's numbers are, and how far they are from each other.
struct RoomAudit {
    let room: RoomID
    let numbers: RoomNumbers
    let drift: Int64
}

/// Looks whether a waiting room agrees with itself: PostgreSQL knows its limits only. Each look is at one instant, so
/// nothing of what it finds is on its way.
@LoopActor
final class RoomComparison {
    private let room: RoomID
    private let engine: Engine
    private let pace: ComparisonPace
    /// A page may be read twice, and a pass from two sides.
    private var seen: Set<String> = []
    /// What is wrong.
    private(set) var list: DriftList
    var drifts: [Drift] { list.drifts }
    /// Clients that were looked at.
    private(set) var compared: Int64 = 0

    init(_ room: RoomID, engine: Engine, pace: ComparisonPace = ComparisonPace()) {
        self.pace = pace
        list = DriftList(keepsAll: pace.keepsAll)
        self.room = room
        self.engine = engine
    }

    /// Looks at all of it; nil when Redis doesn't know the room.
    /// - Throws: `unavailable` while its line is put together after a loss of Redis.
    func run() async throws -> RoomAudit? {
        guard let numbers = try await engine.auditNumbers(of: room) else { return nil }
        guard !numbers.isRecalling else { throw Self.recalling }
        compared = numbers.members + numbers.active
        try await checkCapacity(numbers)
        checkCounts(numbers)
        var number: Int64? = numbers.head + 1
        while let from = number {
            let page = try await engine.auditLine(of: room, from: from)
            add(page.wrong)
            number = page.next
            try await pace.pause()
        }
        for what in ["active", "passes", "owners"] {
            var cursor: String? = "0"
            while let from = cursor {
                let page = try await engine.auditPasses(of: room, what, from: from)
                add(page.wrong)
                cursor = page.next
                try await pace.pause()
            }
        }
        guard let last = try await engine.auditNumbers(of: room) else { return nil }
        guard !last.isRecalling else { throw Self.recalling }
        return RoomAudit(room: room, numbers: numbers, drift: list.sum)
    }

    private static var recalling: WireError { WireError(.unavailable, "the line is being put together") }

    /// Looks at the numbers only.
    func runNumbers() async throws {
        if let numbers = try await engine.auditNumbers(of: room), !numbers.isRecalling { checkCounts(numbers) }
    }

    /// More than may be are admitted. Where the limit was lowered, those who were in stay: then it is one admission more,
    /// above the limit, that is wrong.
    private func checkCapacity(_ before: RoomNumbers) async throws {
        guard before.active > before.maxActive else { return }
        var wrong = before.version <= 1
        if !wrong {
            await EventLoop.sleep(milliseconds: SaleComparison.pauseMilliseconds)
            guard let now = try await engine.auditNumbers(of: room) else { return }
            wrong =
                now.version == before.version && now.active > now.maxActive && now.admittedEver > before.admittedEver
        }
        guard wrong else { return }
        list.add(
            Drift(
                kind: .roomOverCapacity, room: room, redis: "\(before.active) admitted, \(before.maxActive) may be",
                amount: before.active - before.maxActive))
    }

    private func checkCounts(_ numbers: RoomNumbers) {
        func compare(_ first: Int64, _ second: Int64, _ text: String) {
            guard first != second else { return }
            list.add(Drift(kind: .roomCount, room: room, redis: text, amount: abs(first - second)))
        }
        let places = numbers.next - numbers.head
        if !numbers.isDrawing {
            compare(
                numbers.members, places - numbers.gone,
                "\(numbers.members) wait, the line has \(places) places and \(numbers.gone) left")
            compare(numbers.lineLength, places, "the line has \(numbers.lineLength) names for \(places) places")
        }
        compare(
            numbers.active, numbers.passes, "\(numbers.active) are admitted, there are \(numbers.passes) passes")
        compare(
            numbers.passes, numbers.owners, "there are \(numbers.passes) passes, and owners of \(numbers.owners)")
    }

    private func add(_ wrong: [(client: ClientID, fault: RoomFault)]) {
        for (client, fault) in wrong {
            let (kind, text): (DriftKind, String) =
                switch fault {
                case .place: (.roomPlace, "the line has it at a number that is not its own")
                case .presence: (.roomPresence, "waits, and nobody keeps its place")
                case .pass: (.roomPass, "admitted without a pass, or has a pass without being admitted")
                case .twice: (.roomPlace, "admitted, and waits too")
                case .owner: (.roomPass, "its pass has another owner")
                }
            let drift = Drift(kind: kind, room: room, client: client, redis: text)
            guard seen.count < pace.suspects, seen.insert(drift.identity).inserted else { continue }
            list.add(drift)
        }
    }
}
