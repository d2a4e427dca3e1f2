import CHiredis
import EventLoop
import Glibc
import Model

/// Who uses a socket to Redis, and is told what happens on it.
@LoopActor
protocol RedisSocketOwner: AnyObject {
    /// The connection stands; commands can be sent. The socket must not be closed in this call: hiredis 0.14 frees it
    /// under its own feet.
    func socketConnected()
    /// A reply, or a message of a subscription.
    func socketReceived(_ reply: RedisReply)
    /// It is gone, by Redis or the network. Not called after ``RedisSocket/close()``.
    func socketClosed(_ reason: String)
}

/// One connection to Redis as hiredis' asynchronous API sees it, on our loop.
///
/// hiredis' own adapter for libuv writes when the socket is writable, which takes one more round of the loop. Here what
/// was sent during a turn is written once at its end; only what the socket doesn't take then waits for it.
///
/// The context belongs to this object. hiredis holds an unretained pointer back, in `data` and `ev.data`; both are
/// cleared before the context is freed by ``close()`` or `deinit`, and hiredis clears the context itself when the
/// connection ends, which it tells by `ev.cleanup`.
@LoopActor
final class RedisSocket {
    /// A resolved place to connect to.
    enum Address: Sendable {
        case tcp(address: String, port: Int32)
        case unix(path: String)
    }

    private var context: UnsafeMutablePointer<redisAsyncContext>?
    private var watcher: DescriptorWatcher?
    private var watched: Readiness = []
    private var isConnected = false
    private var isWriting = false
    private var flushIsDue = false
    private weak var owner: (any RedisSocketOwner)?

    /// Begins to connect.
    init(to address: Address, owner: any RedisSocketOwner) throws(Outage) {
        let context =
            switch address {
            case .tcp(let address, let port): redisAsyncConnect(address, port)
            case .unix(let path): redisAsyncConnectUnix(path)
            }
        guard let context else { throw Outage(.redis, "out of memory") }
        guard context.pointee.err == 0 else {
            let reason = RedisSocket.reason(context)
            redisAsyncFree(context)
            throw Outage(.redis, reason)
        }
        self.context = context
        self.owner = owner
        watcher = DescriptorWatcher(descriptor: context.pointee.c.fd) { [weak self] in self?.ready($0) }
        // Unretained: see above.
        let unretained = Unmanaged.passUnretained(self).toOpaque()
        context.pointee.data = unretained
        context.pointee.ev.data = unretained
        context.pointee.ev.addRead = addRead
        context.pointee.ev.delRead = delRead
        context.pointee.ev.addWrite = addWrite
        context.pointee.ev.delWrite = delWrite
        context.pointee.ev.cleanup = cleanup
        redisAsyncSetConnectCallback(context, connectEnded)
    }

    isolated deinit { close() }

    /// Sends a command with the others of this turn; its reply comes to the owner, in order. False when the connection
    /// is ending, and the command was dropped.
    func send(_ command: borrowing RedisCommand) -> Bool {
        guard let context else { return false }
        return command.withBytes { redisAsyncFormattedCommand(context, replyCame, nil, $0, $1) } == REDIS_OK
    }

    /// Ends it at once. No more is heard of it.
    func close() {
        guard let context else { return }
        self.context = nil
        watcher?.close()
        watcher = nil
        context.pointee.data = nil
        context.pointee.ev.data = nil
        // Frees now, or when the callback that we are in returns. Callbacks that are pending come without a reply.
        redisAsyncFree(context)
    }

    private static func reason(_ context: UnsafeMutablePointer<redisAsyncContext>) -> String {
        // `errstr` is a pointer into the context once it was copied there, and nil before.
        guard context.pointee.c.err != 0, let text = context.pointee.errstr else { return "the connection ended" }
        return String(cString: text)
    }

    private func ready(_ events: Readiness) {
        if events.contains(.readable), let context { redisAsyncHandleRead(context) }
        if events.contains(.writable) { write() }
    }

    private func write() {
        guard let context else { return }
        isWriting = true
        redisAsyncHandleWrite(context)
        isWriting = false
    }

    private func watch(_ events: Readiness) {
        watched = events
        watcher?.watch(events)
    }

    fileprivate func wantsRead(_ wanted: Bool) {
        watch(wanted ? watched.union(.readable) : watched.subtracting(.readable))
    }

    fileprivate func wantsWrite(_ wanted: Bool) {
        guard wanted else { return watch(watched.subtracting(.writable)) }
        // Until it is connected, being writable is how that shows. Within a write it means that the socket is full.
        guard isConnected && !isWriting else { return watch(watched.union(.writable)) }
        guard !flushIsDue && !watched.contains(.writable) else { return }
        flushIsDue = true
        Turn.atEnd(.flush) { [weak self] in
            self?.flushIsDue = false
            self?.write()
        }
    }

    fileprivate func connected() {
        isConnected = true
        owner?.socketConnected()
    }

    fileprivate func received(_ reply: RedisReply) {
        // Replies that were read together with the one at which the owner closed.
        guard context != nil else { return }
        owner?.socketReceived(reply)
    }

    fileprivate func gone() {
        guard let context else { return }
        let reason = RedisSocket.reason(context)
        self.context = nil
        watcher?.close()
        watcher = nil
        context.pointee.data = nil
        context.pointee.ev.data = nil
        owner?.socketClosed(reason)
    }
}

// hiredis calls these on the loop's thread: within redisAsyncHandleRead, …HandleWrite, …FormattedCommand and …Free.
// The pointers are those of init, unretained; nil after close().

private func addRead(_ data: UnsafeMutableRawPointer?) { withOwner(data, as: RedisSocket.self) { $0.wantsRead(true) } }
private func delRead(_ data: UnsafeMutableRawPointer?) { withOwner(data, as: RedisSocket.self) { $0.wantsRead(false) } }
private func addWrite(_ data: UnsafeMutableRawPointer?) {
    withOwner(data, as: RedisSocket.self) { $0.wantsWrite(true) }
}
private func delWrite(_ data: UnsafeMutableRawPointer?) {
    withOwner(data, as: RedisSocket.self) { $0.wantsWrite(false) }
}
private func cleanup(_ data: UnsafeMutableRawPointer?) { withOwner(data, as: RedisSocket.self) { $0.gone() } }

/// The connection stands, or could not be made. In the second case hiredis frees the context next, and `cleanup` tells.
private func connectEnded(_ context: UnsafePointer<redisAsyncContext>?, _ status: Int32) {
    guard status == REDIS_OK else { return }
    withOwner(context?.pointee.data, as: RedisSocket.self) { $0.connected() }
}

/// A reply, which hiredis frees after this returns; nil when the connection ends, which `cleanup` tells for all of
/// them.
private func replyCame(
    _ context: UnsafeMutablePointer<redisAsyncContext>?, _ reply: UnsafeMutableRawPointer?,
    _ privateData: UnsafeMutableRawPointer?
) {
    guard let data = context?.pointee.data, let reply else { return }
    let copy = RedisReply(copying: reply.assumingMemoryBound(to: redisReply.self))
    withOwner(data, as: RedisSocket.self) { $0.received(copy) }
}
