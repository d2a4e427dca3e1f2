/// The functions that Redis runs, as one library for `FUNCTION LOAD`.
///
/// Each comes from a file of its own in `Functions/`, whose header names its keys, arguments and replies.
enum FunctionLibrary {
    /// A function's name in Redis.
    enum Function: String, CaseIterable, Sendable {
        case register = "dibs_register"
        case rebuild = "dibs_rebuild"
        case restore = "dibs_restore"
        case abandon = "dibs_abandon"
        case window = "dibs_window"
        case claim = "dibs_claim"
        case settle = "dibs_settle"
        case release = "dibs_release"
        case retry = "dibs_retry"
        case tell = "dibs_tell"
        case log = "dibs_log"
        case inspect = "dibs_inspect"
        case unsettled = "dibs_unsettled"
        case drop = "dibs_drop"
        case revoke = "dibs_revoke"

        fileprivate var source: [UInt8] {
            switch self {
            case .register: PackageResources.register_lua
            case .rebuild: PackageResources.rebuild_lua
            case .restore: PackageResources.restore_lua
            case .abandon: PackageResources.abandon_lua
            case .window: PackageResources.window_lua
            case .claim: PackageResources.claim_lua
            case .settle: PackageResources.settle_lua
            case .release: PackageResources.release_lua
            case .retry: PackageResources.retry_lua
            case .tell: PackageResources.tell_lua
            case .log: PackageResources.log_lua
            case .inspect: PackageResources.inspect_lua
            case .unsettled: PackageResources.unsettled_lua
            case .drop: PackageResources.drop_lua
            case .revoke: PackageResources.revoke_lua
            }
        }
    }

    /// The library's source: the shared part, then each function in a block of its own, so that nothing else leaks.
    static let source: [UInt8] = {
        var text = Array("#!lua name=dibs\n".utf8)
        text += PackageResources.shared_lua
        for function in Function.allCases {
            text += Array("\ndo -- \(function.rawValue)\n".utf8)
            text += function.source
            text += Array("\nend\n".utf8)
        }
        return text
    }()

    /// Puts the library into Redis, in place of whatever version is there.
    static var load: RedisCommand {
        var command = RedisCommand("FUNCTION", "LOAD", "REPLACE", reserving: source.count + 128)
        command.append(source)
        return command
    }
}
