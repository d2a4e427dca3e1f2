import EventLoop
import Gateway
import Model

/// Seats: watching them, and holding them.
extension Session {
    // MARK: watching

    func watchSeats(_ message: ClientMessage) {
        guard let performance = performance(message) else { return }
        guard watchedSeats[performance] != nil || watchesMore(message) else { return }
        let extra = needed
        extra.lastWatch += 1
        let watch = extra.lastWatch
        extra.watchedSeats[performance] = watch
        hub.seats.add(self, to: performance)
        EventLoop.task {
            do {
                try await self.hub.seats.answer(
                    self, performance, isCompact: message.compact ?? false, id: message.id)
            } catch {
                // Unless it was unwatched, or watched again, meanwhile.
                if self.watchedSeats[performance] == watch, !self.hub.seats.isAnswering(self, performance) {
                    self.stopWatchingSeats(performance)
                }
                guard self.state == .connected else { return }
                self.fail(WireError(asWire: error), message.id)
            }
        }
    }

    func unwatchSeats(_ message: ClientMessage) {
        guard let performance = performance(message) else { return }
        if watchedSeats[performance] != nil { stopWatchingSeats(performance) }
        EventLoop.task {
            do {
                let (tally, event) = try await self.hub.seatService.directory.with(performance) {
                    try await self.hub.engine.tally(of: performance)
                }
                guard self.state == .connected else { return }
                self.reply(ServerFrame.unwatched(performance, tally, event: event, id: message.id))
            } catch {
                guard self.state == .connected else { return }
                self.fail(WireError(asWire: error), message.id)
            }
        }
    }

    private func stopWatchingSeats(_ performance: PerformanceID) {
        needed.watchedSeats[performance] = nil
        hub.seats.remove(self, from: performance)
        connection.unmark(Self.key(of: performance))
        connection.unmark(StateKey(kind: 4, subject: performance.rawValue))
    }

    private static func key(of performance: PerformanceID) -> StateKey {
        StateKey(kind: 3, subject: performance.rawValue)
    }

    /// Seats that are watched changed: sent when the socket can take it, together with what changes until then.
    func seatsChanged(_ performance: PerformanceID, _ text: @escaping @LoopActor () -> LongText?) {
        guard state == .connected else { return }
        connection.markChanged(Self.key(of: performance), long: text)
    }

    /// The answer to a `watch`, which may be long: written when the socket can take it.
    func seatsAnswer(_ performance: PerformanceID, _ text: @escaping @LoopActor () -> LongText?) {
        guard state == .connected else { return }
        connection.markChanged(StateKey(kind: 4, subject: performance.rawValue), long: text)
    }

    /// Whether so many bytes may be sent that a few bytes asked for.
    func maySend(_ bytes: Int) -> Bool {
        !hub.limits.isOn
            || needed.seatBytes.take(hub.limits.seatBytes, Double(bytes), now: EventLoop.monotonicMilliseconds)
    }

    private func performance(_ message: ClientMessage) -> PerformanceID? {
        guard let text = message.performance?.text else {
            fail(WireError(.badRequest, "performance: missing"), message.id)
            return nil
        }
        guard let performance = PerformanceID(parsing: text) else {
            fail(WireError(.notFound, "performance: there is no such performance"), message.id)
            return nil
        }
        return performance
    }

    // MARK: holding

    func hold(_ message: ClientMessage) {
        guard let client = presence?.client, let performance = performance(message) else { return }
        guard let seats = message.seats else { return fail(WireError(.badRequest, "seats: missing"), message.id) }
        guard mayAct(client, message.id) else { return }
        guard Int(holdsInFlight) < hub.limits.claimsInFlight else {
            return fail(WireError(.rateLimited, "too many holds in flight on this connection"), message.id)
        }
        holdsInFlight += 1
        hub.awaited += 1
        EventLoop.task {
            defer {
                self.holdsInFlight -= 1
                self.hub.awaited -= 1
            }
            do {
                let held = try await self.hub.seatService.hold(
                    seats.map(\.value), named: "seats", for: client, of: performance, pass: message.token)
                guard self.state == .connected else { return }
                self.reply(ServerFrame.held(held.hold, id: message.id))
            } catch {
                guard self.state == .connected else { return }
                self.fail(WireError(asWire: error), message.id)
            }
        }
    }
}
