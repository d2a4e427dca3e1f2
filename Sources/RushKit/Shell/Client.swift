import EventLoop
import Gateway

/// One client of a part: its state machine, and the socket and the timer that do what it says.
@LoopActor
final class Client: Connecting {
    private var buyer: Buyer
    private unowned let part: Part
    private var socket: WebSocketClient?
    private let pause = LoopTimer()
    /// When it is to leave the line.
    private let departure = LoopTimer()
    /// The instance that it was connected with last, as a place in the list of them.
    private(set) var instance: Int
    /// Whether it went by itself, and wants another instance.
    private var wantsAnother = false
    /// Tells the events of this connection from those of an earlier one.
    private var generation = 0
    /// Whether this client takes one of the part's places for opening connections.
    private var isOpening = false
    private var claimedAt: UInt64 = 0
    /// A watcher that is told of the sale only counts: reading every frame would cost more than sending it.
    private let onlyWatches: Bool
    private static let saleFrame = Array(#"{"type":"sale""#.utf8)

    init(_ buyer: Buyer, part: Part, onlyWatches: Bool) {
        self.buyer = buyer
        instance = buyer.index
        self.part = part
        self.onlyWatches = onlyWatches
    }

    var index: Int { buyer.index }
    var name: String { buyer.client }
    var isUnanswered: Bool { buyer.isUnanswered }
    var isBusy: Bool { buyer.isBusy }
    var isFinished: Bool { buyer.isFinished }
    var stays: [Stay] { buyer.waiter?.allStays ?? [] }
    var isCounted = false
    let hasConnection = true

    /// Opens a connection; the part calls this when there is a place.
    /// - Parameter hasBegun: False while all clients are connected for the first time: then they take the instances in
    ///   turn. Later, whoever lost its connection tries its luck anywhere.
    func open(_ instances: [String], hasBegun: Bool) {
        generation += 1
        isOpening = true
        if wantsAnother {
            instance += 1
        } else if hasBegun {
            instance = Int.random(in: 0..<instances.count)
        }
        wantsAnother = false
        instance %= instances.count
        let generation = generation
        let url = "ws" + instances[instance].dropFirst(4) + "/ws"
        EventLoop.task { await self.open(url, generation) }
    }

    private func open(_ url: String, _ generation: Int) async {
        do {
            let token = try part.token(of: index, name)
            let connection = try await WebSocketClient.connect(url) { [weak self] text in
                guard let self, generation == self.generation else { return }
                received(text)
            } onClose: { [weak self] reason in
                guard let self, generation == self.generation else { return }
                opened()
                socket = nil
                perform(buyer.closed(reason.code, at: EventLoop.nanoseconds, &part.tally))
            }
            guard generation == self.generation else { return connection.close() }
            socket = connection
            guard case .connect(let resume) = buyer.opened() else { return }
            connection.send(part.frames.connect(token: token, resume: resume))
        } catch {
            guard generation == self.generation else { return }
            part.note(error)
            opened()
            perform(buyer.couldNotOpen(&part.tally))
        }
    }

    /// Gives the place for opening back: it worked, or it didn't.
    private func opened() {
        guard isOpening else { return }
        isOpening = false
        part.hasOpened()
    }

    private func received(_ text: [UInt8]) {
        if onlyWatches && !isOpening && text.starts(with: Client.saleFrame) {
            part.watched()
            if part.isFollowing { part.heard(text) }
            return
        }
        guard let frame = Frame(text) else { return part.tally.fault("a frame could not be read") }
        let now = EventLoop.nanoseconds
        if part.isFollowing, frame.kind == .result, let remaining = frame.remaining {
            part.tally.followed.answered(remaining, askedAt: claimedAt, at: now)
        }
        perform(buyer.received(frame, at: now, &part.tally))
        if isOpening && frame.kind == .connected { opened() }
    }

    /// The moment of the first claim has come.
    func begin() {
        perform(buyer.begin(at: EventLoop.nanoseconds, &part.tally))
    }

    func stopClaiming() { buyer.stopClaiming() }

    private func perform(_ action: Buyer.Action) {
        switch action {
        case .nothing, .connect: break
        case .claim(let claim):
            claimedAt = EventLoop.nanoseconds
            socket?.send(part.frames.claim(claim))
        case .watch(let sale): socket?.send(part.frames.watch(sale: sale))
        case .claimAfter(let milliseconds):
            pause.start(after: milliseconds) { [weak self] in
                guard let self else { return }
                perform(buyer.pauseEnded(at: EventLoop.nanoseconds, &part.tally))
            }
        case .join: socket?.send(part.frames.join(part.room))
        case .leave: socket?.send(part.frames.leave(part.room))
        case .departAfter(let milliseconds):
            departure.start(after: milliseconds) { [weak self] in
                guard let self else { return }
                perform(buyer.departureIsDue(at: EventLoop.nanoseconds, &part.tally))
            }
        case .openAfter(let milliseconds): hangUp(backAfter: milliseconds)
        case .hangUp(let milliseconds):
            wantsAnother = true
            // Half of them say that they go; the others are gone, as when a cable is pulled.
            if !index.isMultiple(of: 2) { socket?.abort() }
            hangUp(backAfter: milliseconds)
        }
        part.changed(self)
    }

    private func hangUp(backAfter milliseconds: Int64?) {
        generation += 1
        opened()
        socket?.close()
        socket = nil
        guard let milliseconds else {
            pause.stop()
            departure.stop()
            return
        }
        pause.start(after: milliseconds) { [weak self] in
            guard let self else { return }
            part.wantsToOpen(self)
        }
    }
}
