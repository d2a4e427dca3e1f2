import EventLoop
import Gateway
import Identity
import Model

/// Answers REST requests: finds the route, checks who asks, calls the handler, and puts errors into words.
@LoopActor
final class API {
    private let services: Services
    private let router: Router

    init(services: Services) {
        self.services = services
        router = Router(
            SaleRoutes(services: services).routes + OperatorRoutes(services: services).routes
                + AccountRoutes(services: services).routes + RoomRoutes(services: services).routes
                + ConcertRoutes(services: services).routes + ReservationRoutes(services: services).routes)
    }

    /// The answer to one request; never throws, never blocks.
    func respond(to request: HTTPRequest) async -> HTTPResponse {
        let response = await answer(request)
        services.metrics.responses[response.status, default: 0] += 1
        return response
    }

    private func answer(_ request: HTTPRequest) async -> HTTPResponse {
        let caller: Caller?
        do {
            caller = try admit(request)
        } catch {
            return .tooMany(error)
        }
        let route: Route
        let parameters: [String: String]
        switch router.match(request.method, request.path) {
        case .notFound:
            return .failure(WireError(.notFound, "there is nothing here"))
        case .methodNotAllowed(let allowed):
            return .failure(
                WireError(.methodNotAllowed, "only \(allowed.map(\.rawValue).joined(separator: ", "))"),
                headers: [("allow", allowed.map(\.rawValue).joined(separator: ", "))])
        case .found(let found, let values):
            route = found
            parameters = values
        }
        do {
            let caller = try authorize(caller, route.access)
            try limit(request, route, caller)
            return try await route.handler(
                RequestContext(request: request, parameters: parameters, caller: caller, now: services.now))
        } catch let error as WireError {
            return .failure(error)
        } catch {
            services.log(
                .warning, "request_failed",
                ["route": .init(route.pattern.joined(separator: "/")), "error": .init("\(error)")])
            return .failure(.unavailable)
        }
    }

    /// Who asks; nil when nobody says so, or it is not proven.
    ///
    /// The shop's backend and the admin are not limited: one address asks for everybody there.
    private func admit(_ request: HTTPRequest) throws(WireError) -> Caller? {
        let tooMany = WireError(.rateLimited, "too many requests from this address")
        let mayAsk = services.rates.mayAsk(request.remoteAddress)
        guard let shown = request.authorization else {
            guard mayAsk else { throw tooMany }
            return nil
        }
        // A token is not worth the look when it can't help; a key may.
        guard mayAsk || !shown.contains("."), services.rates.mayTry(shown, from: request.remoteAddress) else {
            throw tooMany
        }
        let caller = services.credentials.identify(authorization: shown, at: services.now)
        if caller == nil && !services.rates.failed(request.remoteAddress) { throw tooMany }
        guard mayAsk || caller?.actsForAll == true else { throw tooMany }
        return caller
    }

    private func limit(_ request: HTTPRequest, _ route: Route, _ caller: Caller?) throws(WireError) {
        if case .client(let claims) = caller {
            guard services.rates.mayTalk(claims.client) else {
                throw WireError(.rateLimited, "too many requests of this client")
            }
            guard route.method == .get || services.rates.mayAct(claims.client, from: request.remoteAddress) else {
                throw WireError(.rateLimited, "too many changes of this client, or from its address")
            }
        }
        if route.hashesPassword, caller?.actsForAll != true, !services.rates.mayTryPassword(request.remoteAddress) {
            throw WireError(.rateLimited, "too many passwords from this address", retryAfter: 10)
        }
    }

    private func authorize(_ caller: Caller?, _ access: Access) throws(WireError) -> Caller? {
        switch (access, caller) {
        case (.open, _): return caller
        case (_, nil): throw WireError(.unauthenticated, "Authorization: a good token or key is needed")
        case (.caller, _): return caller
        case (.service, let caller?):
            guard caller.actsForAll else { throw WireError(.forbidden, "this needs the service key or the admin key") }
            return caller
        case (.admin, let caller?):
            guard caller.isAdmin else { throw WireError(.forbidden, "this needs the admin key") }
            return caller
        }
    }
}

extension Caller {
    /// Whether it is the service key or the admin key.
    fileprivate var actsForAll: Bool { client == nil }
}
