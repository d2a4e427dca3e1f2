import EventLoop
import Foundation
import Glibc
import Synchronization

/// A private PostgreSQL cluster in a temporary directory. It ends, and its directory goes, with this process, however
/// that ends.
///
/// PostgreSQL does not run as root: then the system's `postgres` user runs it.
public final class PostgresServer: Sendable {
    /// One for all tests of this process that don't harm it; each test has a database of its own.
    public static func shared() async throws -> PostgresServer { try await sharedServer.value }

    private static let sharedServer = Task { try await PostgresServer.launch() }

    /// How a cluster is set up.
    public struct Options: Sendable {
        /// More lines of its configuration.
        public var settings: [String] = []
        /// The size of a file system of its own for the tablespace `small`, in megabytes; 0 for none.
        public var smallSpaceMegabytes = 0
        /// As the shared one.
        public init() {}
    }

    /// A cluster for a test that stops or kills it.
    public static func launch(_ options: Options = Options()) async throws -> PostgresServer {
        EventLoop.startInBackground()
        return try await blocking { try PostgresServer(options) }
    }

    /// Why the cluster cannot be used.
    public struct Failure: Error, CustomStringConvertible {
        /// In words.
        public let description: String
    }

    let directory: String
    let port: Int
    private let options: Options
    private let programs: String
    private let process = Mutex<pid_t>(0)
    private static let databases = Atomic<Int>(0)

    // MARK: Databases

    /// Creates an empty database and answers how to connect to it, by the unix socket.
    public func makeDatabase(encoding: String = "UTF8", tablespace: String = "pg_default") async throws -> String {
        let name = "test_\(PostgresServer.databases.add(1, ordering: .relaxed).newValue)"
        try await PostgresServer.blocking {
            try self.run([
                "createdb", "-h", self.directory, "-p", String(self.port), "-U", "postgres", "-E", encoding,
                "-T", "template0", "--locale=C", "-D", tablespace, name,
            ])
        }
        return connectionString(database: name)
    }

    /// How to connect to a database by the unix socket. Passwords are asked for only of the database `guarded`.
    public func connectionString(database: String) -> String {
        "host=\(directory) port=\(port) user=postgres dbname=\(database)"
    }

    /// The path of its socket.
    public var socketPath: String { "\(directory)/.s.PGSQL.\(port)" }

    /// How to connect to a database by TCP, as a URI with a host name.
    public func uri(database: String) -> String { "postgresql://postgres@localhost:\(port)/\(database)" }

    // MARK: Faults

    /// Starts it (again), and returns when it takes connections.
    public func start() async throws { try await PostgresServer.blocking { try self.boot() } }

    /// Ends it in order: connections are closed, what is under way is rolled back. Returns when it is gone.
    public func stop() async throws {
        try await PostgresServer.blocking {
            let server = self.process.withLock { $0 }
            // The fast shutdown.
            Glibc.kill(server, SIGINT)
            var status: Int32 = 0
            while waitpid(server, &status, 0) < 0 && errno == EINTR {}
        }
    }

    /// Kills every process of it, as a loss of power would.
    public func kill() async throws {
        try await PostgresServer.blocking {
            let server = self.process.withLock { $0 }
            // The postmaster first: it would start others, or end them more gently.
            let children = PostgresServer.children(of: server)
            Glibc.kill(server, SIGKILL)
            for child in children { Glibc.kill(child, SIGKILL) }
            var status: Int32 = 0
            waitpid(server, &status, 0)
            // The children are not ours to wait for, and the next start asks that they are gone.
            for child in children { while PostgresServer.isAlive(child) { usleep(1000) } }
        }
    }

    /// Stops every process of it where it is: connections stay, and nobody answers.
    public func freeze() { signal(SIGSTOP) }

    /// Lets a frozen one go on.
    public func thaw() { signal(SIGCONT) }

    /// Has it read its configuration again.
    func reload() { Glibc.kill(process.withLock { $0 }, SIGHUP) }

