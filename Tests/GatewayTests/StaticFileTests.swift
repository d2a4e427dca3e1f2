import EventLoop
import Glibc
import Model
import TestServices
import Testing

@testable import Gateway

/// A folder with some files, gone at the end.
private final class Folder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/dibs-gateway-XXXXXX".utf8CString)
        path = String(cString: mkdtemp(&template)!)
        write("index.html", "<!doctype html>")
        write("secret.txt", "secret", in: path + "-outside")
        mkdir(path + "/js", 0o755)
        write("js/app.js", "export {}")
        write(".hidden", "hidden")
        write("large.bin", String(repeating: "l", count: 300_000))
        symlink(path + "-outside/secret.txt", path + "/link.txt")
        symlink("js/app.js", path + "/inside.js")
        mkfifo(path + "/pipe", 0o644)
    }

    func write(_ name: String, _ text: String, in folder: String? = nil) {
        if let folder { mkdir(folder, 0o755) }
        let file = fopen((folder ?? path) + "/" + name, "w")!
        fputs(text, file)
        fclose(file)
    }

    deinit {
        for name in ["index.html", "js/app.js", ".hidden", "large.bin", "link.txt", "inside.js", "pipe", "new.css"] {
            unlink(path + "/" + name)
        }
        rmdir(path + "/js")
        rmdir(path)
        unlink(path + "-outside/secret.txt")
        rmdir(path + "-outside")
    }
}

@Suite(.timeLimit(.minutes(patience)))
struct StaticFileTests {
    @Test func served() async throws {
        let folder = Folder()
        try await withServer({ $0.webRoot = folder.path }) { server in
            let page = try await HTTPClient.request(.get, server.http + "/")
            #expect(page.status == 200)
            #expect(page.text == "<!doctype html>")
            #expect(page.headers["content-type"] == "text/html; charset=utf-8")
            #expect(page.headers["cache-control"] == "no-cache")
            #expect(page.headers["content-security-policy"]?.contains("frame-ancestors 'none'") == true)
            #expect(page.headers["x-content-type-options"] == "nosniff")
            #expect(page.headers["referrer-policy"] == "no-referrer")
            let etag = try #require(page.headers["etag"])
            let again = try await HTTPClient.request(.get, server.http + "/", headers: [("if-none-match", etag)])
            #expect(again.status == 304)
            #expect(again.body.isEmpty)
            #expect(again.headers["etag"] == etag)
            let script = try await HTTPClient.request(.get, server.http + "/js/app.js?v=1")
            #expect(script.headers["content-type"] == "text/javascript; charset=utf-8")
            #expect(try await HTTPClient.request(.get, server.http + "/inside.js").text == "export {}")
            #expect(try await HTTPClient.request(.get, server.http + "/large.bin").body.count == 300_000)
            let socket = try await server.raw()
            socket.send("HEAD /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer(head: true)?.headers["content-length"] == "300000")
            #expect(server.echo.asked.items.isEmpty)
        }
    }

    @Test(arguments: [
        "/nothing", "/js", "/js/", "/.hidden", "/../dibs-outside/secret.txt", "/%2e%2e/secret.txt", "/link.txt",
        "/pipe",
        "/js/../.hidden", "/index.html/",
    ])
    func notServed(path: String) async throws {
        let folder = Folder()
        try await withServer({ $0.webRoot = folder.path }) { server in
            let socket = try await server.raw()
            socket.send("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(await socket.answer()?.status == 404)
            #expect(server.echo.asked.items.count == 1)
        }
    }

    @Test func otherMethodsGoToTheDelegate() async throws {
        let folder = Folder()
        try await withServer({ $0.webRoot = folder.path }) { server in
            let answer = try await HTTPClient.request(.delete, server.http + "/index.html")
            #expect(answer.status == 404)
            #expect(server.echo.asked.items.map(\.method) == [.delete])
        }
    }

    @Test func aChangedFileIsReadAgain() async throws {
        let folder = Folder()
        try await onLoop {
            let files = StaticFiles(root: folder.path)
            let now = { (path: String, etag: String?) in
                await files.respond(
                    to: HTTPRequest(
                        method: .get, path: path, query: [], headers: etag.map { ["if-none-match": $0] } ?? [:],
                        remoteAddress: PeerAddress.loopback))
            }
            #expect(await now("/new.css", nil) == nil)
            folder.write("new.css", "a {}")
            let first = try #require(await now("/new.css", nil))
            #expect(first.body == Array("a {}".utf8))
            folder.write("new.css", "bb {}")
            await EventLoop.sleep(milliseconds: StaticFiles.freshMilliseconds + 10)
            let second = try #require(await now("/new.css", first.headers["etag"]))
            #expect(second.status == 200)
            #expect(second.body == Array("bb {}".utf8))
        }
    }
}

extension PeerAddress {
    fileprivate static var loopback: PeerAddress {
        var storage = sockaddr_storage()
        storage.ss_family = sa_family_t(AF_INET6)
        return PeerAddress(&storage)
    }
}
