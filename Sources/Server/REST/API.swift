import EventLoop
import Gateway
import Identity
import Model

/// Answers REST requests: finds the route, checks who asks, calls the handler, and puts errors into words.
@LoopActor
final class API {
    private let services: Services
    private let router: Router
    private let limiter: AddressLimiter

    init(services: Services, limiter: AddressLimiter) {
        self.services = services
        self.limiter = limiter
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
            guard limiter.allows(request.remoteAddress) else {
                throw WireError(.rateLimited, "too many requests from this address")
            }
            let now = services.now
            let caller = try authenticate(request, route.access, now)
            return try await route.handler(
                RequestContext(request: request, parameters: parameters, caller: caller, now: now))
        } catch let error as WireError {
            return .failure(error)
        } catch {
            services.log(
                .warning, "request_failed",
                ["route": .init(route.pattern.joined(separator: "/")), "error": .init("\(error)")])
            return .failure(.unavailable)
        }
    }

    private func authenticate(_ request: HTTPRequest, _ access: Access, _ now: Timestamp) throws(WireError) -> Caller? {
        let caller = services.credentials.identify(authorization: request.authorization, at: now)
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
