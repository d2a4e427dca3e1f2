import Foundation
import Testing

@testable import EventLoop

/// Runs `body` on the loop, which all tests of this process share.
func onLoop<Value: Sendable>(_ body: @escaping @Sendable @LoopActor () async throws -> Value) async throws -> Value {
    EventLoop.startInBackground()
    return try await body()
}

@Suite struct EventLoopTests {
    @Test func everythingStaysOnTheLoop() async throws {
        let places = try await onLoop {
            var places = [EventLoop.isOnLoop]
            await Task.yield()
            places.append(EventLoop.isOnLoop)
            places.append(try await EventLoop.offload { !EventLoop.isOnLoop })
            places.append(EventLoop.isOnLoop)
            places.append(await nonisolatedPlace())
            await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<10 { group.addTask { @LoopActor in EventLoop.isOnLoop } }
                for await place in group { places.append(place) }
            }
            return places
        }
        #expect(places.allSatisfy { $0 })
    }

    @Test func jobsComeFromManyThreads() async throws {
        EventLoop.startInBackground()
        let total = await withTaskGroup(of: Int.self) { group in
            for index in 0..<2000 { group.addTask { await onLoopValue(index) } }
            return await group.reduce(0, +)
        }
        #expect(total == (0..<2000).reduce(0, +))
    }

    @Test func aTurnMergesBeforeItFlushesAndBeforeItSleeps() async throws {
        let order = try await onLoop {
            var order: [String] = []
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                Turn.atEnd(.flush) {
                    order.append("flush")
                    continuation.resume()
                }
                Turn.atEnd(.merge) {
                    order.append("merge")
                    Turn.atEnd(.merge) { order.append("merge again") }
                }
                order.append("work")
            }
            return order
        }
        #expect(order == ["work", "merge", "merge again", "flush"])
    }

    @Test func timersFireInOrderAndCanBeStopped() async throws {
        let fired = try await onLoop {
            var fired: [Int] = []
            let early = LoopTimer()
            let late = LoopTimer()
            let never = LoopTimer()
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                // Started in the order of their deadlines: however slow the machine is, they fire in that order.
                early.start(after: 10) {
                    fired.append(1)
                    never.stop()
                }
                never.start(after: 20) { fired.append(3) }
                late.start(after: 30) {
                    fired.append(2)
                    continuation.resume()
                }
            }
            #expect(!early.isRunning && !late.isRunning && !never.isRunning)
            return fired
        }
        #expect(fired == [1, 2])
    }

    @Test func timersInStepFireInTheSameTurn() async throws {
        let (often, seldom) = try await onLoop {
            var often: [Int64] = []
            var seldom: [Int64] = []
            let (fast, slow) = (LoopTimer(), LoopTimer())
            fast.startInStep(every: 7) { often.append(EventLoop.monotonicMilliseconds) }
            // Begun at another moment than the first.
            await EventLoop.sleep(milliseconds: 3)
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                slow.startInStep(every: 14) {
                    seldom.append(EventLoop.monotonicMilliseconds)
                    guard seldom.count == 5 else { return }
                    slow.stop()
                    // What else is due in this turn comes first.
                    Turn.atEnd(.flush) { continuation.resume() }
                }
            }
            fast.stop()
            #expect(!fast.isRunning && !slow.isRunning)
            return (often, seldom)
        }
        #expect(seldom.count == 5)
        #expect(Set(seldom).isSubset(of: often))
    }

    @Test func sleepEndsWhenItsTaskIsCancelled() async throws {
        EventLoop.startInBackground()
        let task = EventLoop.task { await EventLoop.sleep(milliseconds: 3_600_000) }
        task.cancel()
        await task.value
    }

    @Test func aDescriptorTellsWhenItIsReady() async throws {
        var pair: [Int32] = [0, 0]
        #expect(pipe(&pair) == 0)
        let (reader, writer) = (pair[0], pair[1])
        let byte = try await onLoop {
            let watcher = WatcherBox()
            let ready = await withCheckedContinuation { (continuation: CheckedContinuation<Readiness, Never>) in
                watcher.watcher = DescriptorWatcher(descriptor: reader) { readiness in
                    watcher.watcher?.close()
                    continuation.resume(returning: readiness)
                }
                watcher.watcher?.watch(.readable)
                write(writer, "x", 1)
            }
            #expect(ready == .readable)
            var byte: UInt8 = 0
            read(reader, &byte, 1)
            return byte
        }
        #expect(byte == UInt8(ascii: "x"))
        close(reader)
        close(writer)
    }

    @Test func namesResolveOffTheLoop() async throws {
        let addresses = try await onLoop { try await EventLoop.resolve("127.0.0.1") }
        #expect(addresses == ["127.0.0.1"])
        await #expect(throws: LoopError.self) {
            try await onLoop { try await EventLoop.resolve("no such host") }
        }
    }

    @Test func childrenAreStartedAndTheirEndIsTold() async throws {
        let exit = try await onLoop {
            try await withCheckedThrowingContinuation {
                (continuation: CheckedContinuation<ChildProcess.Exit, any Error>) in
                do {
                    _ = try ChildProcess(path: "/bin/sh", arguments: ["-c", "exit $CODE"], environment: ["CODE": "7"]) {
                        continuation.resume(returning: $0)
                    }
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
        #expect(exit == ChildProcess.Exit(status: 7, signal: 0))
        await #expect(throws: LoopError.self) {
            try await onLoop { _ = try ChildProcess(path: "/no/such/file", arguments: [], environment: [:]) { _ in } }
        }
    }

    /// Who comes while one reads shares the next reading: the one that is under way may miss what they know of.
    @Test func whoReadsSeesWhatWasDoneBefore() async throws {
        struct Broken: Error {}
        try await onLoop {
            let reads = SharedReads<String, Int>()
            var (begun, gates): (Int, [CheckedContinuation<Void, Never>]) = (0, [])
            @LoopActor func read(_ key: String = "a", fails: Bool = false) -> Task<Int?, Never> {
                EventLoop.task {
                    try? await reads.read(key) {
                        begun += 1
                        let number = begun
                        await withCheckedContinuation { gates.append($0) }
                        if fails { throw Broken() }
                        return number
                    }
                }
            }
            @LoopActor func nextGate() async -> CheckedContinuation<Void, Never> {
                while gates.isEmpty { await Task.yield() }
                return gates.removeFirst()
            }
            let first = read()
            let gate = await nextGate()
            let others = (0..<5).map { _ in read() }
            let elsewhere = read("b")
            await nextGate().resume()
            #expect(await elsewhere.value == 2 && begun == 2)
            gate.resume()
            #expect(await first.value == 1)
            let second = await nextGate()
            let third = [read(fails: true), read()]
            second.resume()
            for other in others { #expect(await other.value == 3) }
            await nextGate().resume()
            for reading in third { #expect(await reading.value == nil) }
            let last = read()
            await nextGate().resume()
            #expect(await last.value == 5)
        }
    }

    @Test func whoWantsTheSameSharesOneAttempt() async throws {
        struct Broken: Error {}
        try await onLoop {
            let shared = SharedAttempt<Int>()
            var (begun, gates): (Int, [CheckedContinuation<Void, Never>]) = (0, [])
            @LoopActor func attempt(fails: Bool = false) -> Task<Int?, Never> {
                EventLoop.task {
                    try? await shared.run {
                        begun += 1
                        let number = begun
                        await withCheckedContinuation { gates.append($0) }
                        if fails { throw Broken() }
                        return number
                    }
                }
            }
            @LoopActor func finish(_ tasks: [Task<Int?, Never>]) async -> [Int?] {
                while gates.isEmpty { await Task.yield() }
                gates.removeFirst().resume()
                var values: [Int?] = []
                for task in tasks { values.append(await task.value) }
                return values
            }
            #expect(await finish([attempt(), attempt(), attempt()]) == [1, 1, 1])
            #expect(!shared.isUnderWay)
            // A failure is everybody's, and the next one begins anew.
            #expect(await finish([attempt(fails: true), attempt()]) == [nil, nil])
            #expect(await finish([attempt()]) == [3])
        }
    }

    @Test func errorsOfOffloadedWorkComeBack() async throws {
        struct Broken: Error {}
        await #expect(throws: Broken.self) { try await onLoop { try await EventLoop.offload { throw Broken() } } }
    }
}

private func nonisolatedPlace() async -> Bool { EventLoop.isOnLoop }

@LoopActor
private func onLoopValue(_ value: Int) async -> Int {
    await Task.yield()
    return value
}

@LoopActor
private final class WatcherBox {
    var watcher: DescriptorWatcher?
}
