import EventLoop
import Foundation
import Gateway
import Glibc
import Identity
import Model

/// A process of a run: it has some of the clients, and does what the whole says over standard input.
@LoopActor
public final class Part {
    var tally = Tally()
    private var channel: LineChannel?
    private var job: Job?
    /// In the order in which they begin.
    private var clients: [any Participant] = []
    private var issuer: TokenIssuer?
    private var api: ServerAPI?
    /// What the clients say.
    private(set) var frames = OutgoingFrames(echo: false)
    private var tokens: [Int: String] = [:]
    private var unprepared: ArraySlice<any Participant> = []

    /// Clients that want a connection, and how many are being opened: a server's backlog is not without end.
    private var wanting: [any Connecting] = []
    private var opening = 0
    private static let mostOpening = 64

    /// Requests that wait for their turn, and how many are out.
    private var asking: [@LoopActor () async -> Void] = []
    private var nextToAsk = 0
    private var asked = 0
    private static let mostAsked = 128
    /// How many clients have a connection, as opposed to asking.
    private var connections = 0

    private let progressTimer = LoopTimer()
    private let claimTimer = LoopTimer()
    private let windTimer = LoopTimer()
    /// The next buyer that is to make its first claim.
    private var nextToBegin = 0
    private var startsAt: UInt64?
    private var processorTimeBefore: UInt64 = 0
    private var unfinished = 0
    private var isReady = false
    private var lastProblem = ""

    private init() {}

    /// Serves the whole until it goes away.
    public static func run() async -> Int32 {
        _ = Descriptors.raiseLimit()
        let part = Part()
        return await withCheckedContinuation { continuation in
            part.channel = LineChannel(input: 0, output: 1) {
                part.heard($0)
            } onEnd: {
                continuation.resume(returning: 0)
            }
        }
    }

    private func heard(_ line: ArraySlice<UInt8>) {
        do {
            guard job != nil else {
                let job = try JSONDecoder().decode(Job.self, from: Data(line))
                self.job = job
                EventLoop.task { await self.start(job) }
                return
            }
            switch try JSONDecoder().decode(Instruction.self, from: Data(line)) {
            case .go(let moment): go(at: moment)
            case .windDown: windDown()
            case .stop: stop()
            }
        } catch {
            channel?.send(Message.failed("\(error)"))
        }
    }

    // MARK: Connecting

    private func start(_ job: Job) async {
        let options = job.options
        frames = OutgoingFrames(echo: options.echo)
        issuer = job.secret.map { TokenIssuer(secret: $0) }
        api = ServerAPI(instances: options.instances, key: job.key)
        addClients(job)
        progressTimer.start(after: 200, every: 200) { [weak self] in
            guard let self else { return }
            channel?.send(Message.progress(Progress(tally)))
        }
        do {
            try await prepare(job)
        } catch {
            channel?.send(Message.failed("\(error)"))
            return
        }
        tally.firstConnectAt = EventLoop.nanoseconds
        wanting = clients.reversed().compactMap { $0 as? any Connecting }.filter(\.hasConnection)
        connections = wanting.count
        readyIfSo()
        openMore()
    }

    private func addClients(_ job: Job) {
        let options = job.options
        if let seats = job.seats { return addSeatClients(job, seats) }
        var buying = Buyer.Plan(run: job.run, sales: job.sales, claims: options.claims)
        let watching = Buyer.Plan(run: job.run, sales: job.sales, claims: 0)
        if let line = options.line, let truth = job.line {
            buying = Buyer.Plan(
                run: job.run, sales: job.sales, claims: line.claims ? options.claims : 0,
                line: Waiter.Plan(truth, line, wallOffset: Part.wallOffset), limits: job.limits)
        }
        for index in stride(from: job.part, to: options.clients, by: job.parts) {
            let buys = index < options.buyers
            let manner = buys ? options.line?.manner(of: index) ?? .stays : .stays
            if manner == .polls, let poller = Poller(index: index, plan: buying) {
                clients.append(PollingClient(poller, part: self))
            } else {
                let buyer = Buyer(index: index, plan: buys ? buying : watching, manner: manner)
                clients.append(Client(buyer, part: self, onlyWatches: !buys))
            }
            if buys { unfinished += 1 }
        }
    }

