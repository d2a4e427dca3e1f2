import EventLoop
import Glibc
import Model

/// Serves the files below a folder. The disk is read on libuv's threads; what was read is kept while it is unchanged.
@LoopActor
final class StaticFiles {
    /// A file as it was read.
    struct File: Sendable {
        let bytes: [UInt8]
        let stamp: Stamp
    }

    /// What changes when a file does.
    struct Stamp: Hashable, Sendable {
        let inode: UInt64
        let size: Int64
        let modified: Int64

        var etag: String {
            "\"\(String(inode, radix: 36))-\(String(size, radix: 36))-\(String(modified, radix: 36))\""
        }
    }

    private struct Entry {
        let file: File
        var checked: Int64
        var used: Int
    }

    private nonisolated let root: String
    private var cache: [String: Entry] = [:]
    private var cachedBytes = 0
    private var uses = 0

    private static let cacheBytes = 16 << 20
    private nonisolated static let largestFile: Int64 = 8 << 20
    /// For how long a file that was looked at counts as unchanged.
    static let freshMilliseconds: Int64 = 500

    nonisolated init(root: String) { self.root = root }

    /// The file that a request is for; nil when there is none.
    func respond(to request: HTTPRequest) async -> HTTPResponse? {
        guard let name = StaticFiles.name(for: request.path), let file = await file(name) else { return nil }
        var response = HTTPResponse(
            status: 200,
            headers: [
                "content-type": StaticFiles.type(of: name),
                "cache-control": "no-cache",
                "etag": file.stamp.etag,
                "content-security-policy":
                    "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; script-src 'self'; "
                    + "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
                "x-content-type-options": "nosniff",
                "referrer-policy": "no-referrer",
            ])
        if StaticFiles.matches(request.ifNoneMatch, file.stamp.etag) {
            response.status = 304
        } else {
            response.body = file.bytes
        }
        return response
    }

    /// The file's name below the root; nil for a path that can't be one. Nothing that begins with a dot is served.
    nonisolated static func name(for path: String) -> String? {
        var parts = path.split(separator: "/", omittingEmptySubsequences: true)
        if path.hasSuffix("/") { parts.append("index.html") }
        guard !parts.isEmpty, parts.allSatisfy({ !$0.hasPrefix(".") && !$0.utf8.contains(0) }) else { return nil }
        let name = parts.joined(separator: "/")
        return name.utf8.count <= 512 ? name : nil
    }

    /// Whether a list of entity tags has this one; weak comparison (RFC 9110, 13.1.2).
    nonisolated static func matches(_ list: String?, _ etag: String) -> Bool {
        guard let list else { return false }
        return list.split(separator: ",").contains { item in
            let item = item.trimmingSpaces
            return item == "*" || item == etag || item == "W/" + etag
        }
    }

    private func file(_ name: String) async -> File? {
        uses += 1
        let now = EventLoop.monotonicMilliseconds
        let known = cache[name]
        if let known, now - known.checked < StaticFiles.freshMilliseconds {
            cache[name]?.used = uses
            return known.file
        }
        let (root, stamp) = (root, known?.file.stamp)
        let found = try? await EventLoop.offload { StaticFiles.read(name, below: root, unlessStill: stamp) }
        switch found ?? .absent {
        case .absent:
            forget(name)
            return nil
        case .unchanged:
            cache[name]?.checked = now
            cache[name]?.used = uses
            return known?.file
        case .file(let file):
            forget(name)
            keep(file, as: name, now)
            return file
        }
    }

    private func forget(_ name: String) {
        if let old = cache.removeValue(forKey: name) { cachedBytes -= old.file.bytes.count }
    }

    private func keep(_ file: File, as name: String, _ now: Int64) {
        guard file.bytes.count <= StaticFiles.cacheBytes / 4 else { return }
        cache[name] = Entry(file: file, checked: now, used: uses)
        cachedBytes += file.bytes.count
        while cachedBytes > StaticFiles.cacheBytes, let oldest = cache.min(by: { $0.value.used < $1.value.used }) {
            forget(oldest.key)
        }
    }

    private enum Found: Sendable {
        case absent
        case unchanged
        case file(File)
    }

    /// Runs on a thread of the pool.
    private nonisolated static func read(_ name: String, below root: String, unlessStill stamp: Stamp?) -> Found {
        // Resolved, so that a link doesn't lead out of the folder.
        guard let root = realpath(root, nil) else { return .absent }
        defer { free(root) }
        guard let path = realpath("\(String(cString: root))/\(name)", nil) else { return .absent }
        defer { free(path) }
        let prefix = String(cString: root) + "/"
        guard strncmp(path, prefix, prefix.utf8.count) == 0 else { return .absent }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return .absent }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            status.st_size <= largestFile
        else { return .absent }
        let found = Stamp(
            inode: UInt64(status.st_ino), size: Int64(status.st_size),
            modified: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec))
        if found == stamp { return .unchanged }
        let size = Int(status.st_size)
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let part = Glibc.read(descriptor, buffer.baseAddress! + count, size - count)
                if part <= 0 { break }
                count += part
            }
        }
        return bytes.count == size ? .file(File(bytes: bytes, stamp: found)) : .absent
    }

    private nonisolated static func type(of name: String) -> String {
        switch name.split(separator: ".").last.map({ $0.lowercased() }) {
        case "html": "text/html; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "js", "mjs": "text/javascript; charset=utf-8"
        case "json", "map": "application/json"
        case "webmanifest": "application/manifest+json"
        case "yaml", "yml": "application/yaml"
        case "txt", "md": "text/plain; charset=utf-8"
        case "svg": "image/svg+xml"
        case "png": "image/png"
        case "jpg", "jpeg": "image/jpeg"
        case "webp": "image/webp"
        case "ico": "image/x-icon"
        case "woff2": "font/woff2"
        default: "application/octet-stream"
        }
    }
}
