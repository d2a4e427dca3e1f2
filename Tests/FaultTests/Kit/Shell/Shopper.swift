import EventLoop
import Gateway
import TestServices

/// A client with a WebSocket, which writes down what it is told. It comes back to any instance after a cut, and resumes.
///
/// What it wants is up to its subclasses: ``wish()`` says what to send next.
@LoopActor
class Shopper {
    let name: String
    let stage: Stage
    private(set) var journal: ClientJournal
    private var random: SeededGenerator
    private var socket: WebSocketClient?
    /// Counts connections: what a closed one still tells is not of this one.
    private var connection = 0
    private var waiting: CheckedContinuation<Void, Never>?
    private let timer = LoopTimer()
    /// Whether something came since it looked last.
    private var hasNews = false
    private var resume: (epoch: String, offset: Int64)?
    private var failures = 0
    private(set) var isConnected = false
    private var isOver = false
    private var lastHeard: Int64 = 0
    private var pinged = false
    /// Whether it knows everything that it wants to know.
    private(set) var isDone = false
    var onDone: (@LoopActor () -> Void)?

    /// An answer that is waited for longer than this has been lost.
    static let patience: Int64 = 3000

    init(_ name: String, _ stage: Stage, seed: UInt64) {
        self.name = name
        self.stage = stage
        random = SeededGenerator(seed: seed)
        journal = ClientJournal(name)
        journal.isDone = false
    }

    // MARK: for subclasses

    /// Sends what is to be sent now. Called when something came, when a connection was made, and when time has passed.
    /// - Returns: nil when everything is known; else what is waited for.
    func wish() async -> String? { nil }
    /// A frame came that says something for this kind of client.
    func take(_ event: Event) {}
    /// An error came, to what was sent under this id.
    func failed(_ code: String, id: Int64?) {}
    /// A new connection: what was asked on the old one has to be asked again.
    func connected() {}

    // MARK: life

    /// Lives until it is told to stop.
    func run() async {
        while !isOver {
            guard await connect() else { continue }
            if let what = await wish() {
                journal.waitedFor = what
            } else if !isDone {
                isDone = true
                journal.isDone = true
                onDone?()
            }
            await pause(Self.patience)
            guard !isOver, isConnected, EventLoop.wallMilliseconds - lastHeard >= Self.patience, !isDone else {
                continue
            }
            // Nothing came for a while: is anybody there?
            if pinged {
                socket?.abort()
            } else {
                pinged = true
                send("{\"type\":\"ping\"}")
            }
        }
    }

    /// Ends it; what it noted stays.
    func stop() {
        journal.isConnected = isConnected
        isOver = true
        onDone = nil
        socket?.abort()
        wake()
    }

    /// Cuts its connection without a word.
    func cut() { socket?.abort() }

    /// Up to where it was told, by the data set that it is connected to.
    var position: (epoch: String, offset: Int64)? {
        isConnected ? resume.map { (Epoch.name(of: $0.epoch), $0.offset) } : nil
    }

    private func connect() async -> Bool {
        if isConnected { return true }
        if failures > 0 {
            let longest = min(1500, 100 << min(failures, 4))
            await EventLoop.sleep(milliseconds: Int64.random(in: 20...Int64(longest), using: &random))
            if isOver { return false }
        }
        failures += 1
        connection += 1
        let current = connection
        let instance = stage.gateways.randomElement(using: &random) ?? 0
        let url = "ws" + stage.instances[instance].url.dropFirst("http".count) + "/ws"
        do {
            let socket = try await WebSocketClient.connect(url) { [weak self] in
                self?.received($0, current)
            } onClose: { [weak self] reason in
                self?.closed(Int(reason.code), current)
            }
            guard !isOver, current == connection else {
                socket.abort()
                return false
            }
            self.socket = socket
        } catch {
            return false
        }
        note(.opened(instance: instance))
        lastHeard = EventLoop.wallMilliseconds
        pinged = false
        var text = "{\"type\":\"connect\",\"token\":\"\(stage.token(name))\""
        if let resume { text += ",\"resume\":{\"epoch\":\"\(resume.epoch)\",\"offset\":\(resume.offset)}" }
        send(text + "}")
        // `connected`, or an error, or the end.
        let deadline = EventLoop.wallMilliseconds + Self.patience
        while !isConnected, socket != nil, !isOver, EventLoop.wallMilliseconds < deadline { await pause(500) }
        guard isConnected else {
            socket?.abort()
            return false
        }
        failures = 0
        connected()
        return true
    }

