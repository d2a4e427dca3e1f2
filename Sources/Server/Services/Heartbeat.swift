import Engine
import EventLoop
import Model

/// This gateway's number among all, which says in Redis whose connections hold which places in line; and the beat that
/// says that it lives.
@LoopActor
final class Heartbeat {
    private let engine: Engine
    private let log: Log
    private let timer = LoopTimer()
    private var isBeating = false
    private var isAbandoned = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// The number; 0 before the first beat.
    private(set) var number: Int64 = 0
    /// Told when the number is another than before: whatever the old one held has to be held again.
    var onRenumbered: (() -> Void)?

    /// How often a gateway says that it lives.
    static let beatMilliseconds: Int64 = 300
    /// After how long a silence it counts as dead.
    static let silenceMilliseconds: Int64 = 1500

    init(engine: Engine, log: Log) {
        self.engine = engine
        self.log = log
    }

    func start() {
        timer.startInStep(every: Self.beatMilliseconds) { [weak self] in self?.beat() }
        beat()
    }

    /// Says goodbye: places that are still held are let go at once.
    func stop() async {
        timer.stop()
        guard number != 0 else { return }
        _ = try? await engine.buryDead(silentMilliseconds: Self.silenceMilliseconds, goodbye: number)
        number = 0
    }

    /// The number, as soon as there is one.
    func current() async -> Int64 {
        while number == 0 { await withCheckedContinuation { waiting.append($0) } }
        return number
    }

    /// Something that this gateway held may not have been let go: its number is given up, as if it had died, and what it
    /// still holds is held under another.
    func renumber() {
        isAbandoned = true
        beat()
    }

    /// Redis is another than before, and may not know the number: asked at once.
    func redisChanged() { if timer.isRunning { beat() } }

    private func beat() {
        guard !isBeating else { return }
        isBeating = true
        EventLoop.task {
            defer { self.isBeating = false }
            let isAbandoned = self.isAbandoned
            guard let number = try? await self.engine.beat(isAbandoned ? 0 : self.number), self.timer.isRunning else {
                return
            }
            if isAbandoned { self.isAbandoned = false }
            guard number != self.number else { return }
            let isFirst = self.number == 0
            self.number = number
            for continuation in self.waiting { continuation.resume() }
            self.waiting = []
            self.log(isFirst ? .debug : .warning, "gateway_numbered", ["number": .init(number)])
            if !isFirst { self.onRenumbered?() }
        }
    }
}