    private func addSeatClients(_ job: Job, _ seats: SeatJob) {
        let options = job.options
        let plan = SeatBuyer.Plan(
            run: job.run, options: seats.options, buyers: options.buyers, holds: options.claims,
            wallOffset: Part.wallOffset, clockTolerance: seats.clockTolerance)
        // Where nobody buys, it is about those who come to watch at once.
        let isAtOnce = options.buyers == 0
        for index in stride(from: job.part, to: options.clients, by: job.parts) {
            if index < options.buyers {
                clients.append(SeatClient(SeatBuyer(index: index, plan: plan), seats, part: self))
            } else {
                clients.append(
                    SeatWatcher(
                        index: index, seats, run: job.run, waitsForBegin: isAtOnce, isFollowed: options.isFollowed,
                        part: self))
            }
            if index < options.buyers || isAtOnce { unfinished += 1 }
        }
    }

    /// What has to be added to milliseconds of the monotonic clock for milliseconds since 1970.
    private static var wallOffset: Int64 { EventLoop.wallMilliseconds - Int64(EventLoop.nanoseconds / 1_000_000) }

    /// Gets what must be asked of the server for each client: points, and tokens where the secret isn't known.
    private func prepare(_ job: Job) async throws {
        guard job.points > 0 || issuer == nil, let api else { return }
        unprepared = clients[...]
        let workers = (0..<16).map { _ in EventLoop.task { await self.prepareSome(job, api) } }
        for worker in workers { if let error = await worker.value { throw error } }
    }

    private func prepareSome(_ job: Job, _ api: ServerAPI) async -> RushError? {
        while let client = unprepared.popFirst() {
            let (index, name) = (client.index, client.name)
            do {
                if job.points > 0 && index < job.options.buyers {
                    try await api.charge(name, points: job.points, name: name)
                }
                if issuer == nil { tokens[index] = try await api.token(for: name) }
            } catch {
                unprepared = []
                return RushError("\(error)")
            }
        }
        return nil
    }

    /// What a client shows the server.
    func token(of index: Int, _ name: String) throws -> String {
        if let token = tokens[index] { return token }
        guard let issuer, let client = ClientID(name) else { throw RushError("no token for \(name)") }
        let now = Timestamp(milliseconds: EventLoop.wallMilliseconds)
        return issuer.issue(client, lifetimeSeconds: 86_400, at: now).token
    }

    /// The waiting room's name.
    var room: String { job?.line?.room ?? "" }

    /// Any of the instances.
    var instance: String { job?.options.instances.randomElement() ?? "" }

    /// Sends a request when there is a place.
    func wantsToAsk(_ ask: @escaping @LoopActor () async -> Void) {
        asking.append(ask)
        askMore()
    }

    private func askMore() {
        while asked < Part.mostAsked, nextToAsk < asking.count {
            let ask = asking[nextToAsk]
            nextToAsk += 1
            asked += 1
            EventLoop.task {
                await ask()
                self.asked -= 1
                self.askMore()
            }
        }
        if nextToAsk == asking.count || nextToAsk > 4096 {
            asking.removeFirst(nextToAsk)
            nextToAsk = 0
        }
    }

    func wantsToOpen(_ client: any Connecting) {
        wanting.append(client)
        openMore()
    }

    func hasOpened() {
        opening -= 1
        openMore()
    }

    private func openMore() {
        guard let job else { return }
        while opening < Part.mostOpening, let client = wanting.popLast() {
            opening += 1
            client.open(job.options.instances, hasBegun: isReady)
        }
    }

    /// Remembers why a connection could not be opened, for the words at the end.
    func note(_ error: any Error) { lastProblem = "\(error)" }

    // MARK: Claiming

