import EventLoop
import Model
import TestServices
import Testing

@testable import Gateway

/// A connection without a socket, that notes when it stands in line and when it is read.
private final class Reader: Peer {
    let number: Int
    let line: Line
    var isSuspect = false

    @LoopActor
    final class Line {
        var read: [Int] = []
        var stopped: [Int] = []
        var isBusy = false
        var onRead: @LoopActor () -> Void = {}
    }

    init(_ number: Int, _ line: Line) {
        self.number = number
        self.line = line
        super.init()
    }

    override func standInLine() { line.stopped.append(number) }
    override func leaveLine() {
        line.read.append(number)
        line.onRead()
    }
    override var staysInLine: Bool { isSuspect }
}

@Suite(.timeLimit(.minutes(patience)))
struct FairReadingTests {
    /// Waits for the end of a turn of the loop.
    @LoopActor
    private func turn() async {
        await withCheckedContinuation { continuation in
            Turn.atNextEnd(atOnce: true) { continuation.resume() }
        }
    }

    @Test func everybodyIsReadInTheOrderOfComing() async throws {
        try await onLoop {
            let (reading, line) = (FairReading(Company()), Reader.Line())
            let readers = (0..<500).map { Reader($0, line) }
            for reader in readers { reading.note(reader) }
            #expect(line.stopped.isEmpty && line.read.isEmpty)
            var turns = 0
            while line.read.count < 500 {
                let before = line.read.count
                await self.turn()
                turns += 1
                #expect(line.read.count - before <= 128)
            }
            #expect(line.stopped == Array(0..<500))
            #expect(line.read == Array(0..<500))
            #expect(turns >= 4)
        }
    }

    @Test func nobodyIsReadWhileItIsBusy() async throws {
        try await onLoop {
            let (reading, line) = (FairReading(Company(), patience: .max / 2), Reader.Line())
            line.isBusy = true
            reading.isBusy = { line.isBusy }
            for number in 0..<10 { reading.note(Reader(number, line)) }
            for _ in 0..<20 { await self.turn() }
            #expect(line.stopped.count == 10 && line.read.isEmpty)
            line.isBusy = false
            while line.read.count < 10 { await self.turn() }
            #expect(line.read == Array(0..<10))
        }
    }

    @Test func whileItIsBusyTheLineIsReadAllTheSame() async throws {
        try await onLoop {
            let (reading, line) = (FairReading(Company(), patience: 1), Reader.Line())
            line.isBusy = true
            reading.isBusy = { line.isBusy }
            for number in 0..<10 { reading.note(Reader(number, line)) }
            // Nothing else wakes the loop for it.
            while line.read.count < 10 { await EventLoop.sleep(milliseconds: 1) }
            #expect(line.read == Array(0..<10))
        }
    }

    /// What the line costs, others get twice; without others, it goes on at once.
    @Test func othersGetTheMostOfTheTime() async throws {
        try await onLoop {
            let (company, line) = (Company(), Reader.Line())
            let reading = FairReading(company)
            let cost: UInt64 = 1_000_000
            line.onRead = {
                let until = EventLoop.workNanoseconds + cost
                while EventLoop.workNanoseconds < until {}
            }
            let count = 12
            for number in 0..<count { reading.note(Reader(number, line)) }
            let began = EventLoop.nanoseconds
            while line.read.count < count {
                company.note(PeerAddress("192.0.2.1")!)
                await self.turn()
            }
            // The last of them leaves its time after this.
            #expect(EventLoop.nanoseconds - began >= UInt64(count - 1) * 3 * cost * 9 / 10)
        }
    }

    /// Others go while the line leaves them time: it goes on.
    @Test func theLineGoesOnWhenOthersAreGone() async throws {
        try await onLoop {
            let (company, line) = (Company(), Reader.Line())
            let reading = FairReading(company, patience: 10_000)
            for number in 0..<3 { reading.note(Reader(number, line)) }
            company.note(PeerAddress("192.0.2.1")!)
            // For so long the loop has no time, as others count as being there.
            while line.read.count < 3 {
                let until = EventLoop.workNanoseconds + 2_000_000
                while EventLoop.workNanoseconds < until {}
                await self.turn()
            }
            #expect(line.read == [0, 1, 2])
        }
    }

    @Test func whoStaysInLineIsReadAgainAndAgainButNotMoreThanOthers() async throws {
        try await onLoop {
            let (reading, line) = (FairReading(Company()), Reader.Line())
            let readers = (0..<3).map { Reader($0, line) }
            readers[1].isSuspect = true
            for reader in readers { reading.note(reader) }
            while line.read.count < 6 { await self.turn() }
            #expect(line.read.prefix(6) == [0, 1, 2, 1, 1, 1])
            readers[1].isSuspect = false
            // As often stopped as read: what it sends is read once in each of its turns.
            #expect(abs(line.stopped.count { $0 == 1 } - line.read.count { $0 == 1 }) <= 1)
        }
    }

