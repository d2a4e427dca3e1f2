import EventLoop
import Gateway
import Model

/// A client of a part that only watches the seats of a performance. It keeps nothing but what it measures: the answer for
/// 100,000 seats is some megabytes, and thousands may come at once.
@LoopActor
final class SeatWatcher: Connecting {
    let index: Int
    let name: String
    private unowned let part: Part
    private let job: SeatJob
    private let isFollowed: Bool
    /// Whether it asks at the moment at which all begin, instead of when it is connected.
    private let waitsForBegin: Bool
    private var socket: WebSocketClient?
    private let pause = LoopTimer()
    private var backoff = Backoff(base: 500, cap: 5000)
    private var generation = 0
    private var isOpening = false
    private var askedAt: UInt64 = 0
    private var isAnswered = false
    private var answerBytes = 0
    private var wasConnected = false
    var isCounted = false

    init(index: Int, _ job: SeatJob, run: String, waitsForBegin: Bool, isFollowed: Bool, part: Part) {
        self.index = index
        name = Buyer.client(index, run: run)
        self.job = job
        self.waitsForBegin = waitsForBegin
        self.isFollowed = isFollowed
        self.part = part
    }

    var isUnanswered: Bool { !isAnswered }
    var isBusy: Bool { false }
    var isFinished: Bool { isAnswered }
    var stays: [Stay] { [] }
    var hasConnection: Bool { true }

    func begin() { if waitsForBegin && !isAnswered { watch() } }

    func stopClaiming() {}

    func open(_ instances: [String], hasBegun: Bool) {
        generation += 1
        isOpening = true
        let generation = generation
        let url = "ws" + instances[index % instances.count].dropFirst(4) + "/ws"
        EventLoop.task { await self.open(url, generation) }
    }

    private func open(_ url: String, _ generation: Int) async {
        do {
            let token = try part.token(of: index, name)
            let connection = try await WebSocketClient.connect(url) { [weak self] text in
                if let self, generation == self.generation { received(text) }
            } onClose: { [weak self] reason in
                if let self, generation == self.generation { lost() }
            }
            guard generation == self.generation else { return connection.close() }
            socket = connection
            connection.send(part.frames.connect(token: token, resume: nil))
        } catch {
            guard generation == self.generation else { return }
            part.note(error)
            part.tally.failedConnects += 1
            reopen()
        }
    }

    private func lost() {
        part.tally.reconnects += 1
        // What changes meanwhile is not heard of.
        if isFollowed { part.tally.fault("a watcher lost its connection") }
        reopen()
    }

    private func reopen() {
        generation += 1
        opened()
        socket = nil
        isAnswered = false
        pause.start(after: backoff.next()) { [weak self] in
            guard let self else { return }
            part.wantsToOpen(self)
        }
    }

    private func opened() {
        guard isOpening else { return }
        isOpening = false
        part.hasOpened()
    }

    private func watch() {
        askedAt = EventLoop.nanoseconds
        answerBytes = 0
        socket?.onPiece = { [weak self] piece, isLast in self?.answered(piece.count, isLast) ?? false }
        socket?.send(part.frames.watch(performance: job.performance, isCompact: job.options.isCompact))
    }

    /// A piece of the first answer came: the first message after `watch`.
    private func answered(_ count: Int, _ isLast: Bool) -> Bool {
        answerBytes += count
        guard isLast else { return true }
        socket?.onPiece = nil
        isAnswered = true
        part.tally.seats.toFirstAnswer.record(EventLoop.nanoseconds - askedAt)
        part.tally.seats.firstAnswerBytes += answerBytes
        connected(after: false)
        part.changed(self)
        return true
    }

    /// It counts as connected when it is ready for what is measured.
    private func connected(after greeting: Bool) {
        guard !wasConnected, greeting == waitsForBegin else { return }
        wasConnected = true
        part.tally.connected += 1
        part.tally.lastConnectedAt = EventLoop.nanoseconds
        part.changed(self)
    }

    private func received(_ text: [UInt8]) {
        guard isAnswered else {
            guard let frame = Frame(text), frame.kind == .connected else {
                let words = String(decoding: text.prefix(200), as: UTF8.self)
                return part.tally.fault("a watcher was not connected: \(words)")
            }
            opened()
            connected(after: true)
            if !waitsForBegin || part.hasBegun { watch() }
            return
        }
        part.watched()
        guard isFollowed else { return }
        guard let frame = Frame(text), frame.kind == .seats else {
            return part.tally.fault("a watcher was told something else than seats")
        }
        let now = EventLoop.nanoseconds
        for change in frame.changes where !change.isFree { part.tally.followed.heard(change.seat, at: now) }
    }
}
