import Engine
import EventLoop
import Model

/// Builds one thing anew from PostgreSQL beside servers that sell it, and loses nothing of what was accepted.
///
/// What its stream has goes to PostgreSQL first, by this process itself, whoever else has it in hand: writing it twice
/// changes nothing, and the entries stay, so that a committer tells their clients. Only when little is left nothing more is
/// accepted; then that goes the same way, and not before it is there the new epoch begins.
@LoopActor
struct AuditRebuild {
    /// What a log calls it.
    let name: String
    /// Keeps others from building it anew; false when that may be another's by now.
    let keep: @LoopActor (_ token: String) async throws -> Bool
    /// Writes some of its stream, after an entry or from the beginning, to PostgreSQL.
    let write: @LoopActor (_ after: String?) async throws -> (last: String?, hasMore: Bool)
    let note: @LoopActor (String) -> Void

    /// How many entries are written at once, and may be left when nothing is accepted any more.
    static let page = 1000
    /// How long it may take to come so far, in milliseconds.
    static let patience: Int64 = 60_000

    /// Builds it anew, and says what came of it.
    /// - Parameters:
    ///   - prepare: done last before nothing is accepted any more.
    ///   - begin: begins a new epoch; nil when there is nothing to be built.
    ///   - rebuild: makes it unknown, calls what it is given, and restores that.
    func run<Snapshot>(
        prepare: @LoopActor () async -> Void = {},
        begin: @escaping @LoopActor () async throws -> Snapshot?,
        rebuild: @LoopActor (_ token: String, _ read: @LoopActor () async throws -> Snapshot?) async throws -> Bool
    ) async throws {
        var last: String?
        let until = EventLoop.monotonicMilliseconds + Self.patience
        while true {
            let written = try await write(last)
            last = written.last ?? last
            if !written.hasMore { break }
            guard EventLoop.monotonicMilliseconds < until else {
                return note("\(name): not built anew, it is as it was: more is accepted than PostgreSQL takes")
            }
        }
        await prepare()
        let token = Engine.newToken()
        let renewal = LoopTimer()
        renewal.start(after: Engine.renewalMilliseconds, every: Engine.renewalMilliseconds) {
            EventLoop.task { _ = try? await keep(token) }
        }
        defer { renewal.stop() }
        let rebuilt = try await rebuild(token) {
            guard await drain(after: last, token) else { return nil }
            return try await begin()
        }
        note("\(name): \(rebuilt ? "built anew from PostgreSQL" : "another process builds it anew")")
    }

    /// Writes what is left, however long it takes: were it given up here, another would build it anew without that.
    /// - Returns: whether it is still this process that builds it anew.
    private func drain(after entry: String?, _ token: String) async -> Bool {
        var last = entry
        var hasMore = true
        var backoff = Backoff(base: 50, cap: 2000)
        while true {
            do {
                guard try await keep(token) else { return false }
                guard hasMore else { return true }
                let written = try await write(last)
                (last, hasMore) = (written.last ?? last, written.hasMore)
            } catch {
                if backoff.attempts == 0 { note("\(name): waits: \(error)") }
                await EventLoop.sleep(milliseconds: backoff.next())
            }
        }
    }
}
