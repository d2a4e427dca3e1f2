import EventLoop
import Foundation
import Gateway

/// One client of a part that has no connection: its state machine, and the requests and the timer that do what it says.
@LoopActor
final class PollingClient: Participant {
    private var poller: Poller
    private unowned let part: Part
    private let pause = LoopTimer()
    var isCounted = false

    init(_ poller: Poller, part: Part) {
        self.poller = poller
        self.part = part
    }

    var index: Int { poller.index }
    var name: String { poller.client }
    var isUnanswered: Bool { poller.isUnanswered }
    var isBusy: Bool { poller.isBusy }
    var isFinished: Bool { poller.isFinished }
    var stays: [Stay] { poller.waiter.allStays }

    func begin() { perform(poller.begin(at: EventLoop.nanoseconds, &part.tally)) }

    func stopClaiming() { poller.stopClaiming() }

    private func perform(_ action: Poller.Action) {
        switch action {
        case .nothing: break
        case .ask(let request): part.wantsToAsk { await self.ask(request) }
        case .askAfter(let milliseconds, let request):
            pause.start(after: milliseconds) { [weak self] in
                guard let self else { return }
                part.wantsToAsk { await self.ask(request) }
            }
        }
        part.changed(self)
    }

    private func ask(_ request: Poller.Request) async {
        do {
            let token = try part.token(of: index, name)
            var headers = [(name: "authorization", value: "Bearer " + token)]
            let (method, path, body) = PollingClient.parts(of: request, client: name, room: part.room)
            if body != nil { headers.append((name: "content-type", value: "application/json")) }
            if case .claim(let claim) = request {
                headers.append((name: "idempotency-key", value: claim.key))
                if let pass = claim.pass { headers.append((name: "token", value: pass)) }
            }
            poller.asks(request, at: EventLoop.nanoseconds)
            let answer = try await HTTPClient.request(
                method, part.instance + path, headers: headers, body: body.map { Array($0.utf8) }, timeout: 10_000)
            guard let frame = answer.body.isEmpty ? Frame() : Frame(answer: answer.body) else {
                part.tally.fault("an answer could not be read")
                return perform(poller.failed(request, "unreadable", &part.tally))
            }
            let now = EventLoop.nanoseconds
            perform(poller.answered(request, status: answer.status, frame, at: now, &part.tally))
        } catch {
            part.note(error)
            perform(poller.failed(request, "no answer", &part.tally))
        }
    }

    /// What is sent. All that is put in are digits and ids of our own making.
    private static func parts(
        of request: Poller.Request, client: String, room: String
    ) -> (HTTPMethod, path: String, body: String?) {
        switch request {
        case .join: (.post, "/api/users/token", #"{"userId":"\#(client)","room":"\#(room)"}"#)
        case .look: (.get, "/api/users/\(client)/token?room=\(room)", nil)
        case .claim(let claim): (.post, "/api/sales/\(claim.sale)/claims", #"{"userId":"\#(client)"}"#)
        case .order(let order): (.get, "/api/orders/\(order)", nil)
        case .leave: (.delete, "/api/users/\(client)/token?room=\(room)", nil)
        }
    }
}
