import EventLoop
import Gateway
import Identity
import Model

/// Answers REST requests: finds the route, checks who asks, calls the handler, and puts errors into words.
@LoopActor
final class API {
    private let services: Services
    private let router: Router
    private let reads = SharedReads<Question, HTTPResponse>()

    /// What is asked by requests whose answer doesn't depend on who asks.
    private struct Question: Hashable {
        let path: String
        let query: [String]
    }

    init(services: Services) {
        self.services = services
        router = Router(
            SaleRoutes(services: services).routes + OperatorRoutes(services: services).routes
                + AccountRoutes(services: services).routes + RoomRoutes(services: services).routes
                + ConcertRoutes(services: services).routes + ReservationRoutes(services: services).routes)
    }

    /// The answer to one request; never throws, never blocks.
    func respond(to request: HTTPRequest) async -> HTTPResponse {
        let proof = request.authorization.map { services.credentials.prove(authorization: $0, at: services.now) }
        // The shop's backend and the admin are not limited: one address asks for everybody there.
        let isUnlimited = proof?.caller?.actsForAll == true
        var response = await answer(request, proof, isUnlimited)
        response.isUnlimited = isUnlimited
        // Whoever is refused over and over hears it late: it asks again when it has heard.
        if response.status == 429, !isUnlimited,
            let pause = services.rates.pauseBeforeRefusal(request.remoteAddress)
        {
            await EventLoop.sleep(milliseconds: pause)
        }
        services.metrics.responses[response.status, default: 0] += 1
        return response
    }

    private func answer(_ request: HTTPRequest, _ proof: Proof?, _ isUnlimited: Bool) async -> HTTPResponse {
        let match = router.match(request.method, request.path)
        guard match.isProbe || isUnlimited || services.rates.mayAsk(request.remoteAddress) else {
            return .failure(WireError(.rateLimited, "too many requests from this address"))
        }
        let route: Route
        let parameters: [String: String]
        switch match {
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
            let caller = try authorize(proof, route.access, request)
            try limit(request, route, caller)
            let context = RequestContext(request: request, parameters: parameters, caller: caller, now: services.now)
            guard route.isShared else { return try await route.handler(context) }
            let question = Question(path: request.path, query: request.query.flatMap { [$0.name, $0.value] })
            return try await reads.read(question) { [services] in
                var context = context
                context.now = services.now
                return try await route.handler(context)
            }
        } catch let error as WireError {
            return .failure(error)
        } catch {
            services.log(
                .warning, "request_failed",
                ["route": .init(route.pattern.joined(separator: "/")), "error": .init("\(error)")])
            return .failure(.unavailable)
        }
    }

    private func limit(_ request: HTTPRequest, _ route: Route, _ caller: Caller?) throws(WireError) {
        if case .client(let claims) = caller {
            guard services.rates.mayTalk(claims.client) else {
                throw WireError(.rateLimited, "too many requests of this client")
            }
            guard route.method == .get || services.rates.mayAct(claims.client, from: request.remoteAddress) == .good
            else {
                throw WireError(.rateLimited, "too many changes of this client, or from its address")
            }
        }
    }

    private func authorize(
        _ proof: Proof?, _ access: Access, _ request: HTTPRequest
    ) throws(WireError) -> Caller? {
        let caller = proof?.caller
        switch (access, caller) {
        case (.open, _): return caller
        case (_, nil):
            // What was good once is no guess.
            if proof == .nothing, !services.rates.failed(request.remoteAddress) {
                throw WireError(.rateLimited, "too many bad tokens from this address")
            }
            throw WireError(.unauthenticated, "Authorization: a good token or key is needed")
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

extension Proof {
    fileprivate var caller: Caller? { if case .caller(let caller) = self { caller } else { nil } }
}

extension Router.Match {
    fileprivate var isProbe: Bool { if case .found(let route, _) = self { route.isProbe } else { false } }
}

extension Caller {
    /// Whether it is the service key or the admin key.
    var actsForAll: Bool { client == nil }
}
