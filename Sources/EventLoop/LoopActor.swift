/// The isolation domain of everything that runs on the event loop: one process, one loop, no locks.
@globalActor
public actor LoopActor {
    /// The actor behind the attribute `@LoopActor`.
    public static let shared = LoopActor()

    /// The libuv loop.
    public nonisolated var unownedExecutor: UnownedSerialExecutor {
        EventLoop.executor.asUnownedSerialExecutor()
    }

    /// Calls `operation` as code on the loop, without a hop. For C callbacks, which always come on the loop's thread.
    ///
    /// Traps off the loop's thread: that is a bug of ours. (After the standard library's `MainActor.assumeIsolated`.)
    public static func assumeIsolated<Result>(_ operation: @LoopActor () throws -> Result) rethrows -> Result {
        EventLoop.preconditionOnLoop()
        return try withoutActuallyEscaping(operation) { isolated in
            try unsafeBitCast(isolated, to: (() throws -> Result).self)()
        }
    }
}

/// Calls a method of the object that a C callback finds behind its `data` pointer; nothing when that is nil, as it is
/// once the handle is closing. The object stays alive during the call, even if it lets go of itself.
///
/// For pointers made by `Unmanaged.passUnretained`.
public func withOwner<Owner: AnyObject>(
    _ data: UnsafeMutableRawPointer?, as type: Owner.Type, _ call: @LoopActor (Owner) -> Void
) {
    guard let data else { return }
    // Proof: the pointer is only read here, on the loop's thread, which assumeIsolated checks.
    nonisolated(unsafe) let pointer = data
    LoopActor.assumeIsolated {
        let owner = Unmanaged<Owner>.fromOpaque(pointer).takeUnretainedValue()
        withExtendedLifetime(owner) { call(owner) }
    }
}