    private func closed(_ code: Int, _ number: Int) {
        guard number == connection else { return }
        note(.closed(code: code))
        socket = nil
        isConnected = false
        if failures == 0 { failures = 1 }
        wake()
    }

    // MARK: sending and hearing

    func send(_ text: String) { socket?.send(text) }

    func note(_ event: Event, offset: Int64? = nil, isAnswer: Bool = false) {
        journal.notes.append(Note(at: EventLoop.wallMilliseconds, event, offset: offset, isAnswer: isAnswer))
    }

    private static let rank = Array("{\"type\":\"rank\"".utf8)
    private static let pong = Array("{\"type\":\"pong\"".utf8)

    private func received(_ bytes: [UInt8], _ number: Int) {
        guard number == connection, !isOver else { return }
        lastHeard = EventLoop.wallMilliseconds
        pinged = false
        if bytes.starts(with: Self.rank) || bytes.starts(with: Self.pong) { return }
        guard let message = FlatMessage(bytes) else { return note(.refused(sale: 0, code: "not JSON", order: nil)) }
        if message["type"] == "connected" {
            guard let epoch = message["epoch"], let offset = message.integer("offset") else { return }
            note(.connected(epoch: epoch, offset: offset, recovered: message["recovered"] == "true"))
            resume = (epoch, offset)
            isConnected = true
        } else if let event = Self.event(message) {
            let offset = message.integer("offset")
            note(event, offset: offset, isAnswer: message["id"] != nil)
            if let offset, let known = resume, offset > known.offset { resume?.offset = offset }
            take(event)
        } else if message["type"] == "error" {
            failed(message["code"] ?? "", id: message.integer("id"))
        }
        wake()
    }

    /// What a frame says; nil for what is not written down.
    private static func event(_ message: FlatMessage) -> Event? {
        let order = message["order"]
        let room = message["room"] ?? ""
        switch message["type"] {
        case "result":
            if message["outcome"] == "accepted" {
                return .accepted(order: order ?? "", ticket: message.integer("ticket") ?? 0)
            }
            return .refused(sale: message.integer("sale") ?? 0, code: message["outcome"] ?? "", order: order)
        case "order": return .order(order ?? "", status: message["status"] ?? "", ticket: message.integer("ticket"))
        case "joined": return .joined(room: room)
        case "admitted":
            return .admitted(room: room, pass: message["token"] ?? "", expiresAt: milliseconds(message["expiresAt"]))
        case "expired": return .expired(room: room, pass: message["token"] ?? "")
        case "left": return .left(room: room, reason: message["reason"] ?? "")
        case "held":
            return .held(
                reservation: message["reservationId"] ?? "", seats: message.integers("seats"),
                expiresAt: milliseconds(message["expiresAt"]))
        case "reservation": return .reservation(message["reservationId"] ?? "", status: message["status"] ?? "")
        default: return nil
        }
    }

    // MARK: waiting

    /// Waits until something comes, or for so long.
    func pause(_ milliseconds: Int64) async {
        if hasNews {
            hasNews = false
            return
        }
        guard !isOver else { return }
        timer.start(after: milliseconds) { [weak self] in self?.wake() }
        await withCheckedContinuation { waiting = $0 }
        timer.stop()
        hasNews = false
    }

    func wake() {
        guard let waiting else { return hasNews = true }
        self.waiting = nil
        waiting.resume()
    }

    /// Waits a while before asking again.
    func holdBack() async {
        await EventLoop.sleep(milliseconds: Int64.random(in: 50...400, using: &random))
    }

    func chance(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &random) }
}
