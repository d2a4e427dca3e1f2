import EventLoop
import Gateway

/// One client of a part: its state machine, and the socket and the timer that do what it says.
@LoopActor
final class Client {
    private(set) var buyer: Buyer
    private unowned let part: Part
    private var socket: WebSocketClient?
    private let pause = LoopTimer()
    /// Tells the events of this connection from those of an earlier one.
    private var generation = 0
    /// Whether this client takes one of the part's places for opening connections.
    private var isOpening = false
    /// A watcher that is told of the sale only counts: reading every frame would cost more than sending it.
    private let onlyWatches: Bool
    private static let saleFrame = Array(#"{"type":"sale""#.utf8)

    init(_ buyer: Buyer, part: Part, onlyWatches: Bool) {
        self.buyer = buyer
        self.part = part
        self.onlyWatches = onlyWatches
    }

    /// Opens a connection; the part calls this when there is a place.
    func open(_ url: String) {
        generation += 1
        isOpening = true
        let generation = generation
        EventLoop.task { await self.open(url, generation) }
    }

    private func open(_ url: String, _ generation: Int) async {
        do {
            let token = try await part.token(of: buyer)
            socket = try await WebSocketClient.connect(url) { [weak self] text in
                guard let self, generation == self.generation else { return }
                received(text)
            } onClose: { [weak self] reason in
                guard let self, generation == self.generation else { return }
                opened()
                socket = nil
                perform(buyer.closed(reason.code, &part.tally))
            }
            guard case .connect(let resume) = buyer.opened() else { return }
            socket?.send(part.frames.connect(token: token, resume: resume))
        } catch {
            part.note(error)
            opened()
            perform(buyer.couldNotOpen(&part.tally))
        }
    }

    /// Gives the place for opening back: it worked, or it didn't.
    private func opened() {
        guard isOpening else { return }
        isOpening = false
        part.hasOpened(self)
    }

    private func received(_ text: [UInt8]) {
        if onlyWatches && !isOpening && text.starts(with: Client.saleFrame) { return part.watched() }
        guard let frame = Frame(text) else { return part.tally.fault("a frame could not be read") }
        perform(buyer.received(frame, at: EventLoop.nanoseconds, &part.tally))
        if isOpening && frame.kind == .connected { opened() }
    }

    /// The moment of the first claim has come.
    func begin() {
        perform(buyer.begin(at: EventLoop.nanoseconds, &part.tally))
    }

    private func perform(_ action: Buyer.Action) {
        switch action {
        case .nothing, .connect: break
        case .claim(let claim): socket?.send(part.frames.claim(claim))
        case .watch(let sale): socket?.send(part.frames.watch(sale: sale))
        case .claimAfter(let milliseconds):
            pause.start(after: milliseconds) { [weak self] in
                guard let self else { return }
                perform(buyer.pauseEnded())
            }
        case .openAfter(let milliseconds):
            generation += 1
            opened()
            socket?.close()
            socket = nil
            pause.start(after: milliseconds) { [weak self] in
                guard let self else { return }
                part.wantsToOpen(self)
            }
        }
        part.changed(self)
    }

    /// Whether the part knows that this buyer is finished.
    var isCounted = false
}
