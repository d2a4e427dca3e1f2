import EventLoop
import Gateway
import Model
import Persistence

/// Sales, claims and orders.
@LoopActor
struct SaleRoutes {
    let services: Services

    var routes: [Route] {
        [
            Route(.post, "/api/sales", .admin, register),
            Route(.get, "/api/sales", .open, isShared: true, list),
            Route(.get, "/api/sales/{sale}", .open, isShared: true, show),
            Route(.post, "/api/sales/{sale}/open", .admin) { try await self.command(.open, $0) },
            Route(.post, "/api/sales/{sale}/close", .admin) { try await self.command(.close, $0) },
            Route(.post, "/api/sales/{sale}/cancel", .admin) { try await self.command(.cancel, $0) },
            Route(.post, "/api/sales/{sale}/claims", .caller, claim),
            Route(.get, "/api/sales/{sale}/claims/{userId}", .caller, truth),
            Route(.get, "/api/orders/{order}", .caller, order),
            Route(.delete, "/api/orders/{order}", .caller, cancel),
        ]
    }

    private func register(_ context: RequestContext) async throws -> HTTPResponse {
        let definition = try SaleDefinition(context.body(RegisterSaleBody.self))
        if let room = definition.room, try await services.store.room(room) == nil {
            throw WireError(.invalid, "room: there is no such room")
        }
        let state = try await services.directory.register(definition)
        return .result(201) { $0.sale(state, at: context.now) }
    }

    private func list(_ context: RequestContext) async throws -> HTTPResponse {
        let limit = try context.query("limit", in: 1...200) ?? 50
        let before = try context.query("before", in: 1...Int64(1 << 53) - 1)
        let stored = try await services.store.sales(before: before.map(SaleID.init), limit: Int(limit))
        let live = try await services.engine.states(of: stored.map(\.sale.id))
        var states: [SaleState] = []
        for sale in stored {
            // One that Redis doesn't know is rebuilt on the way, so that the list never guesses.
            if let state = live[sale.sale.id] {
                states.append(state)
            } else {
                states.append(try await services.directory.state(of: sale.sale.id))
            }
        }
        return .result { json in
            json.array { json in for state in states { json.sale(state, at: context.now) } }
        }
    }

    private func show(_ context: RequestContext) async throws -> HTTPResponse {
        let state = try await services.directory.state(of: try context.sale())
        return .result { $0.sale(state, at: context.now) }
    }

    private func command(_ command: SaleCommand, _ context: RequestContext) async throws -> HTTPResponse {
        let state = try await services.directory.apply(command, to: try context.sale())
        return .result { $0.sale(state, at: services.now) }
    }

    private func claim(_ context: RequestContext) async throws -> HTTPResponse {
        let sale = try context.sale()
        let client = try context.body(ClaimBody.self).userId.client("userId")
        try context.requireActing(for: client)
        let key = try context.idempotencyKey()
        let accepted = try await services.claims.claim(
            client: client, sale: sale, key: key, pass: context.request.pass)
        return .result(accepted.isRepeated ? 200 : 201) { json in
            json.object { json in
                json.member("order", accepted.acceptance.order.description)
                json.member("sale", sale.rawValue)
                json.member("userId", client.rawValue)
                json.member("ticket", accepted.acceptance.ticket)
                json.member("status", "accepted")
            }
        }
    }

    private func truth(_ context: RequestContext) async throws -> HTTPResponse {
        let sale = try context.sale()
        let claims = try await services.orders.truth(of: try context.client(), in: sale)
        return .result { json in
            json.object { json in
                json.member("status", claims.first?.status.rawValue ?? "none")
                json.member("order", claims.first?.order.description)
                json.member("ticket", claims.first?.ticket)
                json.member("reason", claims.first?.reason)
                json.member("orders") { json in
                    json.array { json in for claim in claims { json.claim(claim) } }
                }
            }
        }
    }

    private func order(_ context: RequestContext) async throws -> HTTPResponse {
        let order = try await services.orders.order(try context.order())
        try context.requireActing(for: order.client)
        return .result { $0.order(order) }
    }

    private func cancel(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.order()
        try context.requireActing(for: try await services.orders.order(id).client)
        let order = try await services.orders.cancel(id)
        return .result { $0.order(order) }
    }
}

extension JSONWriter {
    fileprivate mutating func claim(_ claim: OrderService.ClaimTruth) {
        object { json in
            json.member("order", claim.order.description)
            json.member("ticket", claim.ticket)
            json.member("status", claim.status.rawValue)
            json.member("reason", claim.reason)
        }
    }
}