    /// Far more than is read as it comes, from many at once: all of it arrives, each connection's in its order.
    @Test func nothingIsLost() async throws {
        try await withServer({
            $0.receiveRate = TokenBucket.Limit(perSecond: 10_000_000, burst: 10_000_000)
        }) { server in
            var sockets: [RawSocket] = []
            for _ in 0..<8 {
                let socket = try await server.raw()
                #expect(await socket.upgrade())
                sockets.append(socket)
            }
            for (number, socket) in sockets.enumerated() {
                socket.send((0..<400).flatMap { RawFrame.text("\(number) \($0)") })
                socket.send(RawFrame.encode(9, Array("ping".utf8)))
            }
            for (number, socket) in sockets.enumerated() {
                var next = 0
                var pongs = 0
                while next < 400 || pongs < 1, let frame = await socket.frame() {
                    guard frame.opcode == 1 else {
                        #expect(frame.opcode == 10)
                        pongs += 1
                        continue
                    }
                    #expect(String(decoding: frame.payload, as: UTF8.self) == "\(number) \(next)")
                    next += 1
                }
                #expect(next == 400 && pongs == 1)
                socket.close()
            }
        }
    }

    /// Who is paused in the middle of what was read of it, again and again, loses nothing either.
    @Test func pausesLoseNothing() async throws {
        try await withServer({
            $0.receiveRate = TokenBucket.Limit(perSecond: 200_000, burst: 3000)
        }) { server in
            let socket = try await server.raw()
            #expect(await socket.upgrade())
            let texts = (0..<150).map { "\($0) " + String(repeating: "x", count: $0 % 97) }
            socket.send(texts.flatMap { RawFrame.text($0) })
            for text in texts {
                var frame = await socket.frame()
                // On a busy machine it takes so long that the server asks whether somebody is there.
                while frame?.opcode == 9 { frame = await socket.frame() }
                guard frame?.text == text else {
                    Issue.record("another message than \(text), or none")
                    break
                }
            }
            socket.close()
        }
    }