    private func signal(_ signal: Int32) {
        let server = process.withLock { $0 }
        for process in [server] + PostgresServer.children(of: server) { Glibc.kill(process, signal) }
    }

    // MARK: Starting

    /// - Parameter primary: the one that it follows, when it is a standby.
    init(_ options: Options, standbyOf primary: PostgresServer? = nil) throws {
        self.options = options
        var template = Array("/tmp/dibs-postgres-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(description: "mkdtemp: \(errno)") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        port = try PostgresServer.freePort()
        programs = try PostgresServer.findPrograms(in: directory)
        if geteuid() == 0, let user = getpwnam("postgres") {
            guard chown(directory, user.pointee.pw_uid, user.pointee.pw_gid) == 0 else {
                throw Failure(description: "chown: \(errno)")
            }
        }
        try watchOver()
        if let primary {
            try run([
                "pg_basebackup", "-h", primary.directory, "-p", String(primary.port), "-U", "postgres", "-D",
                "\(directory)/data", "-R", "-X", "stream", "-c", "fast", "-N",
            ])
            try configure("port = \(port)", "unix_socket_directories = '\(directory)'")
            try boot()
            return
        }
        try run([
            "initdb", "-D", "\(directory)/data", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust",
            "-N",
        ])
        try write(
            """
            local guarded all scram-sha-256
            local all all trust
            local replication all trust
            host all all 127.0.0.1/32 trust

            """, to: "data/pg_hba.conf")
        try write(
            """
            listen_addresses = '127.0.0.1'
            port = \(port)
            unix_socket_directories = '\(directory)'
            max_connections = 400
            fsync = off
            full_page_writes = off
            shared_buffers = '256MB'
            max_wal_size = '2GB'

            """, to: "data/postgresql.auto.conf")
        try configure(options.settings)
        try boot()
    }

    /// Adds lines to the configuration; a later one wins.
    func configure(_ lines: String...) throws { try configure(lines) }

    private func configure(_ lines: [String]) throws {
        try write(lines.map { $0 + "\n" }.joined(), to: "data/postgresql.auto.conf", mode: "a")
    }

    private func boot() throws {
        let server = try spawn(["postgres", "-D", "\(directory)/data"], namespace: smallSpace())
        process.withLock { $0 = server }
        for _ in 0..<6000 {
            // The first line is the process, the eighth its state.
            let lines = read("data/postmaster.pid").split(separator: "\n", omittingEmptySubsequences: false)
            if lines.count > 7, lines[0] == String(server), lines[7].hasPrefix("ready") { return }
            var status: Int32 = 0
            guard waitpid(server, &status, WNOHANG) == 0 else {
                throw Failure(description: "postgres ended: \(read("log").suffix(2000))")
            }
            usleep(10_000)
        }
        throw Failure(description: "postgres does not start: \(read("log").suffix(2000))")
    }

    /// Leaves a process behind that waits for the end of this one, by the end of a pipe that only this one can write to,
    /// and then clears up.
    private func watchOver() throws {
        var pipe: [Int32] = [0, 0]
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &pipe) == 0 else { throw Failure(description: "socketpair: \(errno)") }
        let script = """
            cat >/dev/null
            pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
            if [ -n "$pid" ]; then
                for child in "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null); do kill -CONT "$child"; done
                kill -QUIT "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
            fi
            rm -rf "$1"
            """
        _ = try spawn(["/bin/sh", "-c", script, "sh", directory], input: pipe[0], log: "/dev/null")
        // The other end stays open, on purpose and for as long as this process lives.
        close(pipe[0])
    }

    private static func findPrograms(in directory: String) throws -> String {
        for pattern in ["/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres", "/usr/*/bin/postgres"] {
            var found = glob_t()
            defer { globfree(&found) }
            if glob(pattern, 0, nil, &found) == 0, found.gl_pathc > 0,
                let path = found.gl_pathv[Int(found.gl_pathc) - 1]
            {
                return String(String(cString: path).dropLast("/postgres".count))
            }
        }
        throw Failure(description: "PostgreSQL's programs are not installed")
    }

