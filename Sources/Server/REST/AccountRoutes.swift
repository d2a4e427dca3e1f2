import EventLoop
import Gateway
import Identity
import Model

/// Accounts, tokens and points.
@LoopActor
struct AccountRoutes {
    let services: Services

    var routes: [Route] {
        [
            Route(.post, "/api/users", .open, signUp),
            Route(.post, "/api/sessions", .open, signIn),
            Route(.delete, "/api/sessions", .caller, signOut),
            Route(.post, "/api/tokens", .service, issueToken),
            Route(.patch, "/api/users/point", .caller, charge),
            Route(.get, "/api/users/{userId}/point", .caller, balance),
        ]
    }

    private func signUp(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(CredentialsBody.self)
        try limitPasswords(context)
        return session(201, try await services.accounts.signUp(name: body.name, password: body.password))
    }

    private func signIn(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(CredentialsBody.self)
        try limitPasswords(context)
        let address = context.request.remoteAddress
        guard services.rates.maySignIn(body.name, from: address) else {
            throw WireError(
                .rateLimited, "too many wrong passwords for this account; wait a moment",
                retryAfter: RateLimits.signInPause)
        }
        do {
            return session(201, try await services.accounts.signIn(name: body.name, password: body.password))
        } catch let error as WireError where error.code == .unauthenticated {
            services.rates.wrongPassword(body.name, from: address)
            throw error
        }
    }

    /// To hash one costs some 20 ms of a core. A body that is no good has cost none of that.
    private func limitPasswords(_ context: RequestContext) throws(WireError) {
        guard context.caller?.actsForAll == true || services.rates.mayTryPassword(context.request.remoteAddress) else {
            throw WireError(.rateLimited, "too many passwords from this address", retryAfter: 1)
        }
    }

    private func session(_ status: Int, _ session: AccountService.Session) -> HTTPResponse {
        .result(status) { json in
            json.object { json in
                json.member("userId", session.client.rawValue)
                json.member("token", session.token)
                json.member("expiresAt", session.expiresAt)
            }
        }
    }

    private func signOut(_ context: RequestContext) async throws -> HTTPResponse {
        guard case .client(let claims) = context.caller else {
            throw WireError(.forbidden, "only a client's token can be logged out")
        }
        try await services.accounts.signOut(tokenID: claims.tokenID, until: claims.expiresAt)
        return .noContent
    }

    private func issueToken(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(TokenBody.self)
        let client = try body.userId.client("userId")
        let seconds = body.expiresIn?.value ?? 3600
        guard (1...2_592_000).contains(seconds) else { throw WireError(.invalid, "expiresIn: 1 to 2592000 seconds") }
        return session(201, services.accounts.issue(client, seconds: seconds))
    }

    private func charge(_ context: RequestContext) async throws -> HTTPResponse {
        let body = try context.body(ChargeBody.self)
        let client = try body.userId.client("userId")
        try context.requireActing(for: client)
        guard (1...SaleDefinition.maxPoints).contains(body.point.value) else {
            throw WireError(.invalid, "point: 1 to \(SaleDefinition.maxPoints)")
        }
        let key = try context.idempotencyKey()
        try await services.accounts.charge(client, points: body.point.value, key: key)
        return .result { $0.string("SUCCESS") }
    }

    private func balance(_ context: RequestContext) async throws -> HTTPResponse {
        let client = try context.client()
        let points = try await services.store.balance(of: client)
        return .result { json in
            json.object { json in
                json.member("userId", client.rawValue)
                json.member("point", points)
            }
        }
    }
}
