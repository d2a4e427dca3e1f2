import Engine
import EventLoop
import Model

/// What a committer does with the entries of Redis' streams, of which each sale, and each performance, has one.
@LoopActor
protocol StreamWork {
    /// What has a stream.
    associatedtype Subject: Hashable & Sendable
    /// An entry of it.
    associatedtype Entry: Sendable

    /// What logs call a subject.
    var name: String { get }
    /// How many batches of one stream are worked on at the same time. One where the order of entries matters.
    var batchesAtOnce: Int { get }
    /// Those whose streams may get entries.
    func active() async throws -> Set<Subject>
    /// Others whose streams have entries that nobody settled: no committer ran, or PostgreSQL was away.
    func late(besides active: Set<Subject>) async throws -> Set<Subject>
    /// Listens for new subjects; nil says that some may have been missed.
    func subscribe(_ handler: @escaping @LoopActor (Subject?) -> Void) async throws -> Subscription
    /// Listens for entries of one subject.
    func subscribe(_ subject: Subject, _ handler: @escaping @LoopActor () -> Void) async throws -> Subscription
    /// New entries, which are this consumer's from now on.
    func read(_ subject: Subject, consumer: String, count: Int) async throws -> [Entry]
    /// Entries that a committer had for so long without settling them; this consumer's from now on.
    func takeOver(_ subject: Subject, consumer: String, idleMilliseconds: Int64, count: Int) async throws -> [Entry]
    /// Names an entry.
    func name(of entry: Entry) -> StreamEntryName<Subject>
    /// Takes entries to PostgreSQL, tells and settles; returns when that is done, however long it takes.
    func finish(_ entries: [Entry]) async
}

/// Names an entry of a stream.
struct StreamEntryName<Subject: Hashable & Sendable>: Hashable, Sendable {
    let subject: Subject
    let entry: String
}

/// Follows streams as one consumer of each one's group, and hands their entries to a ``StreamWork``.
///
/// What was not settled is taken over by another committer, which repeats the steps.
@LoopActor
final class StreamFollower<Work: StreamWork> {
    typealias Subject = Work.Subject

    private let work: Work
    private let engine: Engine
    private let log: Log
    private let consumer: String
    private let batchSize: Int
    private var subscriptions: [Subject: Subscription] = [:]
    private var subjectsSubscription: Subscription?
    private var dirty: Set<Subject> = []
    private var running: Set<Subject> = []
    private var inHand: Set<StreamEntryName<Subject>> = []
    private var late: Set<Subject> = []
    private var sweepsUntilLookingEverywhere = 0
    private var isStopping = false
    private var whenIdle: [CheckedContinuation<Void, Never>] = []
    private let sweepTimer = LoopTimer()
    private var isSweeping = false

    /// Subjects that are worked on at the same time.
    private static var parallelSubjects: Int { 4 }
    private static var sweepMilliseconds: Int64 { 2000 }
    private static var sweepsBetweenLookingEverywhere: Int { 30 }
    /// Entries that a committer had for this long without settling are taken over by another.
    private static var takeOverIdleMilliseconds: Int64 { 5000 }

    init(_ work: Work, engine: Engine, log: Log, consumer: String, batchSize: Int) {
        self.work = work
        self.engine = engine
        self.log = log
        self.consumer = consumer
        self.batchSize = batchSize
    }

    /// Starts listening for entries.
    func start() async {
        while subjectsSubscription == nil && !isStopping {
            subjectsSubscription = try? await work.subscribe { [weak self] subject in
                guard let self else { return }
                if let subject {
                    EventLoop.task { await self.follow(subject) }
                } else {
                    EventLoop.task { await self.sweep() }
                }
            }
            if subjectsSubscription == nil { await EventLoop.sleep(milliseconds: 200) }
        }
        sweepTimer.start(after: 0, every: Self.sweepMilliseconds) { [weak self] in
            guard let self else { return }
            EventLoop.task { await self.sweep() }
        }
    }

    /// Takes no more entries, and returns when what is in flight is settled.
    func stop() async {
        isStopping = true
        sweepTimer.stop()
        subjectsSubscription?.cancel()
        for subscription in subscriptions.values { subscription.cancel() }
        subscriptions = [:]
        guard !running.isEmpty else { return }
        await withCheckedContinuation { whenIdle.append($0) }
    }

