import EventLoop
import Glibc

/// Fail-over to a standby, a disk that is full, and connections that are all taken.
extension PostgresServer {
    /// Starts a hot standby that follows this one by streaming.
    public func makeStandby() async throws -> PostgresServer {
        try await PostgresServer.blocking { try PostgresServer(Options(), standbyOf: self) }
    }

    /// Asks it, as a superuser, in a database of this connection string.
    /// - Returns: The rows, a line each, columns separated by `|`.
    @discardableResult
    public nonisolated func ask(_ query: String, in database: String? = nil) async throws -> String {
        try await Program.run(
            "/usr/bin/psql",
            [
                "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d",
                database ?? connectionString(database: "postgres"), "-c", query,
            ])
    }

    /// Returns when a standby has all that was committed here.
    public func waitUntil(hasAll standby: PostgresServer) async throws {
        let position = try await ask("select pg_current_wal_flush_lsn()")
        try await eventually("the standby has all") {
            try await standby.ask("select pg_last_wal_replay_lsn() >= '\(position)'") == "t"
        }
    }

    /// A standby hears no more of its primary: whatever is committed from now on is lost when it takes over.
    public func stopFollowing() async throws {
        try configure("primary_conninfo = ''")
        reload()
        try await eventually("the standby is cut off") {
            try await ask("select count(*) from pg_stat_wal_receiver") == "0"
        }
    }

    /// A standby takes over; returns when it can be written to.
    public func promote() async throws {
        try await PostgresServer.blocking {
            try self.run(["pg_ctl", "promote", "-D", "\(self.directory)/data", "-w"])
        }
    }

    /// Makes the tablespace `small` in the file system that ``Options/smallSpaceMegabytes`` has asked for.
    public func makeSmallSpace() async throws { try await ask("create tablespace small location '\(directory)/small'") }

    /// Fills what is left of a database's file system.
    public func fillDisk(of database: String) async throws {
        try await ask(
            "create table filler (bytes text); alter table filler alter bytes set storage plain", in: database)
        // In smaller and smaller pieces, to the last page.
        for rows in [1024, 128, 16, 1] {
            while true {
                let insert = "insert into filler select repeat('x', 7000) from generate_series(1, \(rows))"
                do { try await ask(insert, in: database) } catch { break }
            }
        }
    }

    /// Gives the space back.
    public func emptyDisk(of database: String) async throws {
        try await ask("truncate filler", in: database)
        try await ask("drop table filler", in: database)
    }

    /// Whether this machine lets a test have a file system of its own.
    public static let canHaveSmallSpace: Bool = {
        var status: Int32 = 0
        let flags = geteuid() == 0 ? "-m" : "-Urm"
        var process: pid_t = 0
        let arguments = ["/usr/bin/unshare", flags, "mount", "-t", "tmpfs", "small", "/mnt"]
        let pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        guard posix_spawn(&process, arguments[0], nil, nil, pointers, environ) == 0 else { return false }
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        return status == 0
    }()
}

/// Sessions that do nothing and take the places of others.
@LoopActor
public final class ConnectionHog {
    private var descriptors: [Int32] = []

    /// How many it has.
    public var count: Int { descriptors.count }

    /// Takes all that a PostgreSQL has left; returns when there are none.
    public static func takeAll(of server: PostgresServer) async throws -> ConnectionHog {
        let hog = ConnectionHog()
        while try hog.takeOne(of: server) { await Task.yield() }
        return hog
    }

    isolated deinit { release() }

    /// Gives them back.
    public func release() {
        for descriptor in descriptors { close(descriptor) }
        descriptors = []
    }

    /// False when there is no place.
    private func takeOne(of server: PostgresServer) throws -> Bool {
        guard let descriptor = FaultPort.connect(to: .unix(path: server.socketPath), isBlocking: true) else {
            throw LoopError(code: -errno, operation: "connect")
        }
        // The startup message of protocol 3.0.
        let parameters = Array("user\0postgres\0database\0postgres\0\0".utf8)
        let length = UInt32(parameters.count + 8)
        var message: [UInt8] = [UInt8(length >> 24), UInt8(length >> 16 & 255), UInt8(length >> 8 & 255)]
        message += [UInt8(length & 255), 0, 3, 0, 0] + parameters
        var answer: UInt8 = 0
        // "R": authentication, which is "ok"; "E": an error, that there are too many.
        guard send(descriptor, message, message.count, Int32(MSG_NOSIGNAL)) == message.count,
            read(descriptor, &answer, 1) == 1, answer == UInt8(ascii: "R")
        else {
            close(descriptor)
            return false
        }
        descriptors.append(descriptor)
        return true
    }
}
