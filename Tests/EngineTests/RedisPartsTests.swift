import EventLoop
import Foundation
import Model
import Testing

@testable import Engine

/// The parts that need no Redis.
@Suite struct RedisPartsTests {
    /// UUIDs of version 4 in small letters, which differ.
    @Test func passesAreRandomNames() {
        let passes = (0..<100).map { _ in PassText.random() }
        #expect(Set(passes).count == 100)
        for pass in passes {
            #expect(pass.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil)
        }
    }

    @Test func theRunIsReadFromItsLine() {
        #expect(Engine.run(in: "# Server\r\nredis_version:7.0.15\r\nrun_id:0a1b\r\ntcp_port:6379\r\n") == "0a1b")
        #expect(Engine.run(in: "# Server\r\nmy_run_id:0a1b\r\nrun_id:\r\n") == nil)
        #expect(Engine.run(in: "") == nil)
    }

    @Test(arguments: [
        ("redis://localhost", RedisURL(endpoint: .tcp(host: "localhost", port: 6379))),
        ("redis://localhost/", RedisURL(endpoint: .tcp(host: "localhost", port: 6379))),
        ("redis://10.0.0.1:6380/3", RedisURL(endpoint: .tcp(host: "10.0.0.1", port: 6380), database: 3)),
        ("redis://[::1]:7000", RedisURL(endpoint: .tcp(host: "::1", port: 7000))),
        ("redis://[fe80::1]/2", RedisURL(endpoint: .tcp(host: "fe80::1", port: 6379), database: 2)),
        ("redis://:secret@h", RedisURL(endpoint: .tcp(host: "h", port: 6379), password: "secret")),
        ("redis://:p%40s%3As@h:1", RedisURL(endpoint: .tcp(host: "h", port: 1), password: "p@s:s")),
        ("redis://:a@b@h", RedisURL(endpoint: .tcp(host: "h", port: 6379), password: "a@b")),
        ("redis://me:a:b@h", RedisURL(endpoint: .tcp(host: "h", port: 6379), user: "me", password: "a:b")),
        ("unix:///run/redis.sock", RedisURL(endpoint: .unix(path: "/run/redis.sock"))),
        ("unix:///a%20b?db=12", RedisURL(endpoint: .unix(path: "/a b"), database: 12)),
    ])
    func readsURLs(_ text: String, _ expected: RedisURL) throws {
        let url = try RedisURL(text)
        #expect(url == expected)
        if let password = expected.password { #expect(!url.description.contains(password)) }
    }

    @Test(arguments: [
        ("", "redis://"), ("http://h", "redis://"), ("redis://", "host"), ("redis://:6379", "host"),
        ("redis://h:0", "port"), ("redis://h:65536", "port"), ("redis://h:x", "port"), ("redis://h:", "port"),
        ("redis://h/x", "database"), ("redis://h/-1", "database"), ("redis://::1", "IPv6"), ("redis://[::1", "]"),
        ("redis://[::1]x", "port"), ("redis://secretword@h", "password"), ("redis://:secretword%zz@h", "password"),
        ("redis://:%ff@h", "UTF-8"), ("redis://:%00@h", "UTF-8"), ("redis://h?db=1", "?"), ("unix://path", "///"),
        ("unix:///p?base=1", "db=n"), ("unix:///p?db=", "database"), ("redis://a b", "space"),
        ("unix:///" + String(repeating: "x", count: 107), "107"),
    ])
    func saysWhatIsWrong(_ text: String, _ expected: String) {
        let error = #expect(throws: RedisURL.ParseError.self) { try RedisURL(text) }
        #expect(error?.description.contains(expected) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("secretword") == false)
    }

    /// Random bytes never trap.
    @Test func anyTextIsReadOrRefused() {
        var generator = SeededGenerator(seed: 7)
        let alphabet = Array("redis://unix:@[]%?db=0159/ aé\u{0}")
        for _ in 0..<5000 {
            let prefix = ["redis://", "unix://", "unix:///", ""].randomElement(using: &generator)!
            let rest = (0..<Int.random(in: 0...20, using: &generator)).map { _ in
                alphabet.randomElement(using: &generator)!
            }
            if let url = try? RedisURL(prefix + String(rest)) { #expect(!url.description.isEmpty) }
        }
    }

    @Test func hashSlots() {
        // The specification's check value, and what `CLUSTER KEYSLOT` says.
        #expect(HashSlot.crc16("123456789".utf8) == 0x31C3)
        #expect(HashSlot(of: "foo").rawValue == 12182)
        #expect(HashSlot(of: "bar").rawValue == 5061)
        #expect(HashSlot(of: "hello").rawValue == 866)
        #expect(HashSlot(of: "").rawValue == 0)
        #expect(HashSlot(of: "{user1000}.following") == HashSlot(of: "{user1000}.followers"))
        #expect(HashSlot(of: "foo{}{bar}") != HashSlot(of: "bar"))
        #expect(HashSlot(of: "foo{{bar}}zap") == HashSlot(of: "{bar"))
        #expect(HashSlot(of: "foo{bar}{zap}") == HashSlot(of: "bar"))
        #expect(HashSlot(of: "foo{bar") != HashSlot(of: "bar"))
    }

    @Test func keysOfASaleShareTheirSlot() {
        let keys = Keys.Sale(SaleID(42))
        let all = [
            keys.state, keys.clients, keys.keys, keys.returned, keys.orders, keys.replayed, keys.counts, keys.series,
            keys.rebuild,
        ]
        #expect(Set(all).count == all.count)
        #expect(Set(all.map { HashSlot(of: $0) }).count == 1)
        #expect(HashSlot(of: keys.state) == HashSlot(of: "sale:42"))
        #expect(HashSlot(of: Keys.client(ClientID(trusted: "a:b"))) == HashSlot(of: "client:a:b"))
    }

    @Test func commandsAreRESP() {
        var command = RedisCommand("SET", "key", "größer")
        command.append(-42)
        command.append("a", " ", "b")
        command.append([0, 255])
        command.append("")
        command.seal()
        command.seal()
        let bytes = command.withBytes { pointer, length in
            Data(bytes: pointer, count: length + 1)
        }
        var expected = Data(
            "*7\r\n$3\r\nSET\r\n$3\r\nkey\r\n$8\r\ngrößer\r\n$3\r\n-42\r\n$3\r\na b\r\n$2\r\n".utf8)
        expected += [0, 255]
        expected += Data("\r\n$0\r\n\r\n\u{0}".utf8)
        #expect(bytes == expected)
    }

    @Test func repliesToClaims() {
        let sale = SaleID(1)
        func read(_ text: String, _ count: Int) -> [Result<ClaimDecision, Outage>] {
            var replies = ClaimReplies(text, sale: sale)
            return (0..<count).map { _ in replies.next() }
        }
        func order(_ sequence: Int64) -> OrderID { OrderID(sale: sale, sequence: sequence) }
        #expect(
            read("a4294967297:1:9 r5:2 d6 s x n c j", 8) == [
                .success(.accepted(Acceptance(order: order(4_294_967_297), ticket: 1, remaining: 9))),
                .success(.repeated(Acceptance(order: order(5), ticket: 2, remaining: nil))),
                .success(.refused(.duplicate, order: order(6))), .success(.refused(.soldOut, order: nil)),
                .success(.refused(.cancelled, order: nil)), .success(.refused(.notOpen, order: nil)),
                .success(.refused(.closed, order: nil)), .success(.refused(.rejected, order: nil)),
            ])
        #expect(read("?", 2) == [.success(.unknownSale), .success(.unknownSale)])
        // What was not agreed is never a "no".
        for text in ["", "z1", "s ", "\u{e9}", "a99999999999999999999999:1"] {
            let results = read(text, 3)
            #expect(throws: Outage.self) { try results.last?.get() }
        }
    }

    @Test @LoopActor func repliesComeInOrder() {
        var queue = ReplyQueue()
        var came: [Int] = []
        for index in 0..<10_000 {
            queue.append(at: Int64(index)) { _ in came.append(index) }
            if index % 3 == 2 {
                #expect(queue.oldest == Int64(came.count))
                queue.next()??(.success(.null))
            }
        }
        #expect(queue.count == 10_000 - came.count)
        while let next = queue.next() { next?(.success(.null)) }
        #expect(came == Array(0..<10_000))
        #expect(queue.oldest == nil)
        queue.append(at: 1, nil)
        queue.append(at: 2) { _ in came.append(-1) }
        #expect(queue.removeAll().count == 1)
        #expect(queue.count == 0)
    }

    /// Every file in `Functions` is a function's, named as the file, and says its keys, arguments and reply.
    @Test func everyFunctionHasItsFileAndItsHeader() throws {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Sources/Engine/Functions").standardized
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { !$0.hasSuffix("shared.lua") }
        // A function that took another form has a number behind its name.
        let names = FunctionLibrary.Function.allCases.map { function in
            let name = function.rawValue.dropFirst(5).replacing(/_\d+$/, with: "")
            return (file: String(name) + ".lua", function: function.rawValue)
        }
        #expect(files.sorted() == names.map(\.file).sorted())
        for (file, function) in names {
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            #expect(text.contains("'\(function)'"))
        }
        for file in files {
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            let name = "dibs_" + file.dropLast(4)
            #expect(text.hasPrefix("-- \(name): "))
            #expect(text.contains("'\(name)'"))
            // The keys of rooms are named once, where they are unpacked.
            let parts = file.hasPrefix("room_") ? ["Reply"] : ["-- KEYS", "-- Reply"]
            for part in parts where !text.contains(part) { Issue.record("\(file) says nothing of \(part)") }
        }
        let shared = try String(contentsOf: folder.appendingPathComponent("room_shared.lua"), encoding: .utf8)
        #expect(shared.contains("-- KEYS"))
    }
}