    /// Who may ask as much as it likes never stands in line; whoever else asks as much does.
    @Test(arguments: [("unlimited", false), ("nothing", true)])
    func onlyThoseWithLimitsStandInLine(path: String, standsInLine: Bool) async throws {
        try await withServer({
            $0.receiveRate = TokenBucket.Limit(perSecond: 1000, burst: 1000)
        }) { server in
            let socket = try await server.raw()
            socket.send("GET /api/echo HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await socket.answer()?.status == 200)
            let connection = try #require(server.gateway.sweeper.all.first as? HTTPConnection)
            let fullAt = connection.requestsFullAt
            socket.send(String(repeating: "GET /api/\(path) HTTP/1.1\r\nHost: x\r\n\r\n", count: 60))
            for _ in 0..<60 { #expect(await socket.answer()?.status == 204) }
            #expect((connection.requestsFullAt > fullAt) == standsInLine)
        }
    }

    @Test func aLongRowOfRequestsIsAnsweredInOrder() async throws {
        try await withServer({
            $0.receiveRate = TokenBucket.Limit(perSecond: 1000, burst: 1000)
        }) { server in
            let socket = try await server.raw()
            let count = 150
            socket.send(
                (0..<count).map { "GET /api/echo?n=\($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined())
            for number in 0..<count {
                let answer = await socket.answer()
                #expect(answer?.status == 200)
                #expect(answer?.body.contains("[n=\(number)]") == true)
            }
            socket.close()
        }
    }

    /// Who comes from the address of a crowd is no other.
    @Test func aCrowdIsNoCompanyOfItsOwn() async throws {
        try await onLoop {
            let company = Company()
            let (crowd, other) = (PeerAddress("192.0.2.1")!, PeerAddress("192.0.2.2")!)
            let second = PeerAddress("192.0.2.3")!
            company.noteCrowd(crowd)
            company.noteCrowd(second)
            company.note(crowd)
            company.note(second)
            #expect(!company.isPresent)
            // Of many, the oldest are forgotten.
            for number in 0..<64 { company.noteCrowd(PeerAddress("198.51.100.\(number)")!) }
            company.note(PeerAddress("198.51.100.63")!)
            #expect(!company.isPresent)
            company.note(other)
            #expect(company.isPresent)
        }
    }

    /// A turn ends when it has taken its time, however many there are.
    @Test func aTurnEndsByTheClock() async throws {
        try await onLoop {
            let (reading, line) = (FairReading(Company(), leastInTurn: 16), Reader.Line())
            line.onRead = {
                let until = EventLoop.nanoseconds + 200_000
                while EventLoop.nanoseconds < until {}
            }
            for number in 0..<16 { reading.note(Reader(number, line)) }
            var most = 0
            while line.read.count < 16 {
                let before = line.read.count
                await self.turn()
                most = max(most, line.read.count - before)
            }
            #expect(most <= 2)
        }
    }

    /// A server that lets in so many of an address as they come; the others stand in line.
    private func withCrowds(
        lettingIn few: Double, _ body: @escaping @Sendable @LoopActor (TestServer) async throws -> Void
    ) async throws {
        try await withServer(
            {
                $0.receiveRate = TokenBucket.Limit(perSecond: 1_000_000, burst: 1_000_000)
                $0.connectionRate = TokenBucket.Limit(perSecond: 10_000, burst: 10_000)
                $0.maxConnectionsPerAddress = 1000
                $0.arrivalRate = TokenBucket.Limit(perSecond: 0.001, burst: few)
                $0.sweepMilliseconds = 20
            }, body)
    }

    /// Others are there, and much is under way, all the time.
    @LoopActor
    private func keepBusy(_ server: TestServer) {
        let (company, other) = (server.gateway.company, PeerAddress("192.0.2.1")!)
        company.note(other)
        server.gateway.whenBusy {
            company.note(other)
            return true
        }
    }

    /// Of an address that opens very many at once, each is let in, in its turn; and whoever has gone leaves nothing behind.
    @Test func aCrowdOfOneAddressStandsInLineToBeLetIn() async throws {
        try await withCrowds(lettingIn: 3) { server in
            let other = try await server.raw(from: "127.0.9.1")
            #expect(await other.upgrade())
            var crowd: [RawSocket] = []
            for _ in 0..<60 { crowd.append(try await server.raw(from: "127.0.9.2")) }
            for socket in crowd { socket.send("GET /api/echo HTTP/1.1\r\nHost: x\r\n\r\n") }
            // Others are there meanwhile.
            for number in 0..<10 {
                other.send(RawFrame.text("\(number)"))
                #expect(await other.frame()?.text == "\(number)")
            }
            for socket in crowd { #expect(await socket.answer()?.status == 200) }
            #expect(server.gateway.connectionCount == 61)
            #expect(server.gateway.newcomers.addressCount == 0)
            for socket in crowd { socket.close() }
            while server.gateway.connectionCount > 1 { await EventLoop.sleep(milliseconds: 1) }
            other.close()
        }
    }

    /// However many of one address wait, another's come in between them; who has gone while waiting holds nothing.
    @Test func crowdsTakeTurns() async throws {
        try await withCrowds(lettingIn: 1) { server in
            // A batch is let in every 20 ms.
            keepBusy(server)
            var many: [RawSocket] = []
            for _ in 0..<400 { many.append(try await server.raw(from: "127.0.9.2")) }
            var few: [RawSocket] = []
            for _ in 0..<3 { few.append(try await server.raw(from: "127.0.9.3")) }
            for socket in few { socket.send("GET /api/echo HTTP/1.1\r\nHost: x\r\n\r\n") }
            // Those who give up are not waited for.
            for socket in many.prefix(300) { socket.close() }
            for socket in many.dropFirst(300) { socket.send("GET /api/echo HTTP/1.1\r\nHost: x\r\n\r\n") }
            for socket in few { #expect(await socket.answer()?.status == 200) }
            for socket in many.dropFirst(300) { #expect(await socket.answer()?.status == 200) }
            while server.gateway.connectionCount > 103 || server.gateway.newcomers.addressCount > 0 {
                await EventLoop.sleep(milliseconds: 1)
            }
            for socket in many + few { socket.close() }
            while server.gateway.connectionCount > 0 { await EventLoop.sleep(milliseconds: 1) }
        }
    }

    /// Who has said all and closed its own direction is answered as well, when its turn comes.
    @Test func whoHasSaidAllIsAnswered() async throws {
        try await withCrowds(lettingIn: 1) { server in
            let first = try await server.raw()
            #expect(await first.upgrade())
            let socket = try await server.raw()
            socket.send("GET /api/echo HTTP/1.1\r\nHost: x\r\n\r\n")
            socket.finish()
            #expect(await socket.answer()?.status == 200)
        }
    }

    /// While the line is not read, nobody is let in; whoever waits ends with the server, and who has hung up before.
    @Test func whoWaitsToBeLetInEndsWithTheServer() async throws {
        try await withCrowds(lettingIn: 1) { server in
            keepBusy(server)
            let first = try await server.raw()
            #expect(await first.upgrade())
            let waiting = try await server.raw()
            let gone = try await server.raw()
            gone.close()
            waiting.send("GET /api/echo HTTP/1.1\r\nHost: x\r\n\r\n")
            await server.gateway.shutdown(deadline: 100)
            #expect(server.gateway.connectionCount == 0)
            // Read after 20 ms at the soonest, and shut down before that: or it was let in, on a machine that slept.
            let answer = await waiting.answer()
            #expect(answer == nil || answer?.status == 200)
        }
    }
}
