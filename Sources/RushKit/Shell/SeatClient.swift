import EventLoop
import Foundation
import Gateway

/// One buyer of seats of a part: its state machine, and the socket, the requests and the timers that do what it says.
@LoopActor
final class SeatClient: Connecting {
    private var buyer: SeatBuyer
    private unowned let part: Part
    private let job: SeatJob
    private var socket: WebSocketClient?
    private let pause = LoopTimer()
    /// Until the next request.
    private let askPause = LoopTimer()
    /// Tells the events of this connection from those of an earlier one.
    private var generation = 0
    /// Whether this client takes one of the part's places for opening connections.
    private var isOpening = false
    var isCounted = false

    init(_ buyer: SeatBuyer, _ job: SeatJob, part: Part) {
        self.buyer = buyer
        self.job = job
        self.part = part
    }

    var index: Int { buyer.index }
    var name: String { buyer.client }
    var isUnanswered: Bool { buyer.isUnanswered }
    var isBusy: Bool { buyer.isBusy }
    var isFinished: Bool { buyer.isFinished }
    var stays: [Stay] { [] }
    var hasConnection: Bool { !buyer.polls }

    func begin() { perform(buyer.begin(at: EventLoop.nanoseconds, &part.tally)) }

    func stopClaiming() { buyer.stopClaiming() }

    // MARK: The connection

    func open(_ instances: [String], hasBegun: Bool) {
        generation += 1
        isOpening = true
        let instance = hasBegun ? Int.random(in: 0..<instances.count) : index % instances.count
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
                perform(buyer.closed(reason.code, &part.tally))
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
        guard let frame = Frame(text) else { return part.tally.fault("a frame could not be read") }
        perform(buyer.received(frame, at: EventLoop.nanoseconds, &part.tally))
        if isOpening && frame.kind == .connected { opened() }
    }

    private func perform(_ action: SeatBuyer.Action) {
        switch action {
        case .nothing, .connect: break
        case .hold(let hold): socket?.send(part.frames.hold(hold, of: job.performance))
        case .join: socket?.send(part.frames.join(job.room))
        case .watch:
            socket?.send(part.frames.watch(performance: job.performance, isCompact: true))
            return perform(buyer.afterWatch())
        case .ask(let request, let milliseconds):
            guard milliseconds > 0 else {
                part.wantsToAsk { await self.ask(request) }
                break
            }
            askPause.start(after: milliseconds) { [weak self] in
                guard let self else { return }
                part.wantsToAsk { await self.ask(request) }
            }
        case .pause(let milliseconds):
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

    // MARK: REST

    private func ask(_ request: SeatBuyer.Request) async {
        do {
            var headers = [(name: "authorization", value: "Bearer " + (try part.token(of: index, name)))]
            let (method, path, body, pass) = parts(of: request)
            if body != nil { headers.append((name: "content-type", value: "application/json")) }
            if let pass { headers.append((name: "token", value: pass)) }
            if case .pay(let id, _, _) = request { headers.append((name: "idempotency-key", value: "rush-" + id)) }
            buyer.asks(request, at: EventLoop.nanoseconds, &part.tally)
            let answer = try await HTTPClient.request(
                method, part.instance + path, headers: headers, body: body.map { Array($0.utf8) }, timeout: 10_000)
            guard let frame = answer.body.isEmpty ? Frame() : Frame(answer: answer.body) else {
                part.tally.fault("an answer could not be read")
                return perform(buyer.failed(request, "unreadable", &part.tally))
            }
            perform(
                buyer.answered(request, status: answer.status, frame, at: EventLoop.nanoseconds, &part.tally))
        } catch {
            part.note(error)
            perform(buyer.failed(request, "no answer", &part.tally))
        }
    }

    /// What is sent. All that is put in are digits and ids of our own making, or of the server's.
    private func parts(
        of request: SeatBuyer.Request
    ) -> (HTTPMethod, path: String, body: String?, pass: String?) {
        switch request {
        case .join: (.post, "/api/users/token", #"{"userId":"\#(name)","room":"\#(job.room)"}"#, nil)
        case .look: (.get, "/api/users/\(name)/token?room=\(job.room)", nil, nil)
        case .hold(let hold):
            (
                .post, "/api/reservations",
                #"{"concertDetailId":\#(job.performance),"userId":"\#(name)","seatIds":\#(hold.seats)}"#, hold.pass
            )
        case .pay(let id, let points, let pass):
            (.post, "/api/payment", #"{"reservationId":"\#(id)","userId":"\#(name)","point":\#(points)}"#, pass)
        case .giveBack(let id): (.delete, "/api/reservations/\(id)", nil, nil)
        case .reservation(let id): (.get, "/api/reservations/\(id)", nil, nil)
        }
    }
}
