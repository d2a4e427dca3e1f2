import EventLoop
import Glibc

/// Looks into Redis past the server: a connection of the harness's own, so that what it reads is what is there.
@LoopActor
final class RedisProbe {
    /// A reply.
    enum Reply: Sendable {
        case none
        case integer(Int64)
        case text(String)
        case list([Reply])
        case error(String)

        var integer: Int64? {
            switch self {
            case .integer(let value): value
            case .text(let text): Int64(text)
            default: nil
            }
        }
        var text: String? { if case .text(let text) = self { text } else { nil } }
        var list: [Reply] { if case .list(let list) = self { list } else { [] } }
    }

    private let path: @LoopActor () -> String
    private var descriptor: Int32 = -1
    private var watcher: DescriptorWatcher?
    private var input: [UInt8] = []
    private var position = 0
    private var waiting: [CheckedContinuation<Reply?, Never>] = []

    /// - Parameter path: of the socket, where it is now.
    init(path: @escaping @LoopActor () -> String) { self.path = path }

    isolated deinit { close() }

    /// Asks; nil when there is no answer in time.
    func ask(_ words: String..., within milliseconds: Int64 = 2000) async -> Reply? {
        await ask([words], within: milliseconds)?.first
    }

    /// Asks many things in one write; nil when there is no answer in time.
    func ask(_ commands: [[String]], within milliseconds: Int64 = 5000) async -> [Reply]? {
        guard !commands.isEmpty else { return [] }
        guard open() else { return nil }
        let timer = LoopTimer()
        timer.start(after: milliseconds) { [weak self] in self?.close() }
        defer { timer.stop() }
        var bytes: [UInt8] = []
        for words in commands {
            bytes += "*\(words.count)\r\n".utf8
            for word in words { bytes += "$\(word.utf8.count)\r\n\(word)\r\n".utf8 }
        }
        guard write(bytes) else {
            close()
            return nil
        }
        var replies: [Reply] = []
        for _ in commands {
            guard let reply = await next() else { return nil }
            replies.append(reply)
        }
        return replies
    }

    private func next() async -> Reply? {
        await withCheckedContinuation { continuation in
            if waiting.isEmpty, let reply = parse() {
                continuation.resume(returning: reply)
            } else if descriptor < 0 {
                continuation.resume(returning: nil)
            } else {
                waiting.append(continuation)
            }
        }
    }

    private func open() -> Bool {
        guard descriptor < 0 else { return true }
        let made = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path().utf8) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else {
            Glibc.close(made)
            return false
        }
        // A batch of commands is written at once; replies are read without waiting.
        var size: Int32 = 4 << 20
        setsockopt(made, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        _ = fcntl(made, F_SETFL, O_NONBLOCK)
        descriptor = made
        input = []
        position = 0
        let watcher = DescriptorWatcher(descriptor: made) { [weak self] _ in self?.read() }
        watcher.watch(.readable)
        self.watcher = watcher
        return true
    }

    private func write(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            sent += count
        }
        return true
    }

    func close() {
        watcher?.close()
        watcher = nil
        if descriptor >= 0 { Glibc.close(descriptor) }
        descriptor = -1
        let vain = waiting
        waiting = []
        for continuation in vain { continuation.resume(returning: nil) }
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        while descriptor >= 0 {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && (errno == EAGAIN || errno == EINTR) { break }
            guard count > 0 else { return close() }
            input += buffer[..<count]
        }
        while !waiting.isEmpty, let reply = parse() { waiting.removeFirst().resume(returning: reply) }
    }

    private func parse() -> Reply? {
        let start = position
        guard let reply = value() else {
            position = start
            return nil
        }
        if position == input.count {
            input = []
            position = 0
        }
        return reply
    }

    private func line() -> String? {
        guard let end = input[position...].firstIndex(of: UInt8(ascii: "\r")), end + 1 < input.count else { return nil }
        defer { position = end + 2 }
        return String(decoding: input[position..<end], as: UTF8.self)
    }

    private func value() -> Reply? {
        guard let line = line(), let kind = line.first else { return nil }
        let rest = String(line.dropFirst())
        switch kind {
        case ":": return .integer(Int64(rest) ?? 0)
        case "+": return .text(rest)
        case "-": return .error(rest)
        case "$":
            guard let count = Int(rest), count >= 0 else { return Reply.none }
            guard position + count + 2 <= input.count else { return nil }
            defer { position += count + 2 }
            return .text(String(decoding: input[position..<position + count], as: UTF8.self))
        case "*":
            guard let count = Int(rest), count >= 0 else { return Reply.none }
            var list: [Reply] = []
            for _ in 0..<count {
                guard let element = value() else { return nil }
                list.append(element)
            }
            return .list(list)
        default: return .error(line)
        }
    }
}