    private func go(at moment: UInt64) {
        startsAt = moment
        processorTimeBefore = Part.processorTime
        nextToBegin = 0
        let now = EventLoop.nanoseconds
        claimTimer.start(after: moment > now ? Int64((moment - now) / 1_000_000) : 0) { [weak self] in
            self?.beginSome()
        }
        if unfinished == 0 { channel?.send(Message.settled) }
    }

    /// Lets buyers claim whose time has come, a few at a time: answers are read in between, so that nobody's latency has
    /// the claims of all others in it.
    private func beginSome() {
        guard let startsAt, let options = job?.options else { return }
        var budget = 256
        while nextToBegin < clients.count {
            let client = clients[nextToBegin]
            guard client.index < options.buyers || options.buyers == 0 else { break }
            let rate = options.line == nil ? options.rate : options.line?.joinRate
            let due = startsAt + (rate.map { UInt64(Double(client.index) / $0 * 1e9) } ?? 0)
            let now = EventLoop.nanoseconds
            guard now >= due, budget > 0 else {
                // Not 0: such a timer fires again before anything is read.
                let pause = now >= due ? 1 : Int64((due - now) / 1_000_000)
                claimTimer.start(after: max(1, pause)) { [weak self] in self?.beginSome() }
                return
            }
            tally.latestClaim = max(tally.latestClaim, now - due)
            client.begin()
            nextToBegin += 1
            budget -= 1
        }
    }

    /// Whether all have begun.
    var hasBegun: Bool { startsAt != nil }
    /// Whether each change of a sale is followed to the last watcher.
    var isFollowing: Bool { job?.options.isFollowed == true && job?.seats == nil }

    /// A watcher was told of the sale: what is left names the change.
    func heard(_ text: [UInt8]) {
        guard let remaining = Frame(text)?.remaining else { return tally.fault("a frame could not be read") }
        tally.followed.heard(remaining, at: EventLoop.nanoseconds)
    }

    /// A watcher got a frame.
    func watched() {
        guard startsAt != nil else { return }
        let now = EventLoop.nanoseconds
        tally.watched += 1
        tally.firstWatchedAt = tally.firstWatchedAt ?? now
        tally.lastWatchedAt = now
    }

    /// A client did something.
    func changed(_ client: any Participant) {
        readyIfSo()
        if !client.isCounted && client.isFinished {
            client.isCounted = true
            let isAwaited = client.index < (job?.options.buyers ?? 0) || (job?.seats != nil && job?.options.buyers == 0)
            unfinished -= isAwaited ? 1 : 0
            if unfinished == 0 { channel?.send(Message.settled) }
        }
    }

    private func readyIfSo() {
        guard !isReady, tally.connected == connections else { return }
        isReady = true
        channel?.send(Message.ready)
    }

    private func windDown() {
        claimTimer.stop()
        for client in clients { client.stopClaiming() }
        windTimer.start(after: 0, every: 100) { [weak self] in
            guard let self, !clients.contains(where: \.isBusy) else { return }
            windTimer.stop()
            channel?.send(Message.settled)
        }
    }

    private func stop() {
        progressTimer.stop()
        claimTimer.stop()
        windTimer.stop()
        if startsAt != nil { tally.processorTime = Part.processorTime - processorTimeBefore }
        let buyers = clients.prefix { $0.index < job?.options.buyers ?? 0 }
        let waiting = buyers.filter { $0.isUnanswered || !$0.isFinished }
        tally.waiting = waiting.prefix(20).map(\.name)
        tally.line.stays = buyers.flatMap(\.stays)
        channel?.send(Message.done(tally))
    }

    /// Nanoseconds of processor time that this process took.
    private static var processorTime: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension Waiter.Plan {
    fileprivate init(_ truth: LineTruth, _ options: LineOptions, wallOffset: Int64) {
        self.init(
            room: truth.room, passMilliseconds: truth.passSeconds * 1000,
            graceMilliseconds: truth.graceSeconds * 1000, wallOffset: wallOffset,
            clockTolerance: truth.clockTolerance,
            departAfter: options.departAfter.map { Int64($0 * 1000) })
    }
}
