import Engine
import EventLoop
import Gateway
import Model
import Persistence

/// Statistics, the dead-letter list, the audit, and what a machine asks.
@LoopActor
struct OperatorRoutes {
    let services: Services

    var routes: [Route] {
        [
            Route(.get, "/api/sales/{sale}/statistics", .open, isShared: true, statistics),
            Route(.get, "/api/statistics", .open, isShared: true, overall),
            Route(.get, "/api/failed-orders", .admin, failedOrders),
            Route(.post, "/api/failed-orders/retry", .admin, retryAll),
            Route(.post, "/api/failed-orders/{order}/retry", .admin, retry),
            Route(.get, "/api/audit", .admin, audit),
            Route(.get, "/healthz", .open, isProbe: true) { _ in .result { $0.object { $0.member("status", "ok") } } },
            Route(.get, "/readyz", .open, isProbe: true, ready),
            Route(.get, "/metrics", .open, isProbe: true, metrics),
        ]
    }

    private func interval(_ context: RequestContext) throws(WireError) -> SeriesInterval? {
        guard let text = context.query("interval") else { return nil }
        guard let interval = SeriesInterval(rawValue: text) else {
            throw WireError(.badRequest, "interval: second or minute")
        }
        return interval
    }

    private func statistics(_ context: RequestContext) async throws -> HTTPResponse {
        let interval = try interval(context)
        let sale = try context.sale()
        let report = try await services.statistics.report(on: sale, interval: interval)
        guard let room = try await services.roomDirectory.room(of: sale).room else { return answer(report) }
        let live = try await services.roomDirectory.with(room) { try await services.engine.inspect(room: room) }
        return answer(report, waiting: live.summary.waiting, admitted: live.admitted)
    }

    private func overall(_ context: RequestContext) async throws -> HTTPResponse {
        let report = try await services.statistics.overall(interval: try interval(context))
        return answer(report, waiting: report.waiting, admitted: report.admitted)
    }

    private func answer(
        _ report: StatisticsService.Report, waiting: Int64 = 0, admitted: Int64 = 0
    ) -> HTTPResponse {
        .result { json in
            json.object { json in
                json.countMembers(report.counts)
                json.member("remaining", report.remaining)
                json.member("waiting", waiting)
                json.member("admitted", admitted)
                json.member("firstClaimAt", report.firstClaimAt)
                json.member("soldOutAt", report.soldOutAt)
                guard let series = report.series else { return }
                json.member("series") { json in
                    json.array { json in
                        for entry in series {
                            json.object { json in
                                json.member("at", entry.at)
                                json.countMembers(entry.counts)
                            }
                        }
                    }
                }
            }
        }
    }

    private func failedOrders(_ context: RequestContext) async throws -> HTTPResponse {
        let limit = try context.query("limit", in: 1...1000) ?? 100
        let before = try context.query("before", in: 1...Int64(1 << 53) - 1)
        let sale = try context.query("sale", in: 1...Int64(1 << 53) - 1)
        let failed = try await services.store.failedOrders(
            sale: sale.map(SaleID.init), before: before, limit: Int(limit))
        return .result { json in
            json.array { json in
                for order in failed {
                    json.object { json in
                        json.member("id", order.number)
                        json.member("order", order.order.order.description)
                        json.member("sale", order.order.order.sale.rawValue)
                        json.member("userId", order.order.client.rawValue)
                        json.member("ticket", order.order.ticket)
                        json.member("reason", order.reason)
                        json.member("message", order.message)
                        json.member("attempts", order.attempts)
                        json.member("failedAt", order.failedAt)
                        json.member("status", order.status.rawValue)
                    }
                }
            }
        }
    }

    private func retry(_ context: RequestContext) async throws -> HTTPResponse {
        let id = try context.order()
        try await services.orders.retry(id)
        return .result { json in
            json.object { json in
                json.member("order", id.description)
                json.member("status", "accepted")
            }
        }
    }

    private func retryAll(_ context: RequestContext) async throws -> HTTPResponse {
        var retried: Int64 = 0
        var failed: Int64 = 0
        var before: Int64?
        // Page by page, newest first: what is put back on its way during this call is not met again.
        while true {
            let page = try await services.store.failedOrders(sale: nil, before: before, limit: 200)
            guard let last = page.last else { break }
            before = last.number
            for order in page where order.status == .failed {
                do {
                    try await services.orders.retry(order.order.order)
                    retried += 1
                } catch is WireError {
                    failed += 1
                }
            }
        }
        return .result { json in
            json.object { json in
                json.member("retried", retried)
                json.member("failed", failed)
            }
        }
    }

    private func audit(_ context: RequestContext) async throws -> HTTPResponse {
        var scope = AuditScope()
        let ids = 1...Int64(1 << 53) - 1
        scope.sale = try context.query("sale", in: ids).map { SaleID($0) }
        scope.performance = try context.query("performance", in: ids).map { PerformanceID($0) }
        if let text = context.query("room") {
            let room = RoomID(text)
            guard let room, try await services.store.room(room) != nil else {
                throw WireError(.notFound, "no such room")
            }
            scope.room = room
        }
        if let text = context.query("client") {
            guard let client = ClientID(text) else {
                throw WireError(.badRequest, "client: 1 to 64 characters of A-Z a-z 0-9 . _ : -")
            }
            scope.client = client
        }
        // While Redis is compared after a loss, what drifts is only what is being rebuilt.
        let identity = services.engine.identity
        guard services.verification.isDone else { throw WireError(.unavailable, "Redis is being compared") }
        let audit = try await services.auditor.audit(
            scope, limit: scope.isEverything ? Auditor.comparedAtOnce : .max)
        guard services.verification.isDone, services.engine.identity == identity else {
            throw WireError(.unavailable, "Redis is being compared")
        }
        return .result { $0.audit(audit) }
    }

    private func ready(_ context: RequestContext) async throws -> HTTPResponse {
        guard services.phase == .serving else { throw WireError(.unavailable, "\(services.phase)") }
        guard services.verification.isDone else { throw WireError(.unavailable, "Redis is being compared") }
        try await services.engine.ping()
        try await services.store.ping()
        return .result { $0.object { $0.member("status", "ready") } }
    }

    private func metrics(_ context: RequestContext) async throws -> HTTPResponse {
        guard context.request.isLoopback || context.caller?.isAdmin == true else {
            throw context.caller == nil
                ? WireError(.unauthenticated, "the metrics need the admin key")
                : WireError(.forbidden, "the metrics need the admin key")
        }
        return HTTPResponse(
            status: 200, headers: ["content-type": "text/plain; version=0.0.4; charset=utf-8"],
            body: Array(services.metrics.text().utf8))
    }
}
