import EventLoop
import Gateway
import Model

/// Watching sales.
extension Session {
    func watch(_ message: ClientMessage) {
        if message.sale == nil, message.performance != nil { return watchSeats(message) }
        guard let sale = watchable(message) else { return }
        guard watched[sale] != nil || watchesMore(message) else { return }
        let extra = needed
        extra.lastWatch += 1
        let watch = extra.lastWatch
        extra.watched[sale] = watch
        hub.watches.add(self, to: sale)
        EventLoop.task {
            do {
                let state = try await self.hub.watches.state(of: sale)
                guard self.state == .connected else { return }
                self.reply(ServerFrame.sale(state, at: self.hub.now, id: message.id))
            } catch {
                // Unless it was unwatched, or watched again, meanwhile.
                if self.watched[sale] == watch { self.stopWatching(sale) }
                guard self.state == .connected else { return }
                self.fail(WireError(asWire: error), message.id)
            }
        }
    }

    func unwatch(_ message: ClientMessage) {
        if message.sale == nil, message.performance != nil { return unwatchSeats(message) }
        guard let sale = watchable(message) else { return }
        if watched[sale] != nil { stopWatching(sale) }
        EventLoop.task {
            do {
                let state = try await self.hub.directory.state(of: sale)
                guard self.state == .connected else { return }
                self.reply(ServerFrame.sale(state, at: self.hub.now, id: message.id))
            } catch {
                guard self.state == .connected else { return }
                self.fail(WireError(asWire: error), message.id)
            }
        }
    }

    /// Whether one more may be watched; tells when not.
    func watchesMore(_ message: ClientMessage) -> Bool {
        guard watched.count + watchedSeats.count < hub.limits.watches else {
            fail(WireError(.rateLimited, "too much is watched on this connection"), message.id)
            return false
        }
        return true
    }

    private func stopWatching(_ sale: SaleID) {
        needed.watched[sale] = nil
        hub.watches.remove(self, from: sale)
        connection.unmark(Self.key(of: sale))
    }

    private func watchable(_ message: ClientMessage) -> SaleID? {
        guard let text = message.sale?.text else {
            fail(WireError(.badRequest, "sale: missing, or performance"), message.id)
            return nil
        }
        guard let sale = SaleID(parsing: text) else {
            fail(WireError(.notFound, "sale: there is no such sale"), message.id)
            return nil
        }
        return sale
    }

    static func key(of sale: SaleID) -> StateKey { StateKey(kind: 1, subject: sale.rawValue) }
}
