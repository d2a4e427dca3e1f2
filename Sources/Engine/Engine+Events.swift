import EventLoop
import Model

/// Listening to what happens, whichever process makes it happen.
///
/// Each call returns once Redis has confirmed: from then on nothing is missed without a `renewed`. Handlers are called
/// on the loop, and must not block it. They go on until the subscription is cancelled or let go.
extension Engine {
    /// Listens to a client's outcomes.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribe(
        client: ClientID, _ handler: @escaping @LoopActor (ClientEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.client(client)) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message(let text):
                if text.hasPrefix("\t") {
                    if let event = ClientChannel.event(text) { handler(event) }
                    return
                }
                // One of a newer version leaves a gap, and the log is read, as for any other.
                guard let tab = text.utf8.firstIndex(of: UInt8(ascii: "\t")), let offset = Int64(text[..<tab]),
                    let outcome = Outcome(encoded: text[text.utf8.index(after: tab)...])
                else { return }
                handler(.outcome(LoggedOutcome(offset: offset, outcome: outcome)))
            }
        }
    }

    /// Listens to the changes of a sale.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribe(
        sale: SaleID, _ handler: @escaping @LoopActor (SaleEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.Sale(sale).events) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message(let text):
                let numbers = text.numbers
                guard numbers.count >= 3 else { return }
                handler(.changed(left: numbers[1], version: numbers[2], event: numbers[0]))
            }
        }
    }

    /// Listens to which sales are registered, rebuilt or get another window.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribeSales(
        _ handler: @escaping @LoopActor (SalesEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.salesChannel) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message(let text): if let sale = SaleID(parsing: text) { handler(.changed(sale)) }
            }
        }
    }

    /// Listens to the changes of a performance's seats.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribe(
        performance: PerformanceID, _ handler: @escaping @LoopActor (SeatsEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.Performance(performance).events) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message(let text): if let event = SeatTexts.message(text) { handler(event) }
            }
        }
    }

    /// Listens to which performances are registered or rebuilt.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribePerformances(
        _ handler: @escaping @LoopActor (PerformancesEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.performancesChannel) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message(let text):
                if let performance = PerformanceID(parsing: text) { handler(.changed(performance)) }
            }
        }
    }

    /// Listens to which tokens are revoked.
    /// - Throws: ``Outage`` when Redis did not confirm; the handler is not called then.
    public func subscribeRevocations(
        _ handler: @escaping @LoopActor (RevocationEvent) -> Void
    ) async throws(Outage) -> Subscription {
        try await subscriber.subscribe(to: Keys.revokedChannel) { signal in
            switch signal {
            case .renewed: handler(.renewed)
            case .message(let text):
                let parts = text.split(separator: " ", maxSplits: 1)
                guard parts.count == 2, let until = Int64(parts[0]) else { return }
                handler(.revoked(tokenID: String(parts[1]), until: Timestamp(milliseconds: until)))
            }
        }
    }
}
