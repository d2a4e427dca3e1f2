import EventLoop
import Foundation
import Glibc

/// Lines over a descriptor that is never waited for: how a run and its parts talk.
@LoopActor
final class LineChannel {
    private let input: Int32
    private let output: Int32
    private var reader: DescriptorWatcher?
    /// The same object as `reader` when both directions are one socket: a descriptor can be watched once only.
    private var writer: DescriptorWatcher?
    private var unread: [UInt8] = []
    /// Where a search for the end of a line goes on.
    private var searched = 0
    private var unsent: [UInt8] = []
    private var sent = 0
    private let onLine: @LoopActor (ArraySlice<UInt8>) -> Void
    private let onEnd: @LoopActor () -> Void

    /// Takes the descriptors; `onEnd` is called once, when the other side is gone.
    init(
        input: Int32, output: Int32, onLine: @escaping @LoopActor (ArraySlice<UInt8>) -> Void,
        onEnd: @escaping @LoopActor () -> Void
    ) {
        self.input = input
        self.output = output
        self.onLine = onLine
        self.onEnd = onEnd
        for descriptor in [input, output] {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        }
        reader = DescriptorWatcher(descriptor: input) { [weak self] in self?.ready($0) }
        writer = input == output ? reader : DescriptorWatcher(descriptor: output) { [weak self] in self?.ready($0) }
        watch()
    }

    /// Sends a value as JSON in one line.
    func send(_ value: some Encodable) {
        guard reader != nil else { return }
        // These are our own types: that they cannot be encoded is a bug.
        unsent += try! JSONEncoder().encode(value)
        unsent.append(UInt8(ascii: "\n"))
        write()
    }

    /// Ends it from this side, as when the other side is gone.
    func close() { end() }

    /// Whether everything has left.
    var isFlushed: Bool { sent == unsent.count }

    private func watch() {
        let writing: Readiness = isFlushed ? [] : .writable
        if input == output {
            reader?.watch(writing.union(.readable))
        } else {
            reader?.watch(.readable)
            writer?.watch(writing)
        }
    }

    private func ready(_ readiness: Readiness) {
        if readiness.contains(.writable) { write() }
        if readiness.contains(.readable) { read() }
    }

    private func write() {
        while !isFlushed {
            let count = unsent.withUnsafeBytes { Glibc.write(output, $0.baseAddress! + sent, $0.count - sent) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN { break }
            // The reader finds out that the other side is gone.
            guard count > 0 else { return drop() }
            sent += count
        }
        if isFlushed { drop() }
        watch()
    }

    private func drop() {
        unsent.removeAll()
        sent = 0
    }

    private func read() {
        while reader != nil {
            var isOver = false
            let before = unread.count
            unread.append(contentsOf: repeatElement(0, count: 65536))
            let count = unread.withUnsafeMutableBytes { Glibc.read(input, $0.baseAddress! + before, 65536) }
            unread.removeLast(65536 - max(0, count))
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN { return }
            if count <= 0 { isOver = true }
            takeLines()
            if isOver { return end() }
        }
    }

    private func takeLines() {
        var start = 0
        while let newline = unread[searched...].firstIndex(of: UInt8(ascii: "\n")) {
            onLine(unread[start..<newline])
            start = newline + 1
            searched = start
        }
        unread.removeFirst(start)
        searched = unread.count
    }

    private func end() {
        guard reader != nil else { return }
        reader?.close()
        writer?.close()
        reader = nil
        writer = nil
        onEnd()
    }
}