    /// Looks for subjects and entries that nobody told about: after a start, a lost message, a dead committer.
    private func sweep() async {
        guard !isSweeping, !isStopping, engine.isConnected else { return }
        isSweeping = true
        defer { isSweeping = false }
        // One that is followed since is not known to what is read now.
        let followed = Set(subscriptions.keys)
        if let active = try? await work.active() {
            let late = await lateSubjects(besides: active)
            for subject in active.union(late) where subscriptions[subject] == nil { await follow(subject) }
            for subject in followed.subtracting(active).subtracting(late) {
                subscriptions.removeValue(forKey: subject)?.cancel()
            }
        }
        // All at once: what they ask of Redis leaves in one write.
        let takings = subscriptions.keys.map { subject in EventLoop.task { await self.takeOver(subject) } }
        for taking in takings { await taking.value }
        for subject in subscriptions.keys { markDirty(subject) }
    }

    /// Looks at all there are with the next sweep: after a start, or when Redis is back.
    func lookEverywhereSoon() { sweepsUntilLookingEverywhere = 0 }

    private func lateSubjects(besides active: Set<Subject>) async -> Set<Subject> {
        if sweepsUntilLookingEverywhere > 0 {
            sweepsUntilLookingEverywhere -= 1
            return late
        }
        guard let found = try? await work.late(besides: active) else { return late }
        late = found
        sweepsUntilLookingEverywhere = Self.sweepsBetweenLookingEverywhere
        return late
    }

    private func takeOver(_ subject: Subject) async {
        let entries = try? await work.takeOver(
            subject, consumer: consumer, idleMilliseconds: Self.takeOverIdleMilliseconds, count: batchSize)
        // What this process has in hand itself, while PostgreSQL is away, is nobody's to take.
        guard let entries = entries?.filter({ !inHand.contains(work.name(of: $0)) }), !entries.isEmpty else { return }
        log(.warning, "entries_taken_over", [work.name: .text("\(subject)"), "entries": .init(entries.count)])
        await finishing(entries).value
    }

    private func follow(_ subject: Subject) async {
        guard subscriptions[subject] == nil, !isStopping else {
            markDirty(subject)
            return
        }
        do {
            let subscription = try await work.subscribe(subject) { [weak self] in self?.markDirty(subject) }
            // Two calls may have come here at once.
            if subscriptions[subject] != nil || isStopping {
                subscription.cancel()
            } else {
                subscriptions[subject] = subscription
            }
            markDirty(subject)
        } catch {
            log(.debug, "stream_not_followed", [work.name: .text("\(subject)"), "error": .init("\(error)")])
        }
    }

    private func markDirty(_ subject: Subject) {
        dirty.insert(subject)
        startWork()
    }

    private func startWork() {
        while !isStopping, running.count < Self.parallelSubjects,
            let subject = dirty.first(where: { !running.contains($0) })
        {
            dirty.remove(subject)
            running.insert(subject)
            EventLoop.task {
                await self.drain(subject)
                self.running.remove(subject)
                if self.running.isEmpty {
                    for continuation in self.whenIdle { continuation.resume() }
                    self.whenIdle = []
                }
                self.startWork()
            }
        }
    }

    /// Works on a stream until it has no new entries. With two batches at once, one is told and settled, which is Redis'
    /// work, while the next is committed, which is PostgreSQL's.
    private func drain(_ subject: Subject) async {
        var before: [Task<Void, Never>] = []
        while !isStopping {
            // What throws, the sweep comes back to.
            guard let entries = try? await work.read(subject, consumer: consumer, count: batchSize), !entries.isEmpty
            else { break }
            before.append(finishing(entries))
            if before.count == work.batchesAtOnce { await before.removeFirst().value }
        }
        for batch in before { await batch.value }
    }

    /// Has entries finished. They are in hand at once.
    private func finishing(_ entries: [Work.Entry]) -> Task<Void, Never> {
        let names = entries.map(work.name(of:))
        inHand.formUnion(names)
        return EventLoop.task {
            await self.work.finish(entries)
            self.inHand.subtract(names)
        }
    }
}

/// Repeats steps until they work, with exponential backoff and jitter: while PostgreSQL or Redis are away, entries wait.
@LoopActor
func withoutEnd<Value: Sendable>(
    _ step: String, _ count: Int, _ log: Log, _ body: @LoopActor () async throws -> Value
) async -> Value {
    var backoff = Backoff(base: 50, cap: 2000)
    while true {
        do {
            return try await body()
        } catch {
            let pause = backoff.next()
            log(
                .warning, "committer_waits",
                [
                    "step": .init(step), "entries": .init(count), "attempt": .init(backoff.attempts),
                    "pauseMs": .init(pause), "error": .init("\(error)"),
                ])
            await EventLoop.sleep(milliseconds: pause)
        }
    }
}
