import EventLoop
import Model

extension Store {
    /// Opens an account for a person. Names are compared without regard to case, and by what they look like rather
    /// than by how Unicode writes them.
    /// - Returns: false when the name is taken.
    public func insertUser(name: String, client: ClientID, passwordHash: String) async throws -> Bool {
        let results = try await pool.perform(
            Statement(
                """
                insert into users (name, name_key, client_id, password_hash)
                values ($1, normalize($2, NFC), $3, $4)
                on conflict (name_key) do nothing
                returning client_id
                """, .text(name), .text(name.lowercased()), .text(client.rawValue), .text(passwordHash)))
        return results[0].count == 1
    }

    /// A person's client id and password hash; nil when the name is not known.
    public func user(named name: String) async throws -> (client: ClientID, passwordHash: String)? {
        let results = try await pool.perform(
            Statement(
                "select client_id, password_hash from users where name_key = normalize($1, NFC)",
                .text(name.lowercased())))
        return results[0].first.map { (ClientID(trusted: $0.text(0)), $0.text(1)) }
    }

    /// Refuses a token from now on. Its id is forgotten when it has expired, `until`.
    public func revoke(tokenID: String, until: Timestamp) async throws {
        _ = try await pool.perform(
            Statement("delete from revoked_tokens where expires_at < now() - interval '1 minute'"),
            Statement(
                """
                insert into revoked_tokens (id, expires_at) values ($1, $2)
                on conflict (id) do update set expires_at = greatest(revoked_tokens.expires_at, excluded.expires_at)
                """, .text(tokenID), .moment(until)))
    }

    /// The tokens that were logged out and have not expired.
    public func revokedTokens() async throws -> [RevokedToken] {
        let results = try await pool.perform(
            Statement("select id, expires_at from revoked_tokens where expires_at >= now() order by expires_at"))
        return results[0].rows.map { RevokedToken(id: $0.text(0), until: $0.moment(1)) }
    }
}
