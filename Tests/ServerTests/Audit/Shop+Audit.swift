import EventLoop
import TestServices
import Testing

extension Shop {
    /// What the auditor says, once it can: a process that has just begun compares Redis, and so holds up the lines.
    func audited(_ query: String = "", on instance: Int = 0, at place: SourceLocation = #_sourceLocation) async throws
        -> JSON
    {
        var answer = try await call(.get, "/api/audit" + query, as: .admin, on: instance, at: place)
        if answer.status == 503 {
            try await eventually("the audit can be asked") {
                answer = try await call(.get, "/api/audit" + query, as: .admin, on: instance, at: place)
                return answer.status != 503
            }
        }
        try #require(answer.status == 200, "\(answer.text)", sourceLocation: place)
        return answer.result
    }

    /// What `dibs audit` ended with, and said.
    func auditProgram(
        _ arguments: [String] = [], _ changes: [String: String] = [:]
    ) async throws -> (status: Int32, output: String, errors: String) {
        let program = try Program(
            DibsProcess.path, ["audit"] + arguments, environment: environment.merging(changes) { $1 })
        let exit = try await program.waitForExit()
        return (
            Int32(exit.status), program.output.items.joined(separator: "\n"),
            program.errors.items.joined(separator: "\n")
        )
    }
}

/// A way to break something by hand, and what the auditor has to say of it.
struct Breakage: Sendable {
    let name: String
    /// Kinds of drift, all that there are.
    let kinds: Set<String>
    /// What one of the drifts names.
    let names: [String: JSON]
    /// Whether it can be mended.
    var isMended = true
    let breakIt: @Sendable @LoopActor (Shop) async throws -> Void
}

extension Breakage {
    /// Breaks it, and checks what the auditor finds, and what `dibs audit --repair` makes of it.
    @LoopActor
    func check(in shop: Shop, _ query: String, _ narrowed: [String]) async throws {
        try await breakIt(shop)
        let audit = try await shop.audited(query)
        let drifts = audit["drifts"].list
        #expect(Set(drifts.compactMap { $0["kind"].text }) == kinds, "\(name): \(audit)")
        #expect((audit["drift"].integer ?? 0) >= Int64(kinds.count), "\(name): \(audit)")
        #expect(drifts.contains { drift in names.allSatisfy { drift[$0] == $1 } }, "\(name): \(audit)")

        let repair = try await shop.auditProgram(["--repair"] + narrowed)
        #expect(repair.status == (isMended ? 0 : 1), "\(name): \(repair)")
        #expect(repair.output.contains("repair: "), "\(name): \(repair)")
        let after = try await shop.audited(query)
        #expect((after["drift"] == 0) == isMended, "\(name): \(after)")
    }
}
