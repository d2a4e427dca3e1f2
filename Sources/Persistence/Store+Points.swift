import EventLoop
import Model

extension Store {
    /// Adds points to a client's account, once for each `reference` of that client.
    /// - Returns: the balance after it.
    /// - Throws: a ``WireError`` `invalid` when `points` is not positive, or the balance would exceed 2⁵³−1.
    public func charge(_ client: ClientID, points: Int64, reference: String) async throws -> Int64 {
        guard points > 0 else { throw WireError(.invalid, "point: must be positive") }
        do {
            let results = try await pool.perform(
                Statement(
                    "select charge_points($1, $2, $3)", .text(client.rawValue), .integer(points), .text(reference)))
            return results[0].first!.integer(0)
        } catch let error as DatabaseError where error.sqlstate == "22003" {
            throw WireError(.invalid, "point: the balance would be too large")
        }
    }

    /// A client's balance; 0 when it never had any points.
    public func balance(of client: ClientID) async throws -> Int64 {
        let results = try await pool.perform(
            Statement("select balance from accounts where client_id = $1", .text(client.rawValue)))
        return results[0].first?.integer(0) ?? 0
    }
}
