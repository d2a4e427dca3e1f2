import EventLoop
import Model

/// The passes that this process told, or saw being told to clients that are connected to it: what it can give back to a
/// Redis that has lost them.
@LoopActor
final class ToldPasses {
    private var passes: [RoomID: [ClientID: (token: String, expiresAt: Timestamp)]] = [:]
    private var count = 0
    /// How many there were when those that are over were forgotten last, and when that was, in milliseconds since 1970.
    private var kept = 0
    private var forgotAt: Int64 = 0
    /// The most that are kept; further ones are not.
    private static let limit = 100_000

    private var now: Timestamp { Timestamp(milliseconds: EventLoop.wallMilliseconds) }

    /// Those that are not over.
    var all: [RoomID: [(client: ClientID, token: String, expiresAt: Timestamp)]] {
        let now = now
        return passes.mapValues { held in
            held.filter { $0.value.expiresAt > now }.map { ($0.key, $0.value.token, $0.value.expiresAt) }
        }.filter { !$0.value.isEmpty }
    }

    /// A client was told this.
    func note(_ outcome: Outcome, of client: ClientID) {
        switch outcome {
        case .admitted(let room, let token, let expiresAt): note(client, room, token: token, expiresAt: expiresAt)
        case .expired(let room, _): forget(client, room)
        case .accepted, .order, .reservation: break
        }
    }

    /// A client has this pass.
    func note(_ client: ClientID, _ room: RoomID, token: String, expiresAt: Timestamp) {
        if passes[room]?[client] == nil {
            // Most are spent, or told to be over.
            if count >= Self.limit || count >= 2 * kept + 1024 { forgetThoseOver() }
            guard count < Self.limit else { return }
            count += 1
        }
        passes[room, default: [:]][client] = (token, expiresAt)
    }

    /// A client's pass is spent, given back or over.
    func forget(_ client: ClientID, _ room: RoomID) {
        guard passes[room]?.removeValue(forKey: client) != nil else { return }
        count -= 1
        if passes[room]?.isEmpty == true { passes[room] = nil }
    }

    private func forgetThoseOver() {
        let now = now
        guard now.milliseconds - forgotAt >= 1000 else { return }
        forgotAt = now.milliseconds
        passes = passes.mapValues { $0.filter { $0.value.expiresAt > now } }.filter { !$0.value.isEmpty }
        count = passes.values.reduce(0) { $0 + $1.count }
        kept = count
    }
}