    /// A port that nobody listens on. Not one of those that the kernel gives to connections: while the server is stopped,
    /// one of them would take it, and the server could not come back.
    private static func freePort() throws -> Int {
        for _ in 0..<100 {
            let port = UInt16.random(in: 20_000..<32_000)
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            defer { close(descriptor) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            let status = withUnsafePointer(to: &address) { address in
                address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                    bind(descriptor, address, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if status == 0 { return Int(port) }
        }
        throw Failure(description: "no free port: \(errno)")
    }

    // MARK: Processes and files

    /// Runs one of PostgreSQL's programs to its end.
    func run(_ arguments: [String]) throws {
        let process = try spawn(arguments)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else {
            throw Failure(description: "\(arguments[0]) ended with \(status): \(read("log").suffix(2000))")
        }
    }

    /// The command that gives the server a small file system, which nobody else sees; it goes with the server.
    private func smallSpace() throws -> [String] {
        guard options.smallSpaceMegabytes > 0 else { return [] }
        let place = "\(directory)/small"
        mkdir(place, 0o700)
        let isRoot = geteuid() == 0
        // In a namespace of users only root may mount; PostgreSQL must not be root there either.
        let owner = isRoot ? "id=$(id -u postgres),gid=$(id -g postgres)" : "id=0,gid=0"
        let next = isRoot ? "" : "unshare -U --map-user=\(getuid()) "
        let mount = "mount -t tmpfs -o size=\(options.smallSpaceMegabytes)m,mode=700,u\(owner) small \(place)"
        return ["/usr/bin/unshare", isRoot ? "-m" : "-Urm", "sh", "-c", "\(mount) && exec \(next)\"$@\"", "sh"]
    }

    private func spawn(
        _ arguments: [String], input: Int32? = nil, log: String? = nil, namespace: [String] = []
    ) throws -> pid_t {
        var arguments = arguments
        if !arguments[0].hasPrefix("/") {
            arguments[0] = "\(programs)/\(arguments[0])"
            if geteuid() == 0 {
                arguments = ["/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] + arguments
            }
        }
        arguments = namespace + arguments
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_addopen(&actions, 1, log ?? "\(directory)/log", O_WRONLY | O_CREAT | O_APPEND, 0o666)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A session of its own, so that an interrupt at the terminal leaves the clearing up to the watcher.
        // (POSIX_SPAWN_SETSID, which glibc shows to GNU sources only.)
        posix_spawnattr_setflags(&attributes, 0x80)
        var process: pid_t = 0
        let pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        let status = posix_spawn(&process, arguments[0], &actions, &attributes, pointers, environ)
        guard status == 0 else { throw Failure(description: "start \(arguments[0]): \(status)") }
        return process
    }

    private static func children(of parent: pid_t) -> [pid_t] {
        contents("/proc/\(parent)/task/\(parent)/children").split(separator: " ").compactMap { pid_t($0) }
    }

    /// Whether a process still does anything: one that only waits to be collected does not.
    private static func isAlive(_ process: pid_t) -> Bool {
        let stat = contents("/proc/\(process)/stat")
        return !stat.isEmpty && !stat.contains(") Z ")
    }

    private func read(_ name: String) -> String { PostgresServer.contents("\(directory)/\(name)") }

    private static func contents(_ path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private func write(_ text: String, to name: String, mode: String = "w") throws {
        guard let file = fopen("\(directory)/\(name)", mode) else {
            throw Failure(description: "write \(name): \(errno)")
        }
        fputs(text, file)
        fclose(file)
    }

    /// Does blocking work on a thread of its own: it holds up neither tests nor the loop, nor the few threads on which
    /// the loop resolves names for whoever is being tested.
    static func blocking<Success: Sendable>(
        _ work: @escaping @Sendable () throws -> Success
    ) async throws -> Success {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try work() }) }
        }
    }
}
