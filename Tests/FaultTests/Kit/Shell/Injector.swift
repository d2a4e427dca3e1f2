import EventLoop
import Foundation
import Glibc
import TestServices

/// Makes faults happen.
@LoopActor
struct Injector {
    let stage: Stage
    /// Cuts the connections of some clients.
    let cut: @LoopActor (_ fraction: Int) -> Void

    /// Makes a fault happen; returns when it is over.
    /// - Returns: When it was over, in ms since 1970: the last moment at which something was still broken.
    func inject(_ fault: Fault) async throws -> Int64 {
        let pause = fault.milliseconds
        switch fault.kind {
        case .kill:
            let process = stage.instances[fault.target].process
            process.signal(SIGKILL)
            _ = try await process.waitForExit()
            await EventLoop.sleep(milliseconds: pause)
            try await stage.restart(fault.target)
        case .stop:
            let process = stage.instances[fault.target].process
            process.signal(SIGSTOP)
            await EventLoop.sleep(milliseconds: pause)
            process.signal(SIGCONT)
        case .rolling:
            for index in stage.instances.indices {
                let process = stage.instances[index].process
                process.signal(SIGTERM)
                let exit = try await process.waitForExit()
                guard exit.status == 0, exit.signal == 0 else {
                    throw StageFailure(description: "SIGTERM ended instance \(index) with \(exit)")
                }
                await EventLoop.sleep(milliseconds: pause)
                try await stage.restart(index)
            }
        case .cut: cut(fault.target == 0 ? 1 : 2)
        case .redisKill:
            await stage.redis.kill()
            await EventLoop.sleep(milliseconds: pause)
            try await stage.redis.restart(keepingData: true)
        case .redisPause:
            stage.redis.suspend()
            await EventLoop.sleep(milliseconds: pause)
            stage.redis.resume()
        case .redisOlder:
            let copy = try stage.redis.keepData()
            await EventLoop.sleep(milliseconds: pause)
            try await stage.redis.restart(asOf: copy)
        case .redisEmpty:
            await stage.redis.kill()
            await EventLoop.sleep(milliseconds: pause)
            try await stage.redis.restart(keepingData: false)
        case .redisFlush:
            _ = await stage.probe.ask("FLUSHALL")
        case .redisFailover: try await stage.failOver(missing: pause)
        case .redisHang, .redisLost, .redisDelay:
            try await disturb(stage.links[fault.target].redis, fault)
        case .postgresHang, .postgresLost, .postgresDelay:
            try await disturb(stage.links[fault.target].postgres, fault)
        case .postgresKill:
            try await stage.postgres.kill()
            await EventLoop.sleep(milliseconds: pause)
            try await stage.postgres.start()
        case .postgresRestart:
            try await stage.postgres.stop()
            await EventLoop.sleep(milliseconds: pause)
            try await stage.postgres.start()
        case .postgresPause:
            stage.postgres.freeze()
            await EventLoop.sleep(milliseconds: pause)
            stage.postgres.thaw()
        case .postgresLock:
            let seconds = Double(pause) / 1000
            try await stage.sql(
                "begin; lock table orders in access exclusive mode; select pg_sleep(\(seconds)); commit")
        case .postgresTerminate:
            for _ in 0..<3 {
                try await terminateConnections()
                await EventLoop.sleep(milliseconds: pause / 3)
            }
        case .postgresExhaust:
            let hog = try PlaceTaker(stage.database)
            try await terminateConnections()
            // Ours may win the race for some of the places; until the hog has all that are left.
            hog.take(Stage.databaseConnections)
            await EventLoop.sleep(milliseconds: pause)
            hog.close()
        }
        return EventLoop.wallMilliseconds
    }

    private func disturb(_ link: FaultProxy, _ fault: Fault) async throws {
        switch fault.kind {
        case .redisHang, .postgresHang: link.hang()
        case .redisLost, .postgresLost: link.hang(.replies)
        default: link.delay(milliseconds: max(20, fault.milliseconds / 12))
        }
        await EventLoop.sleep(milliseconds: fault.milliseconds)
        if fault.kind == .redisLost || fault.kind == .postgresLost { link.cut() }
        try link.resume()
    }

    private func terminateConnections() async throws {
        try await stage.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                + "and pid <> pg_backend_pid() and application_name <> 'hog'")
    }
}

/// Connections to PostgreSQL that do nothing but be there.
@LoopActor
private final class PlaceTaker {
    private let path: String
    private let database: String
    private var descriptors: [Int32] = []

    init(_ connection: String) throws {
        let parts = Dictionary(
            connection.split(separator: " ").compactMap { part in
                part.firstIndex(of: "=").map { (String(part[..<$0]), String(part[part.index(after: $0)...])) }
            }
        ) { first, _ in first }
        guard let host = parts["host"], let port = parts["port"], let name = parts["dbname"] else {
            throw StageFailure(description: "not understood: \(connection)")
        }
        path = "\(host)/.s.PGSQL.\(port)"
        database = name
    }

    func take(_ count: Int) {
        // The startup message of protocol 3.0. Nothing is read: whether it got in does not matter.
        var body: [UInt8] = [0, 3, 0, 0]
        for word in ["user", "postgres", "database", database, "application_name", "hog"] {
            body += Array(word.utf8) + [0]
        }
        body.append(0)
        let length = UInt32(body.count + 4).bigEndian
        let message = withUnsafeBytes(of: length) { Array($0) } + body
        for _ in 0..<count {
            let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let status = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            if status == 0 { _ = Glibc.send(descriptor, message, message.count, Int32(MSG_NOSIGNAL)) }
            descriptors.append(descriptor)
        }
    }

    func close() {
        for descriptor in descriptors { Glibc.close(descriptor) }
        descriptors = []
    }
}
